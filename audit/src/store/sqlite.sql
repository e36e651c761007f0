-- The ledger's tables. The guards below are against accidents and careless tools, not against
-- somebody who may change the schema: only the hashes and what was shown outside stop that one.

CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS logs (
    id      INTEGER PRIMARY KEY,
    origin  TEXT NOT NULL UNIQUE,
    vkey    TEXT NOT NULL,
    genesis BLOB NOT NULL
);

-- pos counts over all logs, in commit order; seq counts within a log. No two records of a log have
-- the same prev: records_only_append takes as prev only the leaf of seq - 1, and (log, seq) is unique.
-- An index on prev would say the same at the price of one random page for every record.
CREATE TABLE IF NOT EXISTS records (
    pos    INTEGER PRIMARY KEY,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    op     BLOB NOT NULL,
    prev   BLOB NOT NULL,
    leaf   BLOB NOT NULL,
    record BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS records_log_seq ON records (log, seq);
CREATE INDEX IF NOT EXISTS records_op ON records (op);

-- Up to where the bytes of a log's records may be taken away, and the prune record that says so.
CREATE TABLE IF NOT EXISTS prunes (
    log   INTEGER NOT NULL,
    until INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (log, until)
) WITHOUT ROWID;

-- Sealed by the caller before they come here.
CREATE TABLE IF NOT EXISTS bodies (
    pos  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS policy_sets (
    digest BLOB PRIMARY KEY,
    text   BLOB NOT NULL
) WITHOUT ROWID;

-- Up to where a log was verified, and below which no intent is open. Derived; may be updated.
CREATE TABLE IF NOT EXISTS marks (
    log  INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    low  INTEGER NOT NULL
);

-- The bytes of a pruned record may go, but not those of a certificate; its leaf and all else stays.
CREATE TRIGGER IF NOT EXISTS records_never_update BEFORE UPDATE ON records
WHEN NEW.record IS NOT x'' OR NEW.pos IS NOT OLD.pos OR NEW.log IS NOT OLD.log
  OR NEW.seq IS NOT OLD.seq OR NEW.op IS NOT OLD.op OR NEW.prev IS NOT OLD.prev
  OR NEW.leaf IS NOT OLD.leaf
  OR NOT EXISTS (SELECT 1 FROM prunes WHERE log = OLD.log AND until > OLD.seq)
  OR instr(OLD.record, CAST('"kind":"erase"' AS BLOB)) OR instr(OLD.record, CAST('"kind":"key"' AS BLOB))
  OR instr(OLD.record, CAST('"kind":"prune"' AS BLOB))
BEGIN SELECT RAISE(ABORT, 'ledger records are never updated'); END;

CREATE TRIGGER IF NOT EXISTS records_never_delete BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'ledger records are never deleted'); END;

-- Also what stops INSERT OR REPLACE, which goes past the two above unless recursive_triggers is on.
-- Mostly the record before is the last of the table, and then one look at it says everything; else
-- the position and the head of the log are looked at, or the genesis where there is no record yet.
-- It rolls back instead of aborting: a trigger that may abort makes SQLite keep a journal for each
-- statement, which costs more than the insert itself.
CREATE TRIGGER IF NOT EXISTS records_only_append BEFORE INSERT ON records
WHEN NOT EXISTS (
        SELECT 1 FROM (SELECT pos, log, seq, leaf FROM records ORDER BY pos DESC LIMIT 1)
        WHERE pos = NEW.pos - 1 AND log = NEW.log AND seq = NEW.seq - 1 AND leaf = NEW.prev)
  AND (NEW.pos IS NOT (SELECT coalesce(max(pos), 0) + 1 FROM records)
    OR coalesce(
        (SELECT seq = NEW.seq - 1 AND leaf = NEW.prev
         FROM records WHERE log = NEW.log ORDER BY seq DESC LIMIT 1),
        NEW.seq = 0 AND NEW.prev = (SELECT genesis FROM logs WHERE id = NEW.log)) IS NOT 1)
BEGIN SELECT RAISE(ROLLBACK, 'ledger records are only appended, each to the head of its log'); END;

CREATE TRIGGER IF NOT EXISTS prunes_only_append BEFORE INSERT ON prunes
WHEN NEW.until > NEW.seq
  OR NOT EXISTS (SELECT 1 FROM records WHERE log = NEW.log AND seq = NEW.seq
        AND instr(record, CAST('"kind":"prune"' AS BLOB))
        AND instr(record, CAST('"until":"' || NEW.until || '"' AS BLOB)))
BEGIN SELECT RAISE(ABORT, 'a prune is recorded before it is carried out'); END;

CREATE TRIGGER IF NOT EXISTS prunes_never_update BEFORE UPDATE ON prunes
BEGIN SELECT RAISE(ABORT, 'ledger prunes are never updated'); END;

CREATE TRIGGER IF NOT EXISTS prunes_never_delete BEFORE DELETE ON prunes
BEGIN SELECT RAISE(ABORT, 'ledger prunes are never deleted'); END;

CREATE TRIGGER IF NOT EXISTS logs_never_update BEFORE UPDATE ON logs
BEGIN SELECT RAISE(ABORT, 'ledger logs are never updated'); END;

CREATE TRIGGER IF NOT EXISTS logs_never_delete BEFORE DELETE ON logs
BEGIN SELECT RAISE(ABORT, 'ledger logs are never deleted'); END;

CREATE TRIGGER IF NOT EXISTS logs_only_append BEFORE INSERT ON logs
WHEN NEW.id IS NOT (SELECT coalesce(max(id), 0) + 1 FROM logs)
BEGIN SELECT RAISE(ABORT, 'ledger logs are only appended'); END;

CREATE TRIGGER IF NOT EXISTS policy_sets_never_update BEFORE UPDATE ON policy_sets
BEGIN SELECT RAISE(ABORT, 'policy sets are never updated'); END;

CREATE TRIGGER IF NOT EXISTS policy_sets_never_delete BEFORE DELETE ON policy_sets
BEGIN SELECT RAISE(ABORT, 'policy sets are never deleted'); END;
