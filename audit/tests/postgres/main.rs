//! Claims about the ledger in PostgreSQL, tried on a private server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

mod appends;
mod certificates;
mod crashes;
mod crowds;
mod failover;
mod fences;
mod guards;
mod keys;
mod outages;
mod prunes;
mod refuses;
mod server;
mod spool;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use portcullis_audit::verify::{Report, Verdict, verify_ledger};
use portcullis_audit::{
    Body, CallFields, Commitment, Entry, Intent, Kind, Ledger, LedgerOptions, Opened,
    OutcomeRecord, OutcomeStatus, Postgres, Query, Reader, RecordRef, Status, Who,
};
use server::Server;
use sqlx::Connection as _;
use uuid::Uuid;

/// A server and a folder for the files of each replica.
struct House {
    folder: tempfile::TempDir,
    server: Server,
}

impl House {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), server: Server::start() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every replica has files of its own, and all have one key.
    fn options(&self, replica: &str) -> LedgerOptions {
        LedgerOptions {
            postgres: Some(Postgres::new(&self.server.url())),
            replica: replica.to_owned(),
            publish_every: Duration::from_millis(200),
            ..LedgerOptions::new(self.path(replica), "test", self.path("log.key"))
        }
    }

    fn open(&self, replica: &str) -> (Ledger, Opened) {
        Ledger::open(self.options(replica)).unwrap()
    }

    /// With a lease so short that a test can wait for its end.
    fn open_hasty(&self, replica: &str) -> (Ledger, Opened) {
        let mut options = self.options(replica);
        options.postgres = Some(Postgres::new(&self.server.url()).with_lease(HASTY));
        Ledger::open(options).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::of(&self.options("a")).unwrap()
    }

    async fn raw(&self) -> sqlx::PgConnection {
        let mut conn = sqlx::PgConnection::connect(&self.server.url()).await.unwrap();
        sqlx::raw_sql("SET search_path = portcullis_ledger").execute(&mut conn).await.unwrap();
        conn
    }

    fn whole(&self) -> Report {
        let report = verify_ledger(&self.reader());
        assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
        report
    }
}

const HASTY: Duration = Duration::from_secs(3);

fn fields() -> CallFields {
    CallFields {
        who: Who { subject: Some("p_4f1c".into()), session: Some("s".into()), ..Who::default() },
        input: Some(Commitment::of("in", br#"{"id":7}"#).unwrap()),
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
    Query { limit: Some(1_000_000), ..Query::default() }
}

async fn settled(ledger: &Ledger, wanted: impl Fn(&Status) -> bool) {
    for _ in 0..3000 {
        if wanted(&ledger.status()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never settled: {:?}", ledger.status());
}
