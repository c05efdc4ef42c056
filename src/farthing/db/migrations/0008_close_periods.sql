-- Closed periods: from the moment a period is closed nothing takes effect before its end any more.
--
-- Closing again with an earlier end reopens; both are facts, and the last one holds.

CREATE TABLE period_closings (
    tenant_id    bigint NOT NULL REFERENCES tenants,
    closing_id   bigint GENERATED ALWAYS AS IDENTITY,
    closed_until timestamptz,                       -- nothing may take effect before it; none: everything is open
    reason       text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    closed_at    timestamptz NOT NULL CHECK (closed_until IS NULL OR closed_until <= closed_at),
    PRIMARY KEY (tenant_id, closing_id)
);

CREATE FUNCTION refuse_closed_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off record;
BEGIN
    -- Who closes waits for those who are posting, and they see what was closed: the lock is shared among posters.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('period_closings', p.tenant_id))
       FROM (SELECT DISTINCT tenant_id FROM posted) p;
    SELECT p.key, c.closed_until INTO off
      FROM posted p
      JOIN LATERAL (SELECT closed_until FROM period_closings c WHERE c.tenant_id = p.tenant_id
                     ORDER BY closing_id DESC LIMIT 1) c ON p.effective_at < c.closed_until
     ORDER BY p.key LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the books are closed until %: % cannot take effect before',
            to_char(off.closed_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), off.key
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transfers_period_open', TABLE = 'transfers';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER transfers_period_open AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_period();

-- How far revenue that was invoiced in advance has been recognised: a run looks only at what came since.
CREATE TABLE recognition_runs (
    tenant_id bigint NOT NULL REFERENCES tenants,
    run_id    bigint GENERATED ALWAYS AS IDENTITY,
    until     timestamptz NOT NULL,
    booked    bigint NOT NULL CHECK (booked >= 0),  -- transfers that this run made
    ran_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX invoices_issued_at ON invoices (tenant_id, issued_at);

DO $$
DECLARE
    fact text;
BEGIN
    FOREACH fact IN ARRAY ARRAY['period_closings', 'recognition_runs'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', fact || '_append_only', fact);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', fact);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', fact);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', fact);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', fact);
    END LOOP;
END $$;

-- Reports ask for what took effect in a period, and whoever books nearly always books now.
CREATE INDEX transfers_effective ON transfers USING brin (effective_at);
