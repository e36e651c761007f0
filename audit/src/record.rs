//! A record and its one canonical byte form (ledger-and-vault.md 5.2). No I/O, no clock.
//!
//! Members in order: `heads in kind log mono note op out pol prev ref res ret sec seq tool ts v w who`.
//! The caller's part is rendered by the caller ([`Draft`]); the one writer only fills in what
//! depends on the place in the log, because the writer is the only serial part of the gateway.

use uuid::Uuid;

use crate::canonical::{MAX_RECORD_BYTES, is_key, write_text};
use crate::chain::Hash;
use crate::commitment::Commitment;
use crate::entry::{CallFields, Kind, PolicyRef, RecordRef, ResultRef, ToolRef, UsedSecret, Who};
use crate::error::InvalidEntry;
use crate::note::Checkpoint;
use crate::session_seq::{SessionKey, SessionSeq};

mod parse;

pub(crate) use parse::are_two;
pub use parse::{CountedRecord, NotARecord, PruneNote, Record};

/// Version of the format (`v`).
pub(crate) const VERSION: &str = "1";

/// Room for what the writer adds: origin, boot id, clocks, `prev`, `seq`, replica, number in the session.
const WRITER_SHARE: usize = 1024;

/// The caller's share of a record, rendered in six pieces between which the writer's values go.
#[derive(Debug)]
pub struct Draft {
    text: Vec<u8>,
    /// Ends of the first five pieces: before `log`, `prev`, `seq`, `ts` and, within `who`, `session_seq`.
    cuts: [usize; 5],
    /// The session in which it is numbered.
    session: Option<SessionKey>,
}

/// What the writer adds to a draft.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Origin of the log.
    pub log: &'a str,
    /// Index of the record in its log.
    pub seq: u64,
    /// Leaf hash of the record before.
    pub prev: &'a Hash,
    /// When and by whom.
    pub stamp: &'a Stamp,
    /// Its number in its session, when it has one.
    pub session: Option<SessionSeq>,
}

/// When and by whom; the same for a whole batch.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// RFC 3339 UTC with microseconds. A claim, not a proof.
    pub ts: String,
    /// Random id of this run of the ledger.
    pub boot: String,
    /// Nanoseconds since this run began.
    pub ns: u64,
    /// Name of the replica.
    pub replica: String,
    /// Counter of runs.
    pub epoch: u64,
}

impl Draft {
    /// Renders the caller's share. `blob` says that a sealed body stands beside the record.
    ///
    /// # Errors
    /// [`InvalidEntry`] for a bad tenant, a bad note key, or more than 65,535 bytes.
    pub fn new(
        kind: Kind,
        tenant: &str,
        op: Uuid,
        reference: Option<RecordRef>,
        fields: &CallFields,
        blob: bool,
    ) -> Result<Self, InvalidEntry> {
        check(tenant, fields)?;
        let op = op.to_string();
        let blob = blob.then_some(op.as_str());
        let mut out = Members(Vec::with_capacity(1024));
        out.0.push(b'{');
        out.heads(&fields.heads);
        out.commitment("in", fields.input.as_ref(), blob);
        out.text("kind", kind.as_str());
        let before_log = out.0.len();
        out.notes(fields);
        out.text("op", &op);
        out.commitment("out", fields.output.as_ref(), blob);
        out.policy(fields.pol.as_ref());
        let before_prev = out.0.len();
        out.number("ref", reference.map(|RecordRef(seq)| seq));
        out.result(fields.res.as_ref());
        out.optional("ret", fields.ret.map(crate::entry::Retention::as_str));
        out.secrets(&fields.sec);
        let before_seq = out.0.len();
        out.tool(fields.tool.as_ref());
        let before_ts = out.0.len();
        let before_count = out.who(&fields.who, tenant);
        out.0.push(b'}');
        let Members(text) = out;
        if text.len() + WRITER_SHARE > MAX_RECORD_BYTES {
            return Err(InvalidEntry::TooLong(text.len() + WRITER_SHARE));
        }
        let is_counted = kind.is_counted() && !fields.who.once;
        let counted = fields.who.session.as_ref().filter(|_| is_counted);
        let session = counted.map(|session| crate::chain::digest(&[session.as_bytes()]));
        Ok(Self {
            text,
            cuts: [before_log, before_prev, before_seq, before_ts, before_count],
            session,
        })
    }

    /// What [`Self::of_parts`] makes it again of. Not of a draft that is to be numbered.
    pub(crate) fn parts(&self) -> (&[u8], [usize; 5]) {
        (&self.text, self.cuts)
    }

    /// A draft that is numbered in no session; `None` for cuts that do not fit the text.
    pub(crate) fn of_parts(text: &[u8], cuts: [usize; 5]) -> Option<Self> {
        let fits = cuts.is_sorted()
            && cuts.iter().all(|cut| *cut <= text.len())
            && text.len() + WRITER_SHARE <= MAX_RECORD_BYTES;
        fits.then(|| Self { text: text.to_vec(), cuts, session: None })
    }

    /// The session in which it is to be numbered.
    pub(crate) const fn session(&self) -> Option<&SessionKey> {
        self.session.as_ref()
    }

