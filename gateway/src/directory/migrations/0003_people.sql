-- What admins keep of people beside the core. Free-form facts are JSON; see 0001 for the forms.

-- Scopes that a user keeps from before a change of the role that was not to reach those who hold it.
ALTER TABLE users ADD COLUMN pinned_scopes TEXT;
ALTER TABLE users ADD COLUMN agency_id TEXT;
ALTER TABLE users ADD COLUMN nickname TEXT;
ALTER TABLE users ADD COLUMN cases_user_id BIGINT;
-- Set when a person was removed for good: the row stays, so that past records keep their pseudonym.
ALTER TABLE users ADD COLUMN removed_ms BIGINT;
ALTER TABLE roles ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE user_settings ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';

-- Scopes that have a name for people. A scope need not be here to be granted.
CREATE TABLE scopes (
    id           TEXT PRIMARY KEY,
    tenant_id    TEXT NOT NULL,
    resource     TEXT NOT NULL,
    action       TEXT NOT NULL,
    name         TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description  TEXT NOT NULL,
    source       TEXT NOT NULL,
    source_id    TEXT,
    created_ms   BIGINT NOT NULL,
    UNIQUE (tenant_id, name)
);

-- Scopes that were taken back from a user; the last time of each.
CREATE TABLE taken_scopes (
    user_id  TEXT NOT NULL REFERENCES users (id),
    scope    TEXT NOT NULL,
    taken_ms BIGINT NOT NULL,
    taken_by TEXT NOT NULL,
    PRIMARY KEY (user_id, scope)
);

CREATE TABLE agencies (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, name)
);

-- Tokens by which an app's service calls, for one user or in the name of the platform.
CREATE TABLE service_tokens (
    id         TEXT PRIMARY KEY,
    sha256     TEXT NOT NULL UNIQUE,
    app        TEXT NOT NULL,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    user_id    TEXT REFERENCES users (id),
    purpose    TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    version    BIGINT NOT NULL
);
