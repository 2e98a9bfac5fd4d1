-- Times are microseconds since 1970, ids made by Fanfare are 16 bytes in big-endian order, so
-- that both sort by time. Enums are the codes of src/codes.rs.

CREATE TABLE events (
    -- Deliveries point here: shorter than tenant and id, and in the order of acceptance.
    n           INTEGER PRIMARY KEY,
    tenant_id   TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    digest      BLOB    NOT NULL,
    event_type  TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    product     TEXT,
    license_id  TEXT,
    sequence    INTEGER,
    data        TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_key ON events (tenant_id, id);
CREATE INDEX events_by_time ON events (tenant_id, accepted_at);
CREATE UNIQUE INDEX events_by_license ON events (tenant_id, license_id, sequence)
    WHERE license_id IS NOT NULL;

CREATE TABLE license_sequences (
    tenant_id  TEXT    NOT NULL,
    license_id TEXT    NOT NULL,
    last       INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, license_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    id              BLOB    PRIMARY KEY,
    event_n         INTEGER NOT NULL,
    endpoint_id     BLOB    NOT NULL,
    urgent          INTEGER NOT NULL,
    status          INTEGER NOT NULL,
    hold_reason     INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    attempts_before INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, id);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status <= 1;
CREATE INDEX deliveries_held ON deliveries (endpoint_id, urgent DESC, id) WHERE status = 2;
CREATE INDEX deliveries_ended_badly ON deliveries (id) WHERE status >= 4;

CREATE TABLE attempts (
    delivery_id      BLOB    NOT NULL,
    number           INTEGER NOT NULL,
    id               BLOB    NOT NULL,
    started_at       INTEGER NOT NULL,
    duration_us      INTEGER NOT NULL,
    status_code      INTEGER,
    retry_after_ms   INTEGER,
    error_class      TEXT,
    response_headers TEXT,
    response_body    BLOB,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- How many deliveries were ever accepted, counted where they are accepted: the other side of the
-- balance.
CREATE TABLE accepted_count (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    deliveries INTEGER NOT NULL
) STRICT;
INSERT INTO accepted_count VALUES (1, 0);

-- Written by `ping`, to see whether the store takes writes.
CREATE TABLE pings (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    pinged   INTEGER NOT NULL
) STRICT;
INSERT INTO pings VALUES (1, 0);

CREATE TABLE tenants (
    id         TEXT    PRIMARY KEY,
    body       TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tenants_changed ON tenants (changed_at);

CREATE TABLE endpoints (
    id             BLOB    PRIMARY KEY,
    tenant_id      TEXT    NOT NULL,
    revision       INTEGER NOT NULL,
    body           TEXT    NOT NULL,
    sealed_secrets BLOB    NOT NULL,
    deleted        INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX endpoints_changed ON endpoints (changed_at);

CREATE TABLE api_keys (
    id         BLOB    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    body       TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_changed ON api_keys (changed_at);

CREATE TABLE deleted_api_keys (
    id         BLOB    PRIMARY KEY,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_api_keys_changed ON deleted_api_keys (changed_at);

CREATE TABLE event_types (
    tenant_id   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    changed_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_types_changed ON event_types (changed_at);
