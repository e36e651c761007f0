//! Requests that strictness must not break.

use http::Version;
use portcullis::edge::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Edge, statuses, within};

/// Name, bytes on the wire (the last request asks to close), and the lines that the service sees.
type Case = (&'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    ("plain", "GET /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET /a?b=c"]),
    (
        "host with a port",
        "GET / HTTP/1.1\r\nHost: a.b:8080\r\nConnection: close\r\n\r\n",
        &["GET /"],
    ),
    ("IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n", &["GET /"]),
    ("HTTP/1.0 without a host", "GET /a HTTP/1.0\r\n\r\n", &["GET /a"]),
    (
        "absolute target",
        "GET http://a.b/c HTTP/1.1\r\nHost: A.b\r\nConnection: close\r\n\r\n",
        &["GET /c"],
    ),
    (
        "absolute target without a path",
        "GET http://a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &["GET /"],
    ),
    (
        "content length",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        &["POST /a"],
    ),
    (
        "chunked",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n\
         3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        &["POST /a"],
    ),
    (
        "chunked with a trailer",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         1\r\na\r\n0\r\nX-Checksum: 1\r\n\r\n",
        &["POST /a"],
    ),
    (
        "pipelined",
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\
         POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &["GET /1", "POST /2", "POST /3", "GET /4"],
    ),
    (
        "a path is brought to its one spelling",
        "GET /%61%40b/%c3%a9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &["GET /a@b/%C3%A9"],
    ),
    (
        "bytes beyond ASCII in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Name: é\r\nConnection: close, TE\r\n\r\n",
        &["GET /"],
    ),
    (
        "an upgrade that is not taken up",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
        &["GET /"],
    ),
    (
        "another method",
        "PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &["PROPFIND /"],
    ),
];

#[tokio::test]
async fn sound_requests_pass_whole_and_byte_by_byte() {
    let edge = Edge::start(Limits::default()).await;
    for (name, bytes, lines) in CASES {
        for is_bytewise in [false, true] {
            let answer = match is_bytewise {
                false => edge.exchange(bytes.as_bytes()).await,
                true => edge.exchange_bytewise(bytes.as_bytes()).await,
            };
            assert_eq!(statuses(&answer), vec![200; lines.len()], "{name}: {answer}");
            assert_eq!(edge.witness.lines(), *lines, "{name}");
            edge.witness.requests.lock().unwrap().clear();
        }
    }
    assert!(edge.witness.take_records().is_empty());
}

#[tokio::test]
async fn bodies_arrive_unchanged_and_the_peer_is_the_sockets() {
    let edge = Edge::start(Limits::default()).await;
    let mut socket = edge.connect().await;
    let big = vec![b'x'; 300_000];
    let head =
        "POST /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nContent-Length: 300000\r\n";
    socket.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    socket.write_all(&big).await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    let seen = edge.witness.requests.lock().unwrap().remove(0);
    assert_eq!(seen.body, big);
    assert_eq!(seen.facts.peer, socket.local_addr().unwrap());
    assert_eq!((seen.facts.tls, seen.facts.version), (false, Version::HTTP_11));
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_continue() {
    let edge = Edge::start(Limits::default()).await;
    let mut socket = edge.connect().await;
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n";
    socket.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    within(socket.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(statuses(&answer), [200]);
    assert_eq!(edge.witness.requests.lock().unwrap()[0].body, b"abc");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let edge = Edge::start(Limits::default()).await;
    let mut socket = edge.connect().await;
    for n in 0..3 {
        let request = format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = within(socket.read(&mut answer)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).ends_with(&format!("saw GET /{n}\n")));
    }
}

#[tokio::test]
async fn an_answer_given_before_the_body_arrived_is_not_destroyed() {
    let edge = Edge::start(Limits::default()).await;
    let head = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
    let answer = edge.exchange(format!("{head}{}", "x".repeat(200_000)).as_bytes()).await;
    assert!(answer.ends_with("answered without reading\n"), "{answer}");
}

#[tokio::test]
async fn a_head_up_to_the_limit_passes_and_one_beyond_does_not() {
    let edge = Edge::start(Limits::default()).await;
    let start = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: ";
    let head = |length: usize| {
        let padding = length - start.len() - 4;
        format!("{start}{}\r\n\r\n", "y".repeat(padding))
    };
    let limit = Limits::default().max_head_bytes;
    assert_eq!(statuses(&edge.exchange(head(limit).as_bytes()).await), [200]);
    assert_eq!(statuses(&edge.exchange(head(limit + 1).as_bytes()).await), [431]);
}
