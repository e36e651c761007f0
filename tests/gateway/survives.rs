//! The gateway survives ...
//!
//! `PORTCULLIS_KILL_ROUNDS` says how often it is killed at each place (2 when not set); `tests/soak`
//! runs 50 rounds and shows the table that is printed here.

mod load;
mod tally;

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use harness::failpoints::{PLACES, kill_at};
use harness::{Deployment, Upstream, json, text};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::io::AsyncWriteExt as _;

use load::Acknowledged;
use tally::Tally;

#[tokio::test]
async fn kill_at_every_step() {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(2);
    println!("{}", Tally::HEAD);
    for place in PLACES {
        let tally = killed_at(place, rounds).await;
        println!("{tally}");
        assert!(tally.nothing_lost(), "{:#?}", tally.faults);
    }
}

/// Kills one deployment at one place, again and again, and holds each restart against what its
/// clients and its upstream know.
async fn killed_at(place: &str, rounds: u32) -> Tally {
    let upstream = Upstream::start();
    // Without a solver the rules load at once; they are proved in other tests.
    let mut gate = Deployment::builder().notes(&upstream).env("PATH", "").start().await;
    for user in ["ana", "ben"] {
        gate.token(user).await;
    }
    let mut tally = Tally::of(place, rounds);
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    gate.kill();
    for round in 0..rounds {
        gate.set_env("FAILPOINTS", &kill_at(place, passes(place, round)));
        tally.recovered(gate.restart_timed().await);
        tally.check(&gate.records(), &acknowledged, &upstream.seen());
        acknowledged.extend(load::until_it_dies(&gate).await);
        assert_eq!(gate.wait().signal(), Some(9), "round {round} at {place}: {}", gate.log());
    }
    gate.set_env("FAILPOINTS", "");
    tally.recovered(gate.restart_timed().await);
    tally.check(&gate.records(), &acknowledged, &upstream.seen());
    tally.verified(&gate.verify());
    tally
}

/// How often the place is passed before it kills: differently in each round, and behind the records
/// of a start at the places that a start passes, too.
fn passes(place: &str, round: u32) -> u32 {
    let of_start = if place.starts_with("ledger_") { 8 } else { 0 };
    of_start + round * 7 % 13
}

#[tokio::test]
async fn a_client_that_hangs_up() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let token = gate.token("ana").await;
    upstream.hold().await;
    let body = json!({ "function": "create_note", "params": { "title": "x" } }).to_string();
    let head = format!(
        "POST /v1/extensions/notes/call HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = gate.url().trim_start_matches("http://");
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    upstream.wait_for(1).await;
    drop(client);
    // The gateway has time to notice; were the call bound to the connection, it would be dropped now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    upstream.release();
    let op = upstream.seen()[0].header("x-portcullis-op").to_owned();
    let records = gate.settled(&op, 2).await;
    assert_eq!(text(&records[1], "/kind"), "outcome");
    assert_eq!(text(&records[1], "/res/status"), "done");
}

/// Attack 23: no file descriptor is left, for seconds, under load.
#[tokio::test]
async fn running_out_of_file_descriptors() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let create = async || gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(create().await.status, 200);
    let id = Pid::from_raw(gate.process_id().try_into().unwrap()).unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", gate.process_id())).unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum; // It has ours.
    let limit = |soft: Option<u64>| {
        let old = prlimit(Some(id), Resource::Nofile, Rlimit { current: soft, maximum });
        old.expect("the limit of the gateway is set")
    };
    let before = limit(Some(open + 2));
    // Each holds a connection; what does not fit waits at the door, or is turned away.
    let mut held = Vec::new();
    for _ in 0..40 {
        let address = gate.url().trim_start_matches("http://").to_owned();
        held.extend(tokio::net::TcpStream::connect(address).await);
    }
    let body = json!({ "function": "create_note", "params": { "title": "x" } });
    let (url, token) =
        (format!("{}/v1/extensions/notes/call", gate.url()), gate.token("ana").await);
    let mut turned_away = 0;
    for _ in 0..20 {
        // A client of its own, so that each needs a connection of its own.
        let request = reqwest::Client::new().post(&url).bearer_auth(&token).json(&body);
        match request.timeout(Duration::from_millis(200)).send().await {
            Ok(answer) => {
                assert!([200, 502, 503].contains(&answer.status().as_u16()), "{answer:?}")
            }
            Err(_) => turned_away += 1,
        }
    }
    assert!(turned_away > 0, "it was never short of descriptors");
    drop(held);
    limit(before.current);
    let began = Instant::now();
    while create().await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "it did not go on:\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!gate.log().contains("panic"), "{}", gate.log());
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn a_restart_with_its_sessions_and_its_directory() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    gate.token("ana").await;
    gate.kill();
    gate.restart().await;
    let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(answer.status, 200, "the token of before is still good: {answer:?}");
}

#[tokio::test]
async fn no_ledger_that_lost_an_acknowledged_record() {
    let mut gate = stopped_after_one_call().await;
    let ledger = rusqlite::Connection::open(gate.data().join("ledger.sqlite")).unwrap();
    // Whoever can write the file can also take the guards away, and put them back.
    let guards = without_guards(&ledger);
    let last = "DELETE FROM records WHERE pos = (SELECT max(pos) FROM records)";
    assert_eq!(ledger.execute(last, []).unwrap(), 1);
    ledger.execute_batch(&guards).unwrap();
    drop(ledger);
    assert!(!gate.fails_to_restart().success());
    assert!(gate.log().contains("were acknowledged"), "{}", gate.log());
}

#[tokio::test]
async fn no_ledger_whose_guards_are_gone() {
    let mut gate = stopped_after_one_call().await;
    let ledger = rusqlite::Connection::open(gate.data().join("ledger.sqlite")).unwrap();
    without_guards(&ledger);
    drop(ledger);
    assert!(!gate.fails_to_restart().success());
    assert!(gate.log().contains("was changed or removed"), "{}", gate.log());
}

#[tokio::test]
async fn a_stop_that_is_asked_for_with_its_first_word() {
    let mut gate = stopped_after_one_call().await;
    for _ in 0..5 {
        assert_eq!(gate.start_and_stop_at_once().code(), Some(0), "{}", gate.log());
    }
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

async fn stopped_after_one_call() -> Deployment {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    let call = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(call.status, 200, "{call:?}");
    assert!(gate.stop().success());
    gate
}

/// Drops every trigger of the ledger and gives the text that would make them again.
fn without_guards(ledger: &rusqlite::Connection) -> String {
    let text = |what: &str| -> String {
        let all =
            format!("SELECT group_concat({what}, ';') FROM sqlite_schema WHERE type = 'trigger'");
        ledger.query_row(&all, [], |row| row.get(0)).unwrap()
    };
    let (made, dropped) = (text("sql"), text("'DROP TRIGGER ' || name"));
    ledger.execute_batch(&dropped).unwrap();
    made
}
