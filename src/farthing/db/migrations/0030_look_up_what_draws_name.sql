-- What draws name is looked up row by row, by its whole key. A join leaves PostgreSQL the choice of comparing each row with
-- each, which it takes while it believes that a tenant has a row or two: until the tables are analysed, that is, and for
-- EXISTS also later, since it hopes for an early find. With twenty thousand customers that took half a minute. Nor may a table
-- be read through for each row: a session keeps the plan that it made while the table was small.

CREATE OR REPLACE FUNCTION refuse_unknown_subscriptions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM made m
                WHERE (SELECT s.subscription_id FROM subscriptions s
                        WHERE s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id) IS NULL) THEN
        RAISE EXCEPTION 'a row of % names a subscription that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION refuse_unknown_charges() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM made m
                WHERE (SELECT s.customer_id FROM subscriptions s
                        WHERE s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id)
                      IS DISTINCT FROM m.customer_id) THEN
        RAISE EXCEPTION 'a charge names a subscription that is not there or is another customer''s'
            USING ERRCODE = 'foreign_key_violation', TABLE = 'charge_funding';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fund_charges() RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
    WITH taken AS (
        DELETE FROM draws_to_fund WHERE tenant_id = current_tenant() RETURNING tenant_id, draw_id)
    INSERT INTO charge_funding AS f (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id,
                                     amount, last_draw_id)
    SELECT d.tenant_id, d.subscription_id, d.period_start, d.rate_card, d.grant_id, d.customer_id, sum(d.amount),
           max(d.draw_id)
      FROM taken CROSS JOIN LATERAL (
           SELECT * FROM grant_draws g WHERE g.tenant_id = taken.tenant_id AND g.draw_id = taken.draw_id OFFSET 0) d
     GROUP BY d.tenant_id, d.subscription_id, d.period_start, d.rate_card, d.grant_id, d.customer_id
    HAVING sum(d.amount) <> 0
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, grant_id)
        DO UPDATE SET amount = f.amount + excluded.amount, last_draw_id = excluded.last_draw_id;
$$;
