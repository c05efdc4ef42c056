-- Wallets: containers of grants. The money is in the grants; what became of a grant stands in its four counters.
--
--     available = amount - drawn - held - settled - expired
--
--     drawn     usage that was paid with it             moved by inserting into wallet_draws, by nothing else
--     expired   what can no longer be drawn             moved by inserting into grant_endings, by nothing else
--     held      open authorisations                     moved by the application
--     settled   authorisations whose event has happened and is not sealed yet: sealing draws it
--
-- Law 10 is the CHECK on grants. Whoever moves counters of several grants locks them in the order of grant_id.

CREATE TABLE wallets (
    tenant_id     bigint NOT NULL REFERENCES tenants,
    wallet_id     bigint GENERATED ALWAYS AS IDENTITY,
    key           key_text NOT NULL,
    customer_id   bigint NOT NULL,
    name          text NOT NULL,
    currency      text COLLATE "C" CHECK (length(currency) = 3),    -- of a wallet of money
    unit          key_text,                                         -- of a wallet of units: a meter whose quantity it holds
    priority      integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    low_balance   numeric CHECK (low_balance > 0),                  -- at or below it, the balance is low
    top_up        jsonb,                                            -- when and by how much it fills itself
    balance_state text COLLATE "C" NOT NULL CHECK (balance_state IN ('funded', 'low', 'exhausted')),  -- as last announced
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, wallet_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK ((currency IS NULL) <> (unit IS NULL)),
    CHECK (unit IS NULL OR top_up IS NULL)
);
CREATE INDEX wallets_customer ON wallets (tenant_id, customer_id);

-- A promise of a grant in every period from `start_at` on. How far it was kept is `next_start`.
CREATE TABLE recurring_grants (
    tenant_id          bigint NOT NULL REFERENCES tenants,
    recurring_grant_id bigint GENERATED ALWAYS AS IDENTITY,
    key                key_text NOT NULL,
    wallet_id          bigint NOT NULL,
    paid               boolean NOT NULL,
    amount             numeric NOT NULL CHECK (amount > 0),
    priority           integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    meters             text[] COLLATE "C" NOT NULL,
    rate_cards         text[] COLLATE "C" NOT NULL,
    schedule_interval  text COLLATE "C" NOT NULL,
    interval_count     integer NOT NULL CHECK (interval_count >= 1),
    expires            boolean NOT NULL,                            -- each grant with its period; else never
    rollover_percent   numeric NOT NULL CHECK (rollover_percent BETWEEN 0 AND 100),
    rollover_maximum   numeric CHECK (rollover_maximum > 0),
    start_at           timestamptz NOT NULL,
    end_at             timestamptz CHECK (end_at > start_at),
    next_start         timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, recurring_grant_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, wallet_id) REFERENCES wallets,
    CHECK (rollover_percent = 0 OR expires)
);
CREATE INDEX recurring_grants_next ON recurring_grants (tenant_id, next_start);
CREATE INDEX recurring_grants_wallet ON recurring_grants (tenant_id, wallet_id);

CREATE TABLE grants (
    tenant_id          bigint NOT NULL REFERENCES tenants,
    grant_id           bigint GENERATED ALWAYS AS IDENTITY,
    key                key_text NOT NULL,
    wallet_id          bigint NOT NULL,
    customer_id        bigint NOT NULL,                 -- the wallet's
    paid               boolean NOT NULL,                -- else given away
    amount             numeric NOT NULL CHECK (amount > 0),
    priority           integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    meters             text[] COLLATE "C" NOT NULL,     -- what it pays for: usage of one of these meters or rate
    rate_cards         text[] COLLATE "C" NOT NULL,     -- cards; both empty: everything
    effective_at       timestamptz NOT NULL,
    expires_at         timestamptz CHECK (expires_at > effective_at),
    recurring_grant_id bigint,                          -- which promise it keeps, for the period from effective_at on
    rolled_from        bigint,                          -- the grant whose rest it is
    reference          text NOT NULL,                   -- the document or reason it comes from, for people
    input_hash         bytea NOT NULL,                  -- of what was asked for under the key
    created_at         timestamptz NOT NULL,
    drawn              numeric NOT NULL DEFAULT 0 CHECK (drawn >= 0),
    held               numeric NOT NULL DEFAULT 0 CHECK (held >= 0),
    settled            numeric NOT NULL DEFAULT 0 CHECK (settled >= 0),
    expired            numeric NOT NULL DEFAULT 0 CHECK (expired >= 0),
    closed_at          timestamptz,                     -- since when nothing of it is left to move
    PRIMARY KEY (tenant_id, grant_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, wallet_id) REFERENCES wallets,
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    FOREIGN KEY (tenant_id, recurring_grant_id) REFERENCES recurring_grants,
    FOREIGN KEY (tenant_id, rolled_from) REFERENCES grants,
    CONSTRAINT grants_never_overspent CHECK (drawn + held + settled + expired <= amount)
) WITH (fillfactor = 50);                               -- room for the next versions of a row in its own page
-- No index has a counter in it, so that moving one touches no index.
CREATE INDEX grants_open ON grants (tenant_id, customer_id) WHERE closed_at IS NULL;
CREATE INDEX grants_effective ON grants (tenant_id, effective_at);
CREATE INDEX grants_wallet ON grants (tenant_id, wallet_id, grant_id);
CREATE INDEX grants_expiring ON grants (tenant_id, expires_at) WHERE closed_at IS NULL AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX grants_recurring ON grants (tenant_id, recurring_grant_id, effective_at) WHERE rolled_from IS NULL;
CREATE UNIQUE INDEX grants_rolled ON grants (tenant_id, rolled_from) WHERE rolled_from IS NOT NULL;

