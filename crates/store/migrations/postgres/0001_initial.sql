-- Events, deliveries and attempts are partitioned by week, so that retention is dropping a table.
-- An id leads to its partition: a delivery's created_at is the time in its id, which is also its
-- event's accepted_at; its attempts lie in the same week. Partitions are made ahead by `migrate`
-- and `maintain`; the default ones catch what falls outside.
--
-- COLLATE "C": ids are compared as bytes, which is what they are and costs least.
-- Enums are the codes of src/codes.rs.

-- Unique over all partitions; outlives an event that is dropped.
CREATE TABLE event_keys (
    tenant_id   text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    digest      bytea            NOT NULL,
    accepted_at timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);

CREATE TABLE license_sequences (
    tenant_id  text COLLATE "C" NOT NULL,
    license_id text COLLATE "C" NOT NULL,
    last       bigint           NOT NULL,
    PRIMARY KEY (tenant_id, license_id)
) WITH (fillfactor = 80);

CREATE TABLE events (
    tenant_id   text COLLATE "C" NOT NULL,
    accepted_at timestamptz      NOT NULL,
    id          text COLLATE "C" NOT NULL,
    event_type  text COLLATE "C" NOT NULL,
    occurred_at timestamptz      NOT NULL,
    environment smallint         NOT NULL,
    sequence    bigint,
    license_id  text COLLATE "C",
    product     text,
    -- Text and not jsonb: byte for byte as it came.
    data        text             NOT NULL,
    PRIMARY KEY (tenant_id, accepted_at, id)
) PARTITION BY RANGE (accepted_at);
CREATE INDEX events_by_license ON events (tenant_id, license_id, sequence)
    WHERE license_id IS NOT NULL;
CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE TABLE deliveries (
    id              uuid             NOT NULL,
    created_at      timestamptz      NOT NULL,
    endpoint_id     uuid             NOT NULL,
    next_attempt_at timestamptz,
    updated_at      timestamptz      NOT NULL,
    attempts        integer          NOT NULL DEFAULT 0,
    attempts_before integer          NOT NULL DEFAULT 0,
    status          smallint         NOT NULL,
    hold_reason     smallint,
    urgent          boolean          NOT NULL,
    tenant_id       text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, id);
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status <= 1;
CREATE INDEX deliveries_held ON deliveries (endpoint_id, urgent DESC, id) WHERE status = 2;
CREATE INDEX deliveries_ended_badly ON deliveries (tenant_id, id) WHERE status >= 4;
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

CREATE TABLE attempts (
    delivery_created_at timestamptz NOT NULL,
    delivery_id         uuid        NOT NULL,
    number              integer     NOT NULL,
    id                  uuid        NOT NULL,
    started_at          timestamptz NOT NULL,
    duration_us         bigint      NOT NULL,
    retry_after_ms      bigint,
    status_code         integer,
    error_class         text COLLATE "C",
    -- A JSON array of pairs, in the order received.
    response_headers    text,
    response_body       bytea,
    PRIMARY KEY (delivery_id, number, delivery_created_at)
) PARTITION BY RANGE (delivery_created_at);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- How many deliveries were ever accepted, counted where they are accepted: the other side of the
-- balance. By week, because a dropped partition takes its deliveries along; in shards, so that two
-- connections do not wait for one another's commit.
CREATE TABLE accepted_counts (
    week       timestamptz NOT NULL,
    shard      integer     NOT NULL,
    deliveries bigint      NOT NULL,
    PRIMARY KEY (week, shard)
) WITH (fillfactor = 20);

-- Written by `ping`, to see whether the store takes writes.
CREATE TABLE pings (
    only_row boolean PRIMARY KEY CHECK (only_row),
    pinged   bigint  NOT NULL
);
INSERT INTO pings VALUES (true, 0);

CREATE TABLE tenants (
    id         text COLLATE "C" PRIMARY KEY,
    body       text        NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX tenants_changed ON tenants (changed_at);

CREATE TABLE endpoints (
    id             uuid             PRIMARY KEY,
    tenant_id      text COLLATE "C" NOT NULL,
    revision       bigint           NOT NULL,
    body           text             NOT NULL,
    sealed_secrets bytea            NOT NULL,
    deleted        boolean          NOT NULL,
    changed_at     timestamptz      NOT NULL
);
CREATE INDEX endpoints_changed ON endpoints (changed_at);

CREATE TABLE api_keys (
    id         uuid        PRIMARY KEY,
    hash       bytea       NOT NULL UNIQUE,
    body       text        NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX api_keys_changed ON api_keys (changed_at);

CREATE TABLE deleted_api_keys (
    id         uuid        PRIMARY KEY,
    changed_at timestamptz NOT NULL
);
CREATE INDEX deleted_api_keys_changed ON deleted_api_keys (changed_at);

CREATE TABLE event_types (
    tenant_id   text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    description text             NOT NULL,
    changed_at  timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
CREATE INDEX event_types_changed ON event_types (changed_at);
