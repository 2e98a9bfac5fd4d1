-- How many deliveries are in each state, counted by the database itself whatever writes them, in
-- the transaction that does: reading a few rows then tells what else means counting millions. The
-- other side of the balance, accepted_count, is counted from the events that were accepted.
--
-- `state` is the status, but for held deliveries 10 + the reason.
CREATE TABLE delivery_tallies (
    state      INTEGER PRIMARY KEY,
    deliveries INTEGER NOT NULL
) STRICT;

INSERT INTO delivery_tallies
SELECT iif(status = 2, coalesce(10 + hold_reason, 2), status) AS state, count(*)
FROM deliveries GROUP BY state;
INSERT INTO delivery_tallies
VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (10, 0), (11, 0), (12, 0), (13, 0)
ON CONFLICT DO NOTHING;

CREATE TRIGGER tally_inserted AFTER INSERT ON deliveries BEGIN
    UPDATE delivery_tallies SET deliveries = deliveries + 1
    WHERE state = iif(new.status = 2, coalesce(10 + new.hold_reason, 2), new.status);
END;

CREATE TRIGGER tally_updated AFTER UPDATE OF status, hold_reason ON deliveries
WHEN old.status <> new.status OR old.hold_reason IS NOT new.hold_reason BEGIN
    UPDATE delivery_tallies SET deliveries = deliveries - 1
    WHERE state = iif(old.status = 2, coalesce(10 + old.hold_reason, 2), old.status);
    UPDATE delivery_tallies SET deliveries = deliveries + 1
    WHERE state = iif(new.status = 2, coalesce(10 + new.hold_reason, 2), new.status);
END;

CREATE TRIGGER tally_deleted AFTER DELETE ON deliveries BEGIN
    UPDATE delivery_tallies SET deliveries = deliveries - 1
    WHERE state = iif(old.status = 2, coalesce(10 + old.hold_reason, 2), old.status);
END;
