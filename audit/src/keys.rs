//! The keys of a log, one after the other: how one takes over from the one before, in words that
//! an outsider can check. No I/O, no clock.
//!
//! A log begins under one key, which its first record is bound to ([`chain::genesis`]). A `key`
//! record carries a [`KeyStatement`]: a signed note of its own kind under a key name of its own,
//! `<origin>/key`, signed by the old key and by the new one. The old key vouches for the new one,
//! the new one shows that somebody holds it, and neither signature can be replayed as a head or as a
//! promise. Whoever believes one key of the chain follows it to all that come after.
//!
//! INVARIANT: a key takes over only by the word of the one before
//! (`a_statement_counts_only_with_both_signatures_and_for_its_own_log`).

use uuid::{Builder, Uuid};

use crate::chain::{self, Hash};
use crate::entry::Kind;
use crate::note::{BadNote, LogKey, SignedNote, VerifierKey, append};
use crate::policy::{Evaluation, Policy};
use crate::record::{NotARecord, Record};
use crate::tlog_proof::{NotProved, TlogProof};

/// First line of the text.
const TITLE: &str = "portcullis/key/v1";

/// That `new` signs for a log in place of `old`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatement {
    /// The key that signed so far; its name is the log's.
    pub old: VerifierKey,
    /// The key that signs from then on.
    pub new: VerifierKey,
}

/// Why a `key` record changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeyChange {
    /// It is another kind of record, or carries no statement.
    #[error("it carries no statement about a key")]
    NoStatement,
    /// The statement is no signed note.
    #[error("its statement: {0}")]
    Note(#[from] BadNote),
    /// The signed text is something else.
    #[error("its signed text is no statement about the keys of this log")]
    Text,
    /// The old key did not sign.
    #[error("the old key did not sign its statement")]
    OldKey,
    /// The new key did not sign.
    #[error("the new key did not sign its statement")]
    NewKey,
    /// The old key of the statement is not the one that signs at this place.
    #[error("the key that it replaces is not the one that signs here")]
    NotInForce,
    /// The new key has signed before.
    #[error("the key that it brings in has signed for this log before")]
    UsedBefore,
    /// Another operation than [`operation`] says.
    #[error("its operation is not the one of key records")]
    Operation,
}

impl KeyStatement {
    /// The statement about the log `origin` as a note, signed by both keys.
    ///
    /// # Errors
    /// [`BadNote`] when `origin` can't be the name of a key.
    pub fn sign(origin: &str, old: &LogKey, new: &LogKey) -> Result<String, BadNote> {
        let text = format!("{TITLE}\n{origin}\n{}\n{}\n", old.vkey(origin), new.vkey(origin));
        let name = name(origin);
        let by_old = old.sign(&name, &text);
        let by_new = new.sign(&name, &text);
        let line = by_new.strip_prefix(&text).and_then(|rest| rest.strip_prefix('\n'));
        append(&by_old, line.ok_or(BadNote::Form)?)
    }

    /// Reads the statement about the log `origin`, which both keys must have signed.
    ///
    /// # Errors
    /// [`NotAKeyChange`].
    pub fn open(note: &str, origin: &str) -> Result<Self, NotAKeyChange> {
        let note = SignedNote::parse(note)?;
        let lines: Vec<&str> = note.text().split('\n').collect();
        let [TITLE, of, old, new, ""] = lines.as_slice() else {
            return Err(NotAKeyChange::Text);
        };
        let key = |text: &str| {
            let key = VerifierKey::parse(text).ok().filter(|key| key.name() == origin);
            key.ok_or(NotAKeyChange::Text)
        };
        let (old, new) = (key(old)?, key(new)?);
        if *of != origin || old == new {
            return Err(NotAKeyChange::Text);
        }
        for (key, missing) in [(&old, NotAKeyChange::OldKey), (&new, NotAKeyChange::NewKey)] {
            let named = VerifierKey::of_public(&name(origin), *key.public());
            let named = named.map_err(|_| NotAKeyChange::Text)?;
            named.verify(&note).map_err(|_| missing)?;
        }
        Ok(Self { old, new })
    }
}

