//! How many refusals get a record of their own, of callers whom nobody knows and over a limit.
//!
//! Each is a durable row for ever, and anybody can cause one; without a bound a flood of bad
//! credentials would fill the disk and seal the ledger. Beyond the bound they are refused all the
//! same and counted in the next record.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Records of strangers in one second.
pub const STRANGERS_PER_SECOND: u32 = 100;

/// A bound, shared by all calls that it is about.
#[derive(Debug)]
pub struct Bounded {
    per_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    recorded: u32,
    unrecorded: u64,
}

impl Bounded {
    /// Nobody was refused yet; so many a second will get a record.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let window = Window { began: Instant::now(), recorded: 0, unrecorded: 0 };
        Self { per_second, window: Mutex::new(window) }
    }

    /// Whether this refusal gets a record: the number of those before it that got none, or `None`
    /// when it is to be counted only.
    #[must_use]
    pub fn admit(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.elapsed().as_secs() >= 1 {
            window.began = Instant::now();
            window.recorded = 0;
        }
        if window.recorded >= self.per_second {
            window.unrecorded += 1;
            return None;
        }
        window.recorded += 1;
        Some(std::mem::take(&mut window.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_recorded() {
        let strangers = Bounded::new(STRANGERS_PER_SECOND);
        let admitted = (0..1000).filter(|_| strangers.admit().is_some()).count();
        assert!(admitted < 1000, "{admitted} records");
        strangers.window.lock().unwrap().recorded = 0;
        let counted = strangers.admit().expect("a new second admits again");
        assert_eq!(counted, 1000 - u64::try_from(admitted).unwrap());
    }
}
