-- Sign-ins that a program asked for and a person approves elsewhere (RFC 8628). The device code is kept as SHA-256; the
-- code that the person types is short, so it is kept under a key. `state`: pending, approved, denied, used.
CREATE TABLE device_codes (
    id            TEXT PRIMARY KEY,
    device_sha256 TEXT NOT NULL UNIQUE,
    user_code_mac TEXT NOT NULL UNIQUE,
    challenge     TEXT NOT NULL,
    program       TEXT NOT NULL,
    source        TEXT NOT NULL,
    state         TEXT NOT NULL,
    user_id       TEXT REFERENCES users (id),
    -- How the session was signed in that approved; the one that it gives is no stronger.
    strength      TEXT,
    interval_s    BIGINT NOT NULL,
    polled_ms     BIGINT,
    created_ms    BIGINT NOT NULL,
    expires_ms    BIGINT NOT NULL
);
CREATE INDEX device_codes_expires ON device_codes (expires_ms);