/// The operation id of all key records of a log, by which they are found without reading the log.
#[must_use]
pub fn operation(origin: &str) -> Uuid {
    let digest = chain::digest(&[b"portcullis/ledger/v1/key\n", origin.as_bytes()]);
    let (bytes, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Builder::from_custom_bytes(*bytes).into_uuid()
}

fn name(origin: &str) -> String {
    format!("{origin}/key")
}

/// A key that took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Place of the record that says so. Heads that cover it are signed by the new key.
    pub seq: u64,
    /// When, as that record claims.
    pub ts: String,
    /// The new key.
    pub key: VerifierKey,
}

/// The keys that a log has had, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChain {
    birth: VerifierKey,
    changes: Vec<KeyChange>,
}

impl KeyChain {
    /// The chain of a log that began under `birth`; the key's name is the log's.
    #[must_use]
    pub const fn new(birth: VerifierKey) -> Self {
        Self { birth, changes: Vec::new() }
    }

    /// The chain of the log `origin` from its key records, in their order; `None` when there are
    /// none. What must have come before the first of them is the key that it replaces.
    ///
    /// # Errors
    /// The place of the first record that is none, and why.
    pub fn of_records(
        origin: &str,
        records: &[Record],
    ) -> Result<Option<Self>, (u64, NotAKeyChange)> {
        let Some(first) = records.first() else { return Ok(None) };
        let birth = statement(first, origin).map_err(|why| (first.seq, why))?.old;
        let mut chain = Self::new(birth);
        for record in records {
            chain.take(record).map_err(|why| (record.seq, why))?;
        }
        Ok(Some(chain))
    }

    /// Takes the next key record.
    ///
    /// # Errors
    /// [`NotAKeyChange`]; the chain stays as it was.
    pub fn take(&mut self, record: &Record) -> Result<(), NotAKeyChange> {
        let said = statement(record, self.birth.name())?;
        if said.old != *self.current() {
            return Err(NotAKeyChange::NotInForce);
        }
        if self.knows(said.new.public()) {
            return Err(NotAKeyChange::UsedBefore);
        }
        self.changes.push(KeyChange { seq: record.seq, ts: record.ts.clone(), key: said.new });
        Ok(())
    }

    /// The key that the log began under.
    #[must_use]
    pub const fn birth(&self) -> &VerifierKey {
        &self.birth
    }

    /// The newest key.
    #[must_use]
    pub fn current(&self) -> &VerifierKey {
        self.changes.last().map_or(&self.birth, |change| &change.key)
    }

    /// The key that signs a head of `size` records: the newest that one of these brings in.
    #[must_use]
    pub fn at(&self, size: u64) -> &VerifierKey {
        let change = self.changes.iter().rev().find(|change| change.seq < size);
        change.map_or(&self.birth, |change| &change.key)
    }

    /// The keys that took over, in order.
    #[must_use]
    pub fn changes(&self) -> &[KeyChange] {
        &self.changes
    }

    /// All keys, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &VerifierKey> {
        let later = self.changes.iter().rev().map(|change| &change.key);
        later.chain(std::iter::once(&self.birth))
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn knows(&self, public: &[u8; 32]) -> bool {
        self.newest_first().any(|key| key.public() == public)
    }

    /// The genesis of the log.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        chain::genesis(self.birth.name(), &self.birth.to_string())
    }
}

/// What is believed of a log once its key records are followed.
#[derive(Clone, Debug)]
pub struct Followed {
    policy: Policy,
    /// Keys that were replaced, with the places of the records that say so.
    replaced: Vec<(u64, VerifierKey)>,
}

