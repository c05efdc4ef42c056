-- Payments: how invoices are paid. A payment is written before any gateway is called, its state moves only along
-- the edges below, and what it paid is told by rows that are appended. Balances beside them (what is still open of
-- an invoice, what is left of a payment) are kept by the database itself; the application may not write them.

CREATE TABLE payment_methods (
    tenant_id         bigint NOT NULL REFERENCES tenants,
    payment_method_id bigint GENERATED ALWAYS AS IDENTITY,
    key               key_text NOT NULL,
    customer_id       bigint NOT NULL,
    gateway           text COLLATE "C" NOT NULL CHECK (length(gateway) BETWEEN 1 AND 64),
    kind              text COLLATE "C" NOT NULL CHECK (kind IN ('card', 'sepa_debit', 'other')),
    label             text NOT NULL,                -- for people: "Visa 4242"
    reference         text NOT NULL,                -- the gateway's own name for it; never a card number
    mandate           jsonb,                        -- of a SEPA debit: iban, bic, holder, mandate_id, signed_on
    is_default        boolean NOT NULL,
    created_at        timestamptz NOT NULL,
    removed_at        timestamptz,
    PRIMARY KEY (tenant_id, payment_method_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK ((kind = 'sepa_debit') = (mandate IS NOT NULL))
);
CREATE UNIQUE INDEX payment_methods_default ON payment_methods (tenant_id, customer_id)
    WHERE is_default AND removed_at IS NULL;

CREATE TABLE payments (
    tenant_id         bigint NOT NULL REFERENCES tenants,
    payment_id        bigint GENERATED ALWAYS AS IDENTITY,
    key               key_text NOT NULL,
    customer_id       bigint NOT NULL,
    payment_method_id bigint,                       -- none where money came in by itself
    gateway           text COLLATE "C" NOT NULL,
    purpose           text COLLATE "C" NOT NULL CHECK (purpose IN ('invoice', 'account', 'top_up', 'won_dispute')),
    invoice_id        bigint,                       -- what it is for, first of all
    top_up            text COLLATE "C",             -- the key of the top-up that it is for
    currency          text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    amount            numeric NOT NULL CHECK (amount > 0),
    reference         text NOT NULL,                -- for people: the bank's line, a cheque's number; may be empty
    requested_at      timestamptz NOT NULL,
    -- What moves:
    state             text COLLATE "C" NOT NULL CHECK (state IN
        ('requested', 'sent', 'processing', 'action_required', 'succeeded', 'failed', 'cancelled')),
    moved_at          timestamptz NOT NULL,
    cause             text NOT NULL,                -- what moved it last
    provider_id       text COLLATE "C",             -- the gateway's name for it
    failure           text COLLATE "C",             -- why it was declined last
    attempts          integer NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz,                  -- none: nobody tries by itself
    paid_at           timestamptz,
    fee               numeric NOT NULL DEFAULT 0 CHECK (fee >= 0),
    -- What is kept by the database:
    allocated         numeric NOT NULL DEFAULT 0 CHECK (allocated >= 0),
    refunded          numeric NOT NULL DEFAULT 0 CHECK (refunded >= 0),       -- also what is about to be
    charged_back      numeric NOT NULL DEFAULT 0 CHECK (charged_back >= 0),
    PRIMARY KEY (tenant_id, payment_id),
    UNIQUE (tenant_id, key),
    UNIQUE (tenant_id, gateway, provider_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    FOREIGN KEY (tenant_id, payment_method_id) REFERENCES payment_methods,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
    CHECK ((state = 'succeeded') = (paid_at IS NOT NULL)),
    CONSTRAINT payments_not_overspent CHECK
        (allocated + refunded + charged_back <= CASE WHEN state = 'succeeded' THEN amount ELSE 0 END)
);
-- An invoice is being paid by one payment at a time, whoever asks for it.
CREATE UNIQUE INDEX payments_one_open ON payments (tenant_id, invoice_id)
    WHERE invoice_id IS NOT NULL AND state IN ('requested', 'sent', 'processing', 'action_required');
CREATE INDEX payments_due ON payments (tenant_id, gateway, next_attempt_at)
    WHERE state IN ('requested', 'sent', 'processing', 'action_required');
CREATE INDEX payments_customer ON payments (tenant_id, customer_id, payment_id);
CREATE INDEX payments_invoice ON payments (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX payments_failed ON payments (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL AND state = 'failed';
CREATE INDEX payments_credit ON payments (tenant_id, customer_id)
    WHERE state = 'succeeded' AND allocated + refunded + charged_back < amount;
CREATE UNIQUE INDEX payments_top_up ON payments (tenant_id, top_up) WHERE top_up IS NOT NULL;

CREATE TABLE payment_moves (                        -- the whole life of every payment, written by the database
    tenant_id  bigint NOT NULL,
    move_id    bigint GENERATED ALWAYS AS IDENTITY,
    payment_id bigint NOT NULL,
    from_state text COLLATE "C",                    -- none: it was made
    to_state   text COLLATE "C" NOT NULL,
    cause      text NOT NULL,
    moved_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, move_id),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE INDEX payment_moves_payment ON payment_moves (tenant_id, payment_id, move_id);

CREATE TABLE payment_attempts (
    tenant_id  bigint NOT NULL,
    payment_id bigint NOT NULL,
    attempt    integer NOT NULL CHECK (attempt >= 1),
    sent_at    timestamptz NOT NULL,                -- committed before the gateway is called
    asked_at   timestamptz NOT NULL,                -- when it was last called, or asked what became of it
    outcome    text COLLATE "C" NOT NULL CHECK (outcome IN ('open', 'succeeded', 'failed')),
    code       text COLLATE "C",
    settled_at timestamptz,
    PRIMARY KEY (tenant_id, payment_id, attempt),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE UNIQUE INDEX payment_attempts_one_open ON payment_attempts (tenant_id, payment_id) WHERE outcome = 'open';
-- Never two captures for one payment.
CREATE UNIQUE INDEX payment_attempts_one_capture ON payment_attempts (tenant_id, payment_id)
    WHERE outcome = 'succeeded';
CREATE INDEX payment_attempts_open ON payment_attempts (tenant_id, asked_at) WHERE outcome = 'open';

-- What is still to be paid of each invoice: one row from the moment of issue.
CREATE TABLE invoice_balances (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    customer_id bigint NOT NULL,
    currency    text COLLATE "C" NOT NULL,
    issued_at   timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    payable     numeric NOT NULL CHECK (payable >= 0),
    paid        numeric NOT NULL DEFAULT 0 CHECK (paid >= 0),
    credited    numeric NOT NULL DEFAULT 0 CHECK (credited >= 0),      -- given back by credit notes
    written_off numeric NOT NULL DEFAULT 0 CHECK (written_off >= 0),
    open        numeric NOT NULL GENERATED ALWAYS AS (payable - paid - credited - written_off) STORED
                CHECK (open >= 0),
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX invoice_balances_due ON invoice_balances (tenant_id, due_at) WHERE open > 0;
CREATE INDEX invoice_balances_customer ON invoice_balances (tenant_id, customer_id, currency, due_at) WHERE open > 0;

CREATE TABLE payment_allocations (                  -- which payment paid how much of which invoice
    tenant_id     bigint NOT NULL,
    allocation_id bigint GENERATED ALWAYS AS IDENTITY,
    payment_id    bigint NOT NULL,
    invoice_id    bigint NOT NULL,
    amount        numeric NOT NULL CHECK (amount <> 0),   -- below zero: taken back
    cause         text NOT NULL,
    allocated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, allocation_id),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice_balances
);
CREATE INDEX payment_allocations_payment ON payment_allocations (tenant_id, payment_id);
CREATE INDEX payment_allocations_invoice ON payment_allocations (tenant_id, invoice_id);
CREATE INDEX payment_allocations_taken_back ON payment_allocations (tenant_id, invoice_id) WHERE amount < 0;

CREATE TABLE write_offs (
    tenant_id      bigint NOT NULL,
    invoice_id     bigint NOT NULL,
    net            numeric NOT NULL CHECK (net > 0),
    tax            numeric NOT NULL CHECK (tax >= 0),
    reason         text NOT NULL,
    written_off_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice_balances
);

CREATE TABLE refunds (
    tenant_id    bigint NOT NULL,
    refund_id    bigint GENERATED ALWAYS AS IDENTITY,
    key          key_text NOT NULL,
    payment_id   bigint NOT NULL,
    amount       numeric NOT NULL CHECK (amount > 0),
    reason       text NOT NULL,
    requested_at timestamptz NOT NULL,
    state        text COLLATE "C" NOT NULL CHECK (state IN ('requested', 'sent', 'succeeded', 'failed')),
    moved_at     timestamptz NOT NULL,
    provider_id  text COLLATE "C",
    failure      text COLLATE "C",
    PRIMARY KEY (tenant_id, refund_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE INDEX refunds_payment ON refunds (tenant_id, payment_id);
CREATE INDEX refunds_open ON refunds (tenant_id, moved_at) WHERE state IN ('requested', 'sent');

CREATE TABLE disputes (                             -- a payer's bank took the money back
    tenant_id       bigint NOT NULL,
    dispute_id      bigint GENERATED ALWAYS AS IDENTITY,
    key             key_text NOT NULL,
    payment_id      bigint NOT NULL,
    kind            text COLLATE "C" NOT NULL CHECK (kind IN ('chargeback', 'return')),
    reason          text NOT NULL,
    amount          numeric NOT NULL CHECK (amount > 0),
    fee             numeric NOT NULL CHECK (fee >= 0),
    opened_at       timestamptz NOT NULL,
    respond_by      timestamptz,
    state           text COLLATE "C" NOT NULL CHECK (state IN ('needs_response', 'under_review', 'won', 'lost')),
    moved_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, dispute_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE INDEX disputes_payment ON disputes (tenant_id, payment_id);

CREATE TABLE provider_events (                      -- what gateways told by themselves: each event counts once
    tenant_id   bigint NOT NULL REFERENCES tenants,
    gateway     text COLLATE "C" NOT NULL,
    event_id    key_text NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    said        jsonb NOT NULL,                     -- what was understood of it
    effect      text COLLATE "C" NOT NULL CHECK (effect IN ('applied', 'nothing_new', 'unmatched', 'ignored')),
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, gateway, event_id)
);
CREATE INDEX provider_events_unmatched ON provider_events (tenant_id, received_at) WHERE effect = 'unmatched';

CREATE TABLE dunning_policies (                     -- the newest is in force
    tenant_id  bigint NOT NULL REFERENCES tenants,
    policy_id  bigint GENERATED ALWAYS AS IDENTITY,
    definition jsonb NOT NULL,
    made_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, policy_id)
);

CREATE TABLE dunning_reminders (
    tenant_id   bigint NOT NULL,
    invoice_id  bigint NOT NULL,
    step        integer NOT NULL CHECK (step >= 1),
    reminded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, step),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice_balances
);

CREATE TABLE suspensions (
    tenant_id     bigint NOT NULL,
    suspension_id bigint GENERATED ALWAYS AS IDENTITY,
    customer_id   bigint NOT NULL,
    suspended_at  timestamptz NOT NULL,
    resumed_at    timestamptz CHECK (resumed_at >= suspended_at),
    PRIMARY KEY (tenant_id, suspension_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers
);
CREATE UNIQUE INDEX suspensions_in_force ON suspensions (tenant_id, customer_id) WHERE resumed_at IS NULL;

CREATE TABLE bank_statements (
    tenant_id    bigint NOT NULL REFERENCES tenants,
    statement_id bigint GENERATED ALWAYS AS IDENTITY,
    account      text COLLATE "C" NOT NULL,
    reference    text COLLATE "C" NOT NULL,         -- the bank's name for it
    entries      integer NOT NULL,
    imported_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, statement_id)
);

CREATE TABLE bank_entries (                         -- each entry of an account counts once, on whatever statement
    tenant_id    bigint NOT NULL,
    entry_id     bigint GENERATED ALWAYS AS IDENTITY,
    statement_id bigint NOT NULL,
    account      text COLLATE "C" NOT NULL,
    identity     key_text NOT NULL,
    amount       numeric NOT NULL CHECK (amount <> 0),    -- below zero: it left the account
    currency     text COLLATE "C" NOT NULL,
    booked_at    timestamptz NOT NULL,
    payer        text NOT NULL,
    remittance   text NOT NULL,
    end_to_end   text NOT NULL,
    returned     text COLLATE "C",                  -- the code of the reason, where a payment came back
    effect       text COLLATE "C" NOT NULL CHECK (effect IN
        ('paid', 'debit_paid', 'returned', 'declined', 'unmatched', 'outgoing')),
    payment_id   bigint,
    PRIMARY KEY (tenant_id, entry_id),
    UNIQUE (tenant_id, account, identity),
    FOREIGN KEY (tenant_id, statement_id) REFERENCES bank_statements,
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE INDEX bank_entries_unmatched ON bank_entries (tenant_id, entry_id) WHERE effect = 'unmatched';

CREATE TABLE debit_batches (                        -- files of SEPA direct debits, each written once
    tenant_id    bigint NOT NULL REFERENCES tenants,
    batch_id     bigint GENERATED ALWAYS AS IDENTITY,
    message_id   key_text NOT NULL,
    collect_on   date NOT NULL,
    creditor     jsonb NOT NULL,
    made_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, batch_id),
    UNIQUE (tenant_id, message_id)
);

CREATE TABLE debit_batch_payments (
    tenant_id  bigint NOT NULL,
    batch_id   bigint NOT NULL,
    payment_id bigint NOT NULL,
    attempt    integer NOT NULL,
    sequence   text COLLATE "C" NOT NULL CHECK (sequence IN ('FRST', 'RCUR')),
    PRIMARY KEY (tenant_id, payment_id, attempt),
    FOREIGN KEY (tenant_id, batch_id) REFERENCES debit_batches,
    FOREIGN KEY (tenant_id, payment_id) REFERENCES payments
);
CREATE INDEX debit_batch_payments_batch ON debit_batch_payments (tenant_id, batch_id);

-- ---------------------------------------------------------------------------------------------
-- States move along these edges only; money that came in is a fact, whatever was thought before.

CREATE FUNCTION move_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.payment_id, NEW.key, NEW.customer_id, NEW.payment_method_id, NEW.gateway, NEW.purpose,
        NEW.invoice_id, NEW.top_up, NEW.currency, NEW.amount, NEW.reference, NEW.requested_at)
       IS DISTINCT FROM
       (OLD.tenant_id, OLD.payment_id, OLD.key, OLD.customer_id, OLD.payment_method_id, OLD.gateway, OLD.purpose,
        OLD.invoice_id, OLD.top_up, OLD.currency, OLD.amount, OLD.reference, OLD.requested_at)
       OR (OLD.provider_id IS NOT NULL AND NEW.provider_id IS DISTINCT FROM OLD.provider_id) THEN
        RAISE EXCEPTION 'what payment % is about never changes', OLD.key USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF NOT ((OLD.state, NEW.state) IN (
        ('requested', 'sent'), ('requested', 'cancelled'),
        ('sent', 'processing'), ('sent', 'action_required'), ('sent', 'failed'), ('sent', 'requested'),
        ('processing', 'failed'), ('processing', 'requested'), ('processing', 'action_required'),
        ('action_required', 'processing'), ('action_required', 'failed'), ('action_required', 'requested'),
        ('action_required', 'cancelled'))
        OR (NEW.state = 'succeeded')) THEN
        RAISE EXCEPTION 'payment % does not go from % to %', OLD.key, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO payment_moves (tenant_id, payment_id, from_state, to_state, cause, moved_at)
    VALUES (NEW.tenant_id, NEW.payment_id, OLD.state, NEW.state, NEW.cause, NEW.moved_at);
    RETURN NEW;
END $$;
-- Not of what the database keeps itself: allocating thousands of payments moves none of them.
CREATE TRIGGER payments_move BEFORE UPDATE OF tenant_id, payment_id, key, customer_id, payment_method_id, gateway, purpose,
    invoice_id, top_up, currency, amount, reference, requested_at, state, provider_id
    ON payments FOR EACH ROW EXECUTE FUNCTION move_payment();

CREATE FUNCTION make_payments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO payment_moves (tenant_id, payment_id, to_state, cause, moved_at)
    SELECT tenant_id, payment_id, state, cause, moved_at FROM made ORDER BY payment_id;
    RETURN NULL;
END $$;
CREATE TRIGGER payments_made AFTER INSERT ON payments
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION make_payments();

CREATE FUNCTION settle_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.payment_id, NEW.attempt, NEW.sent_at)
       IS DISTINCT FROM (OLD.tenant_id, OLD.payment_id, OLD.attempt, OLD.sent_at)
       OR OLD.outcome = 'succeeded' OR (OLD.outcome = 'failed' AND NEW.outcome = 'open') THEN
        RAISE EXCEPTION 'an attempt that is settled stays as it is' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_attempts_settle BEFORE UPDATE ON payment_attempts
    FOR EACH ROW EXECUTE FUNCTION settle_attempt();

CREATE FUNCTION move_refund() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE payments SET refunded = refunded + NEW.amount
         WHERE tenant_id = NEW.tenant_id AND payment_id = NEW.payment_id;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.refund_id, NEW.key, NEW.payment_id, NEW.amount, NEW.reason, NEW.requested_at)
       IS DISTINCT FROM (OLD.tenant_id, OLD.refund_id, OLD.key, OLD.payment_id, OLD.amount, OLD.reason, OLD.requested_at)
       OR NOT (NEW.state = OLD.state OR (OLD.state, NEW.state) IN (
            ('requested', 'sent'), ('requested', 'succeeded'), ('sent', 'succeeded'), ('sent', 'failed'))) THEN
        RAISE EXCEPTION 'refund % does not go from % to %', OLD.key, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'failed' AND OLD.state <> 'failed' THEN
        UPDATE payments SET refunded = refunded - NEW.amount
         WHERE tenant_id = NEW.tenant_id AND payment_id = NEW.payment_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refunds_made BEFORE INSERT ON refunds FOR EACH ROW EXECUTE FUNCTION move_refund();
CREATE TRIGGER refunds_move BEFORE UPDATE ON refunds FOR EACH ROW EXECUTE FUNCTION move_refund();

CREATE FUNCTION move_dispute() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE payments SET charged_back = charged_back + NEW.amount
         WHERE tenant_id = NEW.tenant_id AND payment_id = NEW.payment_id;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.dispute_id, NEW.key, NEW.payment_id, NEW.kind, NEW.reason, NEW.amount, NEW.fee, NEW.opened_at)
       IS DISTINCT FROM
       (OLD.tenant_id, OLD.dispute_id, OLD.key, OLD.payment_id, OLD.kind, OLD.reason, OLD.amount, OLD.fee, OLD.opened_at)
       OR NOT (NEW.state = OLD.state OR (OLD.state, NEW.state) IN (
            ('needs_response', 'under_review'), ('needs_response', 'won'), ('needs_response', 'lost'),
            ('under_review', 'won'), ('under_review', 'lost'))) THEN
        RAISE EXCEPTION 'dispute % does not go from % to %', OLD.key, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER disputes_made BEFORE INSERT ON disputes FOR EACH ROW EXECUTE FUNCTION move_dispute();
CREATE TRIGGER disputes_move BEFORE UPDATE ON disputes FOR EACH ROW EXECUTE FUNCTION move_dispute();

CREATE FUNCTION keep_payment_method() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.payment_method_id, NEW.key, NEW.customer_id, NEW.gateway, NEW.kind, NEW.label, NEW.reference,
        NEW.mandate, NEW.created_at)
       IS DISTINCT FROM
       (OLD.tenant_id, OLD.payment_method_id, OLD.key, OLD.customer_id, OLD.gateway, OLD.kind, OLD.label, OLD.reference,
        OLD.mandate, OLD.created_at)
       OR (OLD.removed_at IS NOT NULL AND NEW.removed_at IS DISTINCT FROM OLD.removed_at) THEN
        RAISE EXCEPTION 'a payment method never changes; another one takes its place' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_methods_keep BEFORE UPDATE ON payment_methods
    FOR EACH ROW EXECUTE FUNCTION keep_payment_method();

