//! Sign-ins that a program waits for while a person approves them in a browser (RFC 8628).
//!
//! INVARIANT: one approval is used once, on whichever replica (`of_many_uses_of_one_approval_exactly_one_wins`).

use portcullis_policies::Strength;

use super::change::Note;
use super::row::{Columns, json_text};
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// A sign-in that a program asks for.
#[derive(Debug, Clone)]
pub struct NewDeviceCode {
    /// SHA-256 of what the program polls with.
    pub device_sha256: [u8; 32],
    /// Keyed digest of what the person types.
    pub user_code_mac: [u8; 32],
    /// The challenge of the program.
    pub challenge: String,
    /// What the program says it is; anybody can write it.
    pub program: String,
    /// Address from which it asks.
    pub source: String,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// A sign-in that waits for a person, as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDevice {
    /// `imp_dr_...`: names it in records.
    pub id: String,
    /// What the program says it is.
    pub program: String,
    /// Address from which it asks.
    pub source: String,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// Where a sign-in by device code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// Nobody decided yet.
    Pending,
    /// Somebody approved, and no token was given yet.
    Approved,
    /// Somebody said no.
    Denied,
    /// The token was given.
    Used,
}

/// A sign-in as the program that polls needs it.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    /// Where it stands.
    pub state: DeviceState,
    /// The challenge of the program.
    pub challenge: String,
    /// Seconds between two polls.
    pub interval_s: i64,
    /// Unix milliseconds of the last poll.
    pub polled_ms: Option<i64>,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// How many sign-ins may wait at once in the whole deployment.
const MAX_WAITING: i64 = 10_000;
/// How long the row of one that expired is kept, so that a late program hears why.
const KEPT_MS: i64 = 3_600_000;

impl Directory {
    /// Keeps a sign-in that a program asks for, and gives its id. `Conflict` when too many wait.
    pub async fn ask_device(
        &self,
        new: NewDeviceCode,
        interval_s: i64,
    ) -> Result<String, DirectoryError> {
        let (id, now) = (fresh_id("imp_dr_"), now_ms());
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM device_codes WHERE expires_ms < $1")
            .bind(now.saturating_sub(KEPT_MS))
            .execute(writing.connection())
            .await?;
        let waiting: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM device_codes WHERE state = 'pending' AND expires_ms > $1",
        )
        .bind(now)
        .fetch_one(writing.connection())
        .await?;
        if waiting >= MAX_WAITING {
            return Err(DirectoryError::Conflict { what: "sign-in", why: "too many wait" });
        }
        sqlx::query(
            "INSERT INTO device_codes (id, device_sha256, user_code_mac, challenge, program, \
             source, state, interval_s, created_ms, expires_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9)",
        )
        .bind(&id)
        .bind(hex::encode(new.device_sha256))
        .bind(hex::encode(new.user_code_mac))
        .bind(&new.challenge)
        .bind(&new.program)
        .bind(&new.source)
        .bind(interval_s)
        .bind(now)
        .bind(new.expires_ms)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "sign-in"))?;
        let note = Note::new(&Actor::program(), "device.ask", "deployment").on(&id);
        writing.finish_beside_standings(note.with("source", &new.source)).await?;
        Ok(id)
    }

    /// The sign-in that waits under what a person typed.
    pub async fn pending_device(&self, mac: [u8; 32]) -> Result<PendingDevice, DirectoryError> {
        let row = sqlx::query(
            "SELECT id, program, source, created_ms FROM device_codes \
             WHERE user_code_mac = $1 AND state = 'pending' AND expires_ms > $2",
        )
        .bind(hex::encode(mac))
        .bind(now_ms())
        .fetch_optional(self.pool())
        .await?
        .ok_or(NOT_WAITING)?;
        let row = Columns(&row);
        Ok(PendingDevice {
            id: row.text("id")?,
            program: row.text("program")?,
            source: row.text("source")?,
            created_ms: row.int("created_ms")?,
        })
    }

    /// Approves or denies a sign-in that waits, in the name of a user who signed in so. `NotFound` when it does not
    /// wait (any more).
    pub async fn decide_device(
        &self,
        mac: [u8; 32],
        user_id: &str,
        strength: &Strength,
        approve: bool,
    ) -> Result<(), DirectoryError> {
        let (state, action) =
            if approve { ("approved", "device.approve") } else { ("denied", "device.deny") };
        let note = self.note_on_user(&Actor::user(user_id), action, user_id).await?;
        let mut writing = self.write().await?;
        let id: Option<String> = sqlx::query_scalar(
            "UPDATE device_codes SET state = $1, user_id = $2, strength = $3 \
             WHERE user_code_mac = $4 AND state = 'pending' AND expires_ms > $5 RETURNING id",
        )
        .bind(state)
        .bind(user_id)
        .bind(json_text("strength", strength)?)
        .bind(hex::encode(mac))
        .bind(now_ms())
        .fetch_optional(writing.connection())
        .await?;
        let id = id.ok_or(NOT_WAITING)?;
        writing.finish_beside_standings(note.on(id)).await
    }

    /// Where the sign-in of a polling program stands.
    pub async fn device_code(&self, sha256: [u8; 32]) -> Result<DeviceCode, DirectoryError> {
        let row = sqlx::query(
            "SELECT state, challenge, interval_s, polled_ms, expires_ms FROM device_codes \
             WHERE device_sha256 = $1",
        )
        .bind(hex::encode(sha256))
        .fetch_optional(self.pool())
        .await?
        .ok_or(NOT_WAITING)?;
        let row = Columns(&row);
        Ok(DeviceCode {
            state: row.parsed("state")?,
            challenge: row.text("challenge")?,
            interval_s: row.int("interval_s")?,
            polled_ms: row.optional_int("polled_ms")?,
            expires_ms: row.int("expires_ms")?,
        })
    }

    /// Notes a poll, and how long the program waits from now on.
    pub async fn note_device_poll(
        &self,
        sha256: [u8; 32],
        interval_s: i64,
    ) -> Result<(), DirectoryError> {
        sqlx::query(
            "UPDATE device_codes SET polled_ms = $1, interval_s = $2 WHERE device_sha256 = $3",
        )
        .bind(now_ms())
        .bind(interval_s)
        .bind(hex::encode(sha256))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Uses an approval up, and gives the user who approved and how they had signed in. `NotFound` when there is none (any more).
    pub async fn use_device(&self, sha256: [u8; 32]) -> Result<(String, Strength), DirectoryError> {
        let mut writing = self.write().await?;
        let row = sqlx::query(
            "UPDATE device_codes SET state = 'used' \
             WHERE device_sha256 = $1 AND state = 'approved' AND expires_ms > $2 \
             RETURNING id, user_id, strength",
        )
        .bind(hex::encode(sha256))
        .bind(now_ms())
        .fetch_optional(writing.connection())
        .await?
        .ok_or(NOT_WAITING)?;
        let row = Columns(&row);
        let (id, user, strength) = (row.text("id")?, row.text("user_id")?, row.json("strength")?);
        let tenant: String = sqlx::query_scalar("SELECT tenant_id FROM users WHERE id = $1")
            .bind(&user)
            .fetch_one(writing.connection())
            .await?;
        let note = Note::new(&Actor::user(&user), "device.use", tenant).on(id);
        writing.finish_beside_standings(note).await?;
        Ok((user, strength))
    }
}

