//! A record, read back strictly: in one pass over its bytes, without a tree of them.

use std::borrow::Cow;

use uuid::Uuid;

use super::{VERSION, is_name};
use crate::canonical::{NotCanonical, Reader};
use crate::chain::Hash;
use crate::entry::{Kind, Retention};
use crate::note::Checkpoint;
use crate::session_seq::SessionSeq;
use crate::tiles::WIDTH;

/// What the check of a log needs to know of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Origin of its log.
    pub log: String,
    /// Its place.
    pub seq: u64,
    /// Leaf hash of the record before, as it claims.
    pub prev: Hash,
    /// RFC 3339 UTC, microseconds.
    pub ts: String,
    /// What it is.
    pub kind: Kind,
    /// Operation id.
    pub op: Uuid,
    /// The record that it is about.
    pub reference: Option<u64>,
    /// The run of the ledger that wrote it, as a counter.
    pub epoch: Option<u64>,
    /// How long it is kept.
    pub ret: Option<Retention>,
    /// Which record of its session it is, when it is numbered.
    pub counted: Option<CountedRecord>,
    prune: Option<PruneNote>,
    statement: Option<String>,
    heads: Vec<Checkpoint>,
}

/// A record's number in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRecord {
    /// The session, as the record names it.
    pub session: String,
    /// Its number.
    pub at: SessionSeq,
}

/// What a prune record says, when it says all that it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneNote {
    /// All records before this place may be gone, but for certificates; whole bundles.
    pub until: u64,
    /// The longest retention class among them.
    pub class: Retention,
    /// SHA-256 of the `index` of the export that has them.
    pub export: Hash,
    /// The head of the log in that export.
    pub head_size: u64,
    /// Its root.
    pub head_root: Hash,
    /// How many certificates before `until` stay.
    pub kept: u64,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARecord {
    /// Not the canonical form of any value.
    #[error("not canonical: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// A member that the format does not have, or of the wrong shape.
    #[error("member `{0}` is unknown or has the wrong shape")]
    Member(String),
    /// A member that every record has is missing or not in its form.
    #[error("member `{0}` is missing or not in its form")]
    Missing(&'static str),
}

impl Record {
    /// The heads of other logs that an anchor record vouches for; none in any other record.
    #[must_use]
    pub fn heads(&self) -> &[Checkpoint] {
        if self.kind == Kind::Anchor { &self.heads } else { &[] }
    }

    /// What a prune record says; `None` for any other, and for one that does not say all it must.
    #[must_use]
    pub fn prune(&self) -> Option<&PruneNote> {
        self.prune.as_ref().filter(|_| self.kind == Kind::Prune)
    }

    /// The signed note of a key record (`note.statement`); `None` for any other.
    #[must_use]
    pub fn key_statement(&self) -> Option<&str> {
        self.statement.as_deref().filter(|_| self.kind == Kind::Key)
    }

    /// Reads a record from its canonical bytes.
    ///
    /// # Errors
    /// [`NotARecord`]; never panics, whatever the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotARecord> {
        let mut reader = Reader::new(bytes)?;
        if !reader.is_map() {
            return Err(NotARecord::Missing("v"));
        }
        let mut seen = Seen::default();
        reader.map(|key, reader| seen.member(key, reader))?;
        reader.end()?;
        seen.record()
    }
}

/// What was read of a record so far.
#[derive(Default)]
struct Seen<'a> {
    log: Option<Cow<'a, str>>,
    seq: Option<u64>,
    prev: Option<Hash>,
    ts: Option<Cow<'a, str>>,
    kind: Option<Kind>,
    op: Option<Uuid>,
    reference: Option<u64>,
    epoch: Option<u64>,
    ret: Option<Retention>,
    pruned: Pruned<'a>,
    heads: Vec<Checkpoint>,
    mono: bool,
    v: bool,
    w: bool,
    who: Option<Numbered>,
}

