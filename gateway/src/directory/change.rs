//! Every change leaves a note in the same transaction, so that none can miss the ledger.
//!
//! The command may change the directory while the gateway owns the ledger, so a change cannot be
//! appended where it is made. It goes to an outbox instead: [`Directory::unrecorded`] hands the notes
//! to the gateway in the order of their versions, which appends each as an `admin` record and then
//! calls [`Directory::mark_recorded`]. A crash between the two repeats a note with the same version;
//! it never loses one.

use std::collections::BTreeMap;
use std::fmt;

use sqlx::{Any, AnyConnection, Transaction};

use super::holds::Hold;
use super::row::{Columns, json_text};
use super::{Directory, DirectoryError, now_ms};

/// The action of a note that scopes have new keys.
pub const SCOPES_ROTATED: &str = "vault.rotate_scopes";

/// The action of a note that keys were destroyed.
pub const ERASED: &str = "vault.erase";

/// Records or logs that the note of a disclosure names; the rest is counted.
const NAMED: usize = 100;

/// Who changes the directory, as the ledger will name them: `user:imp_u_...`, `cli:<login>`, `gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// A user who was identified by the gateway.
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self(format!("user:{id}"))
    }

    /// A stranger who makes an account.
    #[must_use]
    pub fn registration() -> Self {
        Self("registration".to_owned())
    }

    /// An identity provider, whose word for somebody made or changed them.
    #[must_use]
    pub fn issuer(name: &str) -> Self {
        Self(format!("issuer:{name}"))
    }

    /// A program that nobody has signed in yet.
    #[must_use]
    pub fn program() -> Self {
        Self("program".to_owned())
    }

    /// A program that registered itself.
    #[must_use]
    pub fn client(id: &str) -> Self {
        Self(format!("client:{id}"))
    }

    /// The service of an app, for a user or for the platform.
    #[must_use]
    pub fn service(app: &str, user: &str) -> Self {
        Self(format!("service:{app}:{user}"))
    }

    /// An operator at the command line, by the login name of the host.
    #[must_use]
    pub fn command(login: &str) -> Self {
        Self(format!("cli:{login}"))
    }

    /// The gateway itself (first start, rotation).
    #[must_use]
    pub fn gateway() -> Self {
        Self("gateway".to_owned())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One change of the directory, ready to be an `admin` record. No field holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Number of the change, without gaps, from 1.
    pub version: i64,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Text form of an [`Actor`].
    pub actor: String,
    /// `user.create`, `role.update` ...
    pub action: String,
    /// The tenant whose log should hold the record, or `deployment`.
    pub tenant: String,
    /// Id of the thing that changed.
    pub target: String,
    /// What changed, as strings.
    pub fields: BTreeMap<String, String>,
}

/// A change that is being made.
pub(crate) struct Note {
    actor: String,
    action: &'static str,
    tenant: String,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Note {
    pub(crate) fn new(by: &Actor, action: &'static str, tenant: impl fmt::Display) -> Self {
        let (actor, tenant) = (by.to_string(), tenant.to_string());
        Self { actor, action, tenant, target: String::new(), fields: BTreeMap::new() }
    }

    pub(crate) fn on(mut self, target: impl fmt::Display) -> Self {
        self.target = target.to_string();
        self
    }

    pub(crate) fn with(mut self, field: &str, value: impl fmt::Display) -> Self {
        self.fields.insert(field.to_owned(), value.to_string());
        self
    }
}

/// A write transaction that holds the next version.
pub(crate) struct Writing {
    transaction: Transaction<'static, Any>,
    /// Version that the changed rows must carry.
    pub(crate) version: i64,
}

impl Writing {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Writes the note, commits, and makes every cached standing of this handle stale.
    pub(crate) async fn finish(
        self,
        directory: &Directory,
        note: Note,
    ) -> Result<(), DirectoryError> {
        self.finish_beside_standings(note).await?;
        directory.forget_standings();
        directory.changed().notify_one();
        Ok(())
    }