-- Why a part of a grant can no longer be drawn. A hold that is released after the expiry leaves a further part.
CREATE TABLE grant_endings (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    grant_id    bigint NOT NULL,
    place       integer NOT NULL CHECK (place >= 1),
    reason      text COLLATE "C" NOT NULL CHECK (reason IN ('expired', 'voided', 'rolled_over')),
    amount      numeric NOT NULL CHECK (amount > 0),
    note        text NOT NULL,
    ended_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, grant_id, place),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants
);

-- What was paid with which grant, and for what: (subscription, period, rate card). One row for a sealed batch, or
-- for each few hundred parts of one, as arrays; the view `grant_draws` shows the parts as rows. An amount below zero
-- goes back to its grant. `settled`: how much of settled holds on the grant the part takes up or lets go.
CREATE TABLE wallet_draws (
    tenant_id        bigint NOT NULL REFERENCES tenants,
    draw_id          bigint GENERATED ALWAYS AS IDENTITY,
    cause            text COLLATE "C" NOT NULL CHECK (cause IN ('sealed', 'accrued', 'invoiced')),
    reference        text COLLATE "C" NOT NULL,         -- of a sealed batch its id; else empty
    drawn_at         timestamptz NOT NULL,
    customer_ids     bigint[] NOT NULL,
    subscription_ids bigint[] NOT NULL,
    period_starts    timestamptz[] NOT NULL,
    rate_cards       text[] COLLATE "C" NOT NULL,
    grant_ids        bigint[] NOT NULL,
    amounts          numeric[] NOT NULL,
    settled          numeric[] NOT NULL,
    PRIMARY KEY (tenant_id, draw_id),
    CHECK (cardinality(grant_ids) BETWEEN 1 AND 1000
           AND cardinality(customer_ids) = cardinality(grant_ids) AND cardinality(subscription_ids) = cardinality(grant_ids)
           AND cardinality(period_starts) = cardinality(grant_ids) AND cardinality(rate_cards) = cardinality(grant_ids)
           AND cardinality(amounts) = cardinality(grant_ids) AND cardinality(settled) = cardinality(grant_ids)),
    CHECK (array_position(grant_ids, NULL) IS NULL AND array_position(amounts, NULL) IS NULL
           AND array_position(settled, NULL) IS NULL)
);
CREATE INDEX wallet_draws_grants ON wallet_draws USING gin (grant_ids);

CREATE VIEW grant_draws WITH (security_invoker = true) AS
SELECT d.tenant_id, d.draw_id, p.place, d.cause, d.reference, d.drawn_at, p.customer_id, p.subscription_id,
       p.period_start, p.rate_card, p.grant_id, p.amount, p.settled
  FROM wallet_draws d
 CROSS JOIN LATERAL unnest(d.customer_ids, d.subscription_ids, d.period_starts, d.rate_cards, d.grant_ids, d.amounts,
                           d.settled)
       WITH ORDINALITY AS p (customer_id, subscription_id, period_start, rate_card, grant_id, amount, settled, place);

-- How far the usage of customers with wallets has been counted, where the price depends on that. Only sealing moves it on.
CREATE TABLE usage_positions (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    subscription_id bigint NOT NULL,
    period_start    timestamptz NOT NULL,
    rate_card       key_text NOT NULL,
    dimensions      text COLLATE "C" NOT NULL,          -- as JSON with sorted names; empty: usage is not told apart
    quantity        numeric NOT NULL,                   -- sealed so far in the period
    PRIMARY KEY (tenant_id, subscription_id, period_start, rate_card, dimensions),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
) WITH (fillfactor = 50);

-- What usage so far comes to, exactly, by where the money came from: the parts of (subscription, period, rate card)
-- sum to what was charged. Of each grant it is the sum of its draws for that usage.
CREATE TABLE charge_funding (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    subscription_id bigint NOT NULL,
    period_start    timestamptz NOT NULL,
    rate_card       key_text NOT NULL,
    grant_id        bigint NOT NULL,                    -- 0: no funds covered it, it is owed
    customer_id     bigint NOT NULL,
    amount          numeric NOT NULL,
    last_draw_id    bigint NOT NULL,                    -- who paid last gives back first
    PRIMARY KEY (tenant_id, subscription_id, period_start, rate_card, grant_id),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers
) WITH (fillfactor = 50);

