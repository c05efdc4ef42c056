-- What corrects an issued invoice: credit notes, which give back part of it or all of it, and voids, which take it
-- back whole so that what it billed may be billed again. Both are facts beside the invoice, which never changes.

CREATE TABLE credit_note_counters (                 -- gapless: moved in the transaction that issues
    tenant_id   bigint PRIMARY KEY REFERENCES tenants,
    last_number bigint NOT NULL DEFAULT 0
);

CREATE TABLE credit_notes (
    tenant_id          bigint NOT NULL,
    credit_note_id     bigint GENERATED ALWAYS AS IDENTITY,
    number             key_text NOT NULL,
    key                key_text NOT NULL,           -- of the client: the same credit note asked for twice is one
    request            jsonb NOT NULL,
    invoice_id         bigint NOT NULL,
    customer_id        bigint NOT NULL,
    currency           text COLLATE "C" NOT NULL,
    subtotal           numeric NOT NULL,
    tax                numeric NOT NULL,
    total              numeric NOT NULL CHECK (total > 0),
    prices_include_tax boolean NOT NULL,
    earned             numeric NOT NULL,            -- net of service that was rendered by the day of issue,
    deferred           numeric NOT NULL,            -- and of service that is still to come
    refund             boolean NOT NULL,            -- to be paid back; else it stands to the customer's credit
    issued_at          timestamptz NOT NULL,
    document           text NOT NULL,               -- as JSON, byte for byte
    PRIMARY KEY (tenant_id, credit_note_id),
    UNIQUE (tenant_id, number),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK (total = subtotal + CASE WHEN prices_include_tax THEN 0 ELSE tax END),
    CHECK (earned + deferred + tax = total)
);
CREATE INDEX credit_notes_invoice ON credit_notes (tenant_id, invoice_id);

-- What a credit note gives back of a line, and of a tax, of its invoice. billed: how much there was to give back.
CREATE TABLE credit_note_parts (
    tenant_id      bigint NOT NULL,
    credit_note_id bigint NOT NULL,
    invoice_id     bigint NOT NULL,
    kind           text COLLATE "C" NOT NULL CHECK (kind IN ('line', 'tax')),
    place          integer NOT NULL,
    billed         numeric NOT NULL,
    amount         numeric NOT NULL,
    net            numeric NOT NULL,                -- of a line: the amount without the tax that is in it
    PRIMARY KEY (tenant_id, credit_note_id, kind, place),
    FOREIGN KEY (tenant_id, credit_note_id) REFERENCES credit_notes
);

CREATE TABLE invoice_voids (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    reason      text NOT NULL,
    voided_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);

-- ---------------------------------------------------------------------------------------------
-- Never over what was billed: sums that the database keeps beside the facts, one row for each invoice, line and
-- tax. Two that credit the same wait for each other on the row, and the check sees both.

CREATE TABLE credited_invoices (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    total       numeric NOT NULL,
    credited    numeric NOT NULL,
    voided      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, invoice_id),
    CONSTRAINT credited_within_invoice CHECK (credited <= total),
    CONSTRAINT credited_or_voided CHECK (NOT voided OR credited = 0)
);

CREATE TABLE credited_parts (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    place       integer NOT NULL,
    billed      numeric NOT NULL,
    credited    numeric NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, kind, place),
    CONSTRAINT credited_within_part CHECK (credited BETWEEN least(billed, 0) AND greatest(billed, 0))
);

CREATE FUNCTION keep_credited() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO credited_invoices AS c (tenant_id, invoice_id, total, credited)
    SELECT n.tenant_id, n.invoice_id, i.total, sum(n.total)
      FROM issued n JOIN invoices i USING (tenant_id, invoice_id)
     GROUP BY n.tenant_id, n.invoice_id, i.total
     ORDER BY n.tenant_id, n.invoice_id
        ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET credited = c.credited + excluded.credited;
    RETURN NULL;
END $$;
CREATE TRIGGER credit_notes_kept AFTER INSERT ON credit_notes
    REFERENCING NEW TABLE AS issued FOR EACH STATEMENT EXECUTE FUNCTION keep_credited();