    /// Commits what changes nobody's rights and needs no record.
    pub(crate) async fn quietly(self) -> Result<(), DirectoryError> {
        Ok(self.transaction.commit().await?)
    }

    /// Writes the note and commits a change after which everybody may do what they could before. A stranger can
    /// cause some of these, and must not be able to empty the cache of standings.
    pub(crate) async fn finish_beside_standings(
        mut self,
        note: Note,
    ) -> Result<(), DirectoryError> {
        sqlx::query(
            "INSERT INTO changes (version, at_ms, actor, action, tenant, target, fields) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.version)
        .bind(now_ms())
        .bind(note.actor)
        .bind(note.action)
        .bind(note.tenant)
        .bind(note.target)
        .bind(json_text("change", &note.fields)?)
        .execute(&mut *self.transaction)
        .await?;
        self.transaction.commit().await?;
        Ok(())
    }
}

impl Directory {
    /// Begins a change: takes the write lock and the next version.
    pub(crate) async fn write(&self) -> Result<Writing, DirectoryError> {
        let mut transaction = self.pool().begin_with(self.begin_statement()).await?;
        let version: i64 = sqlx::query_scalar(
            "UPDATE counters SET value = value + 1 WHERE name = 'changes' RETURNING value",
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Writing { transaction, version })
    }

    /// Notes what was done to the vault's keys; the keys themselves are kept elsewhere.
    pub async fn note_vault_change(
        &self,
        action: &'static str,
        target: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let writing = self.write().await?;
        writing.finish(self, Note::new(by, action, "deployment").on(target)).await
    }

    /// Notes that an export is about to disclose what records commit to: whole logs or single records, which,
    /// and which fields; `export` is the SHA-256 (hex) of its `index`.
    pub async fn note_disclosure(
        &self,
        (whole, of, fields): (&str, &[String], String),
        export: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let writing = self.write().await?;
        let named: Vec<&str> = of.iter().take(NAMED).map(String::as_str).collect();
        let note = Note::new(by, "ledger.disclose", "deployment").on(whole);
        let note = note.with("named", named.join(",")).with("count", of.len());
        writing.finish(self, note.with("fields", fields).with("export", export)).await
    }

    /// Notes that keys were destroyed: whose, how many, the SHA-256 (hex) of the certificate, by when no copy of
    /// them opens any more, and the hold that came too late for them, if one did.
    pub async fn note_erasure(
        &self,
        (tenant, whose): (&str, &str),
        (certificate, keys): (&str, usize),
        (final_by, held): (&str, Option<Hold>),
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let writing = self.write().await?;
        let mut note = Note::new(by, ERASED, tenant).on(whose).with("final_by", final_by);
        if let Some(hold) = held {
            note = note.with("held_too_late_by", hold.by);
        }
        writing.finish(self, note.with("certificate", certificate).with("keys", keys)).await
    }

    /// At most `limit` changes that no ledger record tells of yet, oldest first.
    pub async fn unrecorded(&self, limit: u32) -> Result<Vec<Change>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT version, at_ms, actor, action, tenant, target, fields FROM changes \
             WHERE recorded = 0 ORDER BY version LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_change(Columns(row))).collect()
    }

    /// Notes that the ledger holds durable records of all changes up to and including `version`.
    pub async fn mark_recorded(&self, version: i64) -> Result<(), DirectoryError> {
        sqlx::query("UPDATE changes SET recorded = 1 WHERE recorded = 0 AND version <= $1")
            .bind(version)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

pub(super) fn read_change(row: Columns<'_>) -> Result<Change, DirectoryError> {
    Ok(Change {
        version: row.int("version")?,
        at_ms: row.int("at_ms")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        tenant: row.text("tenant")?,
        target: row.text("target")?,
        fields: row.json("fields")?,
    })
}
