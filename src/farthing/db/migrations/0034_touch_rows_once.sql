-- What every draw, call and invoice paid for, row by row.
--
-- Whoever asks for the first row from a key on gets it from a page of the index that is read to its end: some two hundred keys
-- for one. Asked between the key and itself, reading ends behind it, a third of the time. The order of keys is still asked for,
-- so that no other index leads there (see 0032 and 0033).
--
-- A trigger before the update of each row makes PostgreSQL lock the row before it asks whether the trigger is meant, and write
-- that down; and `erasing()` was asked for each row. What may be replaced in an erasure is said by the columns that a statement
-- names, once for the statement.

CREATE OR REPLACE FUNCTION refuse_unknown_subscriptions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM made m
                WHERE (SELECT s.subscription_id FROM subscriptions s
                        WHERE s.tenant_id = m.tenant_id
                          AND s.subscription_id BETWEEN m.subscription_id AND m.subscription_id
                        ORDER BY s.subscription_id LIMIT 1) IS NULL) THEN
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
                        WHERE s.tenant_id = m.tenant_id
                          AND s.subscription_id BETWEEN m.subscription_id AND m.subscription_id
                        ORDER BY s.subscription_id LIMIT 1) IS DISTINCT FROM m.customer_id) THEN
        RAISE EXCEPTION 'a charge names a subscription that is not there or is another customer''s'
            USING ERRCODE = 'foreign_key_violation', TABLE = 'charge_funding';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION refuse_unknown_invoices() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT tenant_id, invoice_id FROM made) m
                WHERE (SELECT i.invoice_id FROM invoices i
                        WHERE i.tenant_id = m.tenant_id AND i.invoice_id BETWEEN m.invoice_id AND m.invoice_id
                        ORDER BY i.invoice_id LIMIT 1) IS NULL) THEN
        RAISE EXCEPTION 'a row of % names an invoice that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION check_invoice_lines() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    off text;
BEGIN
    SELECT min(i.number) INTO off
      FROM (SELECT DISTINCT tenant_id, invoice_id FROM issued) n
     CROSS JOIN LATERAL (
            SELECT * FROM invoices WHERE tenant_id = n.tenant_id AND invoice_id BETWEEN n.invoice_id AND n.invoice_id
             ORDER BY invoice_id LIMIT 1) i
      LEFT JOIN LATERAL (SELECT sum(l.amount) AS amount, sum(l.amount_exact) AS exact_amount, sum(l.tax) AS tax
                           FROM invoice_lines l
                          WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id) s ON true
     WHERE s.amount IS DISTINCT FROM i.subtotal
        OR s.exact_amount IS DISTINCT FROM i.total_exact - CASE WHEN i.prices_include_tax THEN 0 ELSE i.tax END
        OR s.tax IS DISTINCT FROM i.tax
        OR (i.tax <> 0 AND i.tax IS DISTINCT FROM (SELECT sum(t.amount) FROM invoice_taxes t
                                                    WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id));
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the lines of invoice % do not sum to its amounts', off USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION check_brought_forward() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    off text;
BEGIN
    SELECT min(i.number) INTO off
      FROM (SELECT tenant_id, invoice_id,
                   coalesce(sum(amount_exact) FILTER (WHERE adjustment = 'brought_forward'), 0) AS amount_exact,
                   coalesce(sum(amount) FILTER (WHERE adjustment = 'brought_forward'), 0) AS amount,
                   coalesce(bool_or(adjustment = 'brought_forward'), false) AS brings,
                   coalesce(bool_or(adjustment = 'carried_forward'), false) AS carries
              FROM issued GROUP BY tenant_id, invoice_id) b
     CROSS JOIN LATERAL (
            SELECT * FROM invoices WHERE tenant_id = b.tenant_id AND invoice_id BETWEEN b.invoice_id AND b.invoice_id
             ORDER BY invoice_id LIMIT 1) i
      LEFT JOIN LATERAL (
            SELECT * FROM invoices WHERE tenant_id = i.tenant_id AND number BETWEEN i.brings AND i.brings
             ORDER BY number LIMIT 1) s
            ON s.customer_id = i.customer_id AND s.currency = i.currency
      LEFT JOIN LATERAL (SELECT sum(l.amount_exact) AS amount_exact, sum(l.amount) AS amount
                           FROM invoice_lines l
                          WHERE l.tenant_id = s.tenant_id AND l.invoice_id = s.invoice_id
                            AND l.adjustment = 'carried_forward') c ON true
     WHERE b.carries <> i.carries OR b.brings <> (i.brings IS NOT NULL)
        OR b.brings AND (b.amount_exact + c.amount_exact IS DISTINCT FROM 0
                         OR b.amount + c.amount IS DISTINCT FROM 0);
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'what invoice % carries or brings forward is not what it says', off
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION check_unit_prices() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    off text;
BEGIN
    SELECT min(a.key) INTO off
      FROM added a
     CROSS JOIN LATERAL (
            SELECT * FROM wallets WHERE tenant_id = a.tenant_id AND wallet_id BETWEEN a.wallet_id AND a.wallet_id
             ORDER BY wallet_id LIMIT 1) w
     WHERE (w.unit IS NULL) <> (a.unit_price IS NULL);
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the grant % has a price of units, and its wallet holds money, or the other way round', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'grants_of_units', TABLE = 'grants';
    END IF;
    RETURN NULL;
