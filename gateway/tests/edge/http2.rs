//! HTTP/2 with prior knowledge: the same paths, hosts and answers.

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::edge::{Limits, Reason};

use crate::harness::{Edge, within};

async fn connect(edge: &Edge) -> SendRequest<Full<Bytes>> {
    let io = TokioIo::new(edge.connect().await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: http::request::Builder,
    body: &'static str,
) -> Response<Incoming> {
    within(sender.send_request(request.body(Full::from(body)).unwrap())).await.unwrap()
}

fn request(uri: &str) -> http::request::Builder {
    Request::builder().method("POST").uri(uri)
}

#[tokio::test]
async fn sound_requests_pass_over_http2() {
    let edge = Edge::start(Limits::default()).await;
    let mut sender = connect(&edge).await;
    for _ in 0..2 {
        let with_host = request("http://a.b/%61?q").header("host", "A.b");
        let response = send(&mut sender, with_host, "abc").await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"saw POST /a?q\n");
    }
    let seen = edge.witness.requests.lock().unwrap().remove(0);
    assert_eq!((seen.body.as_slice(), seen.facts.version), (&b"abc"[..], Version::HTTP_2));
}

#[tokio::test]
async fn malformed_requests_over_http2_never_reach_the_service() {
    let limits = Limits { max_body_bytes: 10, ..Limits::default() };
    let edge = Edge::start(limits).await;
    for (name, request, body, reason) in [
        ("another host", request("http://a/x").header("host", "b"), "", Reason::HostMismatch),
        (
            "two hosts",
            request("http://a/x").header("host", "a").header("host", "a"),
            "",
            Reason::DuplicateHost,
        ),
        ("userinfo", request("http://u@a/x"), "", Reason::Userinfo),
        ("dot segments", request("http://a/x/../y"), "", Reason::DotSegment),
        ("encoded dots", request("http://a/x/%2e%2e/y"), "", Reason::DotSegment),
        ("encoded slash", request("http://a/x%2fy"), "", Reason::EncodedSlash),
        ("empty segment", request("http://a//x"), "", Reason::EmptySegment),
        ("encoded NUL", request("http://a/%00"), "", Reason::NulByte),
        ("path parameter", request("http://a/x;y"), "", Reason::PathParameter),
        ("TRACE", request("http://a/x").method("TRACE"), "", Reason::BadMethod),
        ("another scheme", request("ftp://a/x"), "", Reason::BadTarget),
        (
            "two authorizations",
            request("http://a/x").header("authorization", "a").header("authorization", "b"),
            "",
            Reason::DuplicateField,
        ),
        ("body too large", request("http://a/x"), "0123456789a", Reason::BodyTooLarge),
    ] {
        let mut sender = connect(&edge).await;
        let response = send(&mut sender, request, body).await;
        assert_eq!(response.status(), reason.status(), "{name}");
        let records = edge.witness.take_records();
        assert_eq!(records.iter().map(|r| r.reason).collect::<Vec<_>>(), [reason], "{name}");
        assert_eq!(records[0].version, Version::HTTP_2);
    }
    assert!(edge.witness.lines().is_empty());
}

#[tokio::test]
async fn stopping_finishes_streams_in_flight() {
    let mut edge = Edge::start(Limits::default()).await;
    let mut sender = connect(&edge).await;
    let waiting =
        tokio::spawn(async move { send(&mut sender, request("http://a/wait"), "").await.status() });
    within(edge.witness.waiting.notified()).await;
    edge.ask_to_stop();
    edge.witness.gate.notify_one();
    assert_eq!(within(waiting).await.unwrap(), StatusCode::OK);
    assert_eq!(edge.stopped().await.left, 0);
}
