//! Attack 20, of a journal that began anew: it is written over at the length that it has, so that frames of
//! before stand behind its end.

use super::pages::{content, copied, opens_with, what_came_of};
use super::*;

const PAGE: usize = 4096;

/// Header of a journal, and of each page in it.
const HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;

/// Bytes of a journal that begins anew after some hundred records, and is not cut.
pub(super) const SHORT: u64 = 512 * 1024;

/// How often a journal began anew, and where what was written since ends (SQLite's file format, section 4.1).
pub(super) fn of_journal(bytes: &[u8]) -> (u32, usize) {
    let Some((header, frames)) = bytes.split_at_checked(HEADER) else { return (0, bytes.len()) };
    // Two numbers, the second random and drawn anew each time, which each frame repeats.
    let salts = |frame: &&[u8]| frame[8..16] == header[16..24];
    let since = frames.chunks_exact(FRAME).take_while(salts).count();
    (u32::from_be_bytes(header[12..16].try_into().unwrap()), HEADER + since * FRAME)
}

struct Restarted {
    /// As a kill left it.
    killed: House,
    journal: Vec<u8>,
    /// The journal a moment before.
    old: Vec<u8>,
    /// Where what counts ends in it.
    end: usize,
}

const FILES: [&str; 4] = ["ledger.db", "ledger.db-wal", "ledger.db.head", "log.key"];

/// A ledger whose journal began anew, with old frames behind at least four new ones.
async fn restarted() -> Restarted {
    let house = House::new();
    let (ledger, _) = Ledger::open(LedgerOptions { journal: SHORT, ..house.options() }).unwrap();
    let journal = || std::fs::read(house.path("ledger.db-wal")).unwrap();
    let mut old = Vec::new();
    for _ in 0..2_000 {
        let _ = ledger.intent(intent("default")).await.unwrap();
        let now = journal();
        let (times, end) = of_journal(&now);
        if times < 1 || end < HEADER + 4 * FRAME || end + 4 * FRAME > now.len() {
            old = now;
            continue;
        }
        let killed = copied(&house, &FILES);
        // Where nothing was written in between. What may be moved into the database meanwhile is there twice.
        if std::fs::read(killed.path("ledger.db-wal")).unwrap() == now && journal() == now {
            ledger.close().await.unwrap();
            return Restarted { killed, journal: now, old, end };
        }
    }
    panic!("the journal never began anew");
}

impl Restarted {
    fn with(&self, journal: &[u8]) -> House {
        let copy = copied(&self.killed, &FILES);
        std::fs::write(copy.path("ledger.db-wal"), journal).unwrap();
        copy
    }
}

#[tokio::test]
async fn what_stands_behind_its_end_is_taken_for_nothing_whatever_the_disk_made_of_it() {
    let was = restarted().await;
    let records = opens_with(&was.with(&was.journal), "as it was").await;
    let behind = (was.end..was.journal.len()).step_by(FRAME);
    let (first, last) = (behind.clone().take(2), behind.clone().next_back());
    for at in first.chain(last) {
        for (from, to) in [(0, 24), (8, 16), (0, FRAME / 2), (FRAME / 2, FRAME)] {
            let mut torn = was.journal.clone();
            torn[at + from..at + to].fill(0);
            let said = format!("zeros at {at} + {from}");
            assert_eq!(opens_with(&was.with(&torn), &said).await, records, "{said}");
            torn[at + from..at + to].copy_from_slice(&was.journal[at + from..at + to]);
            torn[at + from] ^= 0x80;
            let said = format!("a flipped bit at {at} + {from}");
            assert_eq!(opens_with(&was.with(&torn), &said).await, records, "{said}");
        }
    }
    for at in behind.take(3).chain([was.end + FRAME / 2]) {
        let said = format!("cut at {at}");
        assert_eq!(opens_with(&was.with(&was.journal[..at]), &said).await, records, "{said}");
    }
    // Somebody moved new frames behind it, which say the same random numbers.
    let mut again = was.journal.clone();
    again.truncate(was.end);
    again.extend_from_slice(&was.journal[HEADER..was.end]);
    let said = "its own frames once more";
    assert_eq!(opens_with(&was.with(&again), said).await, records, "{said}");
}

/// Refused, or named, or nothing is missing: half of a frame, or of its header, is what stood there before.
#[tokio::test]
async fn a_torn_frame_of_it_loses_nothing_silently() {
    let was = restarted().await;
    let before = content(&was.with(&was.journal)).unwrap();
    let (mut named, mut tried) = (0, 0);
    let frames = (HEADER..was.end).step_by(FRAME).map(|at| (at, at + FRAME / 2, at + FRAME));
    for (from, half, to) in frames.chain([(0, HEADER / 2, HEADER)]) {
        for part in [from..half, half..to, from..to] {
            for old in [was.old.get(part.clone()), None] {
                let mut torn = was.journal.clone();
                match old {
                    Some(old) => torn[part.clone()].copy_from_slice(old),
                    None => torn[part.clone()].fill(0),
                }
                if torn == was.journal {
                    continue;
                }
                let said = format!("{part:?}, old {}", old.is_some());
                let came = what_came_of(&was.with(&torn), &before, &said).await;
                tried += 1;
                named += usize::from(came != "harmless");
            }
        }
    }
    assert!(named > 0 && tried > 12, "{named} of {tried}: it tried nothing");
}
