//! Of many who answer one question at the same time ...

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{Answer, Builder, Deployment, Upstream, Value, json, text};

use crate::parts::ours;
use crate::postgres_ledger::server::Server;

/// So many answers come at once.
const CROWD: usize = 64;

/// Two replicas on one PostgreSQL, for the directory and the ledger.
pub(crate) struct Pair {
    pub(crate) gates: Vec<Deployment>,
    // Dropped after them.
    _keys: tempfile::TempDir,
    pub(crate) upstream: Upstream,
    _postgres: Server,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        let (postgres, upstream) = (Server::start(), Upstream::start());
        let keys = tempfile::tempdir().unwrap();
        let mut gates = Vec::new();
        for number in 1..=2 {
            let gate = Deployment::builder()
                .replica(&format!("r{number}"))
                .notes(&upstream)
                // Without a solver the rules load at once; they are proved in other tests.
                .env("CVC5", "/nonexistent/cvc5")
                .file("address", &postgres.url())
                .settings("[ledger]\npostgres = { file = \"address\" }")
                .settings("[directory]\npostgres = { file = \"address\" }")
                .settings(&format!("[data]\ndir = \"{}\"", keys.path().join("data").display()));
            gates.push(gate.start().await);
        }
        let pair = Self { gates, _keys: keys, upstream, _postgres: postgres };
        // One person, one session; the second replica believes the first one's token.
        pair.gates[1].adopt(&pair.gates[0], "ana").await;
        pair
    }
}

async fn alone() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

async fn ask(gate: &Deployment, note: &str) -> Answer {
    let answer = gate.call("ana", "notes", "delete_note", json!({ "note_id": note })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

/// Whether it ran; everything else must be a refusal that says it was too late.
fn ran(answer: &Answer) -> bool {
    match (answer.status, answer.code()) {
        (200, _) => true,
        (409, "CONFIRMATION_USED") | (410, "CONFIRMATION_EXPIRED") => false,
        other => panic!("{other:?}: {answer:?}"),
    }
}

/// One execution on the wire and in the ledger, however many answered.
fn ran_once(gate: &Deployment, upstream: &Upstream, op: &str) {
    assert_eq!(upstream.of_op(op).len(), 1, "the upstream saw it so often");
    let story = gate.records_of(op);
    let intents = story.iter().filter(|record| text(record, "/kind") == "intent").count();
    assert_eq!(intents, 1, "{story:?}");
}

async fn crowd(gates: &[&Deployment], op: &str, id: &str, upstream: &Upstream) {
    let all = (0..CROWD).map(|number| gates[number % gates.len()].decide("ana", id, "confirm"));
    let answers = join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| ran(answer)).count(), 1, "{answers:?}");
    ran_once(gates[0], upstream, op);
}

