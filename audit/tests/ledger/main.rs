//! Claims about the ledger, tried on real files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

mod anchors;
mod appends;
mod attacks;
mod clocks;
mod crashes;
mod discloses;
mod disk_fails;
mod disk_full;
mod held_files;
mod keys;
mod opens;
mod pages;
mod power;
mod prunes;
mod publishes;
mod refuses;
mod restarted;
mod sessions;
mod spool;
mod tampering;
mod triggers;

use std::path::PathBuf;
use std::time::Duration;

use portcullis_audit::{
    Body, CallFields, Commitment, Entry, Intent, Kind, Ledger, LedgerOptions, Opened,
    OutcomeRecord, OutcomeStatus, PolicyRef, Query, Reader, RecordRef, Retention, ToolRef, Who,
};
use tempfile::TempDir;
use uuid::Uuid;

/// A folder with a ledger in it.
struct House {
    folder: TempDir,
}

impl House {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> LedgerOptions {
        let (path, key) = (self.path("ledger.db"), self.path("log.key"));
        // Only when it is closed, so that what is in it depends on no clock.
        let publish_every = Duration::from_secs(3_600);
        LedgerOptions { publish_every, reserve: 64 * 1024, ..LedgerOptions::new(path, "test", key) }
    }

    fn open(&self) -> (Ledger, Opened) {
        Ledger::open(self.options()).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path("ledger.db")).unwrap()
    }

    fn raw(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.path("ledger.db")).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }

    /// Exports into a new folder of this name.
    fn export(&self, name: &str) -> PathBuf {
        let key = portcullis_audit::load_key(&self.path("log.key")).unwrap();
        let folder = self.path(name);
        portcullis_audit::export(&self.reader(), &key, "test", &folder).unwrap();
        folder
    }
}

fn fields() -> CallFields {
    CallFields {
        who: Who { subject: Some("p_4f1c".into()), session: Some("s".into()), ..Who::default() },
        tool: Some(ToolRef {
            server: "notes".into(),
            name: "delete_note".into(),
            schema: "ab".repeat(32),
        }),
        pol: Some(PolicyRef {
            decision: "permit".into(),
            rules: vec!["rbac.scope".into(), "tenant.same".into()],
            bundle: "cd".repeat(32),
        }),
        input: Some(Commitment::of("in", br#"{"id":7}"#).unwrap()),
        ret: Some(Retention::Year1),
        ..CallFields::default()
    }
}

fn intent(tenant: &str) -> Intent {
    Intent {
        tenant: tenant.into(),
        op: Uuid::now_v7(),
        call_digest: [7; 32],
        fields: fields(),
        body: Some(Body(b"sealed".to_vec())),
    }
}

fn outcome(tenant: &str, op: Uuid, reference: RecordRef) -> OutcomeRecord {
    OutcomeRecord {
        tenant: tenant.into(),
        op,
        reference,
        status: OutcomeStatus::Done,
        error_class: None,
        out: Some(Commitment::of("out", b"{}").unwrap()),
        fields: fields(),
        body: None,
    }
}

fn refusal(tenant: &str) -> Entry {
    Entry {
        tenant: tenant.into(),
        kind: Kind::Decision,
        op: Uuid::now_v7(),
        reference: None,
        fields: fields(),
        body: None,
    }
}

/// Writes `pairs` intents with their outcomes.
async fn fill(ledger: &Ledger, tenant: &str, pairs: usize) {
    for _ in 0..pairs {
        let receipt = ledger.intent(intent(tenant)).await.unwrap();
        ledger.outcome(outcome(tenant, receipt.op(), receipt.reference())).await.unwrap();
    }
}

fn everything() -> Query {
    Query { limit: Some(100_000), ..Query::default() }
}