impl Followed {
    /// Whom it is believed of.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The keys that are believed and that none of these records replaces: of several nobody can tell
    /// which one is in force, so that a key that was replaced could pass for the newest.
    pub fn not_replaced(&self) -> impl Iterator<Item = &VerifierKey> {
        let keys = self.policy.logs().iter().map(|log| &log.key);
        keys.filter(|key| self.replaced.iter().all(|(_, old)| old.public() != key.public()))
    }

    /// Whether the key that signed a head was still in force there: whoever took a key that is replaced
    /// can sign with it for ever.
    ///
    /// # Errors
    /// [`NotFollowed::Replaced`].
    pub fn was_in_force(&self, head: &Evaluation) -> Result<(), NotFollowed> {
        let size = head.checkpoint.size;
        let by =
            |(seq, old): &&(u64, VerifierKey)| old.public() == head.log.public() && *seq < size;
        match self.replaced.iter().find(by) {
            Some((seq, _)) => Err(NotFollowed::Replaced { seq: *seq, size }),
            None => Ok(()),
        }
    }
}

/// What `policy` believes of a log once it follows the key records in these proofs, in any order: each
/// key that one brings in, when it is believed whom that key replaces. The proofs must be of records in
/// the log by the word of a key that is believed and in force then.
///
/// # Errors
/// What the first proof that does not fit lacks.
pub fn follow(
    policy: &Policy,
    origin: &str,
    proofs: &[TlogProof],
) -> Result<Followed, NotFollowed> {
    let mut policy = policy.for_log(origin).ok_or(NotFollowed::Unknown)?;
    let mut left = Vec::with_capacity(proofs.len());
    let mut replaced = Vec::with_capacity(proofs.len());
    for proof in proofs {
        let record = Record::parse(proof.extra().unwrap_or_default())?;
        if record.log != origin || record.seq != proof.index() {
            return Err(NotFollowed::Elsewhere);
        }
        let said = statement(&record, origin)?;
        replaced.push((record.seq, said.old.clone()));
        left.push(said);
    }
    let believes = |policy: &Policy, key: &VerifierKey| {
        policy.logs().iter().any(|log| log.key.public() == key.public())
    };
    while let Some(at) = left.iter().position(|said| believes(&policy, &said.old)) {
        let KeyStatement { new, .. } = left.swap_remove(at);
        if !believes(&policy, &new) {
            policy = policy.believing(new);
        }
    }
    if !left.is_empty() {
        return Err(NotFollowed::Unknown);
    }
    let followed = Followed { policy, replaced };
    for proof in proofs {
        let record = proof.extra().unwrap_or_default();
        let proved = proof.verify(record, &followed.policy, u64::MAX)?;
        followed.was_in_force(&proved.head)?;
    }
    Ok(followed)
}

/// Why a key record does not lead on from a key that is believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// What the proof carries is no record.
    #[error("it carries no record: {0}")]
    Record(#[from] NotARecord),
    /// The record changes no key.
    #[error(transparent)]
    Change(#[from] NotAKeyChange),
    /// The key that it replaces is not believed.
    #[error("the key that it replaces is none of the log's that you believe")]
    Unknown,
    /// The record is of another log, or of another place than the proof says.
    #[error("the record is of another log, or of another place than the proof is for")]
    Elsewhere,
    /// A head was signed by a key that had been replaced.
    #[error("its head of {size} records is signed by a key that record {seq} has replaced")]
    Replaced {
        /// Place of the record that replaced it.
        seq: u64,
        /// Size of the head.
        size: u64,
    },
    /// The record is not in the log.
    #[error(transparent)]
    Proof(#[from] NotProved),
}

/// What a key record of the log `origin` says.
fn statement(record: &Record, origin: &str) -> Result<KeyStatement, NotAKeyChange> {
    let note = record.key_statement().ok_or(NotAKeyChange::NoStatement)?;
    if record.kind != Kind::Key || record.op != operation(origin) {
        return Err(NotAKeyChange::Operation);
    }
    KeyStatement::open(note, origin)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
