-- The ledger: accounts, transfers with their entries, and the balances that the database itself keeps beside them.
--
-- A transfer holds its entries as two arrays, so it is written whole or not at all, and nothing can be added to
-- it later; the view `entries` shows them as rows. When a statement that inserts transfers ends, the database
-- refuses it unless each of them sums to zero, and moves the balances. The application may not write a balance.

CREATE TABLE accounts (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    account_id  bigint GENERATED ALWAYS AS IDENTITY,
    code        text COLLATE "C" NOT NULL,          -- which account of the chart: receivable, revenue, ...
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('asset', 'liability', 'income', 'expense', 'equity')),
    customer_id bigint,                             -- whose; none: the seller's own
    currency    text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id),
    UNIQUE (tenant_id, account_id, currency),       -- what a balance refers to
    UNIQUE NULLS NOT DISTINCT (tenant_id, customer_id, code, currency),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers
);

CREATE SEQUENCE transfer_ids;

CREATE TABLE transfers (
    tenant_id    bigint NOT NULL,
    transfer_id  bigint NOT NULL,
    key          key_text NOT NULL,                 -- names the fact that it books: a fact is booked once
    kind         text COLLATE "C" NOT NULL,         -- which recipe made it
    currency     text COLLATE "C" NOT NULL,
    reference    text NOT NULL,                     -- the document it comes from, for people; may be empty
    corrects     text COLLATE "C",                  -- the key of an earlier transfer that this one corrects
    effective_at timestamptz NOT NULL,              -- when it happened
    booked_at    timestamptz NOT NULL,              -- when the ledger learnt of it
    input_hash   bytea NOT NULL,
    account_ids  bigint[] NOT NULL,                 -- the entries: account and amount, place by place;
    amounts      numeric[] NOT NULL,                -- a debit is above zero, a credit below
    PRIMARY KEY (tenant_id, transfer_id),
    UNIQUE (tenant_id, key),
    CHECK (cardinality(account_ids) = cardinality(amounts) AND cardinality(amounts) BETWEEN 2 AND 100),
    CHECK (array_position(account_ids, NULL) IS NULL AND array_position(amounts, NULL) IS NULL),
    CHECK (0 <> ALL (amounts))
);
CREATE INDEX transfers_accounts ON transfers USING gin (account_ids);

CREATE VIEW entries WITH (security_invoker = true) AS
SELECT t.tenant_id, t.transfer_id, e.place, e.account_id, t.currency, e.amount, t.effective_at, t.booked_at
  FROM transfers t
 CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) WITH ORDINALITY AS e (account_id, amount, place);

CREATE TABLE account_balances (                     -- always the sum of the account's entries, and their number
    tenant_id   bigint NOT NULL,
    account_id  bigint NOT NULL,
    currency    text COLLATE "C" NOT NULL,
    balance     numeric NOT NULL,
    entries     bigint NOT NULL,
    PRIMARY KEY (tenant_id, account_id, currency),
    FOREIGN KEY (tenant_id, account_id, currency) REFERENCES accounts (tenant_id, account_id, currency)
) WITH (fillfactor = 50);                           -- room for the next versions of a row in its own page

-- ---------------------------------------------------------------------------------------------
-- Law 9: each transfer is balanced, in one currency, and balances are the fold of entries.

CREATE FUNCTION book_transfers() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    off text;
BEGIN
    SELECT p.key INTO off
      FROM posted p
     WHERE CASE WHEN cardinality(p.amounts) = 2 THEN p.amounts[1] + p.amounts[2]
                ELSE (SELECT sum(a.amount) FROM unnest(p.amounts) AS a (amount)) END IS DISTINCT FROM 0
     LIMIT 1;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'the debits and credits of transfer % differ', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transfers_balance', TABLE = 'transfers';
    END IF;
    IF EXISTS (SELECT FROM posted WHERE corrects IS NOT NULL) THEN
        SELECT p.key INTO off
          FROM posted p
         WHERE p.corrects IS NOT NULL AND NOT EXISTS (
               SELECT FROM transfers t WHERE t.tenant_id = p.tenant_id AND t.key = p.corrects)
         LIMIT 1;
        IF off IS NOT NULL THEN
            RAISE EXCEPTION 'the transfer % corrects one that was never booked', off
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transfers_corrects', TABLE = 'transfers';
        END IF;
    END IF;
    -- One row for each account, however many entries it got, and always in the order of accounts: postings
    -- wait for each other on a busy account and never in a circle. An account that is not there, or is of
    -- another currency than the transfer, has no row here and can get none: the foreign key fails.
    INSERT INTO account_balances AS b (tenant_id, account_id, currency, balance, entries)
    SELECT p.tenant_id, e.account_id, p.currency, sum(e.amount), count(*)
      FROM posted p CROSS JOIN LATERAL unnest(p.account_ids, p.amounts) AS e (account_id, amount)
     GROUP BY p.tenant_id, e.account_id, p.currency
     ORDER BY p.tenant_id, e.account_id, p.currency
        ON CONFLICT (tenant_id, account_id, currency)
        DO UPDATE SET balance = b.balance + excluded.balance, entries = b.entries + excluded.entries;
    RETURN NULL;
END $$;

CREATE TRIGGER transfers_booked AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION book_transfers();

-- ---------------------------------------------------------------------------------------------
-- Laws 8 and 12: facts are appended, tenants are apart.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['accounts', 'transfers'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['accounts', 'transfers', 'account_balances'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON accounts, transfers TO farthing_app;
GRANT SELECT ON entries, account_balances TO farthing_app;
GRANT USAGE ON SEQUENCE transfer_ids TO farthing_app;