/// What `who` says of the session.
#[derive(Default)]
struct Numbered {
    session: Option<String>,
    number: Option<Option<u64>>,
    since: Option<Option<u64>>,
}

impl Numbered {
    /// All of it or nothing, and only in a record of a kind that is counted.
    fn at(self, kind: Kind, seq: u64) -> Result<Option<CountedRecord>, NotARecord> {
        match (self.session, self.number, self.since) {
            (_, None, None) => Ok(None),
            (Some(session), Some(Some(number)), Some(Some(since)))
                if kind.is_counted() && number > 0 && since <= seq =>
            {
                Ok(Some(CountedRecord { session, at: SessionSeq { since, number } }))
            }
            _ => Err(wrong("who")),
        }
    }
}

impl<'a> Seen<'a> {
    fn member(&mut self, key: &'a str, reader: &mut Reader<'a>) -> Result<(), NotARecord> {
        let none = |_: &str, _: &str| {};
        match key {
            "heads" => self.heads = list(key, reader, head)?,
            "in" | "out" => members(key, reader, &["blob", "c", "n"], none)?,
            "kind" => self.kind = Some(form("kind", reader, Kind::parse)?),
            "log" => self.log = Some(text(key, reader)?),
            "mono" => {
                members(key, reader, &["boot", "ns"], none)?;
                self.mono = true;
            }
            "note" => notes(key, reader, |name, value| self.pruned.note(name, value))?,
            "op" => self.op = Some(form("op", reader, uuid)?),
            "pol" => policy(key, reader)?,
            "prev" => self.prev = Some(form("prev", reader, hash)?),
            "ref" => self.reference = Some(form("ref", reader, number)?),
            "res" => members(key, reader, &["error", "status"], none)?,
            "ret" => self.ret = Some(form("ret", reader, Retention::parse)?),
            "sec" => drop(list(key, reader, secret)?),
            "seq" => self.seq = Some(form("seq", reader, number)?),
            "tool" => members(key, reader, &["name", "schema", "server"], none)?,
            "ts" => self.ts = Some(timestamp(text(key, reader)?)?),
            "v" => self.v = form("v", reader, |v| Some(v == VERSION))?,
            "w" => {
                members(key, reader, &["epoch", "replica"], |name, value| {
                    if name == "epoch" {
                        self.epoch = number(value);
                    }
                })?;
                self.w = true;
            }
            "who" => {
                let known =
                    ["extension", "session", "session_seq", "session_since", "subject", "tenant"];
                let who = self.who.insert(Numbered::default());
                members(key, reader, &known, |name, value| match name {
                    "session" => who.session = Some(value.to_owned()),
                    "session_seq" => who.number = Some(number(value)),
                    "session_since" => who.since = Some(number(value)),
                    _ => {}
                })?;
            }
            _ => return Err(NotARecord::Member(key.to_owned())),
        }
        Ok(())
    }

    /// The record, when everything that each has was there.
    fn record(mut self) -> Result<Record, NotARecord> {
        let missing = NotARecord::Missing;
        for (is_there, key) in [(self.v, "v"), (self.mono, "mono"), (self.w, "w")] {
            if !is_there {
                return Err(missing(key));
            }
        }
        let seq = self.seq.ok_or(missing("seq"))?;
        let kind = self.kind.ok_or(missing("kind"))?;
        Ok(Record {
            log: self.log.ok_or(missing("log"))?.into_owned(),
            seq,
            prev: self.prev.ok_or(missing("prev"))?,
            ts: self.ts.ok_or(missing("ts"))?.into_owned(),
            kind,
            op: self.op.ok_or(missing("op"))?,
            reference: self.reference,
            epoch: self.epoch,
            ret: self.ret,
            counted: self.who.ok_or(missing("who"))?.at(kind, seq)?,
            statement: self.pruned.statement.take().map(Cow::into_owned),
            prune: self.pruned.whole(),
            heads: self.heads,
        })
    }
}

fn wrong(key: &str) -> NotARecord {
    NotARecord::Member(key.to_owned())
}

