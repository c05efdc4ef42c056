-- Tax: the table of rates, what is known of customers for it, and the taxes of invoices. All are facts: a row that
-- is loaded again for the same first day, or said again of the same customer, is a later row, and the latest holds.

CREATE TABLE tax_rates (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    tax_rate_id bigint GENERATED ALWAYS AS IDENTITY,
    country     text COLLATE "C" NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    region      key_text,                           -- in capital letters; none: the whole country
    category    key_text NOT NULL,
    percent     numeric NOT NULL CHECK (percent BETWEEN 0 AND 1000),
    name        text NOT NULL,
    valid_from  date NOT NULL,
    valid_until date CHECK (valid_until > valid_from),  -- the first day on which it no longer holds
    adds        boolean NOT NULL CHECK (NOT adds OR region IS NOT NULL),
    loaded_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, tax_rate_id)
);

CREATE TABLE customer_tax_facts (
    tenant_id    bigint NOT NULL,
    tax_facts_id bigint GENERATED ALWAYS AS IDENTITY,
    customer_id  bigint NOT NULL,
    tax_ids      jsonb NOT NULL,
    exemption    jsonb,
    known_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, tax_facts_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers
);
CREATE INDEX customer_tax_facts_customer ON customer_tax_facts (tenant_id, customer_id, tax_facts_id);

-- Where prices include tax, the lines of an invoice contain it, and its total is theirs.
ALTER TABLE invoices ADD prices_include_tax boolean NOT NULL DEFAULT false;
ALTER TABLE invoices DROP CONSTRAINT invoices_check1;
ALTER TABLE invoices ADD CONSTRAINT invoices_total
    CHECK (total = subtotal + CASE WHEN prices_include_tax THEN 0 ELSE tax END);
ALTER TABLE invoice_lines ADD tax numeric NOT NULL DEFAULT 0;

CREATE TABLE invoice_taxes (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    place       integer NOT NULL CHECK (place >= 1),
    name        text NOT NULL,
    country     text COLLATE "C",
    region      text COLLATE "C",
    category    key_text NOT NULL,
    treatment   text COLLATE "C" NOT NULL
                CHECK (treatment IN ('taxed', 'zero', 'exempt', 'reverse_charge', 'not_collected')),
    percent     numeric NOT NULL,
    net         numeric NOT NULL,
    amount      numeric NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, place),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
    CHECK (treatment = 'taxed' OR (percent = 0 AND amount = 0))
);

-- Lines sum to the subtotal, and so do taxes to the tax, by line and in all: checked when the statement that
-- issues is over, for the whole batch at once.
CREATE OR REPLACE FUNCTION check_invoice_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT i.number INTO off
      FROM (SELECT DISTINCT tenant_id, invoice_id FROM issued) n
      JOIN invoices i USING (tenant_id, invoice_id)
      LEFT JOIN LATERAL (SELECT sum(l.amount) AS amount, sum(l.amount_exact) AS exact_amount, sum(l.tax) AS tax
                           FROM invoice_lines l
                          WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id) s ON true
     WHERE s.amount IS DISTINCT FROM i.subtotal
        OR s.exact_amount IS DISTINCT FROM i.total_exact - CASE WHEN i.prices_include_tax THEN 0 ELSE i.tax END
        OR s.tax IS DISTINCT FROM i.tax
        OR (i.tax <> 0 AND i.tax IS DISTINCT FROM (SELECT sum(t.amount) FROM invoice_taxes t
                                                    WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id))
     LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the lines of invoice % do not sum to its amounts', off USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    fact text;
BEGIN
    FOREACH fact IN ARRAY ARRAY['tax_rates', 'customer_tax_facts', 'invoice_taxes'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', fact || '_append_only', fact);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', fact);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', fact);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', fact);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', fact);
    END LOOP;
END $$;
