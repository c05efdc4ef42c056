-- Counters that arrive over OTLP as running totals: how far each of them is counted.
--
-- What a point adds is decided here before its event is in the log, and the event stays with the stream until the log
-- has it. Killed in between, the next request writes it once more: with the same id it is a duplicate, never a loss.

CREATE TABLE otlp_streams (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    stream      bytea NOT NULL CHECK (length(stream) = 16),  -- a hash of what the stream is and when it began
    time_ns     numeric(20) CHECK (time_ns > 0),             -- of the last point that is counted; none: no point yet
    value       numeric NOT NULL,                            -- the running total at that point; of a histogram, its count
    total       numeric,                                     -- of a histogram, its sum
    advanced    bigint NOT NULL,                             -- how often it was moved on
    unconfirmed bytea NOT NULL,                              -- event lines that the log may lack
    PRIMARY KEY (tenant_id, stream)
);

CREATE FUNCTION refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.time_ns < OLD.time_ns OR NEW.advanced < OLD.advanced THEN
        RAISE EXCEPTION 'a stream is never counted back' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER otlp_streams_go_on BEFORE UPDATE ON otlp_streams FOR EACH ROW EXECUTE FUNCTION refuse_going_back();

ALTER TABLE otlp_streams ENABLE ROW LEVEL SECURITY;
ALTER TABLE otlp_streams FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON otlp_streams USING (tenant_id = current_tenant())
    WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON otlp_streams TO farthing_app;