-- A wish for a paid grant: whoever collects the money says what came of it, once.
CREATE TABLE top_ups (
    tenant_id    bigint NOT NULL REFERENCES tenants,
    top_up_id    bigint GENERATED ALWAYS AS IDENTITY,
    key          key_text NOT NULL,
    wallet_id    bigint NOT NULL,
    amount       numeric NOT NULL CHECK (amount > 0),
    automatic    boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    status       text COLLATE "C" NOT NULL DEFAULT 'requested' CHECK (status IN ('requested', 'funded', 'failed')),
    settled_at   timestamptz,
    grant_id     bigint,
    failure      text,
    PRIMARY KEY (tenant_id, top_up_id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id, wallet_id) REFERENCES wallets,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants,
    CHECK ((status = 'requested') = (settled_at IS NULL)),
    CHECK ((status = 'funded') = (grant_id IS NOT NULL)),
    CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX top_ups_wallet ON top_ups (tenant_id, wallet_id, requested_at);

-- What of an invoice wallets have paid: the rest is what the customer owes.
ALTER TABLE invoices
    ADD paid_from_wallets numeric NOT NULL DEFAULT 0,
    ADD CONSTRAINT invoices_paid_from_wallets CHECK (paid_from_wallets = 0 OR paid_from_wallets BETWEEN 0 AND subtotal);

-- ---------------------------------------------------------------------------------------------
-- Counters are the fold of facts: inserting the fact moves them.

CREATE FUNCTION move_drawn() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE grants g
       SET drawn = g.drawn + m.amount, settled = g.settled - m.settled
      FROM (SELECT n.tenant_id, p.grant_id, sum(p.amount) AS amount, sum(p.settled) AS settled
              FROM new_draws n CROSS JOIN LATERAL unnest(n.grant_ids, n.amounts, n.settled) AS p (grant_id, amount, settled)
             GROUP BY n.tenant_id, p.grant_id) m
     WHERE g.tenant_id = m.tenant_id AND g.grant_id = m.grant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER wallet_draws_move AFTER INSERT ON wallet_draws
    REFERENCING NEW TABLE AS new_draws FOR EACH STATEMENT EXECUTE FUNCTION move_drawn();

CREATE FUNCTION move_expired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE grants g SET expired = g.expired + m.amount
      FROM (SELECT tenant_id, grant_id, sum(amount) AS amount FROM new_endings GROUP BY tenant_id, grant_id) m
     WHERE g.tenant_id = m.tenant_id AND g.grant_id = m.grant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER grant_endings_move AFTER INSERT ON grant_endings
    REFERENCING NEW TABLE AS new_endings FOR EACH STATEMENT EXECUTE FUNCTION move_expired();

-- ---------------------------------------------------------------------------------------------
-- Laws 8 and 12

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['grant_endings', 'wallet_draws'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['wallets', 'grants', 'recurring_grants', 'top_ups'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_stay', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['wallets', 'recurring_grants', 'grants', 'grant_endings', 'wallet_draws',
                                'usage_positions', 'charge_funding', 'top_ups'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

-- What a grant, a promise or a wish says never changes, whoever asks. These fire only for statements that name
-- such a column, so that moving a counter does not pay for them.
CREATE TRIGGER wallets_immutable BEFORE UPDATE OF tenant_id, wallet_id, key, customer_id, currency, unit, created_at
    ON wallets FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER grants_immutable BEFORE UPDATE OF tenant_id, grant_id, key, wallet_id, customer_id, paid, amount,
    priority, meters, rate_cards, effective_at, expires_at, recurring_grant_id, rolled_from, reference, input_hash, created_at
    ON grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER recurring_grants_immutable BEFORE UPDATE OF tenant_id, recurring_grant_id, key, wallet_id, paid, amount,
    priority, meters, rate_cards, schedule_interval, interval_count, expires, rollover_percent, rollover_maximum, start_at, created_at
    ON recurring_grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER top_ups_immutable BEFORE UPDATE OF tenant_id, top_up_id, key, wallet_id, amount, automatic, requested_at
    ON top_ups FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_second_settling() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the top-up % is % already', OLD.key, OLD.status USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER top_ups_settled_once BEFORE UPDATE ON top_ups
    FOR EACH ROW WHEN (OLD.status <> 'requested') EXECUTE FUNCTION refuse_second_settling();

GRANT SELECT, INSERT ON wallets, recurring_grants, grants, usage_positions, charge_funding, top_ups TO farthing_app;
GRANT SELECT ON grant_draws TO farthing_app;
GRANT UPDATE (name, priority, low_balance, top_up, balance_state) ON wallets TO farthing_app;
GRANT UPDATE (held, settled, closed_at) ON grants TO farthing_app;
GRANT UPDATE (next_start, end_at) ON recurring_grants TO farthing_app;
GRANT UPDATE ON usage_positions, charge_funding TO farthing_app;
GRANT UPDATE (status, settled_at, grant_id, failure) ON top_ups TO farthing_app;
