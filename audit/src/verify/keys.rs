//! What a checker makes of the key records that it meets.

use crate::keys::{KeyChain, KeyChange};
use crate::record::Record;

/// The keys of the log that is checked.
#[derive(Debug)]
pub(super) enum Keys {
    /// Nobody said under which key it began, so nothing is made of them.
    Unknown,
    /// Followed as the records come.
    Followed(KeyChain),
    /// Known before, from the proofs of an export: no record may bring in another one.
    Known(KeyChain),
}

impl Keys {
    /// Takes a key record; says why when it counts for nothing.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), String> {
        match self {
            Self::Unknown => Ok(()),
            Self::Followed(chain) => chain.take(record).map_err(|why| why.to_string()),
            Self::Known(chain) => {
                if chain.changes().iter().any(|change| change.seq == record.seq) {
                    return Ok(());
                }
                let why = chain.clone().take(record).err().map(|why| why.to_string());
                Err(why.unwrap_or_else(|| "its proof is not in the export".to_owned()))
            }
        }
    }

    /// The keys that took over.
    pub(super) fn changes(&self) -> Vec<KeyChange> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Followed(chain) | Self::Known(chain) => chain.changes().to_vec(),
        }
    }
}
