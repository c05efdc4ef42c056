-- Coupons, who redeemed them, and what subscriptions are committed to. All three are facts. What a
-- coupon took off, and how far a commitment is used, stands on issued invoice lines and nowhere else.

CREATE TABLE coupons (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    coupon_id       bigint GENERATED ALWAYS AS IDENTITY,
    key             key_text NOT NULL,
    definition      jsonb NOT NULL,
    max_redemptions integer NOT NULL CHECK (max_redemptions >= 1),  -- without a limit: the greatest integer
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, coupon_id),
    UNIQUE (tenant_id, key),
    UNIQUE (tenant_id, coupon_id, max_redemptions)                  -- for redemptions to refer to
);

-- Each redemption takes a place of its own among those that the coupon has, so there are never more
-- than `max_redemptions`, whoever inserts; and the key lets a subscription redeem a coupon once.
CREATE TABLE coupon_redemptions (
    tenant_id       bigint NOT NULL,
    coupon_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    redemption_id   bigint GENERATED ALWAYS AS IDENTITY,            -- the order of redemption
    place           integer NOT NULL CHECK (place >= 1),
    max_redemptions integer NOT NULL,
    start_at        timestamptz NOT NULL,                           -- invoices that fall due from then on
    redeemed_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, coupon_id),
    UNIQUE (tenant_id, coupon_id, place),
    CHECK (place <= max_redemptions),
    FOREIGN KEY (tenant_id, coupon_id, max_redemptions) REFERENCES coupons (tenant_id, coupon_id, max_redemptions),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);

CREATE TABLE commitments (
    tenant_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    key             key_text NOT NULL,
    definition      jsonb NOT NULL,
    start_at        timestamptz NOT NULL,
    end_at          timestamptz NOT NULL CHECK (end_at > start_at),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, key),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);

-- A line is what a rate card charges, or what is made of other lines: then it says what it is and of which
-- coupon or commitment (of which plan, for the plan's minimum).
ALTER TABLE invoice_lines
    ALTER COLUMN rate_card DROP NOT NULL,
    ADD COLUMN adjustment text COLLATE "C" CHECK (adjustment IN
        ('coupon', 'commitment', 'prepaid', 'drawdown', 'overage', 'true_up', 'lapse', 'minimum')),
    ADD COLUMN adjustment_key key_text,
    ADD CHECK ((adjustment IS NULL) = (rate_card IS NOT NULL)),
    ADD CHECK ((adjustment IS NULL) = (adjustment_key IS NULL));
CREATE INDEX invoice_lines_adjustments ON invoice_lines (tenant_id, invoice_id) WHERE adjustment IS NOT NULL;

ALTER TABLE invoices DROP CONSTRAINT invoices_reason_check;
ALTER TABLE invoices ADD CONSTRAINT invoices_reason_check CHECK (reason IN ('start', 'period', 'settlement'));

DO $$
DECLARE
    fact text;
BEGIN
    FOREACH fact IN ARRAY ARRAY['coupons', 'coupon_redemptions', 'commitments'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', fact || '_append_only', fact);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', fact);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', fact);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', fact);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', fact);
    END LOOP;
END $$;