CREATE FUNCTION keep_credited_parts() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    off text;
BEGIN
    INSERT INTO credited_parts AS c (tenant_id, invoice_id, kind, place, billed, credited)
    SELECT tenant_id, invoice_id, kind, place, max(billed), sum(amount)
      FROM given GROUP BY tenant_id, invoice_id, kind, place ORDER BY tenant_id, invoice_id, kind, place
        ON CONFLICT (tenant_id, invoice_id, kind, place) DO UPDATE SET credited = c.credited + excluded.credited;
    SELECT n.number INTO off
      FROM (SELECT DISTINCT tenant_id, credit_note_id FROM given) g
      JOIN credit_notes n USING (tenant_id, credit_note_id)
     WHERE n.subtotal IS DISTINCT FROM (SELECT sum(p.amount) FROM credit_note_parts p
                                         WHERE p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id
                                           AND p.kind = 'line')
        OR n.tax <> (SELECT coalesce(sum(p.amount), 0) FROM credit_note_parts p
                      WHERE p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id AND p.kind = 'tax')
        OR EXISTS (SELECT FROM credit_note_parts p
                    WHERE p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id
                      AND p.invoice_id <> n.invoice_id)
        OR EXISTS (SELECT FROM credit_note_parts p
                     JOIN credited_parts c ON c.tenant_id = p.tenant_id AND c.invoice_id = p.invoice_id
                                          AND c.kind = p.kind AND c.place = p.place
                    WHERE p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id
                      AND p.billed <> c.billed)
        OR EXISTS (SELECT FROM credit_note_parts p
                     LEFT JOIN invoice_taxes t ON t.tenant_id = p.tenant_id AND t.invoice_id = p.invoice_id
                                              AND t.place = p.place
                    WHERE p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id AND p.kind = 'tax'
                      AND p.billed IS DISTINCT FROM t.amount)
     LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the parts of credit note % do not make it up', off USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER credit_note_parts_kept AFTER INSERT ON credit_note_parts
    REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION keep_credited_parts();

-- An invoice is credited or voided, never both: a void takes the place where its sum would stand.
CREATE FUNCTION keep_voided() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO credited_invoices (tenant_id, invoice_id, total, credited, voided)
    SELECT v.tenant_id, v.invoice_id, greatest(i.total, 0), 0, true
      FROM voided v JOIN invoices i USING (tenant_id, invoice_id);
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_voids_kept AFTER INSERT ON invoice_voids
    REFERENCING NEW TABLE AS voided FOR EACH STATEMENT EXECUTE FUNCTION keep_voided();

-- ---------------------------------------------------------------------------------------------
-- What a voided invoice billed may be billed again: by one invoice, which stands in its place.

ALTER TABLE invoices ADD replaces bigint;
ALTER TABLE invoices ADD FOREIGN KEY (tenant_id, replaces) REFERENCES invoice_voids;
ALTER TABLE invoices ADD UNIQUE (tenant_id, replaces);
ALTER TABLE invoices DROP CONSTRAINT invoices_one_for_each;
ALTER TABLE invoices ADD CONSTRAINT invoices_one_for_each
    UNIQUE NULLS NOT DISTINCT (tenant_id, subscription_id, period_start, reason, sequence, replaces);

-- The same of one-off charges: one line for each, and one more for each that was voided.
ALTER TABLE invoice_lines ADD one_off_again integer NOT NULL DEFAULT 0;
DROP INDEX invoice_lines_one_off;
CREATE UNIQUE INDEX invoice_lines_one_off ON invoice_lines (tenant_id, one_off, one_off_again)
    WHERE one_off IS NOT NULL;

-- The invoices that hold: what is billed is told from these.
CREATE VIEW standing_invoices WITH (security_invoker = true) AS
SELECT i.tenant_id, i.invoice_id, i.number, i.customer_id, i.subscription_id, i.plan_version_id, i.reason, i.currency,
       i.period_start, i.period_end, i.subtotal, i.tax, i.total, i.total_exact, i.issued_at, i.document,
       i.prices_include_tax, i.sequence, i.paid_from_wallets
  FROM invoices i
 WHERE NOT EXISTS (SELECT FROM invoice_voids v WHERE v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['credit_notes', 'credit_note_parts', 'invoice_voids'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['credit_note_counters', 'credit_notes', 'credit_note_parts', 'invoice_voids',
                                'credited_invoices', 'credited_parts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON credit_note_counters, credit_notes, credit_note_parts, invoice_voids TO farthing_app;
GRANT UPDATE ON credit_note_counters TO farthing_app;
GRANT SELECT ON credited_invoices, credited_parts, standing_invoices TO farthing_app;
