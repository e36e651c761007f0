//! Carries changes of the directory into the ledger.
//!
//! A change writes its note in its own transaction (the outbox), also when another process makes
//! it, such as `portcullis user`; this task appends a record for each and only then marks it.
//!
//! INVARIANT: a change without a record is never forgotten, at worst recorded twice
//! (`records::every_change_of_the_directory`).

use std::sync::Arc;
use std::time::Duration;

use portcullis_audit::{CallFields, DEPLOYMENT, Entry, Kind, Ledger, Retention, Who};
use uuid::Uuid;

use crate::directory::{CARRY, Change, Directory, ERASED, Lease};
use crate::gateway::Gateway;

/// How often the outbox is looked at.
const EVERY: Duration = Duration::from_millis(250);
const AT_ONCE: u32 = 100;

/// Runs until the task is dropped.
pub async fn carry(gateway: Arc<Gateway>) {
    let mut tick = tokio::time::interval(EVERY);
    // Of many replicas one carries, so that a change has one record.
    let mut lease = Lease::new(CARRY);
    loop {
        tick.tick().await;
        let carried = match lease.is_ours(&gateway.directory).await {
            Ok(true) => carry_once(&gateway.directory, &gateway.ledger).await,
            Ok(false) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        };
        if let Err(fault) = carried {
            tracing::warn!(%fault, "changes of the directory wait for the ledger");
        }
    }
}

/// Carries what waits, oldest first.
///
/// # Errors
/// When the directory or the ledger can't; what waits, waits on.
pub async fn carry_once(directory: &Directory, ledger: &Ledger) -> Result<(), String> {
    let waiting = directory.unrecorded(AT_ONCE).await.map_err(|fault| fault.to_string())?;
    for change in waiting {
        let version = change.version;
        ledger.append(entry(change)).await.map_err(|fault| fault.to_string())?;
        directory.mark_recorded(version).await.map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

fn entry(change: Change) -> Entry {
    let kind = if change.action == ERASED { Kind::Erase } else { Kind::Admin };
    // What became of secrets and their keys must be there to be asked about for ever.
    let of_secrets = ["secret.", "vault."].iter().any(|begin| change.action.starts_with(begin));
    let ret = Some(if of_secrets { Retention::Hold } else { Retention::Years7 });
    let mut fields = CallFields { who: Who::default(), ret, ..CallFields::default() };
    fields.note.insert("action".to_owned(), change.action);
    fields.note.insert("actor".to_owned(), change.actor);
    fields.note.insert("target".to_owned(), change.target);
    fields.note.insert("version".to_owned(), change.version.to_string());
    fields
        .note
        .extend(change.fields.into_iter().map(|(key, value)| (format!("field_{key}"), value)));
    let tenant = match change.tenant.as_str() {
        "" | DEPLOYMENT => DEPLOYMENT.to_owned(),
        tenant => tenant.to_owned(),
    };
    Entry { tenant, kind, op: Uuid::now_v7(), reference: None, fields, body: None }
}
