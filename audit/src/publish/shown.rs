//! The checkpoint that is shown of each log, which two may write: the publisher, who shows a new
//! head, and whoever brings the cosignatures of witnesses for the head that is there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::folder;
use crate::note::{BadNote, SignedNote, parse_lines};

/// The published folder, and the turn of those who write a checkpoint in it.
#[derive(Debug)]
pub(crate) struct Shown {
    root: PathBuf,
    deployment: String,
    turn: Mutex<()>,
}

impl Shown {
    /// The published files of the ledger at `path`.
    pub(crate) fn of_ledger(path: &Path, deployment: &str) -> Self {
        let root = folder::published(path);
        Self { root, deployment: deployment.to_owned(), turn: Mutex::new(()) }
    }

    /// Folder of a log.
    pub(crate) fn folder_of(&self, origin: &str) -> PathBuf {
        folder::of_log(&self.root, &self.deployment, origin)
    }

    /// Shows a new head.
    pub(crate) fn show(&self, origin: &str, note: &str) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        folder::write_whole(&self.checkpoint(origin), note.as_bytes())
    }

    /// Adds signature lines to the note that is shown, when `text` is still what it says. False
    /// when another head is shown by now, which these lines say nothing about.
    pub(crate) fn add(&self, origin: &str, text: &str, lines: &str) -> io::Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.checkpoint(origin);
        let note = std::fs::read_to_string(&path)?;
        let grown = with_lines(&note, text, lines).map_err(io::Error::other)?;
        match grown {
            None => return Ok(false),
            Some(grown) if grown == note => {}
            Some(grown) => folder::write_whole(&path, grown.as_bytes())?,
        }
        Ok(true)
    }

    fn checkpoint(&self, origin: &str) -> PathBuf {
        self.folder_of(origin).join("checkpoint")
    }
}

/// The note with these lines after its own; of a key that signed before, only the new line stays.
/// None when the note has another text.
fn with_lines(note: &str, text: &str, lines: &str) -> Result<Option<String>, BadNote> {
    let parsed = SignedNote::parse(note)?;
    if parsed.text() != text {
        return Ok(None);
    }
    let new = parse_lines(lines)?;
    let again = |name: &str, id: [u8; 4]| new.iter().any(|new| new.name == name && new.id == id);
    let old = note.strip_prefix(text).and_then(|rest| rest.strip_prefix('\n')).unwrap_or_default();
    let mut grown = format!("{text}\n");
    for (line, signature) in old.split_inclusive('\n').zip(parsed.signatures()) {
        if !again(signature.name, signature.id) {
            grown.push_str(line);
        }
    }
    grown.push_str(lines);
    SignedNote::parse(&grown)?;
    Ok(Some(grown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Checkpoint, Cosigner, LogKey};

    fn head(size: u64) -> Checkpoint {
        Checkpoint { origin: "d/t/x".to_owned(), size, root: [1; 32] }
    }

    fn shown(folder: &Path) -> (Shown, String, Cosigner) {
        let shown = Shown::of_ledger(&folder.join("ledger"), "d");
        let note = head(3).sign(&LogKey::from_seed(&[7; 32]).unwrap());
        shown.show("d/t/x", &note).unwrap();
        (shown, note, Cosigner::from_seed("w", &[8; 32]).unwrap())
    }

    #[test]
    fn cosignatures_are_added_to_the_head_that_is_shown_and_to_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (shown, note, witness) = shown(folder.path());
        let line = witness.cosign(&head(3).text(), 100);
        assert!(shown.add("d/t/x", &head(3).text(), &line).unwrap());
        let read = || std::fs::read_to_string(shown.folder_of("d/t/x").join("checkpoint")).unwrap();
        assert_eq!(read(), format!("{note}{line}"));
        let newer = witness.cosign(&head(4).text(), 101);
        assert!(!shown.add("d/t/x", &head(4).text(), &newer).unwrap());
        assert_eq!(read(), format!("{note}{line}"));
    }

    #[test]
    fn a_witness_that_cosigned_twice_has_only_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let (shown, note, witness) = shown(folder.path());
        let other = Cosigner::from_seed("v", &[9; 32]).unwrap().cosign(&head(3).text(), 99);
        for line in [witness.cosign(&head(3).text(), 100), other.clone()] {
            assert!(shown.add("d/t/x", &head(3).text(), &line).unwrap());
        }
        let last = witness.cosign(&head(3).text(), 200);
        assert!(shown.add("d/t/x", &head(3).text(), &last).unwrap());
        let read = std::fs::read_to_string(shown.folder_of("d/t/x").join("checkpoint")).unwrap();
        assert_eq!(read, format!("{note}{other}{last}"));
    }
}
