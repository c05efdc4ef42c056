-- Credit that no payment brought: an invoice below zero, what a credit note gives back beyond what its invoice asked
-- for, a paid grant that was called off. Like the rest of a payment it pays open invoices, the oldest first, and what
-- it paid is told by rows that are appended. Sums beside them are kept by the database itself.

CREATE TABLE customer_credits (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    credit_id   bigint GENERATED ALWAYS AS IDENTITY,
    customer_id bigint NOT NULL,
    currency    text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    source      text COLLATE "C" NOT NULL CHECK (source IN ('invoice', 'credit_note', 'grant')),
    reference   text COLLATE "C" NOT NULL,          -- the number of the document; the ended part of the grant
    amount      numeric NOT NULL CHECK (amount > 0),
    arose_at    timestamptz NOT NULL,
    -- What is kept by the database:
    allocated   numeric NOT NULL DEFAULT 0 CHECK (allocated >= 0),
    taken_back  numeric NOT NULL DEFAULT 0 CHECK (taken_back >= 0),      -- its invoice was voided
    PRIMARY KEY (tenant_id, credit_id),
    UNIQUE (tenant_id, source, reference),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CONSTRAINT customer_credits_not_overspent CHECK (allocated + taken_back <= amount)
);
CREATE INDEX customer_credits_left ON customer_credits (tenant_id, customer_id)
    WHERE allocated + taken_back < amount;
CREATE INDEX customer_credits_customer ON customer_credits (tenant_id, customer_id, credit_id);

CREATE TABLE credit_allocations (                   -- which credit paid how much of which invoice
    tenant_id     bigint NOT NULL,
    allocation_id bigint GENERATED ALWAYS AS IDENTITY,
    credit_id     bigint NOT NULL,
    invoice_id    bigint NOT NULL,
    amount        numeric NOT NULL CHECK (amount <> 0),   -- below zero: taken back
    cause         text NOT NULL,
    allocated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, allocation_id),
    FOREIGN KEY (tenant_id, credit_id) REFERENCES customer_credits,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice_balances
);
CREATE INDEX credit_allocations_credit ON credit_allocations (tenant_id, credit_id);
CREATE INDEX credit_allocations_invoice ON credit_allocations (tenant_id, invoice_id);

-- What of an invoice's open amount, or of what paid it, credit notes and voids gave back.
CREATE TABLE invoice_reductions (
    tenant_id  bigint NOT NULL,
    invoice_id bigint NOT NULL,
    source     text COLLATE "C" NOT NULL CHECK (source IN ('credit_note', 'void')),
    reference  text COLLATE "C" NOT NULL,           -- the number of the credit note, or of the voided invoice
    amount     numeric NOT NULL CHECK (amount > 0),
    reduced_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, source, reference),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice_balances
);
CREATE INDEX invoice_reductions_invoice ON invoice_reductions (tenant_id, invoice_id);

ALTER TABLE invoice_balances ADD from_credit numeric NOT NULL DEFAULT 0;    -- the part of `paid` that credit paid
ALTER TABLE invoice_balances ADD CONSTRAINT invoice_balances_from_credit CHECK (from_credit BETWEEN 0 AND paid);

-- What of a credit note goes back to wallets, as grants of its own; and which grant such a one stands for.
ALTER TABLE credit_notes ADD to_wallets numeric NOT NULL DEFAULT 0;
ALTER TABLE credit_notes ADD CONSTRAINT credit_notes_to_wallets CHECK (to_wallets BETWEEN 0 AND total);
ALTER TABLE grants ADD returned_of bigint;
ALTER TABLE grants ADD FOREIGN KEY (tenant_id, returned_of) REFERENCES grants;
CREATE INDEX grants_returned ON grants (tenant_id, returned_of) WHERE returned_of IS NOT NULL;

-- ---------------------------------------------------------------------------------------------
-- Sums are the fold of what was appended.

