//! What has had its time is let go: codes, refresh tokens and sign-ins that waited. Nobody could use it any more; it was
//! kept as long as a second use of it would say that somebody copied it. Questions go with their sealed arguments a month
//! after their end: the ledger tells their story without them.

use super::{Directory, DirectoryError, now_ms};

/// How long codes and sign-ins of programs are kept after their end, in milliseconds: a day.
const KEPT_MS: i64 = 86_400_000;

/// How long questions are kept after their end, in milliseconds: 30 days, so that people find what they answered.
const QUESTIONS_MS: i64 = 30 * KEPT_MS;

/// How many rows go in one statement, so that none holds the database for long.
const AT_ONCE: i64 = 100;

/// How many statements for one table in one go; the rest has time.
const STATEMENTS: u32 = 20;

macro_rules! forget {
    ($table:literal, $key:literal) => {
        forget!($table, $key, "expires_ms")
    };
    ($table:literal, $key:literal, $time:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $key,
            " IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE ",
            $time,
            " < $1 ORDER BY ",
            $time,
            " LIMIT $2)"
        )
    };
}

impl Directory {
    /// Lets go what nobody can use any more, and says how many rows that were.
    pub async fn forget_spent(&self) -> Result<u64, DirectoryError> {
        let now = now_ms();
        let mut all = 0;
        for (sql, before) in [
            (forget!("oauth_codes", "sha256"), now.saturating_sub(KEPT_MS)),
            (forget!("device_codes", "id"), now.saturating_sub(KEPT_MS)),
            (forget!("oauth_refresh_tokens", "sha256"), now),
            (forget!("refresh_tokens", "sha256"), now),
            (forget!("confirmations", "id"), now.saturating_sub(QUESTIONS_MS)),
            // A question lives for a day at most, so its own has gone by then.
            (
                forget!("approvals", "confirmation_id", "created_ms"),
                now.saturating_sub(QUESTIONS_MS + 2 * KEPT_MS),
            ),
        ] {
            for _ in 0..STATEMENTS {
                let done = sqlx::query(sql).bind(before).bind(AT_ONCE).execute(self.pool()).await?;
                all += done.rows_affected();
                if done.rows_affected() < AT_ONCE.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::NewOAuthGrant;
    use crate::directory::tests::Fixture;

    async fn rows(f: &Fixture) -> [i64; 4] {
        let sql = "SELECT COUNT(*) FROM oauth_codes UNION ALL SELECT COUNT(*) FROM device_codes \
                   UNION ALL SELECT COUNT(*) FROM oauth_refresh_tokens \
                   UNION ALL SELECT COUNT(*) FROM refresh_tokens";
        let rows: Vec<i64> = sqlx::query_scalar(sql).fetch_all(f.directory.pool()).await.unwrap();
        rows.try_into().unwrap()
    }

    #[tokio::test]
    async fn what_had_its_time_goes_and_what_could_still_be_used_or_copied_stays() {
        let f = Fixture::new().await;
        let ann = f.user("ann@example.org", "user").await;
        let uris = ["https://client.example/cb".to_owned()];
        let client = f.directory.register_client("x", &uris, "192.0.2.1").await.unwrap();
        let now = now_ms();
        let new = NewOAuthGrant {
            client_id: client.id,
            user_id: ann.id.clone(),
            scopes: vec!["notes:read".to_owned()],
            code_sha256: [1; 32],
            redirect_uri: uris[0].clone(),
            challenge: "challenge".to_owned(),
            expires_ms: now,
        };
        let grant = f.directory.offer_grant(new).await.unwrap();
        // One of each that was over two days ago, and one that was over an hour ago or goes on.
        for (n, expires) in [("a", now - 2 * KEPT_MS), ("b", now - 3_600_000), ("c", now + 60_000)]
        {
            for sql in [
                "INSERT INTO oauth_codes (sha256, grant_id, redirect_uri, challenge, expires_ms, state) \
                 VALUES ($1, $2, '', '', $3, 'spent')",
                "INSERT INTO oauth_refresh_tokens (sha256, grant_id, expires_ms, state) \
                 VALUES ($1, $2, $3, 'spent')",
                "INSERT INTO device_codes (id, device_sha256, user_code_mac, challenge, program, \
                 source, state, interval_s, created_ms, expires_ms) \
                 VALUES ($1, $1, $1, $2, '', '', 'used', 5, 0, $3)",
            ] {
                let query = sqlx::query(sql).bind(n).bind(&grant).bind(expires);
                query.execute(f.directory.pool()).await.unwrap();
            }
            let sql = "INSERT INTO refresh_tokens (sha256, user_id, family, expires_ms, state) \
                       VALUES ($1, $2, 'f', $3, 'spent')";
            let query = sqlx::query(sql).bind(n).bind(&ann.id).bind(expires);
            query.execute(f.directory.pool()).await.unwrap();
        }
        assert_eq!(rows(&f).await, [4, 3, 3, 3]);
        assert_eq!(f.directory.forget_spent().await.unwrap(), 6);
        // A code that comes twice within a day still ends its grant; a refresh token does as long as it could live.
        assert_eq!(rows(&f).await, [3, 2, 1, 1]);
        assert_eq!(f.directory.forget_spent().await.unwrap(), 0);
    }
    #[tokio::test]
    async fn questions_go_a_month_after_their_end_with_what_others_said_of_them() {
        let f = Fixture::new().await;
        let ann = f.user("ann@example.org", "user").await;
        let now = now_ms();
        let mut ids = Vec::new();
        for days in [31, 40, 29, -1] {
            let id = f.pending(&ann, now - days * KEPT_MS).await;
            let sql = "INSERT INTO approvals VALUES ($1, 'x', 'approved', '', $2)";
            let word = sqlx::query(sql).bind(&id).bind(now - days * KEPT_MS);
            word.execute(f.directory.pool()).await.unwrap();
            ids.push(id);
        }
        f.directory.forget_spent().await.unwrap();
        let sql = "SELECT id FROM confirmations ORDER BY expires_ms";
        let left: Vec<String> =
            sqlx::query_scalar(sql).fetch_all(f.directory.pool()).await.unwrap();
        assert_eq!(left, ids[2..]);
        let sql = "SELECT confirmation_id FROM approvals ORDER BY created_ms";
        let left: Vec<String> =
            sqlx::query_scalar(sql).fetch_all(f.directory.pool()).await.unwrap();
        assert_eq!(left, [ids[0].as_str(), &ids[2], &ids[3]], "no word goes before its question");
    }
}
