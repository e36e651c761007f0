//! Attack 26: what a superuser does past the guards is found by the next start, by `ledger verify`, or by
//! the offline verifier, to whom a head was shown before.

use super::*;
use portcullis_audit::OpenError;
use portcullis_audit::verify::{Trust, verify};

/// Who finds it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Start,
    Verify,
    Anchor,
}

const EDIT: &str = "UPDATE records SET record = convert_to(
    replace(convert_from(record, 'UTF8'), 'p_4f1c', 'p_0000'), 'UTF8') WHERE seq = 1";
const DELETE: &str = "DELETE FROM records WHERE seq = 2";

/// Without the last record of the log, and as if there had never been one.
const CUT: &str = "DELETE FROM bodies WHERE seq = 7; DELETE FROM records WHERE seq = 7;
    UPDATE heads SET size = 7, leaf = (SELECT leaf FROM records WHERE seq = 6) WHERE size = 8";

/// All of it with the guards off, and the guards as they were.
fn deeds() -> Vec<(String, By)> {
    let by_role = |sql: &str| {
        format!(
            "SET session_replication_role = replica; {sql}; SET session_replication_role = origin"
        )
    };
    let disabled = |table: &str, sql: &str| {
        format!(
            "ALTER TABLE {table} DISABLE TRIGGER ALL; {sql}; ALTER TABLE {table} ENABLE TRIGGER ALL"
        )
    };
    vec![
        (by_role(EDIT), By::Verify),
        (by_role(DELETE), By::Verify),
        (by_role(CUT), By::Anchor),
        (by_role("TRUNCATE records, bodies, prunes"), By::Verify),
        (by_role("UPDATE heads SET size = size + 1 WHERE size = 8"), By::Start),
        (disabled("records", EDIT), By::Verify),
        (disabled("records", DELETE), By::Verify),
        (disabled("bodies", "TRUNCATE bodies"), By::Verify),
        (disabled("logs", "UPDATE logs SET genesis = sha256('x')"), By::Start),
        (disabled("logs", "UPDATE logs SET vkey = 'x'"), By::Start),
        ("DROP TABLE prunes".to_owned(), By::Start),
        ("DROP SCHEMA portcullis_ledger CASCADE".to_owned(), By::Start),
        (
            "ALTER TABLE records RENAME TO true_records;
             CREATE TABLE records AS SELECT * FROM true_records WHERE seq <> 2"
                .to_owned(),
            By::Start,
        ),
        ("DELETE FROM bodies WHERE seq = 2".to_owned(), By::Verify),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_superuser_does_past_the_guards_is_found() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 4).await;
    ledger.close().await.unwrap();
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    portcullis_audit::export(&house.reader(), &key, "test", &house.path("before")).unwrap();
    let head = std::fs::read_to_string(house.path("before/t/default/checkpoint")).unwrap();
    let seen = Trust { seen: vec![("before".to_owned(), head)], ..Trust::default() };
    let untouched = ("SELECT 1".to_owned(), None);
    let deeds = deeds().into_iter().map(|(deed, by)| (deed, Some(by)));
    for (number, (deed, by)) in std::iter::once(untouched).chain(deeds).enumerate() {
        let database = format!("copy_{number}");
        copy_database(&house, &database).await;
        let at = house.server.url_of(&database);
        let mut conn = sqlx::PgConnection::connect(&at).await.unwrap();
        sqlx::raw_sql("SET search_path = portcullis_ledger").execute(&mut conn).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(deed.clone())).execute(&mut conn).await.unwrap();
        let at = Postgres::new(&at);
        let found = found_by(&house, &at, &key, &database, &seen);
        let expected = by.map_or(found.is_empty(), |by| found.contains(&by));
        assert!(expected, "found by {found:?}: {deed}");
    }
}

/// What says that something is wrong with the ledger in this database, to a replica that has the files
/// that it had.
fn found_by(
    house: &House,
    at: &Postgres,
    key: &portcullis_audit::note::LogKey,
    name: &str,
    seen: &Trust,
) -> Vec<By> {
    let replica = house.path(&format!("replica-{name}"));
    for kept in [".head", ".published"] {
        let mut to = replica.clone().into_os_string();
        to.push(kept);
        copy_all(&house.path(&format!("a{kept}")), std::path::Path::new(&to));
    }
    let options = LedgerOptions { postgres: Some(at.clone()), path: replica, ..house.options("a") };
    let mut found = Vec::new();
    match Reader::of(&options) {
        Ok(reader) => {
            if verify_ledger(&reader).verdict != Verdict::Whole {
                found.push(By::Verify);
            }
            let folder = house.path(name);
            let exported = portcullis_audit::export(&reader, key, "test", &folder);
            if exported.is_err() || verify(&folder, seen).verdict != Verdict::Whole {
                found.push(By::Anchor);
            }
        }
        Err(_) => found.push(By::Verify),
    }
    match Ledger::open(options) {
        Ok(_) => {}
        Err(error @ (OpenError::Locked { .. } | OpenError::Options(_))) => panic!("{error}"),
        Err(_) => found.push(By::Start),
    }
    found
}

async fn copy_database(house: &House, name: &str) {
    let mut conn = sqlx::PgConnection::connect(&house.server.url_of("template1")).await.unwrap();
    let copy = format!("CREATE DATABASE {name} TEMPLATE postgres");
    sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut conn).await.unwrap();
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            copy_all(&file.path(), &to.join(file.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}