CREATE FUNCTION keep_suspension() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.suspension_id, NEW.customer_id, NEW.suspended_at)
       IS DISTINCT FROM (OLD.tenant_id, OLD.suspension_id, OLD.customer_id, OLD.suspended_at)
       OR OLD.resumed_at IS NOT NULL THEN
        RAISE EXCEPTION 'a suspension ends once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER suspensions_keep BEFORE UPDATE ON suspensions FOR EACH ROW EXECUTE FUNCTION keep_suspension();

-- ---------------------------------------------------------------------------------------------
-- Balances are the fold of what was appended: one statement each, in one order of rows.

CREATE FUNCTION open_invoices() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO invoice_balances (tenant_id, invoice_id, customer_id, currency, issued_at, due_at, payable)
    SELECT i.tenant_id, i.invoice_id, i.customer_id, i.currency, i.issued_at,
           coalesce((i.document::jsonb ->> 'due_at')::timestamptz, i.issued_at),
           -- What wallets paid is paid.
           greatest(coalesce((i.document::jsonb ->> 'amount_due')::numeric, i.total), 0)
      FROM issued i ORDER BY i.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER invoices_opened AFTER INSERT ON invoices
    REFERENCING NEW TABLE AS issued FOR EACH STATEMENT EXECUTE FUNCTION open_invoices();

