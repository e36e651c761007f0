//! Which headers cross the proxy.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use portcullis_kernel_adapter::Class;

use crate::proxy::{forward, full, request, shop};
use crate::support::serve;

/// Forwards a request with these headers and gives what the upstream saw.
async fn seen_upstream(headers: &[(&'static str, &'static str)]) -> (String, HeaderMap) {
    let heard = Arc::new(Mutex::new(None));
    let hear = Arc::clone(&heard);
    let router = Router::new().fallback(move |request: Request| async move {
        let uri = request.uri().to_string();
        *hear.lock().unwrap() = Some((uri, request.headers().clone()));
        "ok".into_response()
    });
    let house = shop(serve(router).await);
    let mut asked = request(Method::GET, "/orders/a%20b?x=1&y=%C3%A9", full(b""));
    for (name, value) in headers {
        asked.headers_mut().append(*name, value.parse().unwrap());
    }
    let forwarded = forward(&house, asked).await.unwrap();
    forwarded.response.into_body().collect().await.unwrap();
    heard.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn the_upstream_never_sees_what_the_caller_says_about_itself() {
    let (uri, seen) = seen_upstream(&[
        ("authorization", "Bearer of-the-caller"),
        ("cookie", "session=caller"),
        ("x-api-key", "imp_live_caller"),
        ("x-service-token", "caller"),
        ("x-acting-user", "caller"),
        ("x-tenant-id", "caller"),
        ("x-forwarded-for", "203.0.113.66"),
        ("x-forwarded-user", "caller"),
        ("x_forwarded_for", "203.0.113.66"),
        ("forwarded", "for=caller"),
        ("x-real-ip", "203.0.113.66"),
        ("x-portcullis-user", "caller"),
        ("x-portcullis-anything", "caller"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("host", "caller.example"),
        ("accept", "text/plain"),
    ])
    .await;
    assert_eq!(uri, "/base/orders/a%20b?x=1&y=%C3%A9");
    assert_eq!(seen["authorization"], "Bearer of-the-app");
    assert_eq!(seen["x-forwarded-for"], "192.0.2.7");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-forwarded-host"], "gate.example");
    assert_eq!(seen["x-portcullis-user"], "imp_u_ann");
    assert_eq!(seen["accept"], "text/plain");
    let all = format!("{seen:?}");
    for planted in ["caller", "203.0.113.66", "DELETE", "/admin"] {
        assert!(!all.contains(planted), "{planted} in {all}");
    }
}

#[tokio::test]
async fn headers_of_the_connection_stay_on_the_connection() {
    let (_, seen) = seen_upstream(&[
        ("connection", "keep-alive, X-Secret-Hop"),
        ("connection", "x-other-hop"),
        ("x-secret-hop", "hop"),
        ("x-other-hop", "hop"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic hop"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("x-end-to-end", "kept"),
    ])
    .await;
    for name in
        ["x-secret-hop", "x-other-hop", "keep-alive", "proxy-authorization", "te", "trailer"]
    {
        assert!(!seen.contains_key(name), "{name}");
    }
    assert_eq!(seen["x-end-to-end"], "kept");
}

#[tokio::test]
async fn the_caller_never_gets_cookies_or_detours_from_an_upstream() {
    let router = Router::new().fallback(|| async {
        let headers = [
            ("set-cookie", "session=upstream"),
            ("alt-svc", "h3=\"elsewhere:443\""),
            ("connection", "x-hop"),
            ("x-hop", "hop"),
            ("x-portcullis-decision", "permit"),
            ("etag", "\"1\""),
        ];
        (headers, "ok")
    });
    let house = shop(serve(router).await);
    let forwarded = forward(&house, request(Method::GET, "/orders/1", full(b""))).await.unwrap();
    let headers = forwarded.response.headers();
    for name in ["set-cookie", "alt-svc", "connection", "x-hop", "x-portcullis-decision"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers["etag"], "\"1\"");
}

#[tokio::test]
async fn refuses_to_leave_http() {
    for (name, value) in [("upgrade", "websocket"), ("connection", "Upgrade")] {
        let (address, seen) = crate::support::scripted(vec![]).await;
        let mut asked = request(Method::GET, "/orders/1", full(b""));
        asked.headers_mut().insert(name, value.parse().unwrap());
        let outcome = forward(&shop(address), asked).await.unwrap_err();
        assert_eq!(outcome.class(), Some(Class::BadRequest));
        assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
}
