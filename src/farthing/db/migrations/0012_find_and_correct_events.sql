-- Finding one event among all of them, and corrections: a new fact that points to the event that it corrects.

-- ---------------------------------------------------------------------------------------------
-- Which segments may hold an identity, without reading them: a Bloom filter for each. It is kept as it is, so
-- that a probe reads one page of it and not all. None (an older segment): the segment is read.

ALTER TABLE segments
    ADD COLUMN id_filter bytea,
    ADD COLUMN sources   text[];                    -- the sources of its events; none: too many to list
ALTER TABLE segments ALTER COLUMN id_filter SET STORAGE EXTERNAL;

CREATE FUNCTION filter_holds(id_filter bytea, place bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT get_byte(substring(id_filter FROM (place % (8::bigint * octet_length(id_filter)) / 8)::integer + 1 FOR 1), 0)
           >> (place % 8)::integer & 1 = 1
$$;

-- What quarantined bytes say of themselves, where they are JSON at all.
CREATE FUNCTION event_attribute(raw bytea, name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN left(convert_from(raw, 'UTF8')::json ->> name, 256);
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;

ALTER TABLE quarantine
    ADD COLUMN source   text COLLATE "C" GENERATED ALWAYS AS (event_attribute(raw, 'source')) STORED,
    ADD COLUMN event_id text COLLATE "C" GENERATED ALWAYS AS (event_attribute(raw, 'id')) STORED;
CREATE INDEX quarantine_event ON quarantine (tenant_id, event_id) WHERE event_id IS NOT NULL;

-- ---------------------------------------------------------------------------------------------
-- Corrections. The event stays where it is, accepted and counted once; what is written here is that it no longer
-- counts in usage, since when and why. One correction to an event: who replaces a replacement corrects that.

CREATE TABLE event_corrections (
    tenant_id     bigint NOT NULL REFERENCES tenants,
    correction_id bigint GENERATED ALWAYS AS IDENTITY,
    seal_id       key_text NOT NULL,                -- the seal that accounts for the correcting event
    kind          text COLLATE "C" NOT NULL CHECK (kind IN ('void', 'replace')),
    source        key_text NOT NULL,                -- the correcting event: of type farthing.void, or the replacement
    event_id      key_text NOT NULL,
    target_source key_text NOT NULL,                -- the event that it corrects, whether that has come yet or not
    target_id     key_text NOT NULL,
    reason        text NOT NULL DEFAULT '' CHECK (length(reason) <= 256),
    target_unreadable boolean NOT NULL,             -- it may stand in a segment that was damaged when this was sealed
    received_at   timestamptz NOT NULL,
    sealed_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, correction_id),
    UNIQUE (tenant_id, source, event_id),
    UNIQUE (tenant_id, target_source, target_id),
    FOREIGN KEY (tenant_id, seal_id) REFERENCES seals,
    CHECK ((source, event_id) <> (target_source, target_id))
);

CREATE INDEX event_corrections_unreadable ON event_corrections (tenant_id) WHERE target_unreadable;

-- The events that no longer count: written with the correction, or with its event where that comes later.
CREATE TABLE voided_events (
    tenant_id     bigint NOT NULL,
    correction_id bigint NOT NULL,
    source        key_text NOT NULL,
    event_id      key_text NOT NULL,
    event_type    text COLLATE "C" NOT NULL,
    subject       text COLLATE "C",
    event_time    timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,             -- of the voided event
    voided_at     timestamptz NOT NULL,             -- since when it does not count
    PRIMARY KEY (tenant_id, correction_id),
    UNIQUE (tenant_id, source, event_id),
    FOREIGN KEY (tenant_id, correction_id) REFERENCES event_corrections
);
CREATE INDEX voided_events_time ON voided_events (tenant_id, event_time);
CREATE INDEX voided_events_subject ON voided_events (tenant_id, subject, event_time);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['event_corrections', 'voided_events'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON event_corrections, voided_events TO farthing_app;
