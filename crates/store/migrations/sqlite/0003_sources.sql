-- Where other systems' webhooks come in: like endpoints, a JSON document with its keys sealed apart.
CREATE TABLE sources (
    id          BLOB    PRIMARY KEY,
    tenant_id   TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    sealed_keys BLOB    NOT NULL,
    deleted     INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX sources_changed ON sources (changed_at);
