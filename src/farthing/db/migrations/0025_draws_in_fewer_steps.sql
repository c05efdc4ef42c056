-- Sealing draws for tens of thousands of customers at once, so it writes no row that can wait, and asks for a foreign key
-- once for each statement instead of for each row.

-- Draws whose parts are not in charge_funding yet. Whoever reads that puts them there first, which is one pass for all
-- that have gathered.
CREATE TABLE draws_to_fund (
    tenant_id bigint NOT NULL,
    draw_id   bigint NOT NULL,
    PRIMARY KEY (tenant_id, draw_id),
    FOREIGN KEY (tenant_id, draw_id) REFERENCES wallet_draws
);
ALTER TABLE draws_to_fund ENABLE ROW LEVEL SECURITY;
ALTER TABLE draws_to_fund FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON draws_to_fund USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT ON draws_to_fund TO farthing_app;

-- A subscription and its customer are never removed, and a row's key never changes, so it is enough to look when rows are
-- made. For twenty thousand rows this costs a tenth of what two foreign keys do.
ALTER TABLE charge_funding
    DROP CONSTRAINT charge_funding_tenant_id_subscription_id_fkey,
    DROP CONSTRAINT charge_funding_tenant_id_customer_id_fkey;
ALTER TABLE usage_positions DROP CONSTRAINT usage_positions_tenant_id_subscription_id_fkey;

CREATE FUNCTION refuse_unknown_subscriptions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM made m LEFT JOIN subscriptions s USING (tenant_id, subscription_id)
                WHERE s.subscription_id IS NULL) THEN
        RAISE EXCEPTION 'a row of % names a subscription that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_positions_known AFTER INSERT ON usage_positions
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_subscriptions();

CREATE FUNCTION refuse_unknown_charges() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM made m LEFT JOIN subscriptions s USING (tenant_id, subscription_id)
                WHERE s.customer_id IS DISTINCT FROM m.customer_id) THEN
        RAISE EXCEPTION 'a charge names a subscription that is not there or is another customer''s'
            USING ERRCODE = 'foreign_key_violation', TABLE = 'charge_funding';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER charge_funding_known AFTER INSERT ON charge_funding
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_charges();

REVOKE UPDATE ON usage_positions, charge_funding FROM farthing_app;
GRANT UPDATE (quantity) ON usage_positions TO farthing_app;
GRANT UPDATE (amount, last_draw_id) ON charge_funding TO farthing_app;

CREATE OR REPLACE FUNCTION move_drawn() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE grants g
       SET drawn = g.drawn + m.amount, settled = g.settled - m.settled
      FROM (SELECT n.tenant_id, p.grant_id, sum(p.amount) AS amount, sum(p.settled) AS settled
              FROM new_draws n CROSS JOIN LATERAL unnest(n.grant_ids, n.amounts, n.settled) AS p (grant_id, amount, settled)
             GROUP BY n.tenant_id, p.grant_id) m
     WHERE g.tenant_id = m.tenant_id AND g.grant_id = m.grant_id;
    -- A draw is of units as a whole or not at all, and units stand in unit_funding.
    INSERT INTO draws_to_fund (tenant_id, draw_id)
    SELECT n.tenant_id, n.draw_id FROM new_draws n
     WHERE NOT EXISTS (SELECT FROM grants g WHERE g.tenant_id = n.tenant_id AND g.grant_id = n.grant_ids[1]
                          AND g.unit_price IS NOT NULL);
    RETURN NULL;
END $$;

-- Whoever runs this waits for others that do, and finds what they have put there.
CREATE FUNCTION fund_charges() RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH taken AS (
        DELETE FROM draws_to_fund WHERE tenant_id = current_tenant() RETURNING tenant_id, draw_id)
    INSERT INTO charge_funding AS f (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id,
                                     amount, last_draw_id)
    SELECT d.tenant_id, d.subscription_id, d.period_start, d.rate_card, d.grant_id, d.customer_id, sum(d.amount),
           max(d.draw_id)
      FROM taken JOIN grant_draws d USING (tenant_id, draw_id)
     GROUP BY d.tenant_id, d.subscription_id, d.period_start, d.rate_card, d.grant_id, d.customer_id
    HAVING sum(d.amount) <> 0
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, grant_id)
        DO UPDATE SET amount = f.amount + excluded.amount, last_draw_id = excluded.last_draw_id;
$$;
REVOKE EXECUTE ON FUNCTION fund_charges() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fund_charges() TO farthing_app;

-- Both together, for whoever only reads: parts of (subscription, period, rate card, grant), which are to be summed.
CREATE VIEW funding_parts WITH (security_invoker = true) AS
SELECT tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id, amount, last_draw_id
  FROM charge_funding
 UNION ALL
SELECT d.tenant_id, d.subscription_id, d.period_start, d.rate_card, d.grant_id, d.customer_id, d.amount,
       d.draw_id
  FROM draws_to_fund w JOIN grant_draws d USING (tenant_id, draw_id);
GRANT SELECT ON funding_parts TO farthing_app;
