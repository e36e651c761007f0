-- How people sign in beyond a password; see 0001 for the forms.

-- How the sign-in of a session was proved: {"amr": [...], "acr": "...", "auth_time": unix seconds}. Sessions from before
-- were proved by nothing that is known.
ALTER TABLE refresh_tokens ADD COLUMN strength TEXT NOT NULL DEFAULT '{}';

-- Second factors (RFC 6238). The secret is sealed; without confirmed_ms it is not asked for yet. Steps up to last_step
-- were used, and none counts twice. `wrong` codes in a row were tried, the last at wrong_ms.
CREATE TABLE totp (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    sealed       TEXT NOT NULL,
    last_step    BIGINT NOT NULL,
    wrong        BIGINT NOT NULL,
    wrong_ms     BIGINT NOT NULL,
    created_ms   BIGINT NOT NULL,
    confirmed_ms BIGINT
);

-- Each stands in for a code once; the row goes with its use.
CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    sha256  TEXT NOT NULL,
    PRIMARY KEY (user_id, sha256)
);
