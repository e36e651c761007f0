//! Attack 26: SQL that changes records is blocked; what is done past the guards is found by the next start, by
//! `ledger verify`, or by the offline verifier, to whom a head was shown before.

use super::*;
use portcullis_audit::OpenError;
use portcullis_audit::verify::{Trust, Verdict, verify, verify_ledger};

#[tokio::test]
async fn sql_that_changes_records_is_blocked() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.store_policy_set([9; 32], b"permit".to_vec()).await.unwrap();
    ledger.close().await.unwrap();
    let before = house.reader().rows(&everything()).unwrap();
    let conn = house.raw();
    for sql in [
        "UPDATE records SET record = x'00'",
        "UPDATE OR IGNORE records SET seq = 9 WHERE seq = 1",
        "UPDATE OR REPLACE records SET seq = 0 WHERE seq = 1",
        "DELETE FROM records WHERE seq = 3",
        "INSERT OR REPLACE INTO records SELECT pos, log, seq, op, prev, leaf, x'00' FROM records WHERE seq = 1",
        "REPLACE INTO records SELECT pos, log, seq, op, prev, leaf, x'00' FROM records WHERE seq = 3",
        "INSERT INTO records SELECT pos, log, seq, op, prev, leaf, record FROM records WHERE seq = 1
         ON CONFLICT (log, seq) DO UPDATE SET record = x'00'",
        "INSERT INTO records SELECT (SELECT max(pos) FROM records) + 1, log, seq + 2, op, leaf, x'00', record FROM records WHERE seq = 3",
        "INSERT INTO records SELECT (SELECT max(pos) FROM records) + 1, log, seq + 1, op, prev, x'00', record FROM records WHERE seq = 3",
        "INSERT INTO records SELECT (SELECT max(pos) FROM records) + 2, log, seq + 1, op, leaf, x'00', record FROM records WHERE seq = 3",
        "INSERT INTO records SELECT NULL, log, seq + 1, op, leaf, x'00', record FROM records WHERE seq = 3",
        "INSERT INTO records SELECT (SELECT max(pos) FROM records) + 1, 99, 0, op, leaf, x'00', record FROM records WHERE seq = 3",
        "INSERT OR IGNORE INTO records SELECT pos, log, seq, op, prev, leaf, x'00' FROM records WHERE seq = 1",
        "INSERT INTO records SELECT pos, log, seq, op, prev, leaf, record FROM records WHERE seq = 1
         ON CONFLICT (pos) DO UPDATE SET leaf = x'00'",
        "UPDATE records SET record = x'' WHERE seq = 1",
        "PRAGMA recursive_triggers = OFF; REPLACE INTO records SELECT pos, log, seq, op, prev, leaf, x'00' FROM records WHERE seq = 3",
        "INSERT INTO prunes SELECT log, 2, 3 FROM records WHERE seq = 3",
        "UPDATE policy_sets SET text = x'00'",
        "DELETE FROM policy_sets",
        "UPDATE logs SET genesis = x'00'",
        "DELETE FROM logs",
        "REPLACE INTO logs SELECT id, origin, vkey, x'00' FROM logs",
    ] {
        let outcome = conn.execute_batch(sql);
        let after = house.reader().rows(&everything()).unwrap();
        assert_eq!(before, after, "changed by `{sql}`");
        let may_pass = sql.starts_with("INSERT OR IGNORE") || sql.starts_with("UPDATE OR IGNORE");
        assert!(outcome.is_err() || may_pass, "`{sql}` was not refused");
        let set = house.reader().policy_set(&[9; 32]).unwrap();
        assert_eq!(set.as_deref(), Some(&b"permit"[..]), "changed by `{sql}`");
    }
}

/// Who finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Start,
    Verify,
    Anchor,
}

const EDIT: &str = "UPDATE records SET record =
    CAST(replace(CAST(record AS TEXT), 'p_4f1c', 'p_0000') AS BLOB) WHERE log = 1 AND seq = 1;";
const DELETE: &str = "DELETE FROM records WHERE log = 1 AND seq = 2;";

/// Without the last record.
const CUT: &str = "DELETE FROM bodies WHERE pos = (SELECT max(pos) FROM records);
    DELETE FROM records WHERE pos = (SELECT max(pos) FROM records);";

/// With the guards of the records off, and then as they were.
fn unguarded(house: &House, sql: &str, put_back: bool) -> String {
    let guards = ["records_never_update", "records_never_delete", "records_only_append"];
    let conn = house.raw();
    let mut whole = String::new();
    for guard in guards {
        whole.push_str(&format!("DROP TRIGGER {guard};"));
    }
    whole.push_str(sql);
    for guard in guards.into_iter().filter(|_| put_back) {
        let text = "SELECT sql FROM sqlite_schema WHERE name = ?1";
        let text: String = conn.query_row(text, [guard], |row| row.get(0)).unwrap();
        whole.push_str(&format!("{text};"));
    }
    whole
}

