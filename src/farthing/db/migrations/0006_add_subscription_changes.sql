-- The life of subscriptions: every change is a fact of its own, from a moment on. What a subscription is at
-- any moment is the fold of its facts (customers/timeline.py); its row says only how it begins.

CREATE TABLE subscription_changes (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    change_id       bigint GENERATED ALWAYS AS IDENTITY,
    subscription_id bigint NOT NULL,
    key             key_text NOT NULL,              -- the same change asked for twice is one
    kind            text COLLATE "C" NOT NULL CHECK (kind IN ('plan', 'quantity', 'override', 'add_on',
                        'remove_add_on', 'pause', 'resume', 'cancel', 'reactivate', 'trial', 'withdraw')),
    effective_at    timestamptz NOT NULL,
    plan_version_id bigint,
    payload         jsonb NOT NULL,
    made_at         timestamptz NOT NULL,
    withdraws       bigint,                         -- the earlier change that this one calls off
    PRIMARY KEY (tenant_id, change_id),
    UNIQUE (tenant_id, subscription_id, key),
    UNIQUE (tenant_id, withdraws),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
    FOREIGN KEY (tenant_id, plan_version_id) REFERENCES plan_versions,
    FOREIGN KEY (tenant_id, withdraws) REFERENCES subscription_changes,
    CHECK ((kind = 'plan') = (plan_version_id IS NOT NULL)),
    CHECK ((kind = 'withdraw') = (withdraws IS NOT NULL))
);

-- An amount that is billed once, on the invoice of the period it falls in.
CREATE TABLE one_off_charges (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    key             key_text NOT NULL,
    subscription_id bigint NOT NULL,
    description     text NOT NULL,
    amount          numeric NOT NULL,               -- below zero: a credit
    charged_at      timestamptz NOT NULL,
    made_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);
CREATE INDEX one_off_charges_subscription ON one_off_charges (tenant_id, subscription_id);

-- What a line is for, where the invoice alone does not say it: another plan version than the invoice's, a
-- price of the customer's own, the full period that a fee is a share of, a one-off charge.
ALTER TABLE invoice_lines
    ADD plan         text COLLATE "C",
    ADD plan_version integer,
    ADD price        jsonb,
    ADD fee_start    timestamptz,                   -- none on lines from before this migration
    ADD fee_end      timestamptz,
    ADD one_off      text COLLATE "C";
CREATE UNIQUE INDEX invoice_lines_one_off ON invoice_lines (tenant_id, one_off) WHERE one_off IS NOT NULL;

ALTER TABLE invoices DROP CONSTRAINT invoices_reason_check;
ALTER TABLE invoices ADD CONSTRAINT invoices_reason_check CHECK (reason IN ('start', 'period', 'change', 'settlement'));

-- Ends become facts. A migration acts for no tenant, so the rows are unlocked while it reads them all.
ALTER TABLE subscriptions NO FORCE ROW LEVEL SECURITY;
INSERT INTO subscription_changes (tenant_id, subscription_id, key, kind, effective_at, payload, made_at)
SELECT tenant_id, subscription_id, 'end', 'cancel', end_at, '{"refund": "none"}', created_at
  FROM subscriptions WHERE end_at IS NOT NULL ORDER BY tenant_id, subscription_id;
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;
ALTER TABLE subscriptions DROP COLUMN end_at;

DO $$
DECLARE
    fact text;
BEGIN
    FOREACH fact IN ARRAY ARRAY['subscription_changes', 'one_off_charges'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', fact || '_append_only', fact);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', fact);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', fact);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', fact);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', fact);
    END LOOP;
END $$;
