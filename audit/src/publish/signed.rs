//! What the log key has signed last, noted durably *before* a signature is released.
//!
//! The guard that no two roots are ever signed for one size (c2sp.org/tlog-checkpoint: a log must
//! not sign inconsistent checkpoints), also after an older copy of the database was put back. It
//! stands beside the key, because it is a fact about the key.

use std::path::{Path, PathBuf};

use super::folder::{of_log, write_whole};
use crate::entry::DEPLOYMENT;
use crate::note::Checkpoint;
use crate::store::beside;

/// The last signed head of each log, below `<key file>.signed`.
#[derive(Clone, Debug)]
pub(crate) struct LastSigned {
    root: PathBuf,
    deployment: String,
}

/// Why a head may not be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSigned {
    /// A larger head was signed already, so records are missing here.
    #[error("a head of {signed} records was signed already, here are {size}")]
    Behind {
        /// Size of the signed head.
        signed: u64,
        /// Size of the head that was to be signed.
        size: u64,
    },
    /// Another root was signed for this size.
    #[error("another history of {size} records was signed already")]
    Forked {
        /// The size.
        size: u64,
    },
    /// The note is damaged.
    #[error("`{}` does not hold a head", .0.display())]
    Unreadable(PathBuf),
    /// The file system said no.
    #[error("what was signed cannot be noted: {0}")]
    Io(#[from] std::io::Error),
}

impl LastSigned {
    /// The guard of a key.
    pub(crate) fn of_key(key: &Path, deployment: &str) -> Self {
        Self { root: beside(key, ".signed"), deployment: deployment.to_owned() }
    }

    /// The last signed head of a log; `None` when none was signed.
    pub(crate) fn read(&self, origin: &str) -> Result<Option<Checkpoint>, NotSigned> {
        let path = self.path(origin);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(NotSigned::Unreadable(path));
            }
            Err(error) => return Err(error.into()),
        };
        match Checkpoint::parse(&text) {
            Ok(head) if head.origin == origin => Ok(Some(head)),
            _ => Err(NotSigned::Unreadable(path)),
        }
    }

    /// Names of the logs of which something was signed.
    pub(crate) fn origins(&self) -> std::io::Result<Vec<String>> {
        let mut within = vec![DEPLOYMENT.to_owned()];
        match std::fs::read_dir(self.root.join("t")) {
            Ok(tenants) => {
                for tenant in tenants {
                    within.push(format!("t/{}", tenant?.file_name().to_string_lossy()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let origins = within.into_iter().map(|within| format!("{}/{within}", self.deployment));
        Ok(origins.filter(|origin| self.path(origin).exists()).collect())
    }

    /// Notes durably that `head` is about to be signed. The caller has shown that it continues the
    /// last signed one.
    pub(crate) fn note(
        &self,
        last: Option<&Checkpoint>,
        head: &Checkpoint,
    ) -> Result<(), NotSigned> {
        match last {
            Some(last) if last.size > head.size => {
                Err(NotSigned::Behind { signed: last.size, size: head.size })
            }
            Some(last) if last.size == head.size && last.root != head.root => {
                Err(NotSigned::Forked { size: head.size })
            }
            Some(last) if last == head => Ok(()),
            _ => Ok(write_whole(&self.path(&head.origin), head.text().as_bytes())?),
        }
    }

    fn path(&self, origin: &str) -> PathBuf {
        of_log(&self.root, &self.deployment, origin).join("head")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, root: u8) -> Checkpoint {
        Checkpoint { origin: "d/t/x".to_owned(), size, root: [root; 32] }
    }

    #[test]
    fn no_two_roots_are_signed_for_one_size() {
        let folder = tempfile::tempdir().unwrap();
        let guard = LastSigned::of_key(&folder.path().join("key"), "d");
        assert_eq!(guard.read("d/t/x").unwrap(), None);
        guard.note(None, &head(3, 1)).unwrap();
        let last = guard.read("d/t/x").unwrap();
        assert_eq!(last, Some(head(3, 1)));
        guard.note(last.as_ref(), &head(3, 1)).unwrap();
        let forked = guard.note(last.as_ref(), &head(3, 2));
        assert!(matches!(forked, Err(NotSigned::Forked { size: 3 })));
        let behind = guard.note(last.as_ref(), &head(2, 1));
        assert!(matches!(behind, Err(NotSigned::Behind { signed: 3, size: 2 })));
        guard.note(last.as_ref(), &head(4, 2)).unwrap();
        assert_eq!(guard.read("d/t/x").unwrap(), Some(head(4, 2)));
    }

    #[test]
    fn a_damaged_note_is_not_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        let guard = LastSigned::of_key(&folder.path().join("key"), "d");
        guard.note(None, &head(3, 1)).unwrap();
        for damage in ["", "d/t/x\n3\n", "d/t/y\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"]
        {
            std::fs::write(folder.path().join("key.signed/t/x/head"), damage).unwrap();
            assert!(matches!(guard.read("d/t/x"), Err(NotSigned::Unreadable(_))), "{damage:?}");
        }
    }
}
