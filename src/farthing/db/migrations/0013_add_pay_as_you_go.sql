-- Pay as you go: interim invoices, terms of collection of single subscriptions, and what has accrued.

-- Law 11: one invoice for each (subscription, period, reason). Of interim invoices, whose period is charged for
-- while it lasts, one for each number within the period.
ALTER TABLE invoices DROP CONSTRAINT invoices_reason_check;
ALTER TABLE invoices ADD CONSTRAINT invoices_reason_check
    CHECK (reason IN ('start', 'period', 'change', 'settlement', 'interim'));
ALTER TABLE invoices
    ADD sequence integer NOT NULL DEFAULT 0,
    ADD CHECK (CASE WHEN reason = 'interim' THEN sequence >= 1 ELSE sequence = 0 END),
    DROP CONSTRAINT invoices_tenant_id_subscription_id_period_start_reason_key,
    ADD CONSTRAINT invoices_one_for_each UNIQUE (tenant_id, subscription_id, period_start, reason, sequence);
CREATE INDEX invoices_interim ON invoices (tenant_id, subscription_id, period_start) WHERE reason = 'interim';

ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_adjustment_check;
ALTER TABLE invoice_lines ADD CONSTRAINT invoice_lines_adjustment_check CHECK (adjustment IN
    ('coupon', 'commitment', 'prepaid', 'drawdown', 'overage', 'true_up', 'lapse', 'minimum', 'billed', 'carried'));

-- When the money of a subscription is asked for, where its plan does not say it. The latest row holds.
CREATE TABLE collection_terms (
    tenant_id       bigint NOT NULL,
    collection_id   bigint GENERATED ALWAYS AS IDENTITY,
    subscription_id bigint NOT NULL,
    definition      jsonb,                          -- none: those of the plan again
    made_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, collection_id),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);
CREATE INDEX collection_terms_subscription ON collection_terms (tenant_id, subscription_id, collection_id);
CREATE TRIGGER collection_terms_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON collection_terms
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What had accrued when it was last looked at. No fact: all of it can be computed again from events and invoices.
CREATE TABLE accrued_spend (
    tenant_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    period_start    timestamptz NOT NULL,           -- the period that was open
    period_end      timestamptz NOT NULL,
    accrued         numeric NOT NULL,               -- of its usage before `as_of`, exactly
    billed          numeric NOT NULL,               -- by its interim invoices
    threshold       numeric,                        -- what may stand unbilled
    unbilled_since  timestamptz,                    -- since when at least a minor unit does
    charge_by       timestamptz,                    -- when it is charged, however little it is
    held            text COLLATE "C" CHECK (held IN
                        ('prepaid_commitment', 'wallet', 'too_many_interim_invoices', 'not_rated')),
    checkpoints     jsonb NOT NULL,                 -- what had been spent in all, day by day, for the last days
    last_change_id  bigint NOT NULL,                -- of the subscription, that was known; 0: none
    last_collection_id bigint NOT NULL,             -- of its own terms of collection; 0: none
    as_of           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);

CREATE TABLE accrual_cursors (                      -- the segments whose events have been looked at
    tenant_id   bigint PRIMARY KEY REFERENCES tenants,
    segments    text[] NOT NULL,
    updated_at  timestamptz NOT NULL
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['collection_terms', 'accrued_spend', 'accrual_cursors'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', name);
    END LOOP;
END $$;
GRANT UPDATE, DELETE ON accrued_spend, accrual_cursors TO farthing_app;
