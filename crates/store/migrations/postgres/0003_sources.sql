-- Where other systems' webhooks come in: like endpoints, a JSON document with its keys sealed apart.
CREATE TABLE sources (
    id          uuid             PRIMARY KEY,
    tenant_id   text COLLATE "C" NOT NULL,
    revision    bigint           NOT NULL,
    body        text             NOT NULL,
    sealed_keys bytea            NOT NULL,
    deleted     boolean          NOT NULL,
    changed_at  timestamptz      NOT NULL
);
CREATE INDEX sources_changed ON sources (changed_at);
