-- Values of secrets, sealed by the vault (purpose `secret`). The row stays when its value is forgotten, so that no
-- version of one secret is ever given twice. `owner` is a user's id, `__app__` or `__upstream__`.
CREATE TABLE secrets (
    tenant_id    TEXT NOT NULL,
    owner        TEXT NOT NULL,
    app          TEXT NOT NULL,
    name         TEXT NOT NULL,
    id           TEXT NOT NULL UNIQUE,
    version      BIGINT NOT NULL,
    sealed       TEXT,
    set_ms       BIGINT NOT NULL,
    set_by       TEXT NOT NULL,
    last_used_ms BIGINT,
    last_used_by TEXT,
    PRIMARY KEY (tenant_id, owner, app, name)
);
