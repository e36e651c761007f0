use super::*;
use portcullis_audit::{OpenError, ReadError};

#[test]
fn a_server_that_may_forget_is_refused() {
    let house = House::new();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        house.server.down("fast");
        house.server.up(&[&format!("{setting}=off")]);
        let refused = Ledger::open(house.options("a")).unwrap_err();
        assert!(
            matches!(&refused, OpenError::Storage(why) if why.contains(&format!("`{setting}`"))),
            "{refused}"
        );
    }
}

#[test]
fn a_missing_server_is_refused_in_words_that_help_and_hide_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://gateway:hunter2@127.0.0.1:1/ledger";
    let path = |name: &str| folder.path().join(name);
    let options = LedgerOptions {
        postgres: Some(Postgres::new(url)),
        ..LedgerOptions::new(path("a"), "test", path("log.key"))
    };
    let shown = format!("{options:?}");
    let refused = Ledger::open(options).unwrap_err();
    assert!(matches!(&refused, OpenError::Storage(why) if why.contains("start it")), "{refused}");
    assert!(!shown.contains("hunter2") && !format!("{refused:?}").contains("hunter2"), "{shown}");
    assert!(!path("log.key").exists(), "a key was made for a ledger that nobody saw");
}

#[tokio::test]
async fn there_is_no_ledger_in_an_empty_database() {
    let house = House::new();
    let read = Reader::open_postgres(&Postgres::new(&house.server.url()));
    assert!(matches!(read, Err(ReadError::Absent(_))));
}

#[tokio::test]
async fn update_delete_and_truncate_change_nothing() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 2).await;
    ledger.store_policy_set([9; 32], b"permit".to_vec()).await.unwrap();
    ledger.close().await.unwrap();
    let before = house.reader().rows(&everything()).unwrap();
    let mut conn = house.raw().await;
    for sql in [
        "UPDATE records SET record = 'x'",
        "DELETE FROM records",
        "TRUNCATE records",
        "TRUNCATE logs, heads",
        "UPDATE logs SET vkey = 'x'",
        "DELETE FROM logs",
        "DELETE FROM heads",
        "TRUNCATE heads",
        "UPDATE heads SET size = 0",
        "UPDATE heads SET leaf = prev FROM records r WHERE r.log = heads.log AND r.seq = 1",
        "UPDATE policy_sets SET text = 'x'",
        "DELETE FROM policy_sets",
        "TRUNCATE policy_sets",
        "INSERT INTO records (log, seq, op, prev, leaf, record)
         SELECT log, seq + 1, op, leaf || '', '\\x00', record FROM records WHERE seq = 1",
        "INSERT INTO records (log, seq, op, prev, leaf, record)
         SELECT log, seq + 9, op, leaf, '\\x00', record FROM records WHERE seq = 3",
        "INSERT INTO records (log, seq, op, prev, leaf, record)
         SELECT log, 4, op, '\\x01', '\\x00', record FROM records WHERE seq = 3",
        "UPDATE records SET record = '' WHERE seq = 1",
        "INSERT INTO records (log, seq, op, prev, leaf, record)
         SELECT log, seq, op, prev, leaf, record FROM records WHERE seq = 1
         ON CONFLICT (log, seq) DO UPDATE SET record = ''",
        "MERGE INTO records r USING (SELECT 1 AS one) o ON r.seq = o.one
         WHEN MATCHED THEN UPDATE SET record = ''",
        "MERGE INTO records r USING (SELECT 1 AS one) o ON r.seq = o.one WHEN MATCHED THEN DELETE",
        "TRUNCATE records, bodies CASCADE",
        "TRUNCATE bodies",
        "INSERT INTO prunes SELECT log, 2, 3 FROM records WHERE seq = 3",
        "COPY records (log, seq, op, prev, leaf, record) FROM PROGRAM
         'printf \"1\\t9\\ta\\ta\\ta\\ta\\n\"'",
    ] {
        let outcome = sqlx::raw_sql(sql).execute(&mut conn).await;
        assert!(outcome.is_err(), "`{sql}` was not refused");
        assert_eq!(house.reader().rows(&everything()).unwrap(), before, "changed by `{sql}`");
    }
    let ignored = "INSERT INTO records (log, seq, op, prev, leaf, record)
                   SELECT log, seq, op, prev, leaf, '' FROM records WHERE seq = 1 ON CONFLICT DO NOTHING";
    sqlx::raw_sql(ignored).execute(&mut conn).await.unwrap();
    assert_eq!(house.reader().rows(&everything()).unwrap(), before, "it is there already");
}

