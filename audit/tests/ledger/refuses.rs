use super::*;
use portcullis_audit::{InvalidEntry, Unavailable};

/// Long enough that only a stalled disk passes it, also on a busy machine; half of what SQLite waits for a lock.
const DEADLINE_MS: u64 = 1_000;

/// Holds the database's write lock, so that the writer stands still as it would on a dead disk.
pub(super) struct Stall(rusqlite::Connection);

impl Stall {
    pub(super) fn begin(house: &House) -> Self {
        let conn = house.raw();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(conn)
    }

    pub(super) fn end(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn patient_for(house: &House, deadline_ms: u64, queue: usize) -> Ledger {
    let mut options = house.options();
    options.deadline = Duration::from_millis(deadline_ms);
    options.queue = queue;
    Ledger::open(options).unwrap().0
}

pub(super) async fn settled(ledger: &Ledger, wanted: impl Fn(&portcullis_audit::Status) -> bool) {
    for _ in 0..2000 {
        if wanted(&ledger.status()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never settled: {:?}", ledger.status());
}

#[tokio::test]
async fn an_intent_refused_by_deadline_never_stays_open() {
    let house = House::new();
    let ledger = patient_for(&house, DEADLINE_MS, 64);
    fill(&ledger, "default", 1).await;
    let stall = Stall::begin(&house);
    // The first is being written when its caller gives up; the second still waits in the queue.
    let (first, second) = (intent("default"), intent("default"));
    let (first_op, second_op) = (first.op, second.op);
    let one = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.intent(first).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(ledger.intent(second).await.map(|_| ()), Err(Unavailable::Deadline));
    assert_eq!(one.await.unwrap(), Err(Unavailable::Deadline));
    stall.end();

    settled(&ledger, |status| status.records == 4).await;
    let of = |op| house.reader().rows(&Query { op: Some(op), ..Query::default() }).unwrap();
    let late: Vec<Kind> = of(first_op).iter().map(|row| row.record.kind).collect();
    assert_eq!(late, [Kind::Intent, Kind::Recover]);
    assert_eq!(of(first_op)[1].text(&["res", "error"]), "deadline");
    assert!(of(second_op).is_empty(), "an abandoned intent was written");
    fill(&ledger, "default", 1).await;
}

#[tokio::test]
async fn an_outcome_that_is_late_seals_the_ledger_until_it_is_on_disk() {
    let house = House::new();
    let ledger = patient_for(&house, DEADLINE_MS, 64);
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let stall = Stall::begin(&house);
    let late = ledger.outcome(outcome("default", receipt.op(), receipt.reference())).await;
    assert_eq!(late, Err(Unavailable::Deadline));
    let refused = ledger.intent(intent("default")).await.map(|_| ());
    assert!(matches!(refused, Err(Unavailable::Sealed(_))), "{refused:?}");
    assert!(ledger.status().sealed.is_some());
    stall.end();
    settled(&ledger, |status| status.sealed.is_none()).await;
    fill(&ledger, "default", 1).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_still_takes_outcomes() {
    let house = House::new();
    let ledger = patient_for(&house, 5_000, 4);
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let stall = Stall::begin(&house);
    let ask = || {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.intent(intent("default")).await.map(|_| ()) })
    };
    // The writer takes the first and stalls over it; only then does the queue stay full.
    let mut waiting = vec![ask()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    settled(&ledger, |status| status.queue_depth == 0).await;
    waiting.extend((0..8).map(|_| ask()));
    settled(&ledger, |status| status.queue_depth == 4).await;
    assert_eq!(ledger.append(refusal("default")).await.map(|_| ()), Err(Unavailable::Full));
    ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    stall.end();
    let mut full = 0;
    for task in waiting {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(Unavailable::Full) => full += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full >= 1);
    assert_eq!(ledger.status().sealed, None);
}

#[tokio::test]
async fn a_failed_commit_seals_the_ledger_for_good() {
    let house = House::new();
    let ledger = patient_for(&house, 2_000, 64);
    fill(&ledger, "default", 1).await;
    // Somebody else appends to the head that the writer holds in memory: its next insert fails.
    let conn = house.raw();
    conn.execute_batch(
        "INSERT INTO records SELECT pos + 1, log, seq + 1, op, leaf, randomblob(32), record
         FROM records ORDER BY pos DESC LIMIT 1",
    )
    .unwrap();
    let refused = ledger.intent(intent("default")).await.map(|_| ());
    assert!(matches!(refused, Err(Unavailable::Sealed(_))), "{refused:?}");
    let refused = ledger.append(refusal("default")).await.map(|_| ());
    assert!(matches!(refused, Err(Unavailable::Sealed(_))), "{refused:?}");
    assert!(ledger.status().sealed.unwrap().contains("a commit failed"));
    assert!(matches!(ledger.close().await, Err(Unavailable::Sealed(_))));
}

#[tokio::test]
async fn an_outcome_closes_only_an_open_intent_of_its_own_operation() {
    let house = House::new();
    let (ledger, _) = house.open();
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let refused = Err(Unavailable::Invalid(InvalidEntry::NoSuchIntent));
    let foreign = outcome("default", Uuid::now_v7(), receipt.reference());
    assert_eq!(ledger.outcome(foreign).await, refused);
    let elsewhere = outcome("imp_t_x", receipt.op(), receipt.reference());
    assert_eq!(ledger.outcome(elsewhere).await, refused);
    let right = || outcome("default", receipt.op(), receipt.reference());
    ledger.outcome(right()).await.unwrap();
    assert_eq!(ledger.outcome(right()).await, refused);
    assert_eq!(ledger.status().sealed, None);
}

/// 32 at once, so that some share a commit; then alone, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_once_is_begun_once_for_its_tool() {
    let house = House::new();
    let ledger = patient_for(&house, 60_000, 4096);
    let op = Uuid::now_v7();
    let of = |op: Uuid, name: &str| {
        let mut intent = Intent { op, ..intent("default") };
        intent.fields.tool = Some(ToolRef {
            server: "notes".into(),
            name: name.into(),
            schema: Uuid::now_v7().to_string(),
        });
        intent
    };
    let approval = ledger.intent(of(op, "approve")).await.map(drop);
    assert_eq!(approval, Ok(()), "another tool's intent of the operation is none of it");
    let crowd = (0..32).map(|_| ledger.intent_once(of(op, "delete_note")));
    let told: Vec<_> = futures_util::future::join_all(crowd).await;
    let receipts: Vec<_> = told.iter().filter_map(|it| it.as_ref().ok()).collect();
    assert_eq!(receipts.len(), 1, "{told:?}");
    let refused = Unavailable::Invalid(InvalidEntry::AlreadyBegun);
    assert!(told.iter().all(|it| it.as_ref().err().is_none_or(|why| *why == refused)), "{told:?}");
    let done = outcome("default", op, receipts[0].reference());
    ledger.outcome(done).await.unwrap();
    assert_eq!(ledger.intent_once(of(op, "delete_note")).await.map(drop), Err(refused.clone()));
    assert!(ledger.intent_once(of(Uuid::now_v7(), "delete_note")).await.is_ok());
    assert_eq!(ledger.status().sealed, None);
    ledger.close().await.unwrap();
    let ledger = patient_for(&house, 60_000, 4096);
    assert_eq!(ledger.intent_once(of(op, "delete_note")).await.map(drop), Err(refused));
}

#[tokio::test]
async fn what_the_format_does_not_allow_is_refused_before_the_queue() {
    let house = House::new();
    let (ledger, _) = house.open();
    let note = |key: &str, value: String| {
        let mut entry = refusal("default");
        entry.fields.note.insert(key.into(), value);
        entry
    };
    let long = ledger.append(note("why", "x".repeat(65_000))).await.unwrap_err();
    assert!(matches!(long, Unavailable::Invalid(InvalidEntry::TooLong(_))), "{long}");
    let fits = ledger.append(note("why", "x".repeat(60_000))).await;
    assert!(fits.is_ok());
    for key in ["", "Why", "a-b", "1a", "\u{e4}"] {
        let bad = ledger.append(note(key, String::new())).await.unwrap_err();
        assert!(matches!(bad, Unavailable::Invalid(InvalidEntry::NoteKey(_))), "{key}");
    }
    for tenant in ["", "..", "../x", "a/b", "a b", "a\u{0}"] {
        let bad = ledger.append(refusal(tenant)).await.unwrap_err();
        assert_eq!(bad, Unavailable::Invalid(InvalidEntry::Tenant), "{tenant:?}");
    }
    for kind in [Kind::Intent, Kind::Outcome] {
        let bad = ledger.append(Entry { kind, ..refusal("default") }).await.unwrap_err();
        assert!(matches!(bad, Unavailable::Invalid(InvalidEntry::WrongVerb(_))));
    }
}

#[tokio::test]
async fn a_closed_ledger_refuses_its_other_handles() {
    let house = House::new();
    let (ledger, _) = house.open();
    let other = ledger.clone();
    ledger.close().await.unwrap();
    assert_eq!(other.intent(intent("default")).await.map(|_| ()), Err(Unavailable::Closed));
}

#[tokio::test]
async fn a_suspended_ledger_takes_outcomes_but_no_intents_until_it_is_resumed() {
    let house = House::new();
    let (ledger, _) = house.open();
    let receipt = ledger.intent(intent("default")).await.unwrap();
    ledger.suspend("no quorum of witnesses for 11 s".to_owned());
    let refused = ledger.intent(intent("default")).await.unwrap_err();
    assert_eq!(refused, Unavailable::Sealed("no quorum of witnesses for 11 s".to_owned()));
    assert_eq!(ledger.status().sealed.as_deref(), Some("no quorum of witnesses for 11 s"));
    ledger.outcome(outcome("default", receipt.op(), receipt.reference())).await.unwrap();
    ledger.append(refusal("default")).await.unwrap();
    ledger.resume();
    fill(&ledger, "default", 1).await;
    // Nothing is missing, so closing has nothing to complain of.
    ledger.suspend("again".to_owned());
    ledger.close().await.unwrap();
    assert_eq!(house.reader().rows(&everything()).unwrap().len(), 6);
}
