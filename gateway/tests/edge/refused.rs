//! Malformed requests: answered, recorded, closed, and never seen by the service.

use std::sync::atomic::Ordering;

use portcullis::edge::{Limits, Reason};
use tokio::io::AsyncWriteExt as _;

use crate::cases::{Case, cases};
use crate::harness::{Edge, read_to_end, statuses};

/// What is wrong with the edge's treatment of one case; empty when nothing is.
async fn judge(edge: &Edge, case: &Case, answer: &str) -> Vec<String> {
    let Case(_, _, reason) = case;
    let mut faults = Vec::new();
    if statuses(answer) != [reason.status().as_u16()] {
        faults.push(format!("answered {:?}, not {}", statuses(answer), reason.status()));
    }
    if !answer.contains("connection: close") || !answer.contains(reason.code()) {
        faults.push(format!("answer without `connection: close` or its code: {answer}"));
    }
    let records = edge.witness.take_records();
    if records.iter().map(|record| record.reason).ne([*reason]) {
        faults.push(format!("recorded {records:?}, not {reason:?}"));
    }
    let seen = std::mem::take(&mut *edge.witness.requests.lock().unwrap());
    if !seen.is_empty() {
        faults.push(format!("the service saw {seen:?}"));
    }
    faults
}

fn unbounded_records() -> Limits {
    Limits { malformed_per_second: u32::MAX, ..Limits::default() }
}

/// Whole, and behind a sound request on the same connection.
#[tokio::test]
async fn no_malformed_request_reaches_the_service() {
    let edge = Edge::start(unbounded_records()).await;
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let answer = edge.exchange(case.1.as_bytes()).await;
        let faults = judge(&edge, case, &answer).await;
        failures.extend(faults.into_iter().map(|fault| format!("{}: {fault}", case.0)));
    }
    assert!(failures.is_empty(), "{} faults:\n{}", failures.len(), failures.join("\n"));
}

/// Framing must not depend on how the bytes were cut into packets.
#[tokio::test]
async fn packet_boundaries_change_nothing() {
    let edge = Edge::start(unbounded_records()).await;
    let mut failures = Vec::new();
    for case in cases().iter().filter(|case| case.1.len() < 1000) {
        let answer = edge.exchange_bytewise(case.1.as_bytes()).await;
        let faults = judge(&edge, case, &answer).await;
        failures.extend(faults.into_iter().map(|fault| format!("{}: {fault}", case.0)));
    }
    assert!(failures.is_empty(), "{} faults:\n{}", failures.len(), failures.join("\n"));
}

/// A smuggled request behind each malformed one must not be served either; the sound request
/// before it must.
#[tokio::test]
async fn nothing_behind_a_malformed_request_is_served() {
    let edge = Edge::start(unbounded_records()).await;
    let before = "GET /before HTTP/1.1\r\nHost: a\r\n\r\n";
    let behind = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for Case(name, bytes, reason) in &cases() {
        let answer = edge.exchange(format!("{before}{bytes}{behind}").as_bytes()).await;
        assert_eq!(edge.witness.lines(), ["GET /before"], "{name}");
        edge.witness.requests.lock().unwrap().clear();
        assert_eq!(statuses(&answer), [200, reason.status().as_u16()], "{name}: {answer}");
        let records = edge.witness.take_records();
        assert_eq!(records.len(), 1, "{name}: {records:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_a_503() {
    let edge = Edge::start(unbounded_records()).await;
    edge.witness.ledger_is_down.store(true, Ordering::SeqCst);
    let answer = edge.exchange(b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [503]);
    assert!(answer.contains("retry-after: 1") && answer.contains("AUDIT_UNAVAILABLE"), "{answer}");
    assert!(edge.witness.lines().is_empty());
    edge.witness.ledger_is_down.store(false, Ordering::SeqCst);
    edge.exchange(b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let records = edge.witness.take_records();
    assert_eq!(records[0].unrecorded, 1, "the lost one is counted in the next record");
}

#[tokio::test]
async fn a_flood_of_malformed_requests_cannot_fill_the_ledger() {
    let limits = Limits { malformed_per_second: 3, ..Limits::default() };
    let mut edge = Edge::start(limits).await;
    for _ in 0..50 {
        let answer = edge.exchange(b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(statuses(&answer), [400]);
    }
    let records = edge.witness.take_records();
    let counted: u64 = records.iter().map(|record| 1 + record.unrecorded).sum();
    edge.ask_to_stop();
    let drained = edge.stopped().await;
    assert!(records.len() < 50, "{} records", records.len());
    assert_eq!(counted + drained.unrecorded, 50, "each refusal is in a record or a count");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whatever_its_framing() {
    let limits = Limits { max_body_bytes: 10, ..unbounded_records() };
    let edge = Edge::start(limits).await;
    let head = "POST /x HTTP/1.1\r\nHost: a\r\n";
    let long = "0123456789a";
    for body in [
        format!("Content-Length: 11\r\n\r\n{long}"),
        format!("Transfer-Encoding: chunked\r\n\r\nb\r\n{long}\r\n0\r\n\r\n"),
        "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n".to_owned(),
    ] {
        let answer = edge.exchange(format!("{head}{body}").as_bytes()).await;
        assert_eq!(statuses(&answer), [413], "{body}");
        assert!(edge.witness.lines().is_empty(), "{body}");
        assert_eq!(edge.witness.take_records()[0].reason, Reason::BodyTooLarge);
    }
}

#[tokio::test]
async fn a_refusal_survives_what_is_still_being_sent() {
    let edge = Edge::start(unbounded_records()).await;
    let mut socket = edge.connect().await;
    socket.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        socket.write_all(&[b'x'; 1000]).await.expect("no reset while the answer is on its way");
    }
    assert_eq!(statuses(&read_to_end(&mut socket).await), [400]);
}

/// The connection ends with the first answer, so nobody can be told; the ledger still is.
#[tokio::test]
async fn a_malformed_request_that_gets_no_answer_is_recorded_all_the_same() {
    let mut edge = Edge::start(unbounded_records()).await;
    let last = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let behind = "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let answer = edge.exchange(format!("{last}{behind}").as_bytes()).await;
    assert_eq!(statuses(&answer), [200]);
    edge.ask_to_stop();
    let witness = std::sync::Arc::clone(&edge.witness);
    edge.stopped().await;
    let reasons: Vec<_> = witness.take_records().iter().map(|record| record.reason).collect();
    assert_eq!(reasons, [Reason::DuplicateHost]);
}
