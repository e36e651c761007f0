//! Whether a PostgreSQL server keeps what it promises, and whether the tables in it are ours.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::raw_sql;

use super::error::PgError;
use crate::error::OpenError;

const TABLES: &str = include_str!("../postgres.sql");

/// Held while the tables are made or compared, so that replicas that start together do not meet.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1346587751)";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Nothing; the tables were made.
    Made,
    /// Ours, whole.
    Ours,
    /// Not as we made it: the first table, column, index, function or trigger that differs.
    Differs(String),
}

/// Refuses a server that may forget what it confirmed. Asked at every connection, because a
/// restarted server may be configured otherwise.
pub(crate) async fn keeps_promises(conn: &mut PgConnection) -> Result<(), PgError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, setting FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')",
    )
    .fetch_all(&mut *conn)
    .await?;
    for (name, setting) in &found {
        if setting == "off" {
            return Err(PgError::Refused(format!(
                "PostgreSQL has `{name}` off, so it may lose what it confirmed; set `{name} = on`"
            )));
        }
    }
    if found.len() != 3 {
        return Err(PgError::Refused("this server is not PostgreSQL".to_owned()));
    }
    let standby: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut *conn).await?;
    if standby {
        // May be promoted; while the ledger runs it waits for that.
        return Err(PgError::Lost("it is a standby; give the address of the primary".to_owned()));
    }
    // What is weaker than `on` does not wait for a standby that is configured to be waited for.
    let weaker = |(name, setting): &(String, String)| {
        name == "synchronous_commit" && setting != "remote_apply"
    };
    if found.iter().any(weaker) {
        raw_sql("SET synchronous_commit = on").execute(conn).await?;
    }
    Ok(())
}

/// Makes the tables when there are none, and compares them with ours when there are.
pub(crate) async fn ensure(conn: &mut PgConnection) -> Result<Schema, PgError> {
    raw_sql("BEGIN").execute(&mut *conn).await?;
    raw_sql(LOCK).execute(&mut *conn).await?;
    let there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'portcullis_ledger')",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !there {
        raw_sql(
            "CREATE SCHEMA portcullis_ledger; REVOKE ALL ON SCHEMA portcullis_ledger FROM PUBLIC",
        )
        .execute(&mut *conn)
        .await?;
        raw_sql("SET LOCAL search_path = portcullis_ledger").execute(&mut *conn).await?;
        raw_sql(TABLES).execute(&mut *conn).await?;
        raw_sql("COMMIT").execute(&mut *conn).await?;
        return Ok(Schema::Made);
    }
    // The same made anew beside it, seen by nobody, and thrown away.
    raw_sql("CREATE SCHEMA portcullis_expected; SET LOCAL search_path = portcullis_expected")
        .execute(&mut *conn)
        .await?;
    raw_sql(TABLES).execute(&mut *conn).await?;
    let expected = definitions(conn, "portcullis_expected").await?;
    raw_sql("ROLLBACK").execute(&mut *conn).await?;
    let found = definitions(conn, "portcullis_ledger").await?;
    let lost = expected.iter().find(|(name, wanted)| found.get(*name) != Some(*wanted));
    let added = || found.keys().find(|name| !expected.contains_key(*name));
    Ok(match lost.map(|(name, _)| name).or_else(added) {
        Some(name) => Schema::Differs(name.clone()),
        None => Schema::Ours,
    })
}

/// Everything in a schema that a guard could be taken from, by name.
async fn definitions(
    conn: &mut PgConnection,
    schema: &str,
) -> Result<BTreeMap<String, String>, PgError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, replace(coalesce(said, ''), $1 || '.', '') FROM (
            SELECT c.relname || '.' || a.attname AS name,
                   format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text || ' '
                   || a.attidentity::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS said,
                   c.relnamespace AS schema
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT c.relname, pg_get_indexdef(c.oid), c.relnamespace
            FROM pg_class c WHERE c.relkind = 'i'
            UNION ALL
            SELECT conname, pg_get_constraintdef(oid) || convalidated::text, connamespace
            FROM pg_constraint
            UNION ALL
            SELECT t.tgname, pg_get_triggerdef(t.oid) || t.tgenabled::text, c.relnamespace
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
            UNION ALL
            SELECT proname, prosrc, pronamespace FROM pg_proc
            UNION ALL
            SELECT relname, relpersistence::text || relrowsecurity::text, relnamespace
            FROM pg_class WHERE relkind = 'r'
            UNION ALL
            SELECT r.rulename, pg_get_ruledef(r.oid), c.relnamespace
            FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
         ) found JOIN pg_namespace n ON n.oid = found.schema WHERE n.nspname = $1",
    )
    .bind(schema.to_owned())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

impl Schema {
    /// True when the tables were made now.
    pub(crate) fn made(self) -> Result<bool, OpenError> {
        match self {
            Self::Made => Ok(true),
            Self::Ours => Ok(false),
            Self::Differs(name) => Err(OpenError::Guard { name }),
        }
    }
}
