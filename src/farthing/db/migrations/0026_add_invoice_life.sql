-- The smallest amount that is worth an invoice: a bill below it asks for nothing, and what it comes to is carried
-- forward to the next bill of the same customer and currency, which brings it forward.

ALTER TABLE invoice_lines
    DROP CONSTRAINT invoice_lines_adjustment_check,
    ADD CONSTRAINT invoice_lines_adjustment_check CHECK (adjustment IN
        ('coupon', 'commitment', 'prepaid', 'drawdown', 'overage', 'true_up', 'lapse', 'minimum', 'billed', 'carried',
         'correction', 'carried_forward', 'brought_forward'));

-- Whose a line is that was carried or brought forward, where that is not the invoice's subscription.
ALTER TABLE invoice_lines ADD subscription text;
DROP TRIGGER invoice_lines_identity ON invoice_lines;
CREATE TRIGGER invoice_lines_identity BEFORE UPDATE ON invoice_lines FOR EACH ROW WHEN (erasing())
    EXECUTE FUNCTION replace_identity_only('dimensions', 'one_off', 'rate_card', 'adjustment_key', 'corrected_key',
                                           'subscription');

-- brings: the number of the invoice whose carried amount this one brings forward. brings_again: how many voided
-- invoices had brought the same; so what is carried is brought by one invoice that holds, whoever issues.
ALTER TABLE invoices
    ADD carries      boolean NOT NULL DEFAULT false,
    ADD brings       key_text,
    ADD brings_again integer NOT NULL DEFAULT 0,
    ADD FOREIGN KEY (tenant_id, brings) REFERENCES invoices (tenant_id, number),
    ADD CHECK (brings <> number);
CREATE UNIQUE INDEX invoices_brings ON invoices (tenant_id, brings, brings_again) WHERE brings IS NOT NULL;
CREATE INDEX invoices_carries ON invoices (tenant_id, customer_id, currency, invoice_id) WHERE carries;

CREATE OR REPLACE VIEW standing_invoices WITH (security_invoker = true) AS
SELECT i.tenant_id, i.invoice_id, i.number, i.customer_id, i.subscription_id, i.plan_version_id, i.reason, i.currency,
       i.period_start, i.period_end, i.subtotal, i.tax, i.total, i.total_exact, i.issued_at, i.document,
       i.prices_include_tax, i.sequence, i.paid_from_wallets, i.carries, i.brings
  FROM invoices i
 WHERE NOT EXISTS (SELECT FROM invoice_voids v WHERE v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id);

-- What is brought forward is what was carried, to the last digit and as it was shown.
CREATE FUNCTION check_brought_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT i.number INTO off
      FROM (SELECT tenant_id, invoice_id,
                   coalesce(sum(amount_exact) FILTER (WHERE adjustment = 'brought_forward'), 0) AS amount_exact,
                   coalesce(sum(amount) FILTER (WHERE adjustment = 'brought_forward'), 0) AS amount,
                   coalesce(bool_or(adjustment = 'brought_forward'), false) AS brings,
                   coalesce(bool_or(adjustment = 'carried_forward'), false) AS carries
              FROM issued GROUP BY tenant_id, invoice_id) b
      JOIN invoices i USING (tenant_id, invoice_id)
      LEFT JOIN invoices s ON s.tenant_id = i.tenant_id AND s.number = i.brings AND s.customer_id = i.customer_id
                          AND s.currency = i.currency
      LEFT JOIN LATERAL (SELECT sum(l.amount_exact) AS amount_exact, sum(l.amount) AS amount
                           FROM invoice_lines l
                          WHERE l.tenant_id = s.tenant_id AND l.invoice_id = s.invoice_id
                            AND l.adjustment = 'carried_forward') c ON true
     WHERE b.carries <> i.carries OR b.brings <> (i.brings IS NOT NULL)
        OR b.brings AND (b.amount_exact + c.amount_exact IS DISTINCT FROM 0
                         OR b.amount + c.amount IS DISTINCT FROM 0)
     LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'what invoice % carries or brings forward is not what it says', off
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_brought AFTER INSERT ON invoice_lines
    REFERENCING NEW TABLE AS issued FOR EACH STATEMENT EXECUTE FUNCTION check_brought_forward();

-- What was brought forward stands on a later invoice: taken back here, it would be asked for twice.
CREATE FUNCTION refuse_void_of_brought() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT i.number INTO off
      FROM voided v
      JOIN invoices i USING (tenant_id, invoice_id)
      JOIN standing_invoices b ON b.tenant_id = i.tenant_id AND b.brings = i.number
     WHERE i.carries
     LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'what invoice % carried was brought forward', off USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_voids_not_brought AFTER INSERT ON invoice_voids
    REFERENCING NEW TABLE AS voided FOR EACH STATEMENT EXECUTE FUNCTION refuse_void_of_brought();

-- What a tenant (no customer), or one of its customers, says of how its invoices come about. The newest row holds.
CREATE TABLE billing_terms (
    tenant_id        bigint NOT NULL REFERENCES tenants,
    billing_terms_id bigint GENERATED ALWAYS AS IDENTITY,
    customer_id      bigint,
    definition       jsonb,                         -- none: a customer's own are taken away
    made_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, billing_terms_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK (definition IS NOT NULL OR customer_id IS NOT NULL)
);
CREATE INDEX billing_terms_whose ON billing_terms (tenant_id, customer_id, billing_terms_id);

-- The drafts that the outbox has told of: bills that are due and wait for the end of their grace.
CREATE TABLE draft_notices (
    tenant_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    period_start    timestamptz NOT NULL,
    reason          text COLLATE "C" NOT NULL,
    noticed_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, period_start, reason),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['billing_terms', 'draft_notices'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON billing_terms, draft_notices TO farthing_app;
