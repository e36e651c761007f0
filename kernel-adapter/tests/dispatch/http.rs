//! Function calls over HTTP.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::StatusCode;
use http_body_util::BodyExt;
use portcullis_kernel_adapter::{Class, Dispatcher, DispatcherOptions, NoLender, Outcome};
use serde_json::json;

use crate::support::{House, at, nobody, notes, scripted, serve};

const LONG: Duration = Duration::from_secs(10);

async fn run(house: &House, tool: &str, patience: Duration) -> Outcome {
    let options = DispatcherOptions { max_answer: 1000, ..DispatcherOptions::default() };
    let call = house.call(tool, &json!({"a": 1}), patience);
    Dispatcher::new(options).call(house.clear(&call).await, call, &NoLender).await
}

/// An upstream that answers every request with this status and body.
async fn answering(status: u16, body: &'static str) -> House {
    let answer = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
    notes(at(serve(Router::new().fallback(answer)).await))
}

#[tokio::test]
async fn sends_the_exact_bytes_with_our_headers_and_the_credential_of_the_app() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let router = Router::new().fallback(move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        hear.lock().unwrap().push((head, body));
        "{\"status\":\"success\"}".into_response()
    });
    let house = notes(at(serve(router).await));
    let bytes = bytes::Bytes::from_static(b"{ \"b\" : 1.0e2,\n\"a\":\"\\u00e9\" }");
    let call = house.call_bytes("notes/save", bytes.clone(), LONG);
    let op = call.op().to_string();
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let outcome = dispatcher.call(house.clear(&call).await, call, &NoLender).await;
    let value = bytes::Bytes::from_static(b"{\"status\":\"success\"}");
    assert_eq!(outcome, Outcome::Done { value });
    let heard = heard.lock().unwrap();
    let (head, body) = &heard[0];
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/base/save"));
    assert_eq!(*body, bytes);
    assert_eq!(head.headers["authorization"], "Bearer of-the-app");
    assert_eq!(head.headers["x-portcullis-op"], op.as_str());
    assert_eq!(head.headers["x-portcullis-tenant"], "default");
    assert_eq!(head.headers["x-portcullis-user"], "imp_u_ann");
}

#[tokio::test]
async fn a_timeout_is_unknown_and_never_failed() {
    let never = || async { std::future::pending::<()>().await };
    let house = notes(at(serve(Router::new().fallback(never)).await));
    for tool in ["notes/list", "notes/save", "notes/delete"] {
        let outcome = run(&house, tool, Duration::from_millis(200)).await;
        assert!(matches!(outcome, Outcome::Unknown { class: Class::Timeout, .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_failed_since_nothing_was_sent() {
    let house = notes(at(nobody().await));
    for tool in ["notes/list", "notes/delete"] {
        let outcome = run(&house, tool, LONG).await;
        assert!(
            matches!(outcome, Outcome::Failed { class: Class::Unreachable, .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_lost_write_is_never_tried_again() {
    for tool in ["notes/save", "notes/delete"] {
        let (address, seen) = scripted(vec![b"", b"HTTP/1.1 200 OK\r\n\r\n{}"]).await;
        let outcome = run(&notes(at(address)), tool, LONG).await;
        assert!(
            matches!(outcome, Outcome::Unknown { class: Class::Disconnected, .. }),
            "{outcome:?}"
        );
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_lost_read_is_tried_once_more() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (address, seen) = scripted(vec![b"", OK]).await;
    let outcome = run(&notes(at(address)), "notes/list", LONG).await;
    assert_eq!(outcome.status(), "done", "{outcome:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 2);

    let (address, seen) = scripted(vec![b"", b"", OK]).await;
    let outcome = run(&notes(at(address)), "notes/list", LONG).await;
    assert_eq!(outcome.class(), Some(Class::Disconnected));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_read_is_not_tried_again_after_the_first_byte() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    let (address, seen) = scripted(vec![CUT, CUT]).await;
    let outcome = run(&notes(at(address)), "notes/list", LONG).await;
    assert_eq!(outcome.class(), Some(Class::Disconnected), "{outcome:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_answer_is_unknown() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"sta";
    let (address, _) = scripted(vec![CUT]).await;
    let outcome = run(&notes(at(address)), "notes/delete", LONG).await;
    assert_eq!(outcome.status(), "unknown", "{outcome:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_no_json_is_unknown() {
    let big: &'static str = Box::leak(format!("\"{}\"", "x".repeat(2000)).into_boxed_str());
    let outcome = run(&answering(200, big).await, "notes/save", LONG).await;
    assert!(matches!(outcome, Outcome::Unknown { class: Class::TooLarge, .. }), "{outcome:?}");
    let outcome = run(&answering(200, "<html>").await, "notes/save", LONG).await;
    assert!(matches!(outcome, Outcome::Unknown { class: Class::Protocol, .. }), "{outcome:?}");
}

#[tokio::test]
async fn statuses_become_outcomes() {
    for (status, body, expected) in [
        (200, "{}", "done"),
        (201, "[1]", "done"),
        (200, "{\"status\":\"error\",\"error\":\"no such note\"}", "failed"),
        (400, "{\"detail\":\"bad\"}", "refused"),
        (404, "", "refused"),
        (409, "{}", "refused"),
        (408, "", "unknown"),
        (500, "{}", "failed"),
        (503, "", "failed"),
        (502, "", "unknown"),
        (504, "", "unknown"),
    ] {
        let outcome = run(&answering(status, body).await, "notes/save", LONG).await;
        assert_eq!(outcome.status(), expected, "{status} {outcome:?}");
    }
}

#[tokio::test]
async fn keeps_what_the_worker_says_when_it_refuses() {
    let house = answering(422, "{\"detail\":\"the note is locked\"}").await;
    let Outcome::Refused { message, value, .. } = run(&house, "notes/save", LONG).await else {
        panic!("must be refused");
    };
    assert_eq!(message, "the note is locked");
    assert!(value.is_some());
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_credential() {
    let (elsewhere, seen) = scripted(vec![]).await;
    let to = format!("http://{elsewhere}/steal");
    let router = Router::new().fallback(move || async move {
        (StatusCode::TEMPORARY_REDIRECT, [(http::header::LOCATION, to)], "")
    });
    let outcome = run(&notes(at(serve(router).await)), "notes/list", LONG).await;
    assert_eq!(outcome.class(), Some(Class::Status(307)));
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}
