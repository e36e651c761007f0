//! One spooled outcome as bytes: what stands in the file, and what must hold before it is believed.
//! No I/O, no clock.
//!
//! A file is a row of frames: length, digest, payload. The digest tells a torn end from a whole
//! frame; it is no secret and protects against nobody. What protects is the signed note in the
//! payload, of its own kind under a key name of its own, `<origin>/spool`: it binds the outcome's
//! bytes to the log, to the place of the intent, to its leaf and to its operation. So whoever may
//! write the file and does not hold the log key can make no outcome, and can neither move one to
//! another intent, another log nor another ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::canonical::{self, Value};
use crate::chain::{self, Hash, digest};
use crate::entry::{Body, Kind};
use crate::keys::KeyChain;
use crate::note::{LogKey, VerifierKey, decimal, parse_hash, write_hash};
use crate::record::{Draft, Place, Record, Stamp};

/// First line of the signed text.
const TITLE: &str = "portcullis/spool/v1";

const FRAME: &[u8] = b"portcullis/ledger/v1/spool/frame\n";
const OUTCOME: &[u8] = b"portcullis/ledger/v1/spool/outcome\n";

/// Length and digest.
const FRAME_HEAD: usize = 4 + 32;

/// An outcome, and the intent that it closes.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    /// Origin of the log.
    pub(crate) origin: String,
    /// Place of the intent.
    pub(crate) intent: u64,
    /// Its leaf hash.
    pub(crate) leaf: Hash,
    pub(crate) op: Uuid,
    pub(crate) draft: Arc<Draft>,
    pub(crate) body: Option<Arc<Body>>,
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("its end is torn")]
    Torn,
    #[error("it is no spooled outcome")]
    Form,
    #[error("it is of another log")]
    Foreign,
    #[error("it is not signed by the key of its log")]
    Unsigned,
    #[error("its bytes are not those that were signed")]
    Changed,
    #[error("it is not the outcome of the intent that it names")]
    NotAnOutcome,
}

impl Late {
    /// Bytes of the frame, signed.
    pub(crate) fn frame(&self, key: &LogKey) -> Vec<u8> {
        let outcome = self.outcome();
        let note = key.sign(&name(&self.origin), &self.text(&digest(&[OUTCOME, &outcome])));
        let mut payload = Vec::with_capacity(note.len() + outcome.len() + 4);
        put(&mut payload, note.as_bytes());
        payload.extend_from_slice(&outcome);
        let mut frame = Vec::with_capacity(payload.len() + FRAME_HEAD);
        frame.extend_from_slice(&length(&payload));
        frame.extend_from_slice(&digest(&[FRAME, &payload]));
        frame.extend_from_slice(&payload);
        frame
    }

    fn text(&self, outcome: &Hash) -> String {
        let Self { origin, intent, op, .. } = self;
        let (leaf, outcome) = (write_hash(&self.leaf), write_hash(outcome));
        format!("{TITLE}\n{origin}\n{intent}\n{leaf}\n{op}\n{outcome}\n")
    }

    /// Draft and body.
    fn outcome(&self) -> Vec<u8> {
        let (text, cuts) = self.draft.parts();
        let body = self.body.as_ref().map(|body| body.0.as_slice());
        let mut out = Vec::with_capacity(text.len() + body.map_or(0, <[u8]>::len) + 64);
        for cut in cuts {
            out.extend_from_slice(&u32::try_from(cut).unwrap_or(u32::MAX).to_be_bytes());
        }
        put(&mut out, text);
        out.push(u8::from(body.is_some()));
        out.extend_from_slice(body.unwrap_or_default());
        out
    }

    /// Whether the bytes are an outcome of this operation and this intent, for this tenant.
    fn is_outcome(&self, tenant: &str) -> bool {
        let stamp = Stamp {
            ts: "2026-01-01T00:00:00.000000Z".to_owned(),
            boot: "00".repeat(8),
            ns: 0,
            replica: "0".to_owned(),
            epoch: 0,
        };
        let (seq, prev) = (self.intent.saturating_add(1), &[0; 32]);
        let place = Place { log: &self.origin, seq, prev, stamp: &stamp, session: None };
        let bytes = self.draft.place(&place);
        let of = |value: &Value| value.get("who")?.text_at("tenant").map(|of| of == tenant);
        let ours = canonical::parse(&bytes).ok().and_then(|value| of(&value));
        Record::parse(&bytes).is_ok_and(|record| {
            (record.kind, record.op, record.reference)
                == (Kind::Outcome, self.op, Some(self.intent))
        }) && ours == Some(true)
    }
}