/// A member that is text.
fn text<'a>(key: &str, reader: &mut Reader<'a>) -> Result<Cow<'a, str>, NotARecord> {
    if reader.is_text() { Ok(reader.text()?) } else { Err(wrong(key)) }
}

/// A member that is text of one form.
fn form<T>(
    key: &'static str,
    reader: &mut Reader<'_>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, NotARecord> {
    read(&text(key, reader)?).ok_or(NotARecord::Missing(key))
}

/// An object that has at most these members, all of them text.
fn members(
    key: &str,
    reader: &mut Reader<'_>,
    known: &[&str],
    mut each: impl FnMut(&str, &str),
) -> Result<(), NotARecord> {
    if !reader.is_map() {
        return Err(wrong(key));
    }
    reader.map(|name, reader| {
        if !known.contains(&name) {
            return Err(wrong(key));
        }
        each(name, &text(key, reader)?);
        Ok(())
    })
}

/// An object whose members are text under any key.
fn notes<'a>(
    key: &str,
    reader: &mut Reader<'a>,
    mut each: impl FnMut(&'a str, Cow<'a, str>),
) -> Result<(), NotARecord> {
    if !reader.is_map() {
        return Err(wrong(key));
    }
    reader.map(|name, reader| {
        each(name, text(key, reader)?);
        Ok(())
    })
}

/// The notes of a prune record and of a key record, as far as they were read; most records have none
/// of them.
#[derive(Default)]
struct Pruned<'a> {
    until: Option<u64>,
    class: Option<Retention>,
    export: Option<Hash>,
    head_size: Option<u64>,
    head_root: Option<Hash>,
    kept: Option<u64>,
    approvers: [Option<Cow<'a, str>>; 2],
    statement: Option<Cow<'a, str>>,
}

impl<'a> Pruned<'a> {
    fn note(&mut self, name: &str, value: Cow<'a, str>) {
        let [one, two] = &mut self.approvers;
        match name {
            "until" => self.until = number(&value),
            "class" => self.class = Retention::parse(&value),
            "export" => self.export = hash(&value),
            "head_size" => self.head_size = number(&value),
            "head_root" => self.head_root = hash(&value),
            "kept" => self.kept = number(&value),
            "approved_by" => *one = Some(value),
            "and_by" => *two = Some(value),
            "statement" => self.statement = Some(value),
            _ => {}
        }
    }

    /// All of it, when it is whole and fits together.
    fn whole(self) -> Option<PruneNote> {
        let [one, two] = self.approvers;
        let (one, two) = (one?, two?);
        let note = PruneNote {
            until: self.until?,
            class: self.class?,
            export: self.export?,
            head_size: self.head_size?,
            head_root: self.head_root?,
            kept: self.kept?,
        };
        let bundles = note.until.is_multiple_of(WIDTH as u64) && note.until <= note.head_size;
        (are_two(&one, &two) && bundles).then_some(note)
    }
}

/// Whether these name two people.
pub(crate) fn are_two(one: &str, two: &str) -> bool {
    is_name(one) && is_name(two) && !one.eq_ignore_ascii_case(two)
}

fn policy(key: &str, reader: &mut Reader<'_>) -> Result<(), NotARecord> {
    if !reader.is_map() {
        return Err(wrong(key));
    }
    reader.map(|name, reader| match name {
        "bundle" | "decision" => text(key, reader).map(drop),
        "rule" => list(key, reader, |key, reader| text(key, reader).map(drop)).map(drop),
        _ => Err(wrong(key)),
    })
}

fn list<'a, T>(
    key: &str,
    reader: &mut Reader<'a>,
    item: impl Fn(&str, &mut Reader<'a>) -> Result<T, NotARecord>,
) -> Result<Vec<T>, NotARecord> {
    if !reader.is_list() {
        return Err(wrong(key));
    }
    let mut items = Vec::new();
    reader.list(|reader| item(key, reader).map(|item| items.push(item)))?;
    Ok(items)
}

