-- Two things of prepay. First, top-ups whose money is collected by payments: a payment is written, the wallet has its
-- grant once it succeeded. Then wallets of units.

ALTER TABLE top_ups
    ADD collected_by text COLLATE "C" NOT NULL DEFAULT 'hand' CHECK (collected_by IN ('payment', 'hand')),
    DROP CONSTRAINT top_ups_status_check,
    DROP CONSTRAINT top_ups_check,
    ADD CONSTRAINT top_ups_status_check CHECK (status IN ('requested', 'collecting', 'funded', 'failed')),
    ADD CONSTRAINT top_ups_settled CHECK ((status IN ('requested', 'collecting')) = (settled_at IS NULL)),
    ADD CONSTRAINT top_ups_collecting CHECK (status <> 'collecting' OR collected_by = 'payment');
-- The engine looks for these every few seconds.
CREATE INDEX top_ups_to_collect ON top_ups (tenant_id, top_up_id) WHERE status = 'requested' AND collected_by = 'payment';
CREATE INDEX top_ups_grant ON top_ups (tenant_id, grant_id) WHERE grant_id IS NOT NULL;

DROP TRIGGER top_ups_immutable ON top_ups;
CREATE TRIGGER top_ups_immutable BEFORE UPDATE OF tenant_id, top_up_id, key, wallet_id, amount, automatic, collected_by,
    requested_at ON top_ups FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Money that came in has come in, whatever was thought of its payment before; nothing leads away from that.
DROP TRIGGER top_ups_settled_once ON top_ups;
CREATE TRIGGER top_ups_settled_once BEFORE UPDATE ON top_ups
    FOR EACH ROW WHEN (OLD.status = 'funded'
                       OR (OLD.status = 'failed' AND NOT (NEW.status = 'funded' AND OLD.collected_by = 'payment'))
                       OR (OLD.status = 'collecting' AND NEW.status = 'requested'))
    EXECUTE FUNCTION refuse_second_settling();

CREATE TABLE payment_grants (                       -- which payment of a top-up paid for how much of which grant
    tenant_id  bigint NOT NULL REFERENCES tenants,
    funding_id bigint GENERATED ALWAYS AS IDENTITY,
    payment_id bigint NOT NULL,
    grant_id   bigint NOT NULL,
    amount     numeric NOT NULL CHECK (amount <> 0),    -- below zero: taken back
    cause      text NOT NULL,
    moved_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, funding_id),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants
);
CREATE INDEX payment_grants_payment ON payment_grants (tenant_id, payment_id);
CREATE INDEX payment_grants_grant ON payment_grants (tenant_id, grant_id);
-- Of which more may have to be taken back, as soon as it is in their wallets again.
CREATE INDEX payments_taken_back ON payments (tenant_id, payment_id) WHERE purpose = 'top_up' AND charged_back > 0;

-- A grant is paid for once, by its own customer; what is taken back was there.
CREATE FUNCTION check_payment_grants() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT g.key INTO off
      FROM (SELECT DISTINCT tenant_id, grant_id FROM added) a
      JOIN grants g ON g.tenant_id = a.tenant_id AND g.grant_id = a.grant_id
      JOIN payment_grants f ON f.tenant_id = a.tenant_id AND f.grant_id = a.grant_id
      JOIN payments p ON p.tenant_id = f.tenant_id AND p.payment_id = f.payment_id
     GROUP BY g.key, g.amount
    HAVING sum(f.amount) > g.amount OR bool_or(p.purpose <> 'top_up' OR p.customer_id <> g.customer_id) LIMIT 1;
    IF off IS NULL THEN
        SELECT g.key INTO off
          FROM (SELECT DISTINCT tenant_id, payment_id, grant_id FROM added) a
          JOIN payment_grants f ON f.tenant_id = a.tenant_id AND f.payment_id = a.payment_id AND f.grant_id = a.grant_id
          JOIN grants g ON g.tenant_id = a.tenant_id AND g.grant_id = a.grant_id
         GROUP BY f.payment_id, g.key HAVING sum(f.amount) < 0 LIMIT 1;
    END IF;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the grant % is not paid for so', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_grants_sum', TABLE = 'payment_grants';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_grants_sum AFTER INSERT ON payment_grants
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_payment_grants();

CREATE TRIGGER payment_grants_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_grants
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payment_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON payment_grants USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT ON payment_grants TO farthing_app;

-- ---------------------------------------------------------------------------------------------
-- Wallets of units: their grants hold quantities of the wallet's meter, each unit paid for at a price, or given away.

ALTER TABLE grants
    ADD unit_price numeric,                         -- what one unit was paid for, in the customer's currency; none: money
    ADD CONSTRAINT grants_unit_price CHECK (unit_price IS NULL OR (unit_price >= 0 AND paid = (unit_price > 0)));
ALTER TABLE recurring_grants
    ADD unit_price numeric,
    ADD CONSTRAINT recurring_grants_unit_price CHECK
        (unit_price IS NULL OR (unit_price >= 0 AND paid = (unit_price > 0)));

DROP TRIGGER grants_immutable ON grants;
CREATE TRIGGER grants_immutable BEFORE UPDATE OF tenant_id, grant_id, key, wallet_id, customer_id, paid, amount, unit_price,
    priority, meters, rate_cards, effective_at, expires_at, recurring_grant_id, rolled_from, reference, input_hash, created_at
    ON grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DROP TRIGGER recurring_grants_immutable ON recurring_grants;
CREATE TRIGGER recurring_grants_immutable BEFORE UPDATE OF tenant_id, recurring_grant_id, key, wallet_id, paid, amount,
    unit_price, priority, meters, rate_cards, schedule_interval, interval_count, expires, rollover_percent, rollover_maximum,
    start_at, created_at
    ON recurring_grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION check_unit_prices() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT a.key INTO off
      FROM added a JOIN wallets w ON w.tenant_id = a.tenant_id AND w.wallet_id = a.wallet_id
     WHERE (w.unit IS NULL) <> (a.unit_price IS NULL) LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the grant % has a price of units, and its wallet holds money, or the other way round', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'grants_of_units', TABLE = 'grants';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER grants_of_units AFTER INSERT ON grants
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_unit_prices();
CREATE TRIGGER recurring_grants_of_units AFTER INSERT ON recurring_grants
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_unit_prices();

-- Which units paid for which usage, as charge_funding says it of money. Of each grant it is the sum of its draws.
CREATE TABLE unit_funding (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    subscription_id bigint NOT NULL,
    period_start    timestamptz NOT NULL,
    rate_card       key_text NOT NULL,
    grant_id        bigint NOT NULL,
    customer_id     bigint NOT NULL,
    quantity        numeric NOT NULL,
    last_draw_id    bigint NOT NULL,                -- who paid last gives back first
    PRIMARY KEY (tenant_id, subscription_id, period_start, rate_card, grant_id),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants
);
CREATE INDEX wallets_of_units ON wallets (tenant_id, customer_id) WHERE unit IS NOT NULL;
CREATE INDEX unit_funding_grant ON unit_funding (tenant_id, grant_id);
ALTER TABLE unit_funding ENABLE ROW LEVEL SECURITY;
ALTER TABLE unit_funding FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON unit_funding USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON unit_funding TO farthing_app;
