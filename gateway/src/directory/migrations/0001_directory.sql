-- One text for SQLite and Postgres: TEXT and BIGINT only. Times are unix milliseconds, truth values
-- are 0 and 1, lists and maps are JSON, digests are lowercase hex, sealed bytes are base64.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('changes', 0);

-- The outbox: written in the transaction of the change that it tells of, read by whoever owns the ledger.
CREATE TABLE changes (
    version  BIGINT PRIMARY KEY,
    at_ms    BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    target   TEXT NOT NULL,
    fields   TEXT NOT NULL,
    recorded BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX changes_unrecorded ON changes (recorded, version);

CREATE TABLE tenants (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    active     BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE roles (
    id                  TEXT PRIMARY KEY,
    tenant_id           TEXT NOT NULL REFERENCES tenants (id),
    name                TEXT NOT NULL,
    display_name        TEXT NOT NULL,
    default_scopes      TEXT NOT NULL,
    confirmation_policy TEXT NOT NULL,
    is_system           BIGINT NOT NULL,
    created_ms          BIGINT NOT NULL,
    version             BIGINT NOT NULL,
    UNIQUE (tenant_id, name)
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    email         TEXT NOT NULL,
    password_hash TEXT,
    role_id       TEXT NOT NULL REFERENCES roles (id),
    attributes    TEXT NOT NULL,
    active        BIGINT NOT NULL,
    created_ms    BIGINT NOT NULL,
    last_login_ms BIGINT,
    version       BIGINT NOT NULL,
    UNIQUE (tenant_id, email)
);

CREATE TABLE user_scopes (
    user_id    TEXT NOT NULL REFERENCES users (id),
    scope      TEXT NOT NULL,
    granted_ms BIGINT NOT NULL,
    granted_by TEXT NOT NULL,
    PRIMARY KEY (user_id, scope)
);

CREATE TABLE user_settings (
    user_id              TEXT PRIMARY KEY REFERENCES users (id),
    confirmation_enabled BIGINT,
    confirmation_actions TEXT NOT NULL,
    confirmation_ttl_s   BIGINT
);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id),
    name         TEXT NOT NULL,
    key_prefix   TEXT NOT NULL,
    key_sha256   TEXT NOT NULL UNIQUE,
    scopes       TEXT NOT NULL,
    created_ms   BIGINT NOT NULL,
    last_used_ms BIGINT,
    revoked_ms   BIGINT,
    version      BIGINT NOT NULL
);
CREATE INDEX api_keys_prefix ON api_keys (key_prefix);

CREATE TABLE refresh_tokens (
    sha256     TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    family     TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    state      TEXT NOT NULL
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);

CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    modulus    TEXT NOT NULL,
    exponent   TEXT NOT NULL,
    sealed     TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL
);
-- Two replicas that start together cannot both make the first key.
CREATE UNIQUE INDEX signing_keys_one_signs ON signing_keys (state) WHERE state = 'signing';

CREATE TABLE confirmations (
    id            TEXT PRIMARY KEY,
    op            TEXT NOT NULL,
    tenant_id     TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    app           TEXT NOT NULL,
    tool          TEXT NOT NULL,
    target_tenant TEXT NOT NULL,
    target_id     TEXT,
    wants         TEXT NOT NULL,
    rules         TEXT NOT NULL,
    policy_digest TEXT NOT NULL,
    args_digest   TEXT NOT NULL,
    sealed_args   TEXT NOT NULL,
    summary       TEXT NOT NULL,
    state         TEXT NOT NULL,
    decided_by    TEXT,
    created_ms    BIGINT NOT NULL,
    expires_ms    BIGINT NOT NULL,
    changed_ms    BIGINT NOT NULL
);
CREATE INDEX confirmations_of_user ON confirmations (tenant_id, user_id, state);
CREATE INDEX confirmations_due ON confirmations (state, expires_ms);

CREATE TABLE accepted_tools (
    app          TEXT NOT NULL,
    tool         TEXT NOT NULL,
    digest       TEXT NOT NULL,
    description  TEXT NOT NULL,
    input_schema TEXT NOT NULL,
    accepted_ms  BIGINT NOT NULL,
    accepted_by  TEXT NOT NULL,
    PRIMARY KEY (app, tool)
);
