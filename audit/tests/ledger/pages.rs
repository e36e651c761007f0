//! Attack 20: pages of the database and frames of its journal of which the disk kept one half.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use portcullis_audit::verify::{Verdict, verify_ledger};
use portcullis_audit::{OpenError, ReadError, RecordRow};

const PAGE: usize = 4096;

/// Header of a journal, and of each page in it.
const JOURNAL_HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;

/// Everything that a reader gets to see: each record; each body, policy set, and record by operation,
/// which is another way to it.
pub(super) type Content = (Vec<RecordRow>, Vec<Option<Vec<u8>>>);

pub(super) fn content(house: &House) -> Result<Content, ReadError> {
    let reader = house.reader();
    let rows = reader.rows(&everything())?;
    let mut bodies = vec![reader.policy_set(&[9; 32])?];
    for row in &rows {
        bodies.push(reader.body(&row.record.log, row.record.seq)?);
        let of_op = Query { op: Some(row.record.op), ..everything() };
        bodies.push(reader.rows(&of_op)?.last().map(|row| row.bytes.clone()));
    }
    Ok((rows, bodies))
}

/// What the disk made of one page: its first or its second half is old, or zeros.
fn torn(page: &[u8], old: Option<&[u8]>, second: bool) -> Vec<u8> {
    let (mut torn, half) = (page.to_vec(), PAGE / 2);
    let part = if second { half..PAGE } else { 0..half };
    match old {
        Some(old) => torn[part.clone()].copy_from_slice(&old[part]),
        None => torn[part].fill(0),
    }
    torn
}

pub(super) fn copied(from: &House, names: &[&str]) -> House {
    let copy = House::new();
    for name in names {
        std::fs::copy(from.path(name), copy.path(name)).unwrap();
    }
    copy
}

/// Refused, or named by the verifier, or nothing is missing: never a whole ledger that lost something.
#[tokio::test]
async fn no_torn_page_of_the_database_loses_anything_silently() {
    let house = House::new();
    let (ledger, _) = house.open();
    ledger.store_policy_set([9; 32], b"permit".to_vec()).await.unwrap();
    fill(&ledger, "default", 8).await;
    ledger.close().await.unwrap();
    let old = std::fs::read(house.path("ledger.db")).unwrap();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    fill(&ledger, "imp_t_x", 2).await;
    ledger.close().await.unwrap();
    let now = std::fs::read(house.path("ledger.db")).unwrap();
    let before = content(&house).unwrap();

    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, page) in now.chunks(PAGE).enumerate() {
        let at = number * PAGE;
        for (was, second) in [(false, false), (false, true), (true, false), (true, true)] {
            let was = if was { old.get(at..at + PAGE) } else { None };
            let torn = torn(page, was, second);
            if torn == page {
                continue;
            }
            let copy = copied(&house, &["ledger.db.head", "log.key"]);
            let mut bytes = now.clone();
            bytes[at..at + PAGE].copy_from_slice(&torn);
            std::fs::write(copy.path("ledger.db"), bytes).unwrap();
            let said = format!("page {}, old {}, second half {second}", number + 1, was.is_some());
            *found.entry(what_came_of(&copy, &before, &said).await).or_default() += 1;
        }
    }
    println!("{found:?}");
    assert!(
        found["named"] > 0 && found.values().sum::<usize>() > 40,
        "{found:?}: it tried nothing"
    );
}

pub(super) async fn what_came_of(copy: &House, before: &Content, said: &str) -> &'static str {
    let named = match Reader::open(&copy.path("ledger.db")) {
        Ok(reader) => verify_ledger(&reader).verdict != Verdict::Whole,
        Err(_) => true,
    };
    let is_same = content(copy).is_ok_and(|content| content == *before);
    assert!(named || is_same, "{said}: whole, and something is missing");
    match Ledger::open(copy.options()) {
        Err(
            OpenError::Torn { .. }
            | OpenError::Forged { .. }
            | OpenError::Storage(_)
            | OpenError::Guard { .. }
            | OpenError::Options(_),
        ) => "refused",
        Err(other) => panic!("{said}: {other}"),
        Ok((ledger, opened)) => {
            assert!(opened.records >= before.0.len() as u64, "{said}: {opened:?}");
            // Whether it can be closed well depends on where the damage is.
            let _ = ledger.close().await;
            if named { "named" } else { "harmless" }
        }
    }
}

/// The journal as it was after each promise, with the head that was noted by then.
async fn promised_step_by_step(house: &House, steps: usize) -> Vec<(usize, Vec<u8>)> {
    let (ledger, _) = house.open();
    let mut after = Vec::new();
    for _ in 0..steps {
        let _ = ledger.intent(intent("default")).await.unwrap();
        let journal = std::fs::metadata(house.path("ledger.db-wal")).unwrap().len();
        after.push((journal as usize, std::fs::read(house.path("ledger.db.head")).unwrap()));
    }
    for name in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(house.path(name), house.path(&format!("{name}.kept"))).unwrap();
    }
    ledger.close().await.unwrap();
    after
}

