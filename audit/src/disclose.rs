//! Disclosing what a record commits to, field by field, to whoever is to see it (ledger-and-vault.md
//! 5.3, 5.11). Pure: files in, answers out.
//!
//! A record commits to its arguments (`in`), its answer (`out`) and the capsule of its decision
//! (`note.capsule`), each under a random key of its own. Who is given the key of a field can check the
//! field against the record; who is given none can't even try what it might have been. What one field
//! holds of another is told with it: a capsule holds the argument values in clear (`context.input`), the
//! real ids of the principal and of the target's owner, and the caller's address, so whoever is given it
//! needs no key of `in` to read them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::canonical::{self, Value};
use crate::chain::{self, Hash};
use crate::commitment::Commitment;

/// The folder of an export that holds what is disclosed.
pub const FOLDER: &str = "bodies";

/// The note that commits to the capsule of a decision.
pub const CAPSULE: &str = "capsule";

/// Version of the format.
const VERSION: &str = "1";

/// What is disclosed of one record: the file `bodies/<log>/<seq>.json` of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    v: String,
    /// Origin of the log.
    pub log: String,
    /// Place of the record.
    pub seq: String,
    /// What is disclosed of it; each field once.
    pub fields: Vec<Disclosed>,
}

/// One field of a record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosed {
    /// `in`, `out` or `capsule`.
    pub field: String,
    /// The key of its commitment, lowercase hex.
    key: String,
    /// What is committed to, where it is kept beside the record; whoever has it from elsewhere brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Without key and payload.
impl fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disclosed").field("field", &self.field).finish_non_exhaustive()
    }
}

impl Disclosed {
    /// A field with the key of its commitment.
    #[must_use]
    pub fn new(field: &str, key: &[u8; 32], payload: Option<String>) -> Self {
        Self { field: field.to_owned(), key: hex::encode(key), payload }
    }

    fn key(&self) -> Option<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(&self.key, key.as_mut_slice()).ok()?;
        (hex::encode(*key) == self.key).then_some(key)
    }
}

/// What a record commits to as one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    digest: Hash,
    /// Length of the payload, where the record tells it.
    length: Option<u64>,
}

impl Committed {
    /// What the record commits to as this field; nothing when it does not.
    #[must_use]
    pub fn of(record: &[u8], field: &str) -> Option<Self> {
        let record = canonical::parse(record).ok()?;
        let (digest, length) = match field {
            "in" | "out" => {
                let member = record.get(field)?;
                (member.text_at("c")?, Some(crate::note::decimal(member.text_at("n")?)?))
            }
            CAPSULE => {
                (record.get("note").and_then(|note| note.get(CAPSULE)).and_then(Value::text)?, None)
            }
            _ => return None,
        };
        let digest = Hash::try_from(hex::decode(digest).ok()?).ok()?;
        Some(Self { digest, length })
    }

    /// Whether it is this payload under this key, or, of a streamed answer, its SHA-256 digest; compared
    /// in constant time.
    fn is(&self, field: &str, key: &Zeroizing<[u8; 32]>, payload: &[u8]) -> bool {
        let fits = |payload: &[u8]| {
            let made = Commitment::under(key.clone(), field, payload);
            self.length.is_none_or(|length| length == made.length()) && made.matches(&self.digest)
        };
        fits(payload) || (field == "out" && fits(&chain::digest(&[payload])))
    }
}

/// What became of the fields of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Fields whose payload is what the record commits to.
    pub fit: u64,
    /// Fields of which only the key is here.
    pub keys_alone: u64,
}

impl Disclosure {
    /// What is disclosed of the record at a place.
    #[must_use]
    pub fn new(log: &str, seq: u64, fields: Vec<Disclosed>) -> Self {
        Self { v: VERSION.to_owned(), log: log.to_owned(), seq: seq.to_string(), fields }
    }