CREATE FUNCTION allocate_credits() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    off text;
BEGIN
    SELECT c.reference INTO off
      FROM allocated a
      JOIN customer_credits c ON c.tenant_id = a.tenant_id AND c.credit_id = a.credit_id
      JOIN invoice_balances b ON b.tenant_id = a.tenant_id AND b.invoice_id = a.invoice_id
     WHERE c.currency <> b.currency OR c.customer_id <> b.customer_id LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the credit of % is of another customer or currency than the invoice', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credit_allocations_own', TABLE = 'credit_allocations';
    END IF;
    UPDATE customer_credits c SET allocated = c.allocated + s.amount
      FROM (SELECT tenant_id, credit_id, sum(amount) AS amount FROM allocated GROUP BY 1, 2) s
     WHERE c.tenant_id = s.tenant_id AND c.credit_id = s.credit_id;
    UPDATE invoice_balances b SET paid = b.paid + s.amount, from_credit = b.from_credit + s.amount
      FROM (SELECT tenant_id, invoice_id, sum(amount) AS amount FROM allocated GROUP BY 1, 2) s
     WHERE b.tenant_id = s.tenant_id AND b.invoice_id = s.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER credit_allocations_kept AFTER INSERT ON credit_allocations
    REFERENCING NEW TABLE AS allocated FOR EACH STATEMENT EXECUTE FUNCTION allocate_credits();

-- An invoice below zero asks for nothing; what it gives back stands to the customer's credit.
CREATE OR REPLACE FUNCTION open_invoices() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO invoice_balances (tenant_id, invoice_id, customer_id, currency, issued_at, due_at, payable)
    SELECT i.tenant_id, i.invoice_id, i.customer_id, i.currency, i.issued_at,
           coalesce((i.document::jsonb ->> 'due_at')::timestamptz, i.issued_at),
           -- What wallets paid is paid.
           greatest(coalesce((i.document::jsonb ->> 'amount_due')::numeric, i.total), 0)
      FROM issued i ORDER BY i.invoice_id;
    INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
    SELECT i.tenant_id, i.customer_id, i.currency, 'invoice', i.number, -i.total, i.issued_at
      FROM issued i WHERE i.total < 0 ORDER BY i.invoice_id;
    RETURN NULL;
END $$;

-- What is given back of an invoice is no longer open. Of what was paid already so much goes back to the payments, the
-- last first, then to the credit that paid. What is given back beyond all that was paid by wallets: it goes to wallets
-- where the credit note says so, else it stands to the customer's credit.
CREATE OR REPLACE FUNCTION give_back() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    balance   invoice_balances;
    of_note   boolean := TG_TABLE_NAME = 'credit_notes';
    named     text;
    moment    timestamptz;
    said      text := CASE WHEN TG_TABLE_NAME = 'credit_notes' THEN 'credit note' ELSE 'void' END;
    given     numeric;
    beyond    numeric;
    back      numeric;
    piece     numeric;
    paid      record;
    taken     record;
BEGIN
    -- The lock of whoever settles payments: see lock_settling.
    PERFORM pg_advisory_xact_lock(hashtext('farthing.payments'), (NEW.tenant_id % 2147483648)::int);
    SELECT * INTO balance FROM invoice_balances WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id;
    given := balance.payable - balance.credited - balance.written_off;
    IF of_note THEN
        named := NEW.number;
        moment := NEW.issued_at;
        beyond := NEW.total - least(given, NEW.total) - NEW.to_wallets;
        given := least(given, NEW.total);
        IF beyond < 0 THEN
            RAISE EXCEPTION 'credit note % gives more to wallets than they paid', NEW.number
                USING ERRCODE = 'check_violation', CONSTRAINT = 'credit_notes_to_wallets', TABLE = 'credit_notes';
        ELSIF beyond > 0 THEN
            INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
            VALUES (NEW.tenant_id, NEW.customer_id, NEW.currency, 'credit_note', NEW.number, beyond, NEW.issued_at);
        END IF;
    ELSE
        SELECT number INTO named FROM invoices WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id;
        moment := NEW.voided_at;
        -- What an invoice below zero had given is no credit any more; what it had paid is open again.
        FOR taken IN SELECT a.credit_id, a.invoice_id, sum(a.amount) AS amount
                       FROM customer_credits c
                       JOIN credit_allocations a ON a.tenant_id = c.tenant_id AND a.credit_id = c.credit_id
                      WHERE c.tenant_id = NEW.tenant_id AND c.source = 'invoice' AND c.reference = named
                      GROUP BY a.credit_id, a.invoice_id HAVING sum(a.amount) > 0 ORDER BY a.invoice_id
        LOOP
            INSERT INTO credit_allocations (tenant_id, credit_id, invoice_id, amount, cause, allocated_at)
            VALUES (NEW.tenant_id, taken.credit_id, taken.invoice_id, -taken.amount, 'void', NEW.voided_at);
        END LOOP;
        UPDATE customer_credits SET taken_back = amount
         WHERE tenant_id = NEW.tenant_id AND source = 'invoice' AND reference = named;
    END IF;
    back := given - balance.open;
    FOR paid IN SELECT payment_id, sum(amount) AS amount FROM payment_allocations
                 WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id
                 GROUP BY payment_id HAVING sum(amount) > 0 ORDER BY payment_id DESC
    LOOP
        EXIT WHEN back <= 0;
        piece := least(paid.amount, back);
        INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
        VALUES (NEW.tenant_id, paid.payment_id, NEW.invoice_id, -piece, said, moment);
        back := back - piece;
    END LOOP;
    FOR paid IN SELECT credit_id, sum(amount) AS amount FROM credit_allocations
                 WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id
                 GROUP BY credit_id HAVING sum(amount) > 0 ORDER BY credit_id DESC
    LOOP
        EXIT WHEN back <= 0;
        piece := least(paid.amount, back);
        INSERT INTO credit_allocations (tenant_id, credit_id, invoice_id, amount, cause, allocated_at)
        VALUES (NEW.tenant_id, paid.credit_id, NEW.invoice_id, -piece, said, moment);
        back := back - piece;
    END LOOP;
    IF given > 0 THEN
        UPDATE invoice_balances SET credited = credited + given
         WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id;
        INSERT INTO invoice_reductions (tenant_id, invoice_id, source, reference, amount, reduced_at)
        VALUES (NEW.tenant_id, NEW.invoice_id, CASE WHEN of_note THEN 'credit_note' ELSE 'void' END, named, given, moment);
    END IF;
    RETURN NULL;
