//! A gateway that is killed while a question is answered ...
//!
//! `PORTCULLIS_KILL_ROUNDS` says how often it is killed at each change of state (2 when not set); `tests/soak` runs 50
//! rounds.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use harness::failpoints::{CONFIRMATION, kill_at};
use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

use crate::confirm_races::Pair;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn runs_nothing_twice_and_closes_as_unknown_what_it_had_claimed() {
    println!("place                               rounds  effects  closed as unknown");
    for place in CONFIRMATION {
        let killed = Killed::at(place, rounds()).await;
        println!("{place:<34}  {:>6}  {:>7}  {:>17}", rounds(), killed.effects, killed.unknown);
    }
}

#[tokio::test]
async fn leaves_nothing_that_another_replica_runs_again() {
    let mut pair = Pair::start().await;
    let mut number = 0;
    for place in CONFIRMATION.iter().filter(|place| !leaves_it_open(place)) {
        for _ in 0..rounds() {
            number += 1;
            // A session ends after a quarter of an hour.
            if number % 100 == 0 {
                pair.gates[0].set_env("FAILPOINTS", "");
                pair.gates[0].restart().await;
                closed_once(&pair.gates[1], &pair.upstream);
                pair = Pair::start().await;
            }
            let [one, two] = &mut pair.gates[..] else { panic!("two replicas") };
            one.set_env("FAILPOINTS", &kill_at(place, 0));
            one.kill();
            one.restart().await;
            let asked = ask(two, number).await;
            let (id, op) = (asked.confirmation(), asked.op());
            dies(one, &id, verb(place), place).await;
            // Its client turns to the other replica at once.
            let again = two.decide("ana", &id, "confirm").await;
            assert_eq!((again.status, again.code()), (409, "CONFIRMATION_USED"), "{place}");
            assert_eq!(pair.upstream.of_op(&op).len(), effects_at(place), "{place}");
        }
    }
    pair.gates[0].set_env("FAILPOINTS", "");
    pair.gates[0].restart().await;
    closed_once(&pair.gates[1], &pair.upstream);
}

fn rounds() -> usize {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    rounds.unwrap_or(2)
}

/// What is asked for or waits, whoever is killed there.
fn leaves_it_open(place: &str) -> bool {
    ["confirm_after_question", "confirm_before_claim"].contains(&place)
}

/// How often the app was reached when the gateway died there.
fn effects_at(place: &str) -> usize {
    let reached =
        CONFIRMATION.iter().position(|known| *known == "dispatch_after_send_before_reply");
    let here = CONFIRMATION.iter().position(|known| *known == place);
    usize::from(place != "confirm_after_cancel" && here >= reached)
}

fn verb(place: &str) -> &'static str {
    if place == "confirm_after_cancel" { "cancel" } else { "confirm" }
}

