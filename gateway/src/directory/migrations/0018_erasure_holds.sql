-- Whose keys nobody may destroy for a while (a legal hold): a tenant's, or one user's. `owner` is '' for the tenant.
CREATE TABLE erasure_holds (
    tenant_id TEXT NOT NULL,
    owner     TEXT NOT NULL,
    since_ms  BIGINT NOT NULL,
    set_by    TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (tenant_id, owner)
);
