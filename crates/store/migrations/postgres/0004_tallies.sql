-- How many deliveries are in each state, counted by the database itself whatever writes them, in
-- the transaction that does: reading a few rows then tells what else means counting millions. The
-- other side of the balance, accepted_counts, is counted from the events that were accepted.
--
-- `state` is the status, but for held deliveries 10 + the reason. Weeks and shards as in
-- accepted_counts: whoever drops a week's partition deletes its rows in both. A row can be negative,
-- since a delivery that one connection counted up another may count down; their sum cannot.
CREATE TABLE delivery_tallies (
    week       timestamptz NOT NULL,
    shard      integer     NOT NULL,
    state      smallint    NOT NULL,
    deliveries bigint      NOT NULL,
    PRIMARY KEY (week, shard, state)
) WITH (fillfactor = 20);

CREATE FUNCTION delivery_state(status smallint, hold_reason smallint) RETURNS smallint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN status = 2 THEN coalesce(10 + hold_reason, 2) ELSE status END::smallint
$$;

-- Once a statement. Rows are written in one order, so that two statements do not wait for each
-- other; an update that changes no state writes nothing.
CREATE FUNCTION tally_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO delivery_tallies AS t
        SELECT date_bin('7 days', created_at, '2001-01-01T00:00Z'), pg_backend_pid() % 256,
               delivery_state(status, hold_reason), count(*)
        FROM came GROUP BY 1, 3 ORDER BY 1, 3
        ON CONFLICT (week, shard, state)
        DO UPDATE SET deliveries = t.deliveries + excluded.deliveries;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO delivery_tallies AS t
        SELECT date_bin('7 days', created_at, '2001-01-01T00:00Z'), pg_backend_pid() % 256,
               delivery_state(status, hold_reason), sum(n)
        FROM (SELECT created_at, status, hold_reason, 1 AS n FROM came
              UNION ALL
              SELECT created_at, status, hold_reason, -1 FROM went) moved
        GROUP BY 1, 3 HAVING sum(n) <> 0 ORDER BY 1, 3
        ON CONFLICT (week, shard, state)
        DO UPDATE SET deliveries = t.deliveries + excluded.deliveries;
    ELSE
        INSERT INTO delivery_tallies AS t
        SELECT date_bin('7 days', created_at, '2001-01-01T00:00Z'), pg_backend_pid() % 256,
               delivery_state(status, hold_reason), -count(*)
        FROM went GROUP BY 1, 3 ORDER BY 1, 3
        ON CONFLICT (week, shard, state)
        DO UPDATE SET deliveries = t.deliveries + excluded.deliveries;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER tally_inserted AFTER INSERT ON deliveries
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
CREATE TRIGGER tally_updated AFTER UPDATE ON deliveries
    REFERENCING NEW TABLE AS came OLD TABLE AS went
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
CREATE TRIGGER tally_deleted AFTER DELETE ON deliveries
    REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();

-- The triggers have locked the writers out: what is here is all there is.
INSERT INTO delivery_tallies
SELECT date_bin('7 days', created_at, '2001-01-01T00:00Z'), 0,
       delivery_state(status, hold_reason), count(*)
FROM deliveries GROUP BY 1, 3;
