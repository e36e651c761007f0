//! Slow peers, full houses and the way out.

use std::time::Duration;

use portcullis::edge::{Limits, Reason};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Edge, PATIENCE, read_to_end, statuses, within};

fn impatient() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        malformed_per_second: u32::MAX,
        ..Limits::default()
    }
}

#[tokio::test]
async fn half_sent_heads_are_closed_in_time() {
    let edge = Edge::start(impatient()).await;
    for half in
        ["G", "GET /x HT", "GET /x HTTP/1.1\r\nHost: a\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n\r"]
    {
        let answer = edge.exchange(half.as_bytes()).await;
        assert_eq!(statuses(&answer), [408], "{half:?}");
        assert_eq!(edge.witness.take_records()[0].reason, Reason::HeadTimeout, "{half:?}");
    }
    assert!(edge.witness.lines().is_empty());
}

#[tokio::test]
async fn a_head_that_drips_is_closed_in_time() {
    let edge = Edge::start(impatient()).await;
    let mut socket = edge.connect().await;
    let drip = async {
        socket.write_all(b"GET /x HTTP/1.1\r\n").await.unwrap();
        while socket.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(drip).await;
    assert!(edge.witness.lines().is_empty());
}

#[tokio::test]
async fn silent_and_half_prefaced_connections_are_closed() {
    let edge = Edge::start(impatient()).await;
    assert_eq!(edge.exchange(b"").await, "");
    assert_eq!(edge.exchange(b"PRI * HTTP/2.0\r\n").await, "");
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_refused() {
    let edge = Edge::start(impatient()).await;
    for body in ["Content-Length: 5\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\n{body}");
        let answer = edge.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), [408], "{body}");
        assert_eq!(edge.witness.take_records()[0].reason, Reason::BodyTimeout);
    }
    assert!(edge.witness.lines().is_empty());
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let limits = Limits { idle_timeout: Duration::from_millis(150), ..Limits::default() };
    let edge = Edge::start(limits).await;
    let idle = edge.exchange(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&idle), [200]);
    let mut busy = edge.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(edge.witness.waiting.notified()).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    edge.witness.gate.notify_one();
    assert_eq!(statuses(&read_to_end(&mut busy).await), [200]);
}

#[tokio::test]
async fn beyond_the_request_bound_callers_are_told_to_come_back() {
    let limits = Limits { max_requests: 1, max_waiting: 0, ..Limits::default() };
    let edge = Edge::start(limits).await;
    let mut first = edge.connect().await;
    first.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    within(edge.witness.waiting.notified()).await;
    let second = edge.exchange(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&second), [503]);
    assert!(second.contains("retry-after: 1"), "{second}");
    edge.witness.gate.notify_one();
    assert_eq!(statuses(&read_to_end(&mut first).await), [200]);
    assert_eq!(edge.witness.lines(), ["GET /wait"]);
}

#[tokio::test]
async fn beyond_the_connection_cap_the_next_one_waits() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let edge = Edge::start(limits).await;
    let mut first = edge.connect().await;
    first.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    within(edge.witness.waiting.notified()).await;
    let mut second = edge.connect().await;
    second.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(edge.witness.lines(), ["GET /wait"]);
    edge.witness.gate.notify_one();
    assert_eq!(statuses(&read_to_end(&mut first).await), [200]);
    assert_eq!(statuses(&read_to_end(&mut second).await), [200]);
}

#[tokio::test]
async fn stopping_closes_the_idle_and_finishes_the_busy() {
    let mut edge = Edge::start(Limits::default()).await;
    let mut silent = edge.connect().await;
    let mut idle = edge.connect().await;
    idle.write_all(b"GET /idle HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut busy = edge.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(edge.witness.waiting.notified()).await;
    edge.ask_to_stop();
    assert_eq!(statuses(&read_to_end(&mut idle).await), [200]);
    assert_eq!(read_to_end(&mut silent).await, "");
    edge.witness.gate.notify_one();
    assert_eq!(statuses(&read_to_end(&mut busy).await), [200]);
    assert_eq!(edge.stopped().await.left, 0);
}

#[tokio::test]
async fn stopping_cuts_what_is_busy_at_the_deadline_and_says_so() {
    let limits = Limits { drain_deadline: Duration::from_millis(100), ..Limits::default() };
    let mut edge = Edge::start(limits).await;
    let mut busy = edge.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(edge.witness.waiting.notified()).await;
    edge.ask_to_stop();
    assert_eq!(edge.stopped().await.left, 1);
    assert_eq!(read_to_end(&mut busy).await, "");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_does_not_hold_its_connection() {
    let limits = Limits {
        write_timeout: Duration::from_millis(200),
        drain_deadline: 2 * PATIENCE,
        ..Limits::default()
    };
    let mut edge = Edge::start(limits).await;
    let mut deaf = edge.connect().await;
    deaf.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(deaf.readable()).await.unwrap();
    edge.ask_to_stop();
    assert_eq!(edge.stopped().await.left, 0, "cut by its own patience, not by the drain");
}