    /// The file's text.
    ///
    /// # Errors
    /// None in practice: everything in it is text.
    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads the file of the record at a place.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &[u8], log: &str, seq: u64) -> Result<Self, String> {
        // Not serde's own words: they may hold what is disclosed.
        let read: Self = serde_json::from_slice(text)
            .map_err(|why| format!("not the form of a disclosure, at line {}", why.line()))?;
        if read.v != VERSION {
            return Err("of another version of the format".to_owned());
        }
        if read.log != log || read.seq != seq.to_string() {
            return Err(format!("it says that it is of record {} of `{}`", read.seq, read.log));
        }
        let names: BTreeSet<&str> = read.fields.iter().map(|one| one.field.as_str()).collect();
        if names.len() != read.fields.len() || names.is_empty() {
            return Err("it has no field, or one field twice".to_owned());
        }
        Ok(read)
    }

    /// Checks every field against what the record commits to. `brought` gives the payload of a field that
    /// the auditor has from elsewhere.
    ///
    /// # Errors
    /// The first field that does not fit, and why.
    pub fn check<'a>(
        &self,
        record: &[u8],
        brought: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Result<Checked, String> {
        let mut checked = Checked::default();
        for one in &self.fields {
            let field = one.field.as_str();
            let committed = Committed::of(record, field)
                .ok_or_else(|| format!("the record does not commit to a field `{field}`"))?;
            let key =
                one.key().ok_or_else(|| format!("the key of `{field}` is not 32 bytes in hex"))?;
            let kept = one.payload.as_deref().map(str::as_bytes);
            let payloads = [kept, brought(field)];
            for payload in payloads.iter().flatten() {
                if !committed.is(field, &key, payload) {
                    return Err(format!("`{field}` is not what the record commits to"));
                }
            }
            if payloads.iter().all(Option::is_none) {
                checked.keys_alone += 1;
            } else {
                checked.fit += 1;
            }
        }
        Ok(checked)
    }
}

/// Where in an export the disclosed fields of a record are; `within` is the folder of its log.
#[must_use]
pub fn path(within: &str, seq: u64) -> String {
    format!("{FOLDER}/{within}/{seq}.json")
}

/// What stands beside the disclosed fields for whoever opens the folder.
pub const README: &str = "\
What is disclosed of some records, field by field: `<log>/<seq>.json` is of the record at that place.

  field    `in` (the arguments), `out` (the answer) or `capsule` (all that the rules were asked, and of
           whom: with the policy set of the record the decision can be run again)
  key      k of the field's commitment
  payload  what is committed to, where it was kept beside the record. The bytes of arguments and
           answers are not: who has them from the caller or the app gives them to the verifier by
           `--payload TENANT:SEQ:FIELD=FILE`. Of a streamed answer the record commits to the SHA-256.

