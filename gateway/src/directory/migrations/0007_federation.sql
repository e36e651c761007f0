-- Who is who at the identity providers of others; see 0001 for the forms.

-- Issuer (by its configured name and its address: a name that comes to stand for another provider links nobody) and
-- subject to user. `provisioned`: the user was made because of it. `role_iat`: when the newest token was issued that gave
-- the role, in Unix seconds; an older one changes nothing.
CREATE TABLE external_identities (
    issuer      TEXT NOT NULL,
    issuer_url  TEXT NOT NULL,
    subject     TEXT NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users (id),
    provisioned BIGINT NOT NULL,
    role_iat    BIGINT NOT NULL,
    linked_ms   BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identities_of_user ON external_identities (user_id);

-- Sign-ins in a browser that wait for their provider; each row goes with its use. Neither nonce nor verifier is kept:
-- both are made from the state and from what only the browser's cookie holds.
CREATE TABLE sign_in_states (
    state_sha256   TEXT PRIMARY KEY,
    browser_sha256 TEXT NOT NULL,
    issuer         TEXT NOT NULL,
    next           TEXT,
    expires_ms     BIGINT NOT NULL
);
CREATE INDEX sign_in_states_due ON sign_in_states (expires_ms);