CREATE FUNCTION allocate_payments() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    off text;
BEGIN
    SELECT p.key INTO off
      FROM allocated a
      JOIN payments p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
      JOIN invoice_balances b ON b.tenant_id = a.tenant_id AND b.invoice_id = a.invoice_id
     WHERE p.currency <> b.currency OR p.customer_id <> b.customer_id LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'payment % is of another customer or currency than the invoice', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_allocations_own', TABLE = 'payment_allocations';
    END IF;
    UPDATE payments p SET allocated = p.allocated + s.amount
      FROM (SELECT tenant_id, payment_id, sum(amount) AS amount FROM allocated GROUP BY 1, 2) s
     WHERE p.tenant_id = s.tenant_id AND p.payment_id = s.payment_id;
    UPDATE invoice_balances b SET paid = b.paid + s.amount
      FROM (SELECT tenant_id, invoice_id, sum(amount) AS amount FROM allocated GROUP BY 1, 2) s
     WHERE b.tenant_id = s.tenant_id AND b.invoice_id = s.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_allocations_kept AFTER INSERT ON payment_allocations
    REFERENCING NEW TABLE AS allocated FOR EACH STATEMENT EXECUTE FUNCTION allocate_payments();

CREATE FUNCTION write_off_invoices() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE invoice_balances b SET written_off = b.written_off + w.net + w.tax
      FROM written w WHERE b.tenant_id = w.tenant_id AND b.invoice_id = w.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER write_offs_kept AFTER INSERT ON write_offs
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION write_off_invoices();

