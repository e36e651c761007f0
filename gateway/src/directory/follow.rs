//! What was changed since one last looked, by whichever replica or command.
//!
//! Versions are given out under a lock that is held until the commit, so none is missed.

use super::change::read_change;
use super::row::Columns;
use super::{Change, Directory, DirectoryError};

/// What changes nobody's standing; a stranger can cause it as often as they like, so it must not empty the cache.
const BESIDE_STANDINGS: [&str; 6] = [
    "client.register",
    "device.approve",
    "device.ask",
    "device.deny",
    "device.use",
    "grant.consent",
];

/// How many changes are looked at in one go; the rest comes with the next.
const AT_ONCE: i64 = 500;

impl Directory {
    /// Number of the last change.
    pub async fn last_change(&self) -> Result<i64, DirectoryError> {
        let found = sqlx::query_scalar("SELECT value FROM counters WHERE name = 'changes'")
            .fetch_one(self.pool())
            .await?;
        Ok(found)
    }

    /// Changes after this one, oldest first. Cached standings do not outlive those that touch any.
    pub async fn changes_after(&self, version: i64) -> Result<Vec<Change>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT version, at_ms, actor, action, tenant, target, fields FROM changes \
             WHERE version > $1 ORDER BY version LIMIT $2",
        )
        .bind(version)
        .bind(AT_ONCE)
        .fetch_all(self.pool())
        .await?;
        let changes: Result<Vec<Change>, _> =
            rows.iter().map(|row| read_change(Columns(row))).collect();
        let beside = |change: &Change| BESIDE_STANDINGS.contains(&change.action.as_str());
        // Where one cannot be read, nobody can say whom it touches.
        if !changes.as_ref().is_ok_and(|all| all.iter().all(beside)) {
            self.forget_standings();
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policies::Strength;

    use crate::directory::tests::{Fixture, operator};
    use crate::directory::{NewDeviceCode, NewOAuthGrant, now_ms};

    #[tokio::test]
    async fn what_a_stranger_can_cause_empties_no_cache_and_what_touches_somebody_does() {
        let f = Fixture::new().await;
        let user = f.user("ann@example.org", "user").await;
        let mut seen = f.directory.last_change().await.unwrap();
        let generation = f.directory.standings().generation();
        let strength = Strength::default();
        for n in [1, 2] {
            let new = NewDeviceCode {
                device_sha256: [n; 32],
                user_code_mac: [n; 32],
                challenge: "challenge".to_owned(),
                program: "curl".to_owned(),
                source: "192.0.2.1".to_owned(),
                expires_ms: now_ms() + 60_000,
            };
            f.directory.ask_device(new, 5).await.unwrap();
            let decided = f.directory.decide_device([n; 32], &user.id, &strength, n == 1);
            decided.await.unwrap();
        }
        f.directory.use_device([1; 32]).await.unwrap();
        let uris = ["https://client.example/cb".to_owned()];
        let client = f.directory.register_client("x", &uris, "192.0.2.1").await.unwrap();
        let consent = NewOAuthGrant {
            client_id: client.id,
            user_id: user.id.clone(),
            scopes: vec!["notes:read".to_owned()],
            code_sha256: [1; 32],
            redirect_uri: uris[0].clone(),
            challenge: "challenge".to_owned(),
            expires_ms: now_ms() + 60_000,
        };
        f.directory.offer_grant(consent).await.unwrap();
        let changes = f.directory.changes_after(seen).await.unwrap();
        assert_eq!(changes.len(), 7, "{changes:?}");
        assert_eq!(f.directory.standings().generation(), generation);
        seen = changes.last().unwrap().version;
        f.directory.begin_grant([1; 32], [2; 32], now_ms() + 60_000).await.unwrap();
        f.directory.set_user_active(&user.id, false, &operator()).await.unwrap();
        // Another replica sees the same rows, and has not forgotten anything by itself.
        let other = crate::directory::Directory::open(&f.path()).await.unwrap();
        let before = other.standings().generation();
        assert!(!other.changes_after(seen).await.unwrap().is_empty());
        assert!(other.standings().generation() > before);
    }
}
