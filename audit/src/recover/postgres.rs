//! Opening a ledger that others may have open too.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::keys::{self, Keys};
use super::{
    check_lease, identify, opened, serve, spawn, start_spool, storage, take_up, tenant_of, torn,
    verify_tail,
};
use crate::error::OpenError;
use crate::fault::{Fault, FaultKind};
use crate::head_file::{self, Head, HeadFile, Noted};
use crate::ledger::{LedgerOptions, OpenState, Opened, Postgres};
use crate::note::LogKey;
use crate::publish::{Leaves, Publisher, Shown};
use crate::queue::{Queue, Shared};
use crate::session_seq::Sessions;
use crate::store::postgres::{each_from, heads, open, open_reader, pruned};
use crate::store::{PostgresStore, Store, beside};
use crate::writer::{ANCHOR_EVERY, LogEnd, SpoolPlace, Writer};

/// Opens the ledger and starts its threads.
pub(super) fn start(
    options: &LedgerOptions,
    postgres: &Postgres,
) -> Result<(Queue, Arc<Shown>, Arc<LogKey>, Opened), OpenError> {
    check_lease(postgres)?;
    let (mut store, made) = open(postgres.url(), postgres.lease)?;
    let empty = made || heads(store.client())?.is_empty();
    let key = crate::key_file::load(&options.signing_key, empty)?;
    let (key, keys) = keys::in_force(options, key)?;
    belongs(&mut store, options, &key)?;
    let head = compare(&store, &options.path)?;
    let shared = Arc::new(Shared::default());
    let shown = Arc::new(Shown::of_ledger(&options.path, &options.deployment));
    let mut publisher = Publisher::open(
        Leaves::Postgres(open_reader(postgres.url())?, key.vkey(&options.deployment)),
        &options.signing_key,
        &options.deployment,
        Arc::clone(&key),
        Arc::clone(&shown),
        Arc::clone(&shared),
    );
    let logs = open_logs(&store, options, (&key, &keys), &mut publisher)?;
    publisher.nothing_signed_is_missing()?;
    logs.values().for_each(|end| shared.durable(&end.row.origin, end.size));
    let state = state(made, &logs);
    let head_file = HeadFile::open(&beside(&options.path, ".head"), head).map_err(storage)?;
    // Not earlier: verifying must not eat up the lease.
    let taken = store.take_epoch(&options.replica)?;
    store.claim_publisher()?;
    let identity = identify(options, Arc::clone(&key), store.epoch())?;
    let spooling = start_spool(options, &identity, &shared, None)?;
    let (heads, new_heads) = mpsc::sync_channel(1);
    let publisher = spawn("ledger-publisher", move || publisher.run(&new_heads))?;
    let now = Instant::now();
    let mut writer = Writer {
        store: Store::Postgres(Box::new(store)),
        identity,
        logs,
        head,
        head_file,
        shared: Arc::clone(&shared),
        sessions: Sessions::default(),
        checkpointing: None,
        undo: None,
        heads,
        publisher,
        publish_at: Some(now),
        publish_every: options.publish_every,
        anchor_at: now + ANCHOR_EVERY,
        spooling,
        earlier: Vec::new(),
        spools: SpoolPlace::new(&options.path, &keys),
        reserve: None,
        room_at: None,
        commits: 0,
        marked_at: head.records,
        lock: None,
    };
    let closed = take_up(&mut writer, |writer| Ok(writer.take_over(&taken)?))?;
    shared.set_records(writer.records());
    let opened = opened(state, &writer, closed);
    Ok((serve(writer, options)?, shown, key, opened))
}

fn state(made: bool, logs: &HashMap<String, LogEnd>) -> OpenState {
    match (made, logs.values().all(|end| end.size == 0)) {
        (true, _) => OpenState::Absent,
        (false, true) => OpenState::Empty,
        (false, false) => OpenState::Whole,
    }
}

fn belongs(
    store: &mut PostgresStore,
    options: &LedgerOptions,
    key: &LogKey,
) -> Result<(), OpenError> {
    let vkey = key.vkey(&options.deployment);
    match store.belongs_to(&options.deployment, &vkey)?.as_deref() {
        None => Ok(()),
        Some("vkey") => {
            let why = "the ledger in this database was begun under another key; give every \
                       replica the same key file"
                .to_owned();
            Err(OpenError::Key { path: options.signing_key.clone(), why })
        }
        Some(_) => Err(OpenError::Options(format!(
            "the ledger in this database is not of deployment `{}`; set the name that it was \
             created with",
            options.deployment
        ))),
    }
}

/// What this replica was promised last must still be there. A replica that was promised nothing yet
/// has no note.
fn compare(store: &PostgresStore, path: &Path) -> Result<Head, OpenError> {
    match head_file::read(&beside(path, ".head")).map_err(storage)? {
        Noted::Absent => Ok(Head::EMPTY),
        Noted::Unreadable => Err(torn("the head file is damaged".to_owned())),
        Noted::Head(noted) if noted.records == 0 => Ok(noted),
        Noted::Head(noted) => match store.leaf_at(noted.records)? {
            Some(leaf) if leaf == noted.leaf => Ok(noted),
            None => {
                let why = "a record that was acknowledged to this replica is not in PostgreSQL";
                Err(torn(why.to_owned()))
            }
            Some(_) => Err(OpenError::Forged {
                fault: Fault {
                    log: "all".to_owned(),
                    seq: None,
                    kind: FaultKind::Rewritten,
                    why: format!("record number {} is not the one acknowledged", noted.records),
                },
            }),
        },
    }
}

fn open_logs(
    store: &PostgresStore,
    options: &LedgerOptions,
    (key, keys): (&LogKey, &Keys),
    publisher: &mut Publisher,
) -> Result<HashMap<String, LogEnd>, OpenError> {
    let mut logs = HashMap::new();
    // Taken before the tails are read: others may append meanwhile.
    for (row, size, _) in heads(store.client())? {
        let tenant = tenant_of(&row, &options.deployment)?;
        let keys = keys::of_log(&row, keys, key, &options.signing_key)?;
        let mark = store.mark(row.id)?;
        let each = |log, from, step: &mut super::Step<'_>| {
            each_from(store.client(), log, from, |seq, leaf, bytes| step(seq, leaf, bytes))
        };
        let pruned = pruned(store.client(), row.id)?;
        let mut end = verify_tail(row, (mark, pruned), each)?;
        if end.size < size {
            let why = format!("log `{}` has {size} records, here are {}", end.row.origin, end.size);
            return Err(torn(why));
        }
        // Whose intents are open is told by the epochs: those of others are not ours to close.
        end.open.clear();
        (end.tree, end.announced) = publisher.take_up(&end.row, end.size, &keys)?;
        logs.insert(tenant, end);
    }
    Ok(logs)
}
