//! Keys that sign access tokens: sealed private parts, public parts in the clear, one state each.

use std::fmt;
use std::str::FromStr;

use super::change::Note;
use super::row::{Columns, base64_encode};
use super::{Actor, Directory, DirectoryError, now_ms};

/// Where a signing key is in its life; a key is published before it signs and after it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyState {
    /// Published, not signing yet.
    Prepared,
    /// Published and signing; exactly one.
    Signing,
    /// Published, so that its last tokens still verify.
    Retiring,
    /// Neither published nor used.
    Retired,
}

/// One signing key as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Key id, as in the header of the tokens.
    pub kid: String,
    /// Where it is in its life.
    pub state: SigningKeyState,
    /// RSA modulus, big-endian.
    pub modulus: Vec<u8>,
    /// RSA public exponent, big-endian.
    pub exponent: Vec<u8>,
    /// Sealed PKCS#8.
    pub sealed: Vec<u8>,
    /// Unix milliseconds of the last change of state.
    pub changed_ms: i64,
}

impl fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyRow")
            .field("kid", &self.kid)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Keeps a new key. `Conflict` when it should sign and another one does already.
    pub async fn insert_signing_key(
        &self,
        key: &SigningKeyRow,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO signing_keys (kid, state, modulus, exponent, sealed, created_ms, \
             changed_ms) VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(&key.kid)
        .bind(key.state.to_string())
        .bind(base64_encode(&key.modulus))
        .bind(base64_encode(&key.exponent))
        .bind(base64_encode(&key.sealed))
        .bind(now_ms())
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "signing key"))?;
        let note = Note::new(by, "signing_key.create", "deployment").on(&key.kid);
        writing.finish(self, note.with("state", key.state)).await
    }

    /// All keys that are not retired, oldest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT kid, state, modulus, exponent, sealed, changed_ms FROM signing_keys \
             WHERE state <> 'retired' ORDER BY created_ms, kid",
        )
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_signing_key(Columns(row))).collect()
    }

    /// Lets the prepared key `kid` sign and the one that did so retire, in one step.
    pub async fn promote_signing_key(&self, kid: &str, by: &Actor) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        sqlx::query(
            "UPDATE signing_keys SET state = 'retiring', changed_ms = $1 WHERE state = 'signing'",
        )
        .bind(now_ms())
        .execute(writing.connection())
        .await?;
        let done = sqlx::query(
            "UPDATE signing_keys SET state = 'signing', changed_ms = $1 \
             WHERE kid = $2 AND state = 'prepared'",
        )
        .bind(now_ms())
        .bind(kid)
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "prepared signing key" });
        }
        writing.finish(self, Note::new(by, "signing_key.promote", "deployment").on(kid)).await
    }

    /// Retires the key `kid`, which must be retiring, or prepared and never to sign: its tokens no longer verify.
    pub async fn retire_signing_key(&self, kid: &str, by: &Actor) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        let done = sqlx::query(
            "UPDATE signing_keys SET state = 'retired', sealed = '', changed_ms = $1 \
             WHERE kid = $2 AND state IN ('retiring', 'prepared')",
        )
        .bind(now_ms())
        .bind(kid)
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "retiring signing key" });
        }
        writing.finish(self, Note::new(by, "signing_key.retire", "deployment").on(kid)).await
    }
}

fn read_signing_key(row: Columns<'_>) -> Result<SigningKeyRow, DirectoryError> {
    Ok(SigningKeyRow {
        kid: row.text("kid")?,
        state: row.parsed("state")?,
        modulus: row.sealed("modulus")?,
        exponent: row.sealed("exponent")?,
        sealed: row.sealed("sealed")?,
        changed_ms: row.int("changed_ms")?,
    })
}

impl fmt::Display for SigningKeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepared => "prepared",
            Self::Signing => "signing",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        })
    }
}

impl FromStr for SigningKeyState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Prepared, Self::Signing, Self::Retiring, Self::Retired]
            .into_iter()
            .find(|state| state.to_string() == text)
            .ok_or(())
    }
}
