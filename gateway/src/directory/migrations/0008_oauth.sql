-- Programs that registered themselves (RFC 7591), and what people granted them. Codes and tokens are kept as SHA-256.
CREATE TABLE oauth_clients (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    created_ms    BIGINT NOT NULL,
    -- The first time that a person granted it anything; a client that nobody ever granted anything goes after a day.
    granted_ms    BIGINT
);
CREATE INDEX oauth_clients_unused ON oauth_clients (granted_ms, created_ms);

-- A grant begins when its code is spent, and is the family of all tokens that grew from it.
CREATE TABLE oauth_grants (
    id          TEXT PRIMARY KEY,
    client_id   TEXT NOT NULL REFERENCES oauth_clients (id),
    user_id     TEXT NOT NULL REFERENCES users (id),
    scopes      TEXT NOT NULL,
    created_ms  BIGINT NOT NULL,
    began_ms    BIGINT,
    renewed_ms  BIGINT,
    revoked_ms  BIGINT,
    version     BIGINT NOT NULL
);
CREATE INDEX oauth_grants_user ON oauth_grants (user_id);

CREATE TABLE oauth_codes (
    sha256       TEXT PRIMARY KEY,
    grant_id     TEXT NOT NULL REFERENCES oauth_grants (id),
    redirect_uri TEXT NOT NULL,
    challenge    TEXT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    state        TEXT NOT NULL
);

CREATE TABLE oauth_refresh_tokens (
    sha256     TEXT PRIMARY KEY,
    grant_id   TEXT NOT NULL REFERENCES oauth_grants (id),
    expires_ms BIGINT NOT NULL,
    state      TEXT NOT NULL
);
CREATE INDEX oauth_refresh_tokens_grant ON oauth_refresh_tokens (grant_id);
