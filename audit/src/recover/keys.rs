//! Which key signs from here on: that of the key file, unless a rotation was recorded and not brought
//! to its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::storage;
use crate::chain;
use crate::entry::DEPLOYMENT;
use crate::error::{OpenError, ReadError};
use crate::fault::{Fault, FaultKind};
use crate::key_file::{load_next, put_next_in_force};
use crate::keys::KeyChain;
use crate::ledger::LedgerOptions;
use crate::note::{LogKey, VerifierKey};
use crate::read::Reader;
use crate::store::LogRow;

/// The keys of each log, by origin.
pub(super) type Keys = BTreeMap<String, KeyChain>;

/// The keys of all logs, by their key records.
fn of_logs(options: &LedgerOptions) -> Result<Keys, OpenError> {
    let reader = Reader::of(options).map_err(unreadable)?;
    let chains = reader.all_keys().map_err(unreadable)?;
    Ok(chains.into_iter().map(|keys| (keys.birth().name().to_owned(), keys)).collect())
}

/// The key that signs, and the keys that have signed: it is `file`, or the one that waits beside it when all logs have changed to that.
/// Then it takes its place here, as a rotation that nothing interrupted does.
pub(super) fn in_force(
    options: &LedgerOptions,
    file: LogKey,
) -> Result<(Arc<LogKey>, Keys), OpenError> {
    let (path, keys) = (&options.signing_key, of_logs(options)?);
    let Some(wrong) = keys.values().find(|keys| !signs(&file, keys)) else {
        return Ok((Arc::new(file), keys));
    };
    if let Some(next) = load_next(path)?
        && keys.values().all(|keys| signs(&next, keys))
    {
        let old = vkey(&file, &chain::origin(&options.deployment, DEPLOYMENT));
        let id = old.map(|old| old.id()).unwrap_or_default();
        put_next_in_force(path, &id).map_err(storage)?;
        tracing::warn!(key = %wrong.current(), "the ledger signs with its new key from here on");
        return Ok((Arc::new(next), keys));
    }
    Err(refused(path, &file, wrong))
}

/// Why a key does not sign for a log.
fn refused(path: &Path, file: &LogKey, keys: &KeyChain) -> OpenError {
    let origin = keys.birth().name();
    let (known, last) = (vkey(file, origin), keys.changes().last());
    let retired = known.is_some_and(|key| keys.knows(key.public()));
    let why = match last {
        Some(change) if retired => format!(
            "record {} of log `{origin}` took this key out of force on {} and brought in {}; put the \
             file of that key here",
            change.seq,
            change.ts,
            change.key.id()
        ),
        _ => format!("log `{origin}` was begun under another key"),
    };
    OpenError::Key { path: path.to_owned(), why }
}

/// The keys of a log that is opened: those that were read, or of one that was begun since.
pub(super) fn of_log(
    row: &LogRow,
    keys: &Keys,
    key: &LogKey,
    path: &Path,
) -> Result<KeyChain, OpenError> {
    let begun = || VerifierKey::parse(&row.vkey).ok().map(KeyChain::new);
    let known = keys.get(&row.origin).cloned().or_else(begun);
    let known = known.filter(|keys| keys.genesis() == row.genesis && signs(key, keys));
    known.ok_or_else(|| {
        let why = format!("log `{}` was begun under another key", row.origin);
        OpenError::Key { path: path.to_owned(), why }
    })
}

fn signs(key: &LogKey, keys: &KeyChain) -> bool {
    vkey(key, keys.birth().name()).as_ref() == Some(keys.current())
}

fn vkey(key: &LogKey, origin: &str) -> Option<VerifierKey> {
    VerifierKey::parse(&key.vkey(origin)).ok()
}

fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Record { log, seq, why } => {
            let fault = Fault { log, seq: Some(seq), kind: FaultKind::BadKey, why };
            OpenError::Forged { fault }
        }
        error => OpenError::Storage(error.to_string()),
    }
}
