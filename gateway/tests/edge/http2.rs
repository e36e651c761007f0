//! HTTP/2 with prior knowledge: the same paths, hosts and answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::edge::{Limits, Reason};

use crate::harness::{Edge, PATIENCE, statuses, within};

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

/// Sends half a body and then nothing.
#[tokio::test]
async fn a_stream_whose_body_stops_is_refused() {
    let limits = Limits { body_timeout: Duration::from_millis(200), ..Limits::default() };
    let edge = Edge::start(limits).await;
    let io = TokioIo::new(edge.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let never_ends = Empty::<Bytes>::new().with_trailers(std::future::pending());
    let request = request("http://a/x").body(never_ends).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(edge.witness.take_records()[0].reason, Reason::BodyTimeout);
    assert!(edge.witness.lines().is_empty());
}

/// A window of zero keeps the answer, and with it a place among the requests.
#[tokio::test]
async fn a_stream_whose_answer_is_not_taken_gives_its_place_back() {
    let limits = Limits {
        max_requests: 1,
        write_timeout: Duration::from_millis(200),
        max_wait: PATIENCE,
        ..Limits::default()
    };
    let edge = Edge::start(limits).await;
    let io = TokioIo::new(edge.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let greedy = request("http://a/greedy").body(Full::<Bytes>::default()).unwrap();
    let stalled = within(sender.send_request(greedy)).await.unwrap();
    let next = edge.exchange(b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(statuses(&next), [200]);
    assert!(within(stalled.into_body().collect()).await.is_err(), "the connection was cut");
}
