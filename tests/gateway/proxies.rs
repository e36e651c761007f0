//! The gateway proxies ...

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use harness::{Deployment, Upstream, Value, text};
use reqwest::Method;
use tokio::sync::mpsc;

const SECRET: &str = "planted-bank-credential";

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().bank(&upstream, SECRET).start().await, upstream)
}

#[tokio::test]
async fn the_configured_routes_with_method_query_and_body() {
    let (gate, upstream) = start().await;
    let read = gate.get_as("ben", "/proxy/bank/invoices?page=2&sort=a%20b").await;
    assert_eq!(read.status, 200, "{read:?}");
    let request = gate.signed("ana", Method::POST, "/proxy/bank/invoices").await;
    let added = gate.send(request.header("content-type", "text/plain").body("ten coins")).await;
    assert_eq!(added.status, 200, "{added:?}");
    let seen = upstream.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("GET", "/invoices?page=2&sort=a%20b")
    );
    assert_eq!((seen[1].method.as_str(), seen[1].body.as_slice()), ("POST", &b"ten coins"[..]));
    assert_eq!(seen[1].header("content-type"), "text/plain");
    let records = gate.settled(&added.op(), 2).await;
    assert_eq!(text(&records[0], "/tool/name"), "add_invoice");
    assert_eq!(text(&records[1], "/res/status"), "done");
}

#[tokio::test]
async fn a_destructive_route_after_a_confirmation_with_the_stored_request() {
    let (gate, upstream) = start().await;
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    let asked = gate.send(request).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert_eq!(upstream.seen().len(), 0);
    let done = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    let seen = upstream.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("DELETE", "/invoices/7"));
}

#[tokio::test]
async fn nothing_for_somebody_without_the_scope() {
    let (gate, upstream) = start().await;
    let request = gate.signed("ben", Method::POST, "/proxy/bank/invoices").await;
    let answer = gate.send(request.body("x")).await;
    assert_eq!((answer.status, answer.code()), (403, "PERMISSION_DENIED"), "{answer:?}");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn with_the_apps_credential_and_never_the_callers() {
    let (gate, upstream) = start().await;
    let token = gate.token("ben").await;
    let request = gate.signed("ben", Method::GET, "/proxy/bank/invoices").await;
    let request = request.header("cookie", "a=b").header("x-acting-user", gate.user_id("ben"));
    assert_eq!(gate.send(request).await.status, 200);
    let key = gate.api_key("ben", &["*"]);
    let request = gate.request(Method::GET, "/proxy/bank/invoices").header("x-api-key", &key);
    assert_eq!(gate.send(request).await.status, 200);
    for seen in upstream.seen() {
        assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
        let all = format!("{:?}", seen.headers);
        assert!(!all.contains(&token) && !all.contains(&key), "{all}");
    }
}

#[tokio::test]
async fn without_hop_by_hop_fields_in_either_direction() {
    let (gate, upstream) = start().await;
    let request = gate.signed("ben", Method::GET, "/proxy/bank/invoices").await;
    let request = request.header("connection", "keep-alive, te").header("keep-alive", "timeout=9");
    let request = request.header("te", "trailers").header("x-public", "yours");
    let answer = gate.send(request.header("proxy-authorization", "Basic eA==")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = &upstream.seen()[0];
    for name in ["connection", "keep-alive", "te", "proxy-authorization"] {
        assert_eq!(seen.header(name), "", "{name} reached the upstream");
    }
    assert_eq!(seen.header("x-public"), "yours");
    assert_eq!(answer.header("keep-alive"), "", "the upstream's own field reached the caller");
}

#[tokio::test]
async fn bodies_that_stream_both_ways_piece_by_piece() {
    let (gate, _upstream) = start().await;
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let pieces = futures_util::stream::unfold(receive, async |mut receive| {
        receive.recv().await.map(|piece| (piece, receive))
    });
    let request = gate.signed("ana", Method::POST, "/proxy/bank/invoices").await;
    let request = request.header("x-echo", "1").body(reqwest::Body::wrap_stream(pieces));
    let answer = tokio::spawn(request.send());
    send.send(Ok(Bytes::from_static(b"one"))).await.unwrap();
    let mut answer = answer.await.unwrap().expect("the head comes before the request's body ends");
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "one");
    send.send(Ok(Bytes::from_static(b"two"))).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "two");
    drop(send);
    assert_eq!(answer.chunk().await.unwrap(), None);
}

/// A stream is not held back until its end is known: what was sound has gone on by then. It ends there as a
/// request that was broken off, which no HTTP server takes for a whole one.
#[tokio::test]
async fn a_body_that_turns_out_malformed_in_part_and_never_to_its_end() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let raw = format!(
        "[apps.raw.proxy]\nurl = \"http://{address}\"\nroutes = [\n  \
         {{ name = \"put\", method = \"POST\", path = \"/put\", action = \"write\" }},\n]"
    );
    let gate = Deployment::builder().app(&raw).start().await;
    let token = gate.token("ada").await;
    for wrong in ["z\r\n\r\n", "5\r\nhelloworld\r\n0\r\n\r\n", "0\r\nTransfer-Encoding: x\r\n", ""]
    {
        let mut caller = TcpStream::connect(gate.url().trim_start_matches("http://")).unwrap();
        let head = format!(
            "POST /proxy/raw/put HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nsound\r\n"
        );
        caller.write_all(head.as_bytes()).unwrap();
        let (mut seen, _) = upstream.accept().unwrap();
        seen.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"sound\r\n") {
            let mut some = [0; 1024];
            let count = seen.read(&mut some).unwrap();
            assert!(count > 0, "{wrong:?}: it ended before the sound part");
            bytes.extend_from_slice(&some[..count]);
        }
        caller.write_all(wrong.as_bytes()).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        // A reset is an end, too; that nothing came for so long is none.
        if let Err(why) = seen.read_to_end(&mut bytes) {
            assert_eq!(why.kind(), ErrorKind::ConnectionReset, "{wrong:?}: it was not broken off");
        }
        let all = String::from_utf8_lossy(&bytes);
        assert!(all.starts_with("POST /put ") && !all.ends_with("0\r\n\r\n"), "{wrong:?}: {all}");
    }
    let outcomes = || -> Vec<Value> {
        let of_kind = |record: &Value| record["kind"] == "outcome";
        gate.records().into_iter().filter(of_kind).collect()
    };
    for _ in 0..100 {
        if outcomes().len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said: Vec<String> =
        outcomes().iter().map(|record| text(record, "/res/status").to_owned()).collect();
    assert_eq!(said, ["unknown"; 4], "nobody knows what the upstream made of it");
}