`portcullis-verify .` at the folder above checks each against the record, which has `c` (in `in`, `out`
or `note.capsule`):

  c = HMAC-SHA-256(k, \"portcullis/ledger/v1/commit\\n\" || field || 0x00 || payload)

Whoever has this folder can read what is in it, and can check guesses of the payloads whose keys are in
it. A `capsule` holds in clear: the values of the arguments (`context.input`), the real ids of the
principal and of the target's owner, which the record only has as pseudonyms, and the caller's address.
Of a field that is in no file here, and in no capsule here, nothing can be learned. Keep it as you would
keep the data itself.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{CallFields, Kind};
    use crate::record::{Draft, Place, Stamp};

    fn record(fields: &CallFields) -> Vec<u8> {
        let draft = Draft::new(Kind::Intent, "t", uuid::Uuid::nil(), None, fields, true).unwrap();
        let stamp = Stamp {
            ts: "2026-11-21T10:00:00.000001Z".into(),
            boot: "0".into(),
            ns: 1,
            replica: "0".into(),
            epoch: 1,
        };
        draft.place(&Place { log: "d/t/t", seq: 7, prev: &[0; 32], stamp: &stamp, session: None })
    }

    fn of(field: &str, payload: &[u8]) -> (Commitment, Disclosed) {
        let made = Commitment::of(field, payload).unwrap();
        let payload = Some(String::from_utf8(payload.to_vec()).unwrap());
        let disclosed = Disclosed::new(field, made.key(), payload);
        (made, disclosed)
    }

    #[test]
    fn each_field_is_checked_against_the_record_and_no_other() {
        let ((input, of_input), (capsule, of_capsule)) =
            (of("in", b"{}"), of(CAPSULE, b"{\"a\":1}"));
        let mut fields = CallFields { input: Some(input), ..CallFields::default() };
        fields.note.insert(CAPSULE.to_owned(), hex::encode(capsule.digest()));
        let record = record(&fields);
        let check =
            |fields: Vec<Disclosed>| Disclosure::new("d/t/t", 7, fields).check(&record, |_| None);
        let both = check(vec![of_input.clone(), of_capsule.clone()]);
        assert_eq!(both, Ok(Checked { fit: 2, keys_alone: 0 }));
        let key_alone = Disclosed { payload: None, ..of_input.clone() };
        assert_eq!(check(vec![key_alone.clone()]), Ok(Checked { fit: 0, keys_alone: 1 }));
        let changed = Disclosed { payload: Some("[]".to_owned()), ..of_input.clone() };
        assert!(check(vec![changed]).unwrap_err().contains("not what the record commits to"));
        let other_key = Disclosed { key: of_capsule.key.clone(), ..of_input.clone() };
        assert!(check(vec![other_key]).is_err());
        let other_field = Disclosed { field: "out".to_owned(), ..of_input };
        assert!(check(vec![other_field]).unwrap_err().contains("does not commit to a field `out`"));
        let brought = |payload: &'static [u8]| {
            Disclosure::new("d/t/t", 7, vec![key_alone.clone()]).check(&record, |_| Some(payload))
        };
        assert_eq!(brought(b"{}"), Ok(Checked { fit: 1, keys_alone: 0 }));
        assert!(brought(b"{ }").is_err());
    }

    #[test]
    fn a_streamed_answer_is_checked_by_its_digest() {
        let digest = chain::digest(&[b"all that was streamed"]);
        let made = Commitment::of("out", &digest).unwrap();
        let one = Disclosed::new("out", made.key(), None);
        let record = record(&CallFields { output: Some(made), ..CallFields::default() });
        let of = Disclosure::new("d/t/t", 7, vec![one]);
        assert_eq!(of.check(&record, |_| Some(&b"all that was streamed"[..])).unwrap().fit, 1);
        assert!(of.check(&record, |_| Some(&b"something else"[..])).is_err());
    }

    #[test]
    fn a_disclosure_reads_back_and_every_other_form_is_refused() {
        let (_, one) = of("in", b"{}");
        let text = Disclosure::new("d/t/t", 7, vec![one]).to_text().unwrap();
        let parse = |text: &str| Disclosure::parse(text.as_bytes(), "d/t/t", 7);
        assert_eq!(parse(&text).unwrap().to_text().unwrap(), text);
        assert!(Disclosure::parse(text.as_bytes(), "d/t/t", 8).is_err());
        assert!(Disclosure::parse(text.as_bytes(), "d/t/u", 7).is_err());
        for (from, to) in [
            ("\"v\": \"1\"", "\"v\": \"2\""),
            ("\"field\": \"in\"", "\"field\": \"in\", \"field\": \"in\""),
            ("\"field\": \"in\"", "\"field\": \"in\", \"more\": \"in\""),
            ("\"seq\": \"7\"", "\"seq\": \"07\""),
        ] {
            assert!(text.contains(from), "{from}");
            let why = parse(&text.replace(from, to)).unwrap_err();
            assert!(!why.contains("{}"), "a payload in an error: {why}");
        }
        assert!(parse("{\"v\":\"1\",\"log\":\"d/t/t\",\"seq\":\"7\",\"fields\":[]}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_files_and_records_never_panic(
            text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            form in "\\PC{0,40}",
        ) {
            let _ = Disclosure::parse(&text, "d/t/t", 7);
            let _ = Committed::of(&text, "in");
            let _ = crate::Counted::parse(&form);
            let _ = crate::verify::KeptFile::parse("f", &form);
            let of = Disclosed { field: form.clone(), key: form.clone(), payload: Some(form) };
            let _ = Disclosure::new("d/t/t", 7, vec![of]).check(&text, |_| None);
        }
    }

    #[test]
    fn neither_key_nor_payload_is_in_debug() {
        let (made, one) = of("in", b"4711");
        let shown = format!("{:?}", Disclosure::new("d/t/t", 7, vec![one]));
        assert!(!shown.contains(&hex::encode(made.key())) && !shown.contains("4711"), "{shown}");
    }
}