END $$;

-- ---------------------------------------------------------------------------------------------
-- What was given back before. It acts for no tenant, so the rows are unlocked while it reads them all.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['invoices', 'invoice_voids', 'credit_notes', 'invoice_balances', 'customer_credits',
                                'invoice_reductions', 'accounts', 'transfers'] LOOP
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', name);
    END LOOP;
END $$;

INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at, taken_back)
SELECT i.tenant_id, i.customer_id, i.currency, 'invoice', i.number, -i.total, i.issued_at,
       CASE WHEN v.invoice_id IS NULL THEN 0 ELSE -i.total END
  FROM invoices i
  LEFT JOIN invoice_voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
 WHERE i.total < 0 ORDER BY i.tenant_id, i.invoice_id;

-- The credit notes of an invoice took off what it asked for in their order; the rest of the last ones is credit.
CREATE TEMPORARY TABLE noted ON COMMIT DROP AS
SELECT n.tenant_id, n.credit_note_id, n.invoice_id, n.number, n.customer_id, n.currency, n.issued_at, n.total,
       least(sum(n.total) OVER upto, b.credited) - least(sum(n.total) OVER upto - n.total, b.credited) AS given
  FROM credit_notes n
  JOIN invoice_balances b ON b.tenant_id = n.tenant_id AND b.invoice_id = n.invoice_id
WINDOW upto AS (PARTITION BY n.tenant_id, n.invoice_id ORDER BY n.credit_note_id);
INSERT INTO invoice_reductions (tenant_id, invoice_id, source, reference, amount, reduced_at)
SELECT tenant_id, invoice_id, 'credit_note', number, given, issued_at FROM noted WHERE given > 0;
INSERT INTO invoice_reductions (tenant_id, invoice_id, source, reference, amount, reduced_at)
SELECT v.tenant_id, v.invoice_id, 'void', i.number, b.credited, v.voided_at
  FROM invoice_voids v
  JOIN invoices i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
  JOIN invoice_balances b ON b.tenant_id = v.tenant_id AND b.invoice_id = v.invoice_id
 WHERE b.credited > 0;
INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
SELECT tenant_id, customer_id, currency, 'credit_note', number, total - given, issued_at
  FROM noted WHERE total > given ORDER BY tenant_id, credit_note_id;

INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
SELECT t.tenant_id, a.customer_id, a.currency, 'grant', substring(t.key FROM length('grant_void:') + 1), -e.amount,
       t.effective_at
  FROM transfers t
 CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
  JOIN accounts a ON a.tenant_id = t.tenant_id AND a.account_id = e.account_id AND a.code = 'receivable'
 WHERE t.kind = 'grant_voided' AND e.amount < 0 ORDER BY t.tenant_id, t.transfer_id;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['invoices', 'invoice_voids', 'credit_notes', 'invoice_balances', 'accounts',
                                'transfers'] LOOP
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['credit_allocations', 'invoice_reductions'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    END LOOP;
    EXECUTE 'CREATE TRIGGER customer_credits_stay BEFORE DELETE OR TRUNCATE ON customer_credits '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()';
    FOREACH name IN ARRAY ARRAY['customer_credits', 'credit_allocations', 'invoice_reductions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

GRANT SELECT ON customer_credits, credit_allocations, invoice_reductions TO farthing_app;
GRANT INSERT ON customer_credits, credit_allocations TO farthing_app;

-- ---------------------------------------------------------------------------------------------
-- Corrections: of what they are where no rate card charges it, and those that a credit note gave back at once.

ALTER TABLE tenants ADD below_zero text COLLATE "C" NOT NULL DEFAULT 'next_invoice'
    CHECK (below_zero IN ('next_invoice', 'credit_note'));

ALTER TABLE invoice_lines ADD corrected text COLLATE "C", ADD corrected_key text COLLATE "C";
ALTER TABLE invoice_lines
    DROP CONSTRAINT invoice_lines_of_what,
    ADD CONSTRAINT invoice_lines_of_what CHECK (
        CASE WHEN adjustment = 'correction' THEN rate_card IS NOT NULL OR corrected IS NOT NULL
             ELSE (adjustment IS NULL) = (rate_card IS NOT NULL) AND corrected IS NULL END),
    ADD CONSTRAINT invoice_lines_corrected CHECK (
        (corrected IS NULL) = (corrected_key IS NULL)
        AND corrected IN ('coupon', 'commitment', 'drawdown', 'overage', 'true_up', 'lapse', 'minimum', 'prepaid'));

CREATE TABLE correction_credits (                   -- what of a correction a credit note gave back, exactly
    tenant_id      bigint NOT NULL,
    credit_note_id bigint NOT NULL,
    place          integer NOT NULL CHECK (place >= 1),
    invoice_id     bigint NOT NULL,                 -- the corrected one
    rate_card      text COLLATE "C",
    dimensions     jsonb NOT NULL,
    corrected      text COLLATE "C",                -- as of invoice_lines
    corrected_key  text COLLATE "C",
    service_start  timestamptz NOT NULL,
    service_end    timestamptz NOT NULL,
    quantity       numeric NOT NULL,
    amount_exact   numeric NOT NULL,                -- as a line would say it: below zero, it gives back
    since          timestamptz NOT NULL,            -- from when on events were late
    PRIMARY KEY (tenant_id, credit_note_id, place),
    FOREIGN KEY (tenant_id, credit_note_id) REFERENCES credit_notes,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
    CHECK (rate_card IS NOT NULL OR corrected IS NOT NULL),
    CHECK ((corrected IS NULL) = (corrected_key IS NULL))
);
CREATE INDEX correction_credits_invoice ON correction_credits (tenant_id, invoice_id);

-- What coupons, commitments and minimums did on the invoices that hold, each row on the invoice that it is of: a
-- correction is of the one that it corrects, wherever it stands.
CREATE VIEW standing_adjustments WITH (security_invoker = true) AS
SELECT i.tenant_id, i.subscription_id, coalesce(t.invoice_id, i.invoice_id) AS invoice_id,
       coalesce(l.corrected, l.adjustment) AS kind, coalesce(l.corrected_key, l.adjustment_key) AS key,
       l.quantity, l.amount_exact, l.service_start, coalesce(t.period_end, i.period_end) AS period_end,
       coalesce(t.reason, i.reason) AS reason
  FROM standing_invoices i
  JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id AND l.adjustment IS NOT NULL
                      AND (l.adjustment <> 'correction' OR l.corrected IS NOT NULL)
  LEFT JOIN invoices t ON t.tenant_id = l.tenant_id AND l.adjustment = 'correction' AND t.number = l.adjustment_key
UNION ALL
SELECT i.tenant_id, i.subscription_id, i.invoice_id, c.corrected, c.corrected_key, c.quantity, c.amount_exact,
       c.service_start, i.period_end, i.reason
  FROM correction_credits c
  JOIN standing_invoices i ON i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id
 WHERE c.corrected IS NOT NULL;

CREATE TRIGGER correction_credits_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON correction_credits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE correction_credits ENABLE ROW LEVEL SECURITY;
ALTER TABLE correction_credits FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON correction_credits USING (tenant_id = current_tenant())
    WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT ON correction_credits TO farthing_app;
GRANT SELECT ON standing_adjustments TO farthing_app;
