-- Work that one of many replicas does at a time, and until when it has said that it will.
CREATE TABLE leases (
    name     TEXT PRIMARY KEY,
    holder   TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
INSERT INTO leases (name, holder, until_ms) VALUES ('carry', '', 0);
