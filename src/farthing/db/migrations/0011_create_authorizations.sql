-- Authorisations: money of grants that is set aside for calls under way, and the budgets that they count against.
--
--     held ----> settled ----> counted        an event has happened; sealing has counted it
--       |------> released                      the call did not happen
--       `------> expired                       nobody said what became of it in time
--
-- What an authorisation has set aside stands in grants.held, once it is settled in grants.settled, and once its event
-- is counted in grants.drawn. Whoever moves several rows locks them in this order: grants by id, limits by id, holds
-- by key.

CREATE TABLE holds (
    tenant_id    bigint NOT NULL,                   -- No foreign keys: every row would lock the one of its customer,
    key          key_text NOT NULL,                 -- the busiest of all rows here, and customers stay for good.
    customer_id  bigint NOT NULL,                   -- `key` is the client's own.
    currency     text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    input_hash   bytea NOT NULL,                    -- of what was asked for under the key
    amount       numeric NOT NULL CHECK (amount >= 0),  -- what was held, in all
    held_parts   jsonb NOT NULL,                    -- [[subscription id, period start, rate card, grant id, amount], ...]
    positions    jsonb NOT NULL,                    -- [[subscription id, period start, rate card, ladder, quantity, end], ...]
    limits       jsonb NOT NULL,                    -- [[limit id, period start], ...]: what it counts against
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL CHECK (expires_at > created_at),
    status       text COLLATE "C" NOT NULL DEFAULT 'held'
                 CHECK (status IN ('held', 'settled', 'counted', 'released', 'expired')),
    ended_at     timestamptz,                       -- when it was settled, released or had expired
    cost         numeric,                           -- what the event comes to
    covered      numeric,                           -- and how much of that was set aside for it
    settled_parts jsonb,                            -- as held_parts, of what is covered
    event_source key_text,
    event_id     key_text,
    event_hash   bytea,
    event        bytea,                             -- its line, until it is counted
    appended_at  timestamptz,                       -- when it was last put into the log again
    counted_at   timestamptz,
    PRIMARY KEY (tenant_id, key),
    CHECK ((status = 'held') = (ended_at IS NULL)),
    CHECK ((status IN ('settled', 'counted')) = (cost IS NOT NULL)),
    CHECK ((cost IS NULL) = (covered IS NULL) AND (cost IS NULL) = (settled_parts IS NULL)
           AND (cost IS NULL) = (event_id IS NULL) AND (cost IS NULL) = (event_source IS NULL)
           AND (cost IS NULL) = (event_hash IS NULL)),
    CHECK (covered BETWEEN 0 AND cost),
    CHECK ((status = 'settled') = (event IS NOT NULL)),
    CHECK ((status = 'counted') = (counted_at IS NOT NULL))
);
CREATE INDEX holds_customer ON holds (tenant_id, customer_id, key);
CREATE INDEX holds_expiring ON holds (tenant_id, expires_at) WHERE status = 'held';
CREATE INDEX holds_settled ON holds (tenant_id, ended_at) WHERE status = 'settled';
CREATE INDEX holds_climbing ON holds (tenant_id, customer_id) WHERE status IN ('held', 'settled') AND positions <> '[]';
-- An event settles one authorisation.
CREATE UNIQUE INDEX holds_event ON holds (tenant_id, event_source, event_id) WHERE event_id IS NOT NULL;

CREATE FUNCTION refuse_changed_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the authorisation % is % and cannot become %', OLD.key, OLD.status, NEW.status
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER holds_end_once BEFORE UPDATE ON holds FOR EACH ROW
    WHEN (OLD.status IN ('counted', 'released', 'expired') OR (OLD.status = 'settled' AND NEW.status NOT IN ('settled', 'counted')))
    EXECUTE FUNCTION refuse_changed_hold();
CREATE TRIGGER holds_immutable BEFORE UPDATE OF tenant_id, key, customer_id, currency, input_hash, amount, held_parts,
    limits, created_at, expires_at ON holds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER holds_stay BEFORE DELETE OR TRUNCATE ON holds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Budgets: how much may be authorised in a period, by a customer in all, in one of its projects, with one of its keys.
CREATE TABLE spending_limits (
    tenant_id         bigint NOT NULL REFERENCES tenants,
    limit_id          bigint GENERATED ALWAYS AS IDENTITY,
    customer_id       bigint NOT NULL,
    level             text COLLATE "C" NOT NULL CHECK (level IN ('customer', 'project', 'api_key')),
    name              text COLLATE "C" NOT NULL,    -- of the project or API key; empty for the customer
    schedule_interval text COLLATE "C" NOT NULL,    -- day, week, month, ... by the customer's calendar
    amount            numeric NOT NULL CHECK (amount >= 0),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    removed_at        timestamptz,
    PRIMARY KEY (tenant_id, limit_id),
    UNIQUE (tenant_id, customer_id, level, name, schedule_interval),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK ((level = 'customer') = (name = '') AND length(name) <= 256)
);
CREATE TRIGGER spending_limits_stay BEFORE DELETE OR TRUNCATE ON spending_limits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE spending (                             -- what counts against a limit in one of its periods
    tenant_id    bigint NOT NULL,
    limit_id     bigint NOT NULL,
    period_start timestamptz NOT NULL,
    held         numeric NOT NULL CHECK (held >= 0),    -- open authorisations
    spent        numeric NOT NULL CHECK (spent >= 0),   -- what events came to that settled others
    PRIMARY KEY (tenant_id, limit_id, period_start),
    FOREIGN KEY (tenant_id, limit_id) REFERENCES spending_limits
) WITH (fillfactor = 50);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['holds', 'spending_limits', 'spending'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON holds, spending_limits, spending TO farthing_app;
GRANT UPDATE (status, ended_at, cost, covered, settled_parts, positions, event_source, event_id, event_hash, event,
              appended_at, counted_at) ON holds TO farthing_app;
GRANT UPDATE (amount, updated_at, removed_at) ON spending_limits TO farthing_app;
GRANT UPDATE (held, spent) ON spending TO farthing_app;