/// One entry of `heads`.
fn head(key: &str, reader: &mut Reader<'_>) -> Result<Checkpoint, NotARecord> {
    let (mut log, mut root, mut size) = (None, None, None);
    members(key, reader, &["log", "root", "size"], |name, value| match name {
        "log" => log = Some(value.to_owned()),
        "root" => root = hash(value),
        _ => size = number(value),
    })?;
    match (log, root, size) {
        (Some(origin), Some(root), Some(size)) => Ok(Checkpoint { origin, size, root }),
        _ => Err(wrong(key)),
    }
}

/// One entry of `sec`.
fn secret(key: &str, reader: &mut Reader<'_>) -> Result<(), NotARecord> {
    let mut count = 0;
    // Each at most once, since keys ascend.
    members(key, reader, &["id", "name", "purpose", "version"], |_, _| count += 1)?;
    if count == 4 { Ok(()) } else { Err(wrong(key)) }
}

/// A decimal number without leading zeros.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let shortest = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| shortest)
}

/// 64 lowercase hex digits.
fn hash(text: &str) -> Option<Hash> {
    let mut out = [0_u8; 32];
    hex::decode_to_slice(text, &mut out).ok()?;
    text.bytes().all(|b| !b.is_ascii_uppercase()).then_some(out)
}

/// The hyphenated form in lower case.
fn uuid(text: &str) -> Option<Uuid> {
    let mut lower = Uuid::encode_buffer();
    let id = Uuid::parse_str(text).ok()?;
    (*id.hyphenated().encode_lower(&mut lower) == *text).then_some(id)
}

/// `2026-11-21T10:00:00.000000Z` and nothing else: no other form of the same instant, no leap second.
fn timestamp(text: Cow<'_, str>) -> Result<Cow<'_, str>, NotARecord> {
    let form = b"0000-00-00T00:00:00.000000Z";
    let fits =
        |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    let has_form = text.len() == form.len() && text.bytes().zip(*form).all(fits);
    if has_form && text.get(17..19) != Some("60") && text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text);
    }
    Err(NotARecord::Missing("ts"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What jiff writes for an instant is the one form that is read.
        #[test]
        fn an_instant_has_one_form(text in "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{6}Z") {
            let time = text.parse::<jiff::Timestamp>();
            let is_so = time.is_ok_and(|time| format!("{time:.6}") == text);
            prop_assert_eq!(timestamp(Cow::Borrowed(&text)).is_ok(), is_so);
        }

        #[test]
        fn a_number_has_one_form(text in "[0-9]{1,21}|[+-]?[0-9]{1,3}|[ a-f0-9]{0,3}") {
            let is_so = text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
            prop_assert_eq!(number(&text).is_some(), is_so);
        }

        #[test]
        fn an_id_has_one_form(id in any::<u128>()) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(uuid(&id.to_string()), Some(id));
            for other in [id.simple().to_string(), id.braced().to_string(), id.urn().to_string()] {
                prop_assert_eq!(uuid(&other), None);
            }
            let upper = id.to_string().to_uppercase();
            prop_assert_eq!(uuid(&upper).is_some(), upper == id.to_string());
        }
    }

    #[test]
    fn instants_in_other_forms_are_refused() {
        for text in [
            "2026-11-21T10:00:00.000000Z",
            "2026-11-21T10:00:00.0000000Z",
            "2026-11-21t10:00:00.000000z",
            "2026-11-21 10:00:00.000000Z",
            "2026-11-21T10:00:60.000000Z",
            "2026-02-29T10:00:00.000000Z",
            "2026-11-21T24:00:00.000000Z",
            "2026-11-21T10:00:00,000000Z",
            "2026-11-21T10:00:00.00000\u{e9}",
            "",
        ] {
            let is_so = text == "2026-11-21T10:00:00.000000Z";
            assert_eq!(timestamp(Cow::Borrowed(text)).is_ok(), is_so, "{text}");
        }
    }
}
