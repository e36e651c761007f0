-- The ledger's tables in PostgreSQL, made in the schema that the search path names. The guards are
-- against accidents and careless tools. A superuser, `session_replication_role`, `ALTER TABLE ...
-- DISABLE TRIGGER` and edited files go past them: only the hashes and what was shown outside stop
-- that one. Whoever can, lets another role own the tables and grants the gateway SELECT, INSERT, and
-- UPDATE on heads, marks, lows, epochs and publisher only; who prunes also needs UPDATE (record) on
-- records and DELETE on bodies, who rotates the log key UPDATE (value) on meta.

CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE logs (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin  text NOT NULL UNIQUE,
    vkey    text NOT NULL,
    genesis bytea NOT NULL CHECK (length(genesis) = 32)
);

-- One row for each log; whoever appends holds it FOR UPDATE until its commit.
CREATE TABLE heads (
    log   bigint PRIMARY KEY REFERENCES logs (id),
    size  bigint NOT NULL CHECK (size >= 0),
    leaf  bytea NOT NULL CHECK (length(leaf) = 32),
    epoch bigint
) WITH (fillfactor = 50);

-- pos orders over all logs as far as that can be told; it may have gaps. seq counts within a log
-- and has none.
CREATE TABLE records (
    pos    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log    bigint NOT NULL,
    seq    bigint NOT NULL CHECK (seq >= 0),
    op     bytea NOT NULL,
    prev   bytea NOT NULL,
    leaf   bytea NOT NULL,
    record bytea NOT NULL,
    CONSTRAINT records_log_seq UNIQUE (log, seq),
    CONSTRAINT records_log_prev UNIQUE (log, prev)
);
CREATE INDEX records_op ON records (op);

-- Up to where the bytes of a log's records may be taken away, and the prune record that says so.
CREATE TABLE prunes (
    log   bigint NOT NULL,
    until bigint NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (log, until),
    CONSTRAINT prunes_recorded FOREIGN KEY (log, seq) REFERENCES records (log, seq),
    CONSTRAINT prunes_before CHECK (until <= seq)
);

-- Sealed by the caller before they come here.
CREATE TABLE bodies (
    log  bigint NOT NULL,
    seq  bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (log, seq)
);

CREATE TABLE policy_sets (
    digest bytea PRIMARY KEY,
    text   bytea NOT NULL
);

-- Up to where a log was vouched for by a running replica. Derived; may be updated.
CREATE TABLE marks (
    log  bigint PRIMARY KEY,
    seq  bigint NOT NULL,
    leaf bytea NOT NULL
);

-- Each run of a replica. `taken` is the epoch of the replica that took over its open intents;
-- `closed` says that none is left.
CREATE TABLE epochs (
    epoch   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replica text NOT NULL,
    until   timestamptz NOT NULL,
    taken   bigint,
    closed  boolean NOT NULL DEFAULT false
);

-- Below which place of a log an epoch has no open intent. A log that is not here: 0.
CREATE TABLE lows (
    epoch bigint NOT NULL,
    log   bigint NOT NULL,
    low   bigint NOT NULL,
    PRIMARY KEY (epoch, log)
);

-- The one replica that signs and shows.
CREATE TABLE publisher (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL,
    until timestamptz NOT NULL
);

CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger %: % is not allowed', TG_TABLE_NAME, TG_OP;
END $$;

-- For a whole statement at once, after its rows are in and before anybody can see them: a check for
-- each row would cost more than the row.
CREATE FUNCTION continues() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM added
        LEFT JOIN records before ON before.log = added.log AND before.seq = added.seq - 1
        LEFT JOIN logs ON logs.id = added.log AND added.seq = 0
        WHERE coalesce(before.leaf, logs.genesis) IS DISTINCT FROM added.prev
    ) THEN
        RAISE EXCEPTION 'ledger records are only appended, each to the head of its log';
    END IF;
    RETURN NULL;
END $$;

-- The bytes of a pruned record may go, but not those of a certificate; its leaf and all else stays.
CREATE FUNCTION only_pruned() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.record = ''
        AND (NEW.pos, NEW.log, NEW.seq, NEW.op, NEW.prev, NEW.leaf)
            IS NOT DISTINCT FROM (OLD.pos, OLD.log, OLD.seq, OLD.op, OLD.prev, OLD.leaf)
        AND EXISTS (SELECT 1 FROM prunes WHERE log = OLD.log AND until > OLD.seq)
        AND position('"kind":"erase"'::bytea IN OLD.record) = 0
        AND position('"kind":"key"'::bytea IN OLD.record) = 0
        AND position('"kind":"prune"'::bytea IN OLD.record) = 0
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ledger %: % is not allowed', TG_TABLE_NAME, TG_OP;
END $$;

CREATE FUNCTION prune_is_recorded() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM records WHERE log = NEW.log AND seq = NEW.seq
            AND position('"kind":"prune"'::bytea IN record) > 0
            AND position(convert_to('"until":"' || NEW.until || '"', 'UTF8') IN record) > 0
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a prune is recorded before it is carried out';
END $$;

CREATE FUNCTION head_is_last() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM new_heads h JOIN old_heads o USING (log)
        LEFT JOIN records r ON r.log = h.log AND r.seq = h.size - 1
        WHERE h.size < o.size OR r.leaf IS DISTINCT FROM h.leaf
    ) THEN
        RAISE EXCEPTION 'a ledger head names the last record of its log';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER records_only_append AFTER INSERT ON records
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION continues();
CREATE TRIGGER heads_follow AFTER UPDATE ON heads
    REFERENCING OLD TABLE AS old_heads NEW TABLE AS new_heads
    FOR EACH STATEMENT EXECUTE FUNCTION head_is_last();

CREATE TRIGGER records_never_update BEFORE UPDATE ON records FOR EACH ROW EXECUTE FUNCTION only_pruned();
CREATE TRIGGER prunes_only_append BEFORE INSERT ON prunes FOR EACH ROW EXECUTE FUNCTION prune_is_recorded();
CREATE TRIGGER prunes_never_update BEFORE UPDATE ON prunes FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER prunes_never_delete BEFORE DELETE ON prunes FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER prunes_never_truncate BEFORE TRUNCATE ON prunes EXECUTE FUNCTION never();
CREATE TRIGGER records_never_delete BEFORE DELETE ON records FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER records_never_truncate BEFORE TRUNCATE ON records EXECUTE FUNCTION never();
CREATE TRIGGER logs_never_update BEFORE UPDATE ON logs FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER logs_never_delete BEFORE DELETE ON logs FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER logs_never_truncate BEFORE TRUNCATE ON logs EXECUTE FUNCTION never();
CREATE TRIGGER heads_never_delete BEFORE DELETE ON heads FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER heads_never_truncate BEFORE TRUNCATE ON heads EXECUTE FUNCTION never();
CREATE TRIGGER policy_sets_never_update BEFORE UPDATE ON policy_sets FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER policy_sets_never_delete BEFORE DELETE ON policy_sets FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER policy_sets_never_truncate BEFORE TRUNCATE ON policy_sets EXECUTE FUNCTION never();
CREATE TRIGGER bodies_never_truncate BEFORE TRUNCATE ON bodies EXECUTE FUNCTION never();