#[tokio::test]
async fn a_guard_that_was_taken_away_is_named_and_refuses_the_start() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let mut conn = house.raw().await;
    for (harm, mend, guard) in [
        (
            "ALTER TABLE records DISABLE TRIGGER records_never_delete",
            "ALTER TABLE records ENABLE TRIGGER records_never_delete",
            "records_never_delete",
        ),
        (
            "ALTER TABLE records DROP CONSTRAINT records_log_prev",
            "ALTER TABLE records ADD CONSTRAINT records_log_prev UNIQUE (log, prev)",
            "records_log_prev",
        ),
        ("ALTER TABLE logs ADD COLUMN more text", "ALTER TABLE logs DROP COLUMN more", "logs.more"),
        (
            "DROP TRIGGER records_only_append ON records",
            "CREATE TRIGGER records_only_append AFTER INSERT ON records
             REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION continues()",
            "records_only_append",
        ),
        // What makes a guard mean nothing, without touching it.
        (
            "CREATE RULE forget AS ON INSERT TO marks DO INSTEAD NOTHING",
            "DROP RULE forget ON marks",
            "forget",
        ),
        ("ALTER TABLE bodies SET UNLOGGED", "ALTER TABLE bodies SET LOGGED", "bodies"),
        (
            "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER drops_it BEFORE INSERT ON bodies FOR EACH ROW EXECUTE FUNCTION drops()",
            "DROP FUNCTION drops CASCADE",
            "drops",
        ),
        (
            "UPDATE pg_proc SET prosrc = replace(prosrc, 'EXCEPTION', 'NOTICE') WHERE proname = 'never'",
            "UPDATE pg_proc SET prosrc = replace(prosrc, 'NOTICE', 'EXCEPTION') WHERE proname = 'never'",
            "never",
        ),
    ] {
        sqlx::raw_sql(harm).execute(&mut conn).await.unwrap();
        let refused = Ledger::open(house.options("a")).unwrap_err();
        assert!(matches!(&refused, OpenError::Guard { name } if name == guard), "{refused}");
        sqlx::raw_sql(mend).execute(&mut conn).await.unwrap();
    }
    assert!(Ledger::open(house.options("a")).is_ok());
}

#[tokio::test]
async fn another_key_or_name_is_refused() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let mut options = house.options("a");
    options.deployment = "other".to_owned();
    assert!(Ledger::open(options).is_err());
    let mut options = house.options("b");
    options.signing_key = house.path("other.key");
    let refused = Ledger::open(options).unwrap_err();
    assert!(matches!(&refused, OpenError::Key { .. }), "{refused:?}");
    // One that is there, and not ours.
    std::fs::copy(house.path("log.key"), house.path("other.key")).unwrap();
    std::fs::write(house.path("other.key"), [7; 32]).unwrap();
    let mut options = house.options("b");
    options.signing_key = house.path("other.key");
    let refused = Ledger::open(options).unwrap_err();
    assert!(matches!(&refused, OpenError::Key { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_record_that_was_acknowledged_and_is_gone_is_torn() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let mut conn = house.raw().await;
    sqlx::raw_sql(
        "SET session_replication_role = replica;
         DELETE FROM records WHERE pos = (SELECT max(pos) FROM records)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let refused = Ledger::open(house.options("a")).unwrap_err();
    assert!(matches!(&refused, OpenError::Torn { .. }), "{refused}");
}
