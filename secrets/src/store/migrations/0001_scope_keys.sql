-- One text for SQLite and Postgres: TEXT and BIGINT only. Times are unix milliseconds, ids and wrapped
-- bytes are lowercase hex.

CREATE TABLE scope_keys (
    sk_id        TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    ext          TEXT NOT NULL,
    sk_ver       BIGINT NOT NULL CHECK (sk_ver > 0),
    kek_provider TEXT NOT NULL,
    kek_id       TEXT NOT NULL,
    kek_ver      BIGINT NOT NULL,
    wrapped      TEXT NOT NULL,
    state        TEXT NOT NULL
        CHECK (state IN ('pending', 'active', 'decrypt_only', 'retired', 'destroyed')),
    changed_ms   BIGINT NOT NULL,
    UNIQUE (tenant, user_id, ext, sk_ver)
);
-- Whoever writes at once: one of them is refused.
CREATE UNIQUE INDEX scope_keys_one_active ON scope_keys (tenant, user_id, ext)
    WHERE state = 'active';
CREATE INDEX scope_keys_by_kek ON scope_keys (kek_id, kek_ver, sk_id);

CREATE TABLE kek_versions (
    kek_provider TEXT NOT NULL,
    kek_id       TEXT NOT NULL,
    kek_ver      BIGINT NOT NULL,
    state        TEXT NOT NULL
        CHECK (state IN ('active', 'decrypt_only', 'retired', 'destroyed')),
    rank         BIGINT NOT NULL,
    changed_ms   BIGINT NOT NULL,
    PRIMARY KEY (kek_provider, kek_id, kek_ver)
);

CREATE TABLE kek_replicas (
    replica TEXT PRIMARY KEY,
    kek_id  TEXT NOT NULL,
    kek_ver BIGINT NOT NULL,
    at_ms   BIGINT NOT NULL
);
