//! What an export discloses of records: keys and capsules that were sealed beside them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use portcullis_audit::disclose::{CAPSULE, Committed, Disclosed, Disclosure, FOLDER, README, path};
use portcullis_audit::note::Checkpoint;
use portcullis_audit::{Kind, Query, ReadError, RecordRow};
use portcullis_secrets::OpenError;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::policy::{Archive, PolicyError};
use super::super::{print, records};
use crate::config::Settings;
use crate::ledgers::LedgerError;
use crate::record::Unopened;

/// Records that are read at once.
const PAGE: u64 = 500;

/// Records that stay closed and that text names; JSON names all.
const NAMED: usize = 20;

/// What is asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// All records of an operation.
    Operation(Uuid),
    /// One record: tenant, or `deployment`, and place.
    Place(String, u64),
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(op) = Uuid::parse_str(text) {
            return Ok(Self::Operation(op));
        }
        let place = text.rsplit_once(':').and_then(|(log, seq)| Some((log, seq.parse().ok()?)));
        let (log, seq) = place.ok_or("neither an operation's id nor TENANT:SEQ")?;
        Ok(Self::Place(log.to_owned(), seq))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operation(op) => write!(f, "{op}"),
            Self::Place(log, seq) => write!(f, "{log}:{seq}"),
        }
    }
}

/// A field that records commit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Field {
    /// The arguments: their key.
    In,
    /// The answer: its key.
    Out,
    /// The capsule of the decision, and its key: argument values, real ids and the caller's address in clear.
    Capsule,
}

impl Field {
    /// Keys alone: who has the payload can check it, and anybody can check guesses of it.
    pub(super) const UNLESS_NAMED: [Self; 2] = [Self::In, Self::Out];

    const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Capsule => CAPSULE,
        }
    }
}

/// What was disclosed, and what stays closed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shown {
    records: u64,
    fields: u64,
    closed: Vec<Closed>,
    /// Named, but nothing of it can be disclosed.
    nothing: Vec<String>,
}

/// A record of which nothing can be disclosed any more, or nobody knows by whose key.
#[derive(Debug, Serialize)]
struct Closed {
    log: String,
    seq: u64,
    op: Uuid,
    why: &'static str,
}

impl Shown {
    /// For people.
    pub(super) fn say(&self, folder: &Path) {
        print::line(format_args!(
            "{} fields of {} records are disclosed in {}",
            self.fields,
            self.records,
            folder.join(FOLDER).display()
        ));
        if !self.closed.is_empty() {
            print::line(format_args!("{} records stay closed:", self.closed.len()));
        }
        for closed in self.closed.iter().take(NAMED) {
            print::line(format_args!("  {} {}: {}", closed.log, closed.seq, closed.why));
        }
        if self.closed.len() > NAMED {
            print::line("  and so on; --json names all");
        }
        for subject in &self.nothing {
            print::line(format_args!(
                "nothing of {subject} can be disclosed: there is no such record in this export, or it \
                 commits to none of these fields"
            ));
        }
    }
}

/// A ledger with the keys that open what is sealed in it.
pub(super) struct Archived {
    archive: Archive,
}

impl Archived {
    /// Opens ledger, keys and directory.
    ///
    /// # Errors
    /// Which of them is not here.
    pub(super) async fn open(settings: &Settings) -> Result<Self, PolicyError> {
        Ok(Self { archive: Archive::open(settings).await? })
    }

    /// Writes what is to be disclosed beside an export with these heads; of all its records when no
    /// `subjects` are named. What is shown is noted before it is.
    ///
    /// # Errors
    /// When the ledger can't be read, the note not be made, the folder not be written, or a body not be opened
    /// for another reason than that its key was erased or its owner is not known.
    pub(super) async fn disclose(
        &mut self,
        folder: &Path,
        heads: &[Checkpoint],
        subjects: &[Subject],
        fields: &[Field],
    ) -> Result<Shown, PolicyError> {
        self.note(folder, heads, subjects, fields).await?;
        write(folder, &format!("{FOLDER}/README"), README)?;
        let mut shown = Shown::default();
        for subject in subjects {
            let query = match subject {
                Subject::Operation(op) => Query { op: Some(*op), ..Query::default() },
                Subject::Place(log, seq) => at(log, *seq),
            };
            let before = (shown.fields, shown.closed.len());
            self.each(self.archive.rows(&query)?, (folder, heads, fields), &mut shown).await?;
            if before == (shown.fields, shown.closed.len()) {
                shown.nothing.push(subject.to_string());
            }
        }
        for head in heads.iter().filter(|_| subjects.is_empty()) {
            for from in (0..head.size).step_by(usize::try_from(PAGE).unwrap_or(1)) {
                let to = Some(head.size.min(from + PAGE).saturating_sub(1));
                let log = Some(head.origin.clone());
                let page =
                    Query { log, from: Some(from), to, limit: Some(PAGE), ..Query::default() };
                self.each(self.archive.rows(&page)?, (folder, heads, fields), &mut shown).await?;
            }
        }
        Ok(shown)
    }