/// The guards that abort do nothing, and abort again.
const TOOTHLESS: &str = "UPDATE sqlite_schema SET sql = replace(sql, 'RAISE(ABORT', 'coalesce(1')
    WHERE type = 'trigger';";
const WITH_TEETH: &str = "UPDATE sqlite_schema SET sql = replace(sql, 'coalesce(1', 'RAISE(ABORT')
    WHERE type = 'trigger';";

/// What is done while SQLite's own table of tables says something else.
fn through_schema(harm: &str, sql: &str, mend: &str) -> String {
    let (open, reload) = ("PRAGMA writable_schema = ON;", "PRAGMA writable_schema = RESET;");
    format!("{open}{harm}{reload}{sql}{open}{mend}{reload}")
}

fn deeds(house: &House) -> Vec<(String, By)> {
    vec![
        (unguarded(house, EDIT, false), By::Start),
        (unguarded(house, EDIT, true), By::Verify),
        (unguarded(house, DELETE, true), By::Verify),
        (unguarded(house, CUT, true), By::Start),
        (unguarded(house, "DELETE FROM records;", true), By::Start),
        (through_schema(TOOTHLESS, EDIT, ""), By::Start),
        (through_schema(TOOTHLESS, EDIT, WITH_TEETH), By::Verify),
        (through_schema(TOOTHLESS, DELETE, WITH_TEETH), By::Verify),
        (through_schema("DELETE FROM sqlite_schema WHERE type = 'trigger';", "", ""), By::Start),
        ("DROP TABLE records".to_owned(), By::Start),
        ("DROP INDEX records_op".to_owned(), By::Start),
        (
            "ALTER TABLE records RENAME TO true_records;
             CREATE TABLE records AS SELECT * FROM true_records WHERE seq <> 2"
                .to_owned(),
            By::Start,
        ),
        ("DELETE FROM bodies WHERE pos = 1".to_owned(), By::Verify),
        ("UPDATE marks SET seq = seq + 1".to_owned(), By::Start),
        (rewritten(house), By::Anchor),
    ]
}

/// The last record with another number in it, and its leaf made to fit.
fn rewritten(house: &House) -> String {
    let conn = house.raw();
    let last = "SELECT record FROM records ORDER BY pos DESC LIMIT 1";
    let record: Vec<u8> = conn.query_row(last, [], |row| row.get(0)).unwrap();
    let text = String::from_utf8(record).unwrap();
    let at = text.find("\"ns\":\"").unwrap() + 6;
    let digit = if text[at..].starts_with('1') { "2" } else { "1" };
    let text = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
    let leaf = hex::encode(portcullis_audit::chain::leaf(text.as_bytes()));
    let edit = format!(
        "UPDATE records SET record = CAST('{text}' AS BLOB), leaf = x'{leaf}'
         WHERE pos = (SELECT max(pos) FROM records);
         UPDATE marks SET leaf = x'{leaf}'
         WHERE log = (SELECT log FROM records ORDER BY pos DESC LIMIT 1);"
    );
    unguarded(house, &edit, true)
}

#[tokio::test]
async fn what_is_done_past_the_guards_is_found() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 4).await;
    ledger.close().await.unwrap();
    let before = house.export("before");
    let head = std::fs::read_to_string(before.join("deployment/checkpoint")).unwrap();
    let seen = Trust { seen: vec![("before".to_owned(), head)], ..Trust::default() };
    let untouched = (String::new(), None);
    let deeds = deeds(&house).into_iter().map(|(deed, by)| (deed, Some(by)));
    for (deed, by) in std::iter::once(untouched).chain(deeds) {
        let copy = House::new();
        for name in
            ["ledger.db", "ledger.db.head", "ledger.db.published", "log.key", "log.key.signed"]
        {
            copy_all(&house.path(name), &copy.path(name));
        }
        copy.raw().execute_batch(&deed).unwrap_or_else(|error| panic!("{error}: {deed}"));
        let found = found_by(&copy, &seen);
        let expected = by.map_or(found.is_empty(), |by| found.contains(&by));
        assert!(expected, "found by {found:?}: {deed}");
    }
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy_all(&file.path(), &to.join(file.file_name()));
    }
}

/// What says that something is wrong with this ledger.
fn found_by(house: &House, seen: &Trust) -> Vec<By> {
    let mut found = Vec::new();
    if verify_ledger(&house.reader()).verdict != Verdict::Whole {
        found.push(By::Verify);
    }
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let folder = house.path("after");
    let exported = portcullis_audit::export(&house.reader(), &key, "test", &folder);
    if exported.is_err() || verify(&folder, seen).verdict != Verdict::Whole {
        found.push(By::Anchor);
    }
    match Ledger::open(house.options()) {
        Ok(_) => {}
        Err(error @ (OpenError::Locked { .. } | OpenError::Key { .. })) => panic!("{error}"),
        Err(_) => found.push(By::Start),
    }
    found
}
