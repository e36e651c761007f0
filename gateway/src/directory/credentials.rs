//! What ends when a person's credentials change: tokens from before, and approvals that nobody used yet.
//!
//! INVARIANT: nothing that somebody with the old password began outlives it
//! (`a_new_password_ends_approvals_that_nobody_used`, `identify::tests::credentials::*`).

use super::change::Writing;
use super::{DirectoryError, now_ms};

/// Within a change of a user: tokens of ours that were made until now do not count any more.
pub(crate) async fn renew(writing: &mut Writing, user_id: &str) -> Result<(), DirectoryError> {
    sqlx::query("UPDATE users SET credentials_ms = $1 WHERE id = $2")
        .bind(now_ms())
        .bind(user_id)
        .execute(writing.connection())
        .await?;
    deny_devices(writing, user_id).await
}

/// Within a change of a user: sign-ins of programs that the user approved, and that gave no token yet, give none.
pub(crate) async fn deny_devices(
    writing: &mut Writing,
    user_id: &str,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "UPDATE device_codes SET state = 'denied' WHERE user_id = $1 AND state = 'approved'",
    )
    .bind(user_id)
    .execute(writing.connection())
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use portcullis_policies::Strength;

    use crate::directory::tests::{Fixture, operator};
    use crate::directory::{DeviceState, NewDeviceCode, UserPatch, now_ms};

    async fn approved(f: &Fixture, n: u8, user: &str) {
        let new = NewDeviceCode {
            device_sha256: [n; 32],
            user_code_mac: [n; 32],
            challenge: "challenge".to_owned(),
            program: "curl".to_owned(),
            source: "192.0.2.1".to_owned(),
            expires_ms: now_ms() + 60_000,
        };
        f.directory.ask_device(new, 5).await.unwrap();
        f.directory.decide_device([n; 32], user, &Strength::default(), true).await.unwrap();
    }

    #[tokio::test]
    async fn a_new_password_ends_approvals_that_nobody_used() {
        let f = Fixture::new().await;
        let (ann, ben) =
            (f.user("ann@example.org", "user").await, f.user("ben@example.org", "user").await);
        let by = operator();
        let off = || UserPatch { active: Some(false), ..UserPatch::default() };
        for (n, what) in [(1, "password"), (2, "switched off"), (3, "patched"), (4, "removed")] {
            approved(&f, n, &ann.id).await;
            approved(&f, n + 100, &ben.id).await;
            match what {
                "password" => f.directory.set_password_hash(&ann.id, "hash", &by).await.unwrap(),
                "switched off" => f.directory.set_user_active(&ann.id, false, &by).await.unwrap(),
                "patched" => {
                    f.directory.update_user(&ann.id, off(), &by).await.unwrap();
                }
                _ => f.directory.remove_user(&ann.id, &by).await.unwrap(),
            }
            let state = f.directory.device_code([n; 32]).await.unwrap().state;
            assert_eq!(state, DeviceState::Denied, "{what}");
            assert!(f.directory.use_device([n; 32]).await.is_err(), "{what}");
            let (user, _) = f.directory.use_device([n + 100; 32]).await.unwrap();
            assert_eq!(user, ben.id, "{what}: another person's approval stays");
            if what != "removed" {
                f.directory.set_user_active(&ann.id, true, &by).await.unwrap();
                assert!(f.directory.use_device([n; 32]).await.is_err(), "{what}: for good");
            }
        }
    }
}
