-- For how long a tenant's events are kept, and which segments were removed because of it. Their ids stay in the id
-- index, so a repeat of a removed event still counts once.

CREATE TABLE retention (
    tenant_id   bigint PRIMARY KEY REFERENCES tenants,
    keep_days   integer NOT NULL CHECK (keep_days BETWEEN 1 AND 36600),
    set_at      timestamptz NOT NULL
);

CREATE TABLE removed_segments (                     -- conservation: counted = events in segments + events removed
    tenant_id   bigint NOT NULL REFERENCES tenants,
    segment_id  key_text NOT NULL,
    events      bigint NOT NULL CHECK (events > 0),
    event_types text[] NOT NULL,
    min_time    timestamptz NOT NULL,
    max_time    timestamptz NOT NULL,
    removed_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, segment_id)
);
CREATE INDEX removed_segments_time ON removed_segments (tenant_id, min_time, max_time);

CREATE TRIGGER removed_segments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON removed_segments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE retention ENABLE ROW LEVEL SECURITY;
ALTER TABLE retention FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON retention USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
ALTER TABLE removed_segments ENABLE ROW LEVEL SECURITY;
ALTER TABLE removed_segments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON removed_segments USING (tenant_id = current_tenant())
    WITH CHECK (tenant_id = current_tenant());

GRANT SELECT, INSERT, UPDATE, DELETE ON retention TO farthing_app;
GRANT SELECT, INSERT ON removed_segments TO farthing_app;