    async fn each(
        &mut self,
        rows: Vec<RecordRow>,
        (folder, heads, fields): (&Path, &[Checkpoint], &[Field]),
        shown: &mut Shown,
    ) -> Result<(), PolicyError> {
        let is_in = |row: &RecordRow| {
            heads.iter().any(|head| head.origin == row.record.log && row.record.seq < head.size)
        };
        for row in rows.iter().filter(|row| is_in(row)) {
            match self.fields_of(row, fields).await {
                Ok(fields) if fields.is_empty() => {}
                Ok(fields) => {
                    shown.records += 1;
                    shown.fields += fields.len() as u64;
                    let (log, seq) = (&row.record.log, row.record.seq);
                    let within = log.split_once('/').map_or(log.as_str(), |(_, within)| within);
                    let text = Disclosure::new(log, seq, fields).to_text();
                    let text =
                        text.map_err(|why| PolicyError::usage(why.to_string(), "report it"))?;
                    write(folder, &path(within, seq), &text)?;
                }
                Err(fault) => {
                    let Some(why) = stays_closed(&fault) else { return Err(fault) };
                    let (log, seq, op) = (row.record.log.clone(), row.record.seq, row.record.op);
                    shown.closed.push(Closed { log, seq, op, why });
                }
            }
        }
        Ok(())
    }

    /// The fields that the record commits to and whose keys are there. Those of an outcome are sealed with
    /// its intent.
    async fn fields_of(
        &mut self,
        row: &RecordRow,
        fields: &[Field],
    ) -> Result<Vec<Disclosed>, PolicyError> {
        let committed = |field: &&Field| Committed::of(&row.bytes, field.as_str()).is_some();
        let fields: Vec<&Field> = fields.iter().filter(committed).collect();
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let intent = match (row.record.kind, row.record.reference) {
            (Kind::Outcome, Some(seq)) => self.archive.rows(&at(&row.record.log, seq))?.pop(),
            _ => None,
        };
        let Some(opened) = self.archive.opened(intent.as_ref().unwrap_or(row)).await? else {
            return Ok(Vec::new());
        };
        let disclosed = fields.into_iter().filter_map(|field| {
            let payload = opened.capsule.as_ref().filter(|_| *field == Field::Capsule);
            let payload = payload.map(|text| text.get().to_owned());
            Some(Disclosed::new(field.as_str(), &*opened.key(field.as_str())?, payload))
        });
        Ok(disclosed.collect())
    }

    /// Notes what is about to be disclosed, for the deployment's log.
    async fn note(
        &self,
        folder: &Path,
        heads: &[Checkpoint],
        subjects: &[Subject],
        fields: &[Field],
    ) -> Result<(), PolicyError> {
        let index = folder.join("index");
        let bytes = std::fs::read(&index)
            .map_err(|source| LedgerError::from(ReadError::Io { path: index, source }))?;
        let named: Vec<String> = match subjects {
            [] => heads.iter().map(|head| head.origin.clone()).collect(),
            subjects => subjects.iter().map(ToString::to_string).collect(),
        };
        let fields: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
        let whole = if subjects.is_empty() { "whole logs" } else { "records" };
        let export = hex::encode(Sha256::digest(&bytes));
        let of = (whole, named.as_slice(), fields.join(","));
        self.archive.directory().note_disclosure(of, &export, &records::operator()).await?;
        Ok(())
    }
}

/// Why a record stays closed. Every other fault may be over tomorrow, or is somebody's deed, and must not
/// pass for an erasure.
const fn stays_closed(fault: &PolicyError) -> Option<&'static str> {
    match fault {
        PolicyError::Nobody(_) => Some("its owner is not known"),
        PolicyError::Sealed { source: Unopened::Vault(OpenError::NoKey), .. } => Some(
            "what was sealed beside it does not open any more: its key was erased, or the store of keys is \
             not the right one",
        ),
        _ => None,
    }
}

/// The record at one place.
fn at(log: &str, seq: u64) -> Query {
    Query { log: Some(log.to_owned()), from: Some(seq), to: Some(seq), ..Query::default() }
}

/// For its owner alone: it holds what others may not see.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), PolicyError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let path = folder.join(name);
    let written = || {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())
    };
    written().map_err(|source| LedgerError::from(ReadError::Io { path, source }).into())
}

#[cfg(test)]
mod tests {
    use portcullis_secrets::KeyError;

    use super::*;

    #[test]
    fn discloses_nothing_of_what_was_erased_and_takes_no_other_fault_for_an_erasure() {
        let sealed =
            |source| PolicyError::Sealed { op: Uuid::nil(), source: Unopened::Vault(source) };
        assert!(stays_closed(&sealed(OpenError::NoKey)).unwrap().contains("was erased"));
        let nobody = PolicyError::Nobody("p".to_owned());
        assert_eq!(stays_closed(&nobody), Some("its owner is not known"));
        for other in
            [OpenError::NotForThis, OpenError::Altered, OpenError::Key(KeyError::Contended)]
        {
            assert_eq!(stays_closed(&sealed(other)), None);
        }
        assert_eq!(stays_closed(&PolicyError::Keys("away".to_owned())), None);
    }
}