/// The frames of a file: payloads, and whether its end is torn.
pub(crate) fn frames(mut bytes: &[u8]) -> (Vec<&[u8]>, Result<(), Refused>) {
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let Some((payload, rest)) = frame(bytes) else { return (payloads, Err(Refused::Torn)) };
        payloads.push(payload);
        bytes = rest;
    }
    (payloads, Ok(()))
}

fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<32>()?;
    let (payload, rest) =
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*head)).ok()?)?;
    (digest(&[FRAME, payload]) == *check).then_some((payload, rest))
}

/// The keys of each log, by its origin.
pub(crate) type Keys = BTreeMap<String, KeyChain>;

/// Reads an entry that a key of its log signed. The key must have been in force when the intent was
/// written, or later: whoever took a key that was retired before makes no outcome with it.
pub(crate) fn open(payload: &[u8], deployment: &str, keys: &Keys) -> Result<Late, Refused> {
    let (note, outcome) = take(payload).ok_or(Refused::Form)?;
    let note = std::str::from_utf8(note).map_err(|_| Refused::Form)?;
    let origin = note.strip_prefix(TITLE).and_then(|rest| rest.strip_prefix('\n'));
    let origin = origin.and_then(|rest| rest.split('\n').next()).ok_or(Refused::Form)?;
    let tenant = chain::tenant_of(deployment, origin).ok_or(Refused::Foreign)?;
    let chain = keys.get(origin).ok_or(Refused::Foreign)?;
    let (late, said, signer) = signed(note, origin, outcome, chain)?;
    let then = chain.at(late.intent.saturating_add(1));
    let age = |key: &VerifierKey| chain.newest_first().position(|one| one == key);
    if age(signer) > age(then) {
        return Err(Refused::Unsigned);
    }
    if said != digest(&[OUTCOME, outcome]) {
        return Err(Refused::Changed);
    }
    if late.is_outcome(tenant) { Ok(late) } else { Err(Refused::NotAnOutcome) }
}

fn signed<'k>(
    note: &str,
    origin: &str,
    outcome: &[u8],
    chain: &'k KeyChain,
) -> Result<(Late, Hash, &'k VerifierKey), Refused> {
    let opened = chain.newest_first().find_map(|key| {
        let named = VerifierKey::of_public(&name(origin), *key.public()).ok()?;
        named.open(note).ok().map(|text| (text, key))
    });
    let (text, signer) = opened.ok_or(Refused::Unsigned)?;
    let lines: Vec<&str> = text.split('\n').collect();
    let [TITLE, of, intent, leaf, op, said, ""] = lines.as_slice() else {
        return Err(Refused::Form);
    };
    let (draft, body) = parts(outcome).ok_or(Refused::Changed)?;
    let late = Late {
        origin: (*of).to_owned(),
        intent: decimal(intent).ok_or(Refused::Form)?,
        leaf: parse_hash(leaf).ok_or(Refused::Form)?,
        op: Uuid::parse_str(op).map_err(|_| Refused::Form)?,
        draft: Arc::new(draft),
        body: body.map(Arc::new),
    };
    let said = parse_hash(said).ok_or(Refused::Form)?;
    if *of == origin { Ok((late, said, signer)) } else { Err(Refused::Foreign) }
}

fn parts(outcome: &[u8]) -> Option<(Draft, Option<Body>)> {
    let mut cuts = [0; 5];
    let mut rest = outcome;
    for cut in &mut cuts {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        (*cut, rest) = (usize::try_from(u32::from_be_bytes(*bytes)).ok()?, after);
    }
    let (text, rest) = take(rest)?;
    let body = match rest.split_first()? {
        (0, []) => None,
        (1, body) => Some(Body(body.to_vec())),
        _ => return None,
    };
    Some((Draft::of_parts(text, cuts)?, body))
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes));
    out.extend_from_slice(bytes);
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Nothing that comes here is anywhere near this long; what would be is cut off and so not believed.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn name(origin: &str) -> String {
    format!("{origin}/spool")
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
