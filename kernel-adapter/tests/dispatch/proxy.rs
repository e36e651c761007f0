//! The reverse proxy: streaming, ends, and what is refused before it is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Method;
use http_body_util::BodyExt;
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::catalogue::routes::{RouteSpec, RouteTable};
use portcullis_kernel_adapter::{
    Body, CatalogueBuilder, Class, Dispatcher, DispatcherOptions, Forwarded, Inbound, NoLender,
    Outcome, ProxyUpstream, Upstream,
};
use sha2::{Digest, Sha256};

use crate::support::{House, app, at, built, nobody, scripted, serve};

const LONG: Duration = Duration::from_secs(10);

pub fn shop(address: std::net::SocketAddr) -> House {
    let route = |method: &str, path: &str| {
        serde_json::from_value::<RouteSpec>(serde_json::json!({"method": method, "path": path}))
            .unwrap()
    };
    let routes = vec![
        route("GET", "/orders/{id}"),
        route("POST", "/orders"),
        route("DELETE", "/orders/{id}"),
    ];
    let routes = Arc::new(RouteTable::new(routes).unwrap());
    let upstream = Upstream::Proxy(ProxyUpstream { http: at(address), routes });
    let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
    builder.add_proxy_app(app("shop", upstream));
    House::new(built(builder))
}

pub fn request(method: Method, target: &str, body: Body) -> http::Request<Body> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().unwrap();
    request
}

pub fn full(bytes: &'static [u8]) -> Body {
    http_body_util::Full::new(Bytes::from_static(bytes))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Resolves, clears and forwards.
pub async fn forward(house: &House, request: http::Request<Body>) -> Result<Forwarded, Outcome> {
    let app = house.catalogue.app(&"shop".parse().unwrap()).unwrap();
    let target = request.uri().path_and_query().unwrap().as_str();
    let (name, found) = app.route(request.method(), target).unwrap();
    let call = house.call_bytes(&name.to_string(), found.args, LONG);
    let cleared = house.clear(&call).await;
    let inbound = Inbound {
        source: "192.0.2.7".parse().unwrap(),
        scheme: "https",
        host: "gate.example".into(),
    };
    let options = DispatcherOptions {
        stream_idle: Duration::from_millis(400),
        ..DispatcherOptions::default()
    };
    Dispatcher::new(options).forward(cleared, call, request, inbound, &NoLender).await
}

#[tokio::test]
async fn streams_both_ways_and_tells_size_and_hash() {
    let echo = |request: Request| async move { Response::new(request.into_body()) };
    let house = shop(serve(Router::new().fallback(echo)).await);
    let chunk = Bytes::from(vec![7; 10_000]);
    let sent = chunk.clone();
    let stream =
        futures_util::stream::iter((0..100).map(move |_| Ok::<_, std::io::Error>(sent.clone())));
    let body = AxumBody::from_stream(stream).map_err(Into::into).boxed_unsync();
    let forwarded = forward(&house, request(Method::POST, "/orders", body)).await.unwrap();
    let answer = forwarded.response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer.len(), 1_000_000);
    let exchange = forwarded.end.wait().await;
    assert_eq!(exchange.outcome.status(), "done");
    let expected: [u8; 32] = Sha256::digest(&answer).into();
    for tally in [exchange.request, exchange.response] {
        assert_eq!(tally.map(|t| (t.bytes, t.sha256)), Some((1_000_000, expected)));
    }
}

#[tokio::test]
async fn an_answer_begins_before_the_upstream_has_ended_it() {
    let never_ending = || async {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("first"))]);
        AxumBody::from_stream(first.chain(futures_util::stream::pending())).into_response()
    };
    let house = shop(serve(Router::new().fallback(never_ending)).await);
    let forwarded = forward(&house, request(Method::GET, "/orders/1", full(b""))).await.unwrap();
    let mut body = forwarded.response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    // Then silence: the idle limit ends it, and the end says that it is not known.
    assert!(body.frame().await.unwrap().is_err());
    let exchange = forwarded.end.wait().await;
    assert_eq!(exchange.outcome.status(), "unknown");
}

#[tokio::test]
async fn a_client_that_goes_away_mid_stream_still_leaves_an_outcome() {
    let endless = || async {
        let chunks =
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(1000)));
        AxumBody::from_stream(chunks).into_response()
    };
    let house = shop(serve(Router::new().fallback(endless)).await);
    let forwarded = forward(&house, request(Method::GET, "/orders/1", full(b""))).await.unwrap();
    let mut body = forwarded.response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let exchange = forwarded.end.wait().await;
    assert_eq!(exchange.response, None);
    assert_eq!(exchange.outcome.status(), "done");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unknown() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let (address, _) = scripted(vec![CUT]).await;
    let answer = forward(&shop(address), request(Method::DELETE, "/orders/1", full(b""))).await;
    let forwarded = answer.unwrap();
    assert!(forwarded.response.into_body().collect().await.is_err());
    let exchange = forwarded.end.wait().await;
    assert!(matches!(exchange.outcome, Outcome::Unknown { class: Class::Disconnected, .. }));
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_leaves_an_unknown() {
    let swallow = |request: Request| async move {
        let _ = request.into_body().collect().await;
    };
    let house = shop(serve(Router::new().fallback(swallow)).await);
    let chunks = [Ok(Bytes::from("half")), Err(std::io::Error::other("the client left"))];
    let body = AxumBody::from_stream(futures_util::stream::iter(chunks));
    let body = body.map_err(Into::into).boxed_unsync();
    let outcome = forward(&house, request(Method::POST, "/orders", body)).await.unwrap_err();
    assert!(matches!(outcome, Outcome::Unknown { class: Class::ClientGone, .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_unreachable_upstream_is_failed() {
    let house = shop(nobody().await);
    let outcome = forward(&house, request(Method::POST, "/orders", full(b"{}"))).await.unwrap_err();
    assert!(matches!(outcome, Outcome::Failed { class: Class::Unreachable, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_lost_proxied_write_is_never_tried_again_and_a_read_once() {
    for (method, target, times) in [
        (Method::GET, "/orders/1", 2),
        (Method::POST, "/orders", 1),
        (Method::DELETE, "/orders/1", 1),
    ] {
        let (address, seen) = scripted(vec![]).await;
        let outcome =
            forward(&shop(address), request(method, target, full(b""))).await.unwrap_err();
        assert_eq!(outcome.status(), "unknown", "{outcome:?}");
        assert_eq!(seen.load(Ordering::SeqCst), times);
    }
}

#[tokio::test]
async fn refuses_a_request_that_is_not_the_one_decided() {
    let (address, seen) = scripted(vec![]).await;
    let house = shop(address);
    let app = house.catalogue.app(&"shop".parse().unwrap()).unwrap();
    let (name, found) = app.route(&Method::GET, "/orders/1").unwrap();
    for (method, target) in [
        (Method::GET, "/orders/2"),
        (Method::DELETE, "/orders/1"),
        (Method::GET, "/orders/1?as=admin"),
    ] {
        let call = house.call_bytes(&name.to_string(), found.args.clone(), LONG);
        let cleared = house.clear(&call).await;
        let inbound = Inbound { source: "::1".parse().unwrap(), scheme: "http", host: "g".into() };
        let dispatcher = Dispatcher::new(DispatcherOptions::default());
        let swapped = request(method, target, full(b""));
        let outcome =
            dispatcher.forward(cleared, call, swapped, inbound, &NoLender).await.unwrap_err();
        assert_eq!(outcome.class(), Some(Class::NotTheSameCall), "{target}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}
