//! Two heads of one log that can't both be true: proof against the log by its own signatures.
//! No I/O, no clock.

use std::fmt;

use crate::note::{BadNote, Checkpoint, VerifierKey};

/// Two signed checkpoints of one log, of the same size and with different roots. Whoever has the
/// log's verifier key can check this proof; nobody but the holder of the key can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    origin: String,
    size: u64,
    vkey: String,
    notes: [String; 2],
}

impl ForkProof {
    /// Compares two signed checkpoints of the log behind `key`. None when they are of different
    /// sizes, where only a consistency proof can tell, or the same.
    ///
    /// # Errors
    /// [`BadNote`] when one of them is not signed by the log, and so proves nothing against it.
    pub fn find(key: &VerifierKey, one: &str, other: &str) -> Result<Option<Self>, BadNote> {
        let (first, second) = (Checkpoint::open(one, key)?, Checkpoint::open(other, key)?);
        let forked = first.size == second.size && first.root != second.root;
        Ok(forked.then(|| Self {
            origin: first.origin,
            size: first.size,
            vkey: key.to_string(),
            notes: [one.to_owned(), other.to_owned()],
        }))
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of records under both roots.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The two signed checkpoints, as they were found.
    #[must_use]
    pub fn notes(&self) -> [&str; 2] {
        let [one, other] = &self.notes;
        [one, other]
    }
}

/// The proof in words, with both notes, for a report.
impl fmt::Display for ForkProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, vkey, notes: [one, other] } = self;
        writeln!(
            f,
            "log `{origin}` has forked: two heads of {size} records with different roots,"
        )?;
        writeln!(f, "both signed by {vkey}\n\n{one}\n{other}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::LogKey;

    fn key() -> LogKey {
        LogKey::from_seed(&[7; 32]).unwrap()
    }

    fn vkey() -> VerifierKey {
        VerifierKey::parse(&key().vkey("d/t/x")).unwrap()
    }

    fn head(size: u64, root: u8) -> String {
        Checkpoint { origin: "d/t/x".into(), size, root: [root; 32] }.sign(&key())
    }

    #[test]
    fn two_heads_of_one_size_prove_a_fork_to_whoever_has_the_key() {
        let (one, other) = (head(3, 1), head(3, 2));
        let fork = ForkProof::find(&vkey(), &one, &other).unwrap().unwrap();
        assert_eq!((fork.origin(), fork.size()), ("d/t/x", 3));
        let [first, second] = fork.notes();
        assert_eq!(ForkProof::find(&vkey(), first, second), Ok(Some(fork.clone())));
        let said = fork.to_string();
        assert!(said.starts_with("log `d/t/x` has forked: two heads of 3 records"), "{said}");
        assert!(said.contains(&one) && said.contains(&other) && said.contains(&vkey().to_string()));
    }

    #[test]
    fn the_same_head_twice_or_two_sizes_are_no_fork() {
        assert_eq!(ForkProof::find(&vkey(), &head(3, 1), &head(3, 1)), Ok(None));
        assert_eq!(ForkProof::find(&vkey(), &head(3, 1), &head(4, 2)), Ok(None));
    }

    #[test]
    fn nobody_else_can_make_a_log_look_forked() {
        let forged = Checkpoint { origin: "d/t/x".into(), size: 3, root: [2; 32] }
            .sign(&LogKey::from_seed(&[8; 32]).unwrap());
        assert_eq!(ForkProof::find(&vkey(), &head(3, 1), &forged), Err(BadNote::Unsigned));
        let changed = head(4, 2).replace("\n4\n", "\n3\n");
        assert_eq!(ForkProof::find(&vkey(), &head(3, 1), &changed), Err(BadNote::Signature));
        let elsewhere = Checkpoint { origin: "d/t/y".into(), size: 3, root: [2; 32] };
        let replayed = key().sign("d/t/x", &elsewhere.text());
        assert_eq!(ForkProof::find(&vkey(), &head(3, 1), &replayed), Err(BadNote::Origin));
    }
}
