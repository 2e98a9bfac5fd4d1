-- Tenants' key pairs. Made once and never changed: whatever was signed with one can be verified.
CREATE TABLE signing_keys (
    tenant_id  TEXT    NOT NULL,
    algorithm  TEXT    NOT NULL,
    sealed_key BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, algorithm)
) STRICT, WITHOUT ROWID;
CREATE INDEX signing_keys_changed ON signing_keys (changed_at);