async fn ask(gate: &Deployment, number: usize) -> Answer {
    let note = json!({ "note_id": format!("note-{number}") });
    let answer = gate.call("ana", "notes", "delete_note", note).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

/// Answers a question, of which the gateway dies.
async fn dies(gate: &mut Deployment, id: &str, verb: &str, place: &str) {
    let path = format!("/v1/confirmations/{id}/{verb}");
    let request = gate.signed("ana", Method::POST, &path).await.json(&json!({}));
    let answer = gate.try_send(request).await;
    assert!(answer.is_err(), "it did not die at {place}: {answer:?}");
    assert_eq!(gate.wait().signal(), Some(9), "{}", gate.log());
}

/// One deployment that is killed at one place again and again.
struct Killed {
    place: &'static str,
    gate: Deployment,
    upstream: Upstream,
    effects: usize,
    unknown: usize,
}

impl Killed {
    async fn at(place: &'static str, rounds: usize) -> Self {
        let upstream = Upstream::start();
        // Without a solver the rules load at once; they are proved in other tests.
        let gate = Deployment::builder().notes(&upstream).env("PATH", "").start().await;
        gate.token("ana").await;
        let mut killed = Self { place, gate, upstream, effects: 0, unknown: 0 };
        killed.start_with(&kill_at(place, 0)).await;
        for round in 0..rounds {
            killed.round(round).await;
        }
        killed.start_with("").await;
        closed_once(&killed.gate, &killed.upstream);
        killed.effects = killed.upstream.seen().len();
        killed
    }

    async fn start_with(&mut self, failpoints: &str) {
        self.gate.set_env("FAILPOINTS", failpoints);
        self.gate.kill();
        self.gate.restart().await;
    }

    async fn round(&mut self, round: usize) {
        if self.place == "confirm_after_question" {
            return self.asking(round).await;
        }
        let asked = ask(&self.gate, round).await;
        let (id, op) = (asked.confirmation(), asked.op());
        dies(&mut self.gate, &id, verb(self.place), self.place).await;
        // As if the start came minutes later, in every second round.
        let late = round % 2 == 1;
        if late {
            self.minutes_pass();
        }
        if leaves_it_open(self.place) {
            self.start_with("").await;
            assert_eq!(self.state(&id).await, "pending");
            assert_eq!(self.gate.decide("ana", &id, "confirm").await.status, 200);
            assert_eq!(self.upstream.of_op(&op).len(), 1);
            return self.start_with(&kill_at(self.place, 0)).await;
        }
        self.gate.restart().await;
        let end = match (self.place, late) {
            ("confirm_after_cancel", _) => "cancelled",
            ("confirm_after_settle", _) => "executed",
            (_, false) => "executing",
            (_, true) => "unknown",
        };
        self.wait_for_state(&id, end).await;
        self.unknown += usize::from(end == "unknown");
        for verb in ["confirm", "accept", "cancel"] {
            let again = self.gate.decide("ana", &id, verb).await;
            assert_eq!((again.status, again.code()), (409, "CONFIRMATION_USED"), "{}", self.place);
        }
        assert_eq!(self.upstream.of_op(&op).len(), effects_at(self.place), "{}", self.place);
    }

    /// It dies between the question and its record: what nobody wrote down runs nothing.
    async fn asking(&mut self, round: usize) {
        let note = format!("note-{round}");
        let note = json!({ "function": "delete_note", "params": { "note_id": note } });
        let path = "/v1/extensions/notes/call";
        let request = self.gate.signed("ana", Method::POST, path).await.json(&note);
        let answer = self.gate.try_send(request).await;
        assert!(answer.is_err(), "it did not die: {answer:?}");
        assert_eq!(self.gate.wait().signal(), Some(9), "{}", self.gate.log());
        self.gate.restart().await;
        let active = self.gate.get_as("ana", "/v1/confirmations/active").await;
        for left in active.body.as_array().unwrap() {
            let answer = self.gate.decide("ana", text(left, "/confirmation_id"), "confirm").await;
            let told = (answer.status, answer.code());
            assert_eq!(told, (409, "CONFIRMATION_QUESTION_CHANGED"), "{answer:?}");
        }
        assert_eq!(active.body.as_array().unwrap().len(), round + 1);
        assert_eq!(self.upstream.seen().len(), 0);
    }

    fn minutes_pass(&self) {
        let database = rusqlite::Connection::open(self.gate.data().join("directory.sqlite"));
        let back =
            "UPDATE confirmations SET changed_ms = changed_ms - 600000 WHERE state = 'executing'";
        database.unwrap().execute(back, []).unwrap();
    }

    async fn state(&self, id: &str) -> String {
        let one = self.gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
        text(&one.body, "/state").to_owned()
    }

    async fn wait_for_state(&self, id: &str, wanted: &str) {
        let began = Instant::now();
        loop {
            let state = self.state(id).await;
            if state == wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{}: {state}, not {wanted}", self.place);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Every operation was intended at most once, every intent is closed once, and no effect has none.
fn closed_once(gate: &Deployment, upstream: &Upstream) {
    let mut stories: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut count = |op: &str, at: usize| stories.entry(op.to_owned()).or_default()[at] += 1;
    let records: Vec<Value> = gate.records();
    for record in &records {
        match text(record, "/kind") {
            "intent" => count(text(record, "/op"), 0),
            "outcome" | "recover" => count(text(record, "/op"), 1),
            _ => {}
        }
    }
    for seen in upstream.seen() {
        count(seen.header("x-portcullis-op"), 2);
    }
    for (op, [intents, ends, effects]) in stories {
        assert!(intents == 1 && ends == 1 && effects <= 1, "{op}: {intents} {ends} {effects}");
    }
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}
