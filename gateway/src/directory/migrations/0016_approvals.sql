-- What others said of a pending call that its rules want them to approve: each person once, sealed like the call itself.
ALTER TABLE confirmations ADD COLUMN approver_roles TEXT NOT NULL DEFAULT '[]';
CREATE TABLE approvals (
    confirmation_id TEXT NOT NULL,
    approver_id     TEXT NOT NULL,
    verdict         TEXT NOT NULL,
    sealed          TEXT NOT NULL,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (confirmation_id, approver_id)
);
CREATE INDEX confirmations_of_others ON confirmations (tenant_id, state, wants);
-- What a stream of live updates asks every second.
CREATE INDEX confirmations_of_user_by_change ON confirmations (tenant_id, user_id, changed_ms);
