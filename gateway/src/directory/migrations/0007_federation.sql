-- Who is who at the identity providers of others; see 0001 for the forms.

-- Issuer (by its configured name) and subject to user. `provisioned`: the user was made because of it.
CREATE TABLE external_identities (
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users (id),
    provisioned BIGINT NOT NULL,
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