/// A ledger as a power loss leaves it: this journal, and this head.
fn left_with(house: &House, journal: &[u8], head: &[u8]) -> House {
    let copy = copied(house, &["ledger.db.kept", "log.key"]);
    std::fs::rename(copy.path("ledger.db.kept"), copy.path("ledger.db")).unwrap();
    std::fs::write(copy.path("ledger.db-wal"), journal).unwrap();
    std::fs::write(copy.path("ledger.db.head"), head).unwrap();
    copy
}

pub(super) async fn opens_with(house: &House, said: &str) -> u64 {
    let opened = Ledger::open(house.options());
    let (ledger, opened) = opened.unwrap_or_else(|error| panic!("{said}: {error}"));
    ledger.close().await.unwrap();
    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole, "{said}: {}", report.to_text());
    opened.records - opened.orphans_closed
}

fn is_torn(house: &House, said: &str) {
    let opened = Ledger::open(house.options());
    assert!(matches!(opened, Err(OpenError::Torn { .. })), "{said}: {opened:?}");
    let named = Reader::open(&house.path("ledger.db")).map(|reader| verify_ledger(&reader).verdict);
    assert!(!matches!(named, Ok(Verdict::Whole | Verdict::Empty)), "{said}: {named:?}");
}

/// Cut anywhere within what was promised last, it is torn; cut within what nobody was promised yet, it
/// goes on from the promise before.
#[tokio::test]
async fn a_journal_that_ends_within_a_frame_is_torn_or_goes_on_from_the_last_promise() {
    let house = House::new();
    let after = promised_step_by_step(&house, 4).await;
    let journal = std::fs::read(house.path("ledger.db-wal.kept")).unwrap();
    let (before, last) = (&after[2], &after[3]);
    assert_eq!(
        (journal.len(), (last.0 - before.0) % FRAME),
        (last.0, 0),
        "it is one of whole frames"
    );
    for cut in [before.0, before.0 + 24, before.0 + FRAME / 2, last.0 - FRAME, last.0 - 1] {
        let said = format!("cut at {cut} of {}", journal.len());
        is_torn(&left_with(&house, &journal[..cut], &last.1), &said);
        let unheard = left_with(&house, &journal[..cut], &before.1);
        assert_eq!(opens_with(&unheard, &said).await, 3, "{said}");
    }
    let whole = left_with(&house, &journal, &before.1);
    assert_eq!(opens_with(&whole, "whole").await, 4, "what is there is kept");
}

/// Of every frame in turn the disk kept one half; what stood there before is zeros.
#[tokio::test]
async fn a_torn_frame_anywhere_in_the_journal_is_torn() {
    let house = House::new();
    let after = promised_step_by_step(&house, 4).await;
    let journal = std::fs::read(house.path("ledger.db-wal.kept")).unwrap();
    let mut tried = 0;
    for at in (JOURNAL_HEADER..journal.len()).step_by(FRAME) {
        for (from, to) in [(0, FRAME / 2), (FRAME / 2, FRAME)] {
            let mut torn = journal.clone();
            torn[at + from..at + to].fill(0);
            if torn == journal {
                continue;
            }
            let said = format!("frame {} from {from}", (at - JOURNAL_HEADER) / FRAME);
            is_torn(&left_with(&house, &torn, &after[3].1), &said);
            tried += 1;
        }
    }
    assert!(tried > 8, "{tried}");
    let mut headless = journal.clone();
    headless[..JOURNAL_HEADER].fill(0);
    is_torn(&left_with(&house, &headless, &after[3].1), "no header");
}

/// Yesterday's database beside today's journal and head, and the other way round.
#[tokio::test]
async fn a_database_and_a_journal_of_different_days_lose_nothing_silently() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    ledger.close().await.unwrap();
    std::fs::copy(house.path("ledger.db"), house.path("yesterday")).unwrap();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    ledger.close().await.unwrap();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    let written = house.reader().rows(&everything()).unwrap();
    let today = copied(&house, &["ledger.db-wal", "ledger.db.head", "log.key"]);
    std::fs::copy(house.path("yesterday"), today.path("ledger.db")).unwrap();
    ledger.close().await.unwrap();
    assert!(std::fs::metadata(today.path("ledger.db-wal")).unwrap().len() > 0);
    let named = verify_ledger(&today.reader()).verdict;
    let there = today.reader().rows(&everything());
    assert!(named != Verdict::Whole || there.unwrap() == written, "{named:?}");
    assert!(Ledger::open(today.options()).is_err(), "opened with records missing");
    assert!(Path::new(&today.path("ledger.db-wal")).exists(), "the evidence was removed");
}