-- What is given back of an invoice is no longer open; of what was paid already, so much goes back to the payments, the
-- last first, where it stands to the customer's credit. What wallets paid is not a payment's to give back.
CREATE FUNCTION give_back() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    balance invoice_balances;
    given   numeric;
    back    numeric;
    piece   numeric;
    paid    record;
BEGIN
    -- The lock of whoever settles payments: see lock_settling.
    PERFORM pg_advisory_xact_lock(hashtext('farthing.payments'), (NEW.tenant_id % 2147483648)::int);
    SELECT * INTO balance FROM invoice_balances WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id;
    given := balance.payable - balance.credited - balance.written_off;
    IF TG_TABLE_NAME = 'credit_notes' THEN
        given := least(given, NEW.total);
    END IF;
    back := given - balance.open;
    FOR paid IN SELECT payment_id, sum(amount) AS amount FROM payment_allocations
                 WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id
                 GROUP BY payment_id HAVING sum(amount) > 0 ORDER BY payment_id DESC
    LOOP
        EXIT WHEN back <= 0;
        piece := least(paid.amount, back);
        INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
        VALUES (NEW.tenant_id, paid.payment_id, NEW.invoice_id, -piece,
                CASE WHEN TG_TABLE_NAME = 'credit_notes' THEN 'credit note' ELSE 'void' END, clock_timestamp());
        back := back - piece;
    END LOOP;
    UPDATE invoice_balances SET credited = credited + given
     WHERE tenant_id = NEW.tenant_id AND invoice_id = NEW.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER credit_notes_given AFTER INSERT ON credit_notes FOR EACH ROW EXECUTE FUNCTION give_back();
