-- An authorisation ends once, whoever ends it: what settled it stays what settled it. A batch of requests relies on
-- this in place of counting rows, and so needs no answer before it commits.

DROP TRIGGER holds_end_once ON holds;
CREATE TRIGGER holds_end_once BEFORE UPDATE ON holds FOR EACH ROW
    WHEN (OLD.status IN ('counted', 'released', 'expired')
          OR (OLD.status = 'settled' AND (NEW.status NOT IN ('settled', 'counted')
                                          OR (NEW.ended_at, NEW.cost, NEW.covered, NEW.settled_parts, NEW.event_source,
                                              NEW.event_id, NEW.event_hash)
                                             IS DISTINCT FROM
                                             (OLD.ended_at, OLD.cost, OLD.covered, OLD.settled_parts, OLD.event_source,
                                              OLD.event_id, OLD.event_hash))))
    EXECUTE FUNCTION refuse_changed_hold();

-- By customer only, so that looking up keys of a tenant has one index to take. Customers' ids are unique among tenants.
DROP INDEX holds_customer;
CREATE INDEX holds_customer ON holds (customer_id, key);
