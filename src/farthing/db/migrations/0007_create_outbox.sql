-- The outbox: what happened that the world outside may want to know, written in the transaction that made it true.
--
-- A fact gets its position when somebody first reads behind it, not when it is written: transactions end in another
-- order than they begin, and a reader that goes on from the last position it saw must never pass one that was still
-- to be committed. Whoever writes facts waits for nobody.

CREATE TABLE outbox (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    fact_id     bigint GENERATED ALWAYS AS IDENTITY,
    position    bigint CHECK (position > 0),        -- where readers find it; none: nobody has read that far
    kind        key_text NOT NULL,                  -- what happened: wallet.low_balance
    subject     key_text NOT NULL,                  -- to what: a key or a number that people know
    body        jsonb NOT NULL CHECK (jsonb_typeof(body) = 'object'),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, fact_id),
    UNIQUE (tenant_id, position)
);
CREATE INDEX outbox_unread ON outbox (tenant_id, fact_id) WHERE position IS NULL;

CREATE FUNCTION refuse_changed_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.position IS NOT NULL
       OR (NEW.tenant_id, NEW.fact_id, NEW.kind, NEW.subject, NEW.body, NEW.occurred_at)
          IS DISTINCT FROM (OLD.tenant_id, OLD.fact_id, OLD.kind, OLD.subject, OLD.body, OLD.occurred_at) THEN
        RAISE EXCEPTION 'a fact in the outbox is never changed: it only gets its position, once'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER outbox_positioned BEFORE UPDATE ON outbox
    FOR EACH ROW EXECUTE FUNCTION refuse_changed_fact();
CREATE TRIGGER outbox_append_only BEFORE DELETE OR TRUNCATE ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON outbox USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());

GRANT SELECT, INSERT, UPDATE (position) ON outbox TO farthing_app;