END $$;

-- Its arguments are the columns that identify somebody; it is called for statements that name any other.
CREATE OR REPLACE FUNCTION replace_identity_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'erasing a customer replaces who it was in %, and changes nothing else', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

DO $$
DECLARE
    held record;
    others text;
BEGIN
    FOR held IN
        SELECT t.tgname, c.oid AS relation, c.relname,
               string_to_array(trim(trailing ',' FROM replace(encode(t.tgargs, 'escape'), '\000', ',')), ',') AS identity
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'public'::regnamespace AND t.tgfoid = 'replace_identity_only'::regproc
    LOOP
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO others
          FROM pg_attribute
         WHERE attrelid = held.relation AND attnum > 0 AND NOT attisdropped AND attname <> ALL (held.identity);
        EXECUTE format('DROP TRIGGER %I ON %I', held.tgname, held.relname);
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OF %s ON %I FOR EACH STATEMENT WHEN (erasing()) '
                       'EXECUTE FUNCTION replace_identity_only(%s)', held.tgname, others, held.relname,
                       (SELECT string_agg(quote_literal(one), ', ') FROM unnest(held.identity) AS one));
    END LOOP;
END $$;

-- Who is known by a subscription or as a customer of a tenant has that tenant: it need not be asked for each row once more.
ALTER TABLE charge_funding DROP CONSTRAINT charge_funding_tenant_id_fkey;
ALTER TABLE usage_positions DROP CONSTRAINT usage_positions_tenant_id_fkey;
ALTER TABLE grants DROP CONSTRAINT grants_tenant_id_fkey;
ALTER TABLE wallets DROP CONSTRAINT wallets_tenant_id_fkey;

-- A batch of calls names grants by their ids. An index of wallets and grants looked as good for that as the key: it was gone
-- through wallet by wallet. And its plan is one for all tenants: it must suit the largest, not the average of many small ones.
DROP INDEX grants_wallet;
CREATE INDEX grants_wallet ON grants (tenant_id, wallet_id);
ALTER TABLE grants ALTER tenant_id SET (n_distinct = 1);
ALTER TABLE holds ALTER tenant_id SET (n_distinct = 1);
ALTER TABLE customers ALTER tenant_id SET (n_distinct = 1);

-- How it ended is asked for first: `erasing()` is asked only where somebody changes what has ended.
DROP TRIGGER holds_end_once ON holds;
CREATE TRIGGER holds_end_once BEFORE UPDATE ON holds FOR EACH ROW
    WHEN ((OLD.status IN ('counted', 'released', 'expired')
           OR (OLD.status = 'settled' AND (NEW.status NOT IN ('settled', 'counted')
                                           OR (NEW.ended_at, NEW.cost, NEW.covered, NEW.settled_parts, NEW.event_source,
                                               NEW.event_id, NEW.event_hash)
                                              IS DISTINCT FROM
                                              (OLD.ended_at, OLD.cost, OLD.covered, OLD.settled_parts, OLD.event_source,
                                               OLD.event_id, OLD.event_hash))))
          AND NOT erasing())
    EXECUTE FUNCTION refuse_changed_hold();
