-- How quarantined events were closed. The event stays in quarantine, as it was accepted: what was done
-- about it later is a fact of its own, written once.
--
-- retried: its bytes, or corrected ones, went in by the door again; `seal_id` is the seal that says what
--          became of them, and this row is written in the transaction of that seal.
-- dropped: somebody decided that it is not to be counted.

CREATE TABLE quarantine_resolutions (
    tenant_id     bigint NOT NULL REFERENCES tenants,
    quarantine_id bigint NOT NULL,
    resolution    text COLLATE "C" NOT NULL CHECK (resolution IN ('retried', 'dropped')),
    seal_id       key_text,
    resolved_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, quarantine_id),
    FOREIGN KEY (tenant_id, quarantine_id) REFERENCES quarantine,
    FOREIGN KEY (tenant_id, seal_id) REFERENCES seals,
    CHECK ((resolution = 'retried') = (seal_id IS NOT NULL))
);

CREATE TRIGGER quarantine_resolutions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quarantine_resolutions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE quarantine_resolutions ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine_resolutions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON quarantine_resolutions USING (tenant_id = current_tenant())
    WITH CHECK (tenant_id = current_tenant());

GRANT SELECT, INSERT ON quarantine_resolutions TO farthing_app;