#[tokio::test]
async fn exactly_one_of_sixty_four_on_two_replicas_runs_it() {
    let pair = Pair::start().await;
    for note in ["note-1", "note-2", "note-3"] {
        let asked = ask(&pair.gates[0], note).await;
        let gates: Vec<&Deployment> = pair.gates.iter().collect();
        crowd(&gates, &asked.op(), &asked.confirmation(), &pair.upstream).await;
    }
    assert_eq!(pair.upstream.seen().len(), 3);
    let verified = pair.gates[0].verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn exactly_one_of_sixty_four_on_one_replica_runs_it() {
    let (gate, upstream) = alone().await;
    for note in ["note-1", "note-2", "note-3"] {
        let asked = ask(&gate, note).await;
        crowd(&[&gate], &asked.op(), &asked.confirmation(), &upstream).await;
    }
    assert_eq!(upstream.seen().len(), 3);
}

/// Who can write to the database makes it wait again while it is about to run; the ledger looks once more in the
/// commit of the intent.
#[tokio::test]
async fn exactly_one_runs_it_when_somebody_sets_the_state_back_between_two_answers() {
    let upstream = Upstream::start();
    // The first that is about to run waits there: long enough for all that follows.
    let pause = "before_intent=1*sleep(12000)->off";
    let gate = Deployment::builder().notes(&upstream).env("FAILPOINTS", pause).start().await;
    let asked = ask(&gate, "note-1").await;
    let id = asked.confirmation();
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    let again = async {
        let set = "UPDATE confirmations SET state = 'pending', decided_by = NULL \
                   WHERE state = 'executing'";
        let began = Instant::now();
        while database.execute(set, []).unwrap() == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "the first never claimed it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.decide("ana", &id, "confirm").await
    };
    let (first, second) = tokio::join!(gate.decide("ana", &id, "confirm"), again);
    assert_eq!([ran(&first), ran(&second)], [false, true], "{first:?} {second:?}");
    ran_once(&gate, &upstream, &asked.op());
    let end = gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
    assert_eq!(end.body["state"], "executed", "nobody is told that it did not run: {end:?}");
    assert!(gate.verify().whole);
}

/// The same by sheer number.
#[tokio::test]
async fn exactly_one_runs_it_while_somebody_sets_the_state_back_all_the_time() {
    let (gate, upstream) = alone().await;
    let over = Arc::new(AtomicBool::new(false));
    let forger = std::thread::spawn({
        let (over, path) = (Arc::clone(&over), gate.data().join("directory.sqlite"));
        move || {
            let database = rusqlite::Connection::open(path).unwrap();
            database.busy_timeout(Duration::from_secs(10)).unwrap();
            while !over.load(Ordering::Acquire) {
                let set = "UPDATE confirmations SET state = 'pending', decided_by = NULL \
                           WHERE state <> 'pending'";
                database.execute(set, []).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for note in ["note-1", "note-2", "note-3", "note-4"] {
        let asked = ask(&gate, note).await;
        crowd(&[&gate], &asked.op(), &asked.confirmation(), &upstream).await;
    }
    over.store(true, Ordering::Release);
    forger.join().unwrap();
    assert_eq!(upstream.seen().len(), 4);
    assert!(gate.verify().whole);
}

#[tokio::test]
async fn either_one_who_confirms_or_one_who_cancels_has_the_last_word() {
    let pair = Pair::start().await;
    let [one, two] = &pair.gates[..] else { panic!("two replicas") };
    for round in 0..24 {
        let asked = ask(one, &format!("note-{round}")).await;
        let (id, op) = (asked.confirmation(), asked.op());
        // Each side is first in half of the rounds, by less and less.
        let late = Duration::from_micros(8_000 >> (round / 2));
        let answers = |verb: &'static str, wait: Duration| {
            let id = id.clone();
            async move {
                tokio::time::sleep(wait).await;
                join_all([one.decide("ana", &id, verb), two.decide("ana", &id, verb)]).await
            }
        };
        let (to_run, to_end) =
            if round % 2 == 0 { (Duration::ZERO, late) } else { (late, Duration::ZERO) };
        let (confirms, cancels) =
            tokio::join!(answers("confirm", to_run), answers("cancel", to_end));
        let runs = confirms.iter().filter(|answer| ran(answer)).count();
        let ends = cancels.iter().filter(|answer| ran(answer)).count();
        assert_eq!(runs + ends, 1, "round {round}: {confirms:?} {cancels:?}");
        assert_eq!(pair.upstream.of_op(&op).len(), runs, "round {round}");
        let story = one.records_of(&op);
        let told = |kind: &str, status: &str| {
            let is_it = |r: &&Value| text(r, "/kind") == kind && text(r, "/res/status") == status;
            story.iter().filter(is_it).count()
        };
        assert_eq!((told("intent", ""), told("decision", "cancelled")), (runs, ends), "{story:?}");
    }
}

#[tokio::test]
async fn nobody_who_comes_when_the_time_is_over_runs_it() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).settings("[confirmation]\nttl = \"1s\"");
    let gate = gate.start().await;
    gate.token("ana").await;
    let began = Instant::now();
    let asked = join_all((0..40).map(|note| {
        let (gate, note) = (&gate, format!("note-{note}"));
        async move { (ask(gate, &note).await, Instant::now()) }
    }));
    let asked = asked.await;
    // Their times end within a moment of each other; the answers come from well before to well after.
    let (first, last) = (began + Duration::from_secs(1), Instant::now() + Duration::from_secs(1));
    let span = last.duration_since(first) + Duration::from_millis(600);
    let answers = asked.iter().enumerate().map(|(number, (asked, known))| {
        let at = first - Duration::from_millis(300) + span * u32::try_from(number).unwrap() / 40;
        let (gate, upstream) = (&gate, &upstream);
        async move {
            tokio::time::sleep_until(at.into()).await;
            // The second began before the question came back.
            let late = known.elapsed() >= Duration::from_secs(1);
            let answer = gate.decide("ana", &asked.confirmation(), "confirm").await;
            let ran = ran(&answer);
            assert!(!(ran && late), "sent {:?} after it was asked: {answer:?}", known.elapsed());
            assert_eq!(upstream.of_op(&asked.op()).len(), usize::from(ran), "{answer:?}");
            ran
        }
    });
    let ran = join_all(answers).await.into_iter().filter(|ran| *ran).count();
    assert!((1..40).contains(&ran), "{ran} of 40 ran: the answers were not around the end");
    assert_eq!(upstream.seen().len(), ran);
}

/// Nobody deletes a note any more.
const LOCKED: &str = r#"@id("test/locked")
@reason("notes are locked")
forbid (principal, action == Portcullis::Action::"notes/delete_note", resource);
"#;

#[tokio::test]
async fn each_is_decided_by_the_rules_that_the_ledger_names() {
    let upstream = Upstream::start();
    let (builder, rules) = with_rules(&upstream);
    // Without a solver the rules load at once; they are proved in other tests.
    let gate = builder.env("CVC5", "/nonexistent/cvc5").start().await;
    gate.token("ana").await;
    let mut asked = Vec::new();
    for note in 0..48 {
        asked.push(ask(&gate, &format!("note-{note}")).await);
    }
    let before = sets(&gate).pop().unwrap();
    std::fs::write(rules.join("locked.cedar"), LOCKED).unwrap();
    let (mut permitted, mut forbidden) = (0, 0);
    let mut left = asked.iter();
    let began = Instant::now();
    // One by one until the new rule refuses, then the rest at once.
    while forbidden == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", gate.log());
        let Some(next) = left.next() else { panic!("all ran before the rules changed") };
        match by_which_set(&gate, &upstream, next, &before).await {
            true => permitted += 1,
            false => forbidden += 1,
        }
        if forbidden == 0 && asked.len() - permitted < 16 {
            // The change needs longer than these calls: what is left waits for it.
            wait_for_a_set_after(&gate, &before).await;
        }
    }
    let rest = left.map(|next| by_which_set(&gate, &upstream, next, &before));
    let rest = join_all(rest).await;
    assert!(rest.iter().all(|permitted| !permitted), "an old set came back");
    assert!(permitted > 0, "the rules changed before anybody confirmed");
    assert_eq!(upstream.seen().len(), permitted);
}

/// Somebody else has to approve what the asker alone could confirm before.
const ANOTHER: &str = r#"@id("test/another")
@reason("somebody else has to approve")
forbid (principal, action == Portcullis::Action::"notes/delete_note", resource)
unless { context.confirmation.byOther };
"#;

#[tokio::test]
async fn one_that_new_rules_ask_anew_is_superseded_by_the_new_question() {
    let upstream = Upstream::start();
    let (builder, rules) = with_rules(&upstream);
    let gate = builder.env("CVC5", "/nonexistent/cvc5").start().await;
    gate.token("sec").await;
    let asked = ask(&gate, "note-1").await;
    assert_eq!(asked.body["by_other"], false);
    let page = format!("{}/confirm/{}", gate.url(), asked.confirmation());
    assert_eq!(asked.body["page"], json!(page), "a model can say where to look");
    let before = sets(&gate).pop().unwrap();
    std::fs::write(rules.join("another.cedar"), ANOTHER).unwrap();
    wait_for_a_set_after(&gate, &before).await;
    let anew = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!((anew.status, &anew.body["by_other"]), (202, &json!(true)), "{anew:?}");
    assert_ne!(anew.confirmation(), asked.confirmation());
    assert_eq!(upstream.seen().len(), 0);
    let old = gate.get_as("ana", &format!("/v1/confirmations/{}", asked.confirmation())).await;
    assert_eq!(old.body["state"], "superseded", "{old:?}");
    let again = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!((again.status, again.code()), (409, "CONFIRMATION_USED"), "{again:?}");
    let path = format!("/v1/confirmations/{}/approve", anew.confirmation());
    let said = gate.post_as("sec", &path, &json!({ "hash": anew.body["hash"] })).await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(gate.decide("ana", &anew.confirmation(), "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
    assert!(gate.verify().whole);
}

/// Confirms, and holds the answer against the set that the ledger says has decided.
async fn by_which_set(
    gate: &Deployment,
    upstream: &Upstream,
    asked: &Answer,
    before: &str,
) -> bool {
    let answer = gate.decide("ana", &asked.confirmation(), "confirm").await;
    let story = gate.records_of(&asked.op());
    let decided = |kind: &str| {
        let found = story.iter().rev().find(|record| text(record, "/kind") == kind);
        found.map(|record| text(record, "/pol/bundle").to_owned()).unwrap_or_default()
    };
    match answer.status {
        200 => {
            assert_eq!(decided("intent"), before, "it ran under the rules of before: {story:?}");
            assert_eq!(upstream.of_op(&asked.op()).len(), 1);
            true
        }
        403 => {
            assert_eq!(answer.rules(), ["test/locked"], "{answer:?}");
            assert_ne!(decided("decision"), before, "{story:?}");
            assert_eq!(upstream.of_op(&asked.op()).len(), 0);
            let again = gate.decide("ana", &asked.confirmation(), "confirm").await;
            assert_eq!((again.status, again.code()), (409, "CONFIRMATION_USED"), "{again:?}");
            false
        }
        _ => panic!("neither ran nor was forbidden: {answer:?}"),
    }
}

fn with_rules(upstream: &Upstream) -> (Builder, PathBuf) {
    let builder = Deployment::builder().notes(upstream);
    for folder in ["rules", "invariants"] {
        let to = builder.dir().join("policies").join(folder);
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(ours("../policies").join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let rules = builder.dir().join("policies/rules");
    (builder.settings("[policies]\ndir = \"policies\""), rules)
}

/// The digests of the sets that came into force, oldest first.
fn sets(gate: &Deployment) -> Vec<String> {
    let loaded = |record: &Value| text(record, "/note/action") == "policies_loaded";
    let records = gate.records().into_iter().filter(loaded);
    records.map(|record| text(&record, "/pol/bundle").to_owned()).collect()
}

async fn wait_for_a_set_after(gate: &Deployment, before: &str) {
    let began = Instant::now();
    while sets(gate).last().is_none_or(|now| now == before) {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