CREATE TRIGGER invoice_voids_given AFTER INSERT ON invoice_voids FOR EACH ROW EXECUTE FUNCTION give_back();

-- Invoices of before this migration. It acts for no tenant, so the rows are unlocked while it reads them all.
ALTER TABLE invoices NO FORCE ROW LEVEL SECURITY;
INSERT INTO invoice_balances (tenant_id, invoice_id, customer_id, currency, issued_at, due_at, payable)
SELECT tenant_id, invoice_id, customer_id, currency, issued_at,
       coalesce((document::jsonb ->> 'due_at')::timestamptz, issued_at),
       greatest(coalesce((document::jsonb ->> 'amount_due')::numeric, total), 0)
  FROM invoices ORDER BY tenant_id, invoice_id;
ALTER TABLE invoices FORCE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------------
-- Laws 8 and 12, and what the application may do.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['payment_moves', 'payment_allocations', 'write_offs', 'provider_events',
                                'dunning_policies', 'dunning_reminders', 'bank_statements', 'bank_entries',
                                'debit_batches', 'debit_batch_payments'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['payment_methods', 'payments', 'payment_attempts', 'refunds', 'disputes', 'suspensions',
                                'invoice_balances'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_stay', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['payment_methods', 'payments', 'payment_moves', 'payment_attempts', 'invoice_balances',
                                'payment_allocations', 'write_offs', 'refunds', 'disputes', 'provider_events',
                                'dunning_policies', 'dunning_reminders', 'suspensions', 'bank_statements',
                                'bank_entries', 'debit_batches', 'debit_batch_payments'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
        IF name <> 'invoice_balances' THEN
            EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', name);
        END IF;
    END LOOP;
END $$;

GRANT SELECT ON invoice_balances TO farthing_app;
GRANT UPDATE (is_default, removed_at) ON payment_methods TO farthing_app;
GRANT UPDATE (state, moved_at, cause, provider_id, failure, attempts, next_attempt_at, paid_at, fee)
    ON payments TO farthing_app;
GRANT UPDATE (asked_at, outcome, code, settled_at) ON payment_attempts TO farthing_app;
GRANT UPDATE (state, moved_at, provider_id, failure) ON refunds TO farthing_app;
GRANT UPDATE (state, moved_at, respond_by) ON disputes TO farthing_app;
GRANT UPDATE (resumed_at) ON suspensions TO farthing_app;
