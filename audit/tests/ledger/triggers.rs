use super::*;

#[tokio::test]
async fn sql_that_changes_records_is_blocked() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
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
        "UPDATE logs SET genesis = x'00'",
        "DELETE FROM logs",
        "REPLACE INTO logs SELECT id, origin, vkey, x'00' FROM logs",
    ] {
        let outcome = conn.execute(sql, []);
        let after = house.reader().rows(&everything()).unwrap();
        assert_eq!(before, after, "changed by `{sql}`");
        assert!(outcome.is_err() || outcome == Ok(0), "`{sql}` was not refused: {outcome:?}");
    }
}