const NOT_WAITING: DirectoryError = DirectoryError::NotFound { what: "sign-in that waits" };

impl std::str::FromStr for DeviceState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pending" => Ok(Self::Pending),
            "approved" => Ok(Self::Approved),
            "denied" => Ok(Self::Denied),
            "used" => Ok(Self::Used),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::Fixture;

    async fn asked(f: &Fixture, n: u8, expires_ms: i64) {
        let new = NewDeviceCode {
            device_sha256: [n; 32],
            user_code_mac: [n; 32],
            challenge: "challenge".to_owned(),
            program: "curl".to_owned(),
            source: "192.0.2.1".to_owned(),
            expires_ms,
        };
        f.directory.ask_device(new, 5).await.unwrap();
    }

    #[tokio::test]
    async fn of_many_uses_of_one_approval_exactly_one_wins() {
        let f = Fixture::new().await;
        let user = f.user("ann@example.org", "user").await;
        asked(&f, 7, now_ms() + 60_000).await;
        assert!(f.directory.use_device([7; 32]).await.is_err(), "nobody approved yet");
        f.directory.decide_device([7; 32], &user.id, &Strength::default(), true).await.unwrap();
        let uses = (0..20).map(|_| {
            let directory = f.directory.clone();
            tokio::spawn(async move { directory.use_device([7; 32]).await.is_ok() })
        });
        let mut won = 0;
        for used in uses.collect::<Vec<_>>() {
            won += u32::from(used.await.unwrap());
        }
        assert_eq!(won, 1);
        let notes = f.directory.unrecorded(100).await.unwrap();
        let actions: Vec<&str> = notes.iter().map(|n| n.action.as_str()).skip(2).collect();
        assert_eq!(actions, ["device.ask", "device.approve", "device.use"]);
        assert!(notes.iter().skip(3).all(|note| note.tenant == f.tenant.as_str()), "{notes:?}");
    }

    #[tokio::test]
    async fn a_decision_counts_once_and_only_in_time() {
        let f = Fixture::new().await;
        let user = f.user("ann@example.org", "user").await;
        asked(&f, 1, now_ms() + 60_000).await;
        f.directory.decide_device([1; 32], &user.id, &Strength::default(), false).await.unwrap();
        assert!(
            f.directory.decide_device([1; 32], &user.id, &Strength::default(), true).await.is_err()
        );
        assert!(f.directory.use_device([1; 32]).await.is_err());
        assert!(f.directory.pending_device([1; 32]).await.is_err());
        asked(&f, 2, now_ms() - 1).await;
        assert!(f.directory.pending_device([2; 32]).await.is_err());
        assert!(
            f.directory.decide_device([2; 32], &user.id, &Strength::default(), true).await.is_err()
        );
        assert_eq!(f.directory.device_code([2; 32]).await.unwrap().state, DeviceState::Pending);
    }
}
