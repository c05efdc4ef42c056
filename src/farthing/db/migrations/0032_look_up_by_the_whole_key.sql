-- Of a tenant that PostgreSQL believes to have a row or two, every index that begins with the tenant looks equally good to it,
-- and it may read all of the tenant's subscriptions for each one that is looked up. To the first row from a key on, in the order
-- of keys, only the index of keys leads.

CREATE OR REPLACE FUNCTION refuse_unknown_subscriptions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM made m
                WHERE (SELECT s.subscription_id FROM subscriptions s
                        WHERE s.tenant_id = m.tenant_id AND s.subscription_id >= m.subscription_id
                        ORDER BY s.subscription_id LIMIT 1) IS DISTINCT FROM m.subscription_id) THEN
        RAISE EXCEPTION 'a row of % names a subscription that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION refuse_unknown_charges() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM made m
                WHERE (SELECT (s.subscription_id, s.customer_id) FROM subscriptions s
                        WHERE s.tenant_id = m.tenant_id AND s.subscription_id >= m.subscription_id
                        ORDER BY s.subscription_id LIMIT 1)
                      IS DISTINCT FROM (m.subscription_id, m.customer_id)) THEN
        RAISE EXCEPTION 'a charge names a subscription that is not there or is another customer''s'
            USING ERRCODE = 'foreign_key_violation', TABLE = 'charge_funding';
    END IF;
    RETURN NULL;
END $$;
