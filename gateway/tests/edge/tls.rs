//! TLS at the edge, with a certificate and key that exist for these tests alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use portcullis::edge::{Limits, ServerTls, TlsError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Edge, read_to_end, statuses, within};

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/edge").join(name)
}

fn server_tls() -> ServerTls {
    ServerTls::from_pem_files(&fixture("tls-chain.pem"), &fixture("tls-key.pem")).unwrap()
}

async fn connect(edge: &Edge, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("tls-chain.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    within(connector.connect(name, edge.connect().await)).await.unwrap()
}

async fn exchange(edge: &Edge, bytes: &[u8]) -> String {
    let mut stream = connect(edge, &[b"http/1.1"]).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn requests_over_tls_say_so_and_are_as_strictly_framed() {
    let edge = Edge::start_with(Limits::default(), Some(server_tls())).await;
    let sound = exchange(&edge, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(statuses(&sound), [200]);
    let bad = exchange(&edge, b"GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&bad), [400]);
    assert_eq!(edge.witness.lines(), ["GET /x"]);
    assert!(edge.witness.requests.lock().unwrap()[0].facts.tls);
    assert!(edge.witness.take_records()[0].tls);
}

#[tokio::test]
async fn http2_is_offered_by_alpn() {
    let edge = Edge::start_with(Limits::default(), Some(server_tls())).await;
    let stream = connect(&edge, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/x").body(String::new()).unwrap();
    assert_eq!(within(sender.send_request(request)).await.unwrap().status(), 200);
    assert_eq!(edge.witness.requests.lock().unwrap()[0].facts.version, Version::HTTP_2);
}

#[tokio::test]
async fn plain_text_and_silence_on_a_tls_port_are_closed() {
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let edge = Edge::start_with(limits, Some(server_tls())).await;
    let mut socket = edge.connect().await;
    socket.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    let mut silent = edge.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(edge.witness.lines().is_empty());
}

#[test]
fn an_unusable_certificate_is_refused_by_name_and_without_its_key() {
    let chain = fixture("tls-chain.pem");
    let missing = ServerTls::from_pem_files(&fixture("absent.pem"), &chain).unwrap_err();
    assert!(missing.to_string().contains("absent.pem"), "{missing}");
    let not_a_key = ServerTls::from_pem_files(&chain, &chain).unwrap_err();
    assert!(matches!(not_a_key, TlsError::Unreadable { path, .. } if path == chain));
}