    /// The record's bytes at its place.
    #[must_use]
    pub fn place(&self, place: &Place<'_>) -> Vec<u8> {
        let [log, prev, seq, ts, count] = self.cuts;
        let mut out = Members(Vec::with_capacity(self.text.len() + 512));
        self.copy(&mut out, 0, log);
        out.text("log", place.log);
        out.open("mono");
        out.text("boot", &place.stamp.boot);
        out.number("ns", Some(place.stamp.ns));
        out.close();
        self.copy(&mut out, log, prev);
        out.hash("prev", place.prev);
        self.copy(&mut out, prev, seq);
        out.number("seq", Some(place.seq));
        self.copy(&mut out, seq, ts);
        out.text("ts", &place.stamp.ts);
        out.text("v", VERSION);
        out.open("w");
        out.number("epoch", Some(place.stamp.epoch));
        out.text("replica", &place.stamp.replica);
        out.close();
        self.copy(&mut out, ts, count);
        out.number("session_seq", place.session.map(|at| at.number));
        out.number("session_since", place.session.map(|at| at.since));
        self.copy(&mut out, count, self.text.len());
        out.0
    }

    fn copy(&self, out: &mut Members, from: usize, to: usize) {
        out.0.extend_from_slice(self.text.get(from..to).unwrap_or_default());
    }
}

/// True for a name of 1 to 64 letters, digits, `_`, `.` or `-` that does not begin with a dot.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn check(tenant: &str, fields: &CallFields) -> Result<(), InvalidEntry> {
    if !is_name(tenant) {
        return Err(InvalidEntry::Tenant);
    }
    match fields.note.keys().find(|key| !is_key(key)) {
        Some(key) => Err(InvalidEntry::NoteKey(key.clone())),
        None => Ok(()),
    }
}

/// Writes members in the order in which it is called.
struct Members(Vec<u8>);

impl Members {
    fn key(&mut self, key: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn open(&mut self, key: &str) {
        self.key(key);
        self.0.push(b'{');
    }

    fn close(&mut self) {
        self.0.push(b'}');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_text(&mut self.0, value);
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        let Some(mut value) = value else { return };
        let mut digits = [0_u8; 20];
        let mut used = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + u8::try_from(value % 10).unwrap_or_default();
            value /= 10;
            used += 1;
            if value == 0 {
                break;
            }
        }
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
        self.0.push(b'"');
    }

    fn hash(&mut self, key: &str, hash: &Hash) {
        let mut digits = [0_u8; 64];
        // The lengths are fixed, so encoding cannot fail.
        if hex::encode_to_slice(hash, &mut digits).is_ok() {
            self.key(key);
            self.0.push(b'"');
            self.0.extend_from_slice(&digits);
            self.0.push(b'"');
        }
    }

    fn commitment(&mut self, key: &str, commitment: Option<&Commitment>, blob: Option<&str>) {
        let Some(commitment) = commitment else { return };
        self.open(key);
        self.optional("blob", blob);
        self.hash("c", commitment.digest());
        self.number("n", Some(commitment.length()));
        self.close();
    }

    fn notes(&mut self, fields: &CallFields) {
        if fields.note.is_empty() {
            return;
        }
        self.open("note");
        for (key, value) in &fields.note {
            self.text(key, value);
        }
        self.close();
    }

    fn policy(&mut self, policy: Option<&PolicyRef>) {
        let Some(policy) = policy else { return };
        self.open("pol");
        self.text("bundle", &policy.bundle);
        self.text("decision", &policy.decision);
        self.key("rule");
        self.0.push(b'[');
        for (index, rule) in policy.rules.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            write_text(&mut self.0, rule);
        }
        self.0.push(b']');
        self.close();
    }

    fn result(&mut self, result: Option<&ResultRef>) {
        let Some(result) = result else { return };
        self.open("res");
        self.optional("error", result.error.as_deref());
        self.text("status", &result.status);
        self.close();
    }

    fn secrets(&mut self, secrets: &[UsedSecret]) {
        if secrets.is_empty() {
            return;
        }
        self.key("sec");
        self.0.push(b'[');
        for (index, secret) in secrets.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.0.push(b'{');
            self.text("id", &secret.id);
            self.text("name", &secret.name);
            self.text("purpose", &secret.purpose);
            self.number("version", Some(secret.version));
            self.close();
        }
        self.0.push(b']');
    }

    fn heads(&mut self, heads: &[Checkpoint]) {
        if heads.is_empty() {
            return;
        }
        self.key("heads");
        self.0.push(b'[');
        for (index, head) in heads.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.0.push(b'{');
            self.text("log", &head.origin);
            self.hash("root", &head.root);
            self.number("size", Some(head.size));
            self.close();
        }
        self.0.push(b']');
    }

    fn tool(&mut self, tool: Option<&ToolRef>) {
        let Some(tool) = tool else { return };
        self.open("tool");
        self.text("name", &tool.name);
        self.text("schema", &tool.schema);
        self.text("server", &tool.server);
        self.close();
    }

    /// Gives where the number in the session goes.
    fn who(&mut self, who: &Who, tenant: &str) -> usize {
        self.open("who");
        self.optional("extension", who.extension.as_deref());
        self.optional("session", who.session.as_deref());
        let before_count = self.0.len();
        self.optional("subject", who.subject.as_deref());
        self.text("tenant", tenant);
        self.close();
        before_count
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
