//! The gateway proxies ...

use bytes::Bytes;
use harness::{Deployment, Upstream, text};
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
