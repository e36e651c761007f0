//! What the ledger says of the operation of a pending call: whether it was carried out already, and how that ended.

use portcullis_audit::{Kind, Query, RecordRow};
use portcullis_policies::CONFIRMATIONS_APP;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::unavailable;
use crate::directory::ConfirmationState;
use crate::gateway::Gateway;
use crate::ledgers;
use crate::refusal::{Changed, Refusal};

/// Refused answers are records of the operation too, and whoever sends many of them must not push the one that counts
/// out of sight.
const ALL_RECORDS: u64 = u32::MAX as u64;

/// How many look into the ledger at once: each has a connection of its own while it looks, and a crowd that answers one
/// question must not use up those of the database.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// All records of an operation.
///
/// # Errors
/// When the ledger can't be read.
pub(super) async fn records(gateway: &Gateway, op: Uuid) -> Result<Vec<RecordRow>, Refusal> {
    let settings = gateway.settings.clone();
    let place = LOOKS.acquire().await.map_err(unavailable)?;
    let told = tokio::task::spawn_blocking(move || {
        let query = Query { op: Some(op), limit: Some(ALL_RECORDS), ..Query::default() };
        ledgers::reader(&settings)?.rows(&query).map_err(ledgers::LedgerError::from)
    });
    let rows = told.await.map_err(unavailable)?.map_err(unavailable)?;
    drop(place);
    Ok(rows)
}

/// How the call of this app ended, by the ledger: `done`, `failed`, `refused` or `unknown`; none when it says nothing
/// (yet), which is no reason to believe that it went well.
pub async fn of(gateway: &Gateway, op: Uuid, app: &str) -> Option<String> {
    let rows = records(gateway, op).await.ok()?;
    let ended = rows
        .iter()
        .rev()
        .find(|row| row.record.kind == Kind::Outcome && row.text(&["tool", "server"]) == app)?;
    let word = ended.text(&["res", "status"]);
    ["done", "failed", "refused", "unknown"].contains(&word).then(|| word.to_owned())
}

/// The ledger has the last word: a row of the database that says again that it waits, from a backup or by somebody's
/// hand, runs nothing that was carried out or cancelled before, and nothing of which no record says that it was asked. Of
/// two answers at the same moment the ledger lets one begin (`Ledger::intent_once`).
///
/// # Errors
/// How it ended, and that the ledger can't be read.
pub(super) async fn not_ended(gateway: &Gateway, op: Uuid) -> Result<(), Refusal> {
    let rows = records(gateway, op).await?;
    let approval = |row: &RecordRow| row.text(&["tool", "server"]) == CONFIRMATIONS_APP;
    let ended = rows.iter().find_map(|row| match row.record.kind {
        Kind::Intent if approval(row) => {
            (row.text(&["tool", "name"]) == "decline").then_some(ConfirmationState::Declined)
        }
        Kind::Intent => Some(ConfirmationState::Executed),
        _ if row.text(&["res", "status"]) == "cancelled" => Some(ConfirmationState::Cancelled),
        _ => None,
    });
    match ended {
        Some(end) => Err(Refusal::ConfirmationUsed(end.to_string())),
        None if rows.iter().any(|row| row.text(&["res", "status"]) == "asked") => Ok(()),
        None => Err(Refusal::from(Changed::Record)),
    }
}
