-- Tenants' key pairs. Made once and never changed: whatever was signed with one can be verified.
CREATE TABLE signing_keys (
    tenant_id  text COLLATE "C" NOT NULL,
    algorithm  text COLLATE "C" NOT NULL,
    sealed_key bytea            NOT NULL,
    created_at timestamptz      NOT NULL,
    changed_at timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, algorithm)
);
CREATE INDEX signing_keys_changed ON signing_keys (changed_at);
