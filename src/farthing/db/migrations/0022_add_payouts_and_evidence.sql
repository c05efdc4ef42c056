-- What gateways pay out: their movements of money, and the bank transfers that sum them. And the evidence that is sent
-- to them where a payment is disputed.

CREATE TABLE provider_movements (                   -- how money moved at a gateway, by the gateway's own books
    tenant_id   bigint NOT NULL REFERENCES tenants,
    gateway     text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('payment', 'refund', 'dispute', 'fee', 'dispute_fee',
                    'provider_fee', 'payout_returned', 'other_in', 'other_out')),
    movement_id key_text NOT NULL,
    provider_id text COLLATE "C" NOT NULL,          -- the gateway's name for what moved
    amount      numeric NOT NULL CHECK (amount > 0),
    signed      numeric NOT NULL GENERATED ALWAYS AS
                    (CASE WHEN kind IN ('payment', 'payout_returned', 'other_in') THEN amount ELSE -amount END) STORED,
    currency    text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    moved_at    timestamptz NOT NULL,
    payout      text COLLATE "C",                   -- the one that paid it out; none: not yet. Set once
    learnt_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, gateway, kind, movement_id)
);
CREATE INDEX provider_movements_subject ON provider_movements (tenant_id, gateway, provider_id);
CREATE INDEX provider_movements_payout ON provider_movements (tenant_id, gateway, payout) WHERE payout IS NOT NULL;
CREATE INDEX provider_movements_open ON provider_movements (tenant_id, gateway, moved_at) WHERE payout IS NULL;

CREATE TABLE payouts (                              -- a transfer from a gateway to the bank, or below zero back to it
    tenant_id     bigint NOT NULL REFERENCES tenants,
    payout_id     bigint GENERATED ALWAYS AS IDENTITY,
    gateway       text COLLATE "C" NOT NULL,
    name          key_text NOT NULL,                -- the gateway's
    amount        numeric NOT NULL CHECK (amount <> 0),
    currency      text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    made_at       timestamptz NOT NULL,
    reference     text NOT NULL,                    -- what the bank's statement says of it; may be empty
    learnt_at     timestamptz NOT NULL,
    -- What moves:
    state         text COLLATE "C" NOT NULL CHECK (state IN ('in_transit', 'paid', 'failed')),
    arrives_on    date NOT NULL,
    arrived_at    timestamptz,
    bank_entry_id bigint,                           -- none: somebody said that it arrived
    PRIMARY KEY (tenant_id, payout_id),
    UNIQUE (tenant_id, gateway, name),
    UNIQUE (tenant_id, bank_entry_id),
    FOREIGN KEY (tenant_id, bank_entry_id) REFERENCES bank_entries,
    CHECK (bank_entry_id IS NULL OR arrived_at IS NOT NULL)
);
CREATE INDEX payouts_awaited ON payouts (tenant_id, currency, amount) WHERE arrived_at IS NULL;
ALTER TABLE provider_movements ADD FOREIGN KEY (tenant_id, gateway, payout) REFERENCES payouts (tenant_id, gateway, name);

CREATE TABLE payout_syncs (                         -- up to when a gateway was asked; the last one holds
    tenant_id    bigint NOT NULL REFERENCES tenants,
    sync_id      bigint GENERATED ALWAYS AS IDENTITY,
    gateway      text COLLATE "C" NOT NULL,
    synced_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sync_id)
);
CREATE INDEX payout_syncs_gateway ON payout_syncs (tenant_id, gateway, sync_id);

-- An answer to a dispute: written before it is sent, and sent once.
CREATE TABLE dispute_evidence (
    tenant_id   bigint NOT NULL,
    evidence_id bigint GENERATED ALWAYS AS IDENTITY,
    dispute_id  bigint NOT NULL,
    content     jsonb NOT NULL,                     -- what is told, field by field
    written_at  timestamptz NOT NULL,
    -- What moves:
    state       text COLLATE "C" NOT NULL CHECK (state IN ('written', 'sent', 'accepted', 'refused')),
    asked_at    timestamptz NOT NULL,               -- when it was last sent, or asked about; at first, written
    code        text COLLATE "C",                   -- why it was refused
    settled_at  timestamptz CHECK ((settled_at IS NULL) = (state IN ('written', 'sent'))),
    PRIMARY KEY (tenant_id, evidence_id),
    FOREIGN KEY (tenant_id, dispute_id) REFERENCES disputes
);
-- A dispute is answered once; another answer may follow one that was refused.
CREATE UNIQUE INDEX dispute_evidence_once ON dispute_evidence (tenant_id, dispute_id) WHERE state <> 'refused';
CREATE INDEX dispute_evidence_open ON dispute_evidence (tenant_id, asked_at) WHERE state IN ('written', 'sent');

-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION keep_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.gateway, NEW.kind, NEW.movement_id, NEW.provider_id, NEW.amount, NEW.currency, NEW.moved_at,
        NEW.learnt_at)
       IS DISTINCT FROM
       (OLD.tenant_id, OLD.gateway, OLD.kind, OLD.movement_id, OLD.provider_id, OLD.amount, OLD.currency, OLD.moved_at,
        OLD.learnt_at)
       OR (OLD.payout IS NOT NULL AND NEW.payout IS DISTINCT FROM OLD.payout) THEN
        RAISE EXCEPTION 'movement % is paid out once, and does not change', OLD.movement_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER provider_movements_keep BEFORE UPDATE ON provider_movements
    FOR EACH ROW EXECUTE FUNCTION keep_movement();

CREATE FUNCTION move_payout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.payout_id, NEW.gateway, NEW.name, NEW.amount, NEW.currency, NEW.made_at, NEW.reference,
        NEW.learnt_at)
       IS DISTINCT FROM
       (OLD.tenant_id, OLD.payout_id, OLD.gateway, OLD.name, OLD.amount, OLD.currency, OLD.made_at, OLD.reference,
        OLD.learnt_at)
       OR (OLD.arrived_at IS NOT NULL AND (NEW.arrived_at, NEW.bank_entry_id)
           IS DISTINCT FROM (OLD.arrived_at, OLD.bank_entry_id))
       OR (OLD.arrived_at IS NULL AND NEW.arrived_at IS NOT NULL AND NEW.state = 'failed')
       OR NOT (NEW.state = OLD.state OR (OLD.state, NEW.state) IN (
            ('in_transit', 'paid'), ('in_transit', 'failed'), ('paid', 'failed'))) THEN
        RAISE EXCEPTION 'payout % arrives once, and does not go from % to %', OLD.name, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payouts_move BEFORE UPDATE ON payouts FOR EACH ROW EXECUTE FUNCTION move_payout();

CREATE FUNCTION move_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenant_id, NEW.evidence_id, NEW.dispute_id, NEW.content, NEW.written_at)
       IS DISTINCT FROM (OLD.tenant_id, OLD.evidence_id, OLD.dispute_id, OLD.content, OLD.written_at)
       OR OLD.state NOT IN ('written', 'sent') OR NEW.state = 'written' THEN
        RAISE EXCEPTION 'evidence does not change, and is settled once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_evidence_moves BEFORE UPDATE ON dispute_evidence
    FOR EACH ROW EXECUTE FUNCTION move_evidence();

DO $$
DECLARE
    name text;
BEGIN
    CREATE TRIGGER payout_syncs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_syncs
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    FOREACH name IN ARRAY ARRAY['provider_movements', 'payouts', 'dispute_evidence'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_stay', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['provider_movements', 'payouts', 'payout_syncs', 'dispute_evidence'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', name);
    END LOOP;
END $$;

GRANT UPDATE (payout) ON provider_movements TO farthing_app;
GRANT UPDATE (state, arrives_on, arrived_at, bank_entry_id) ON payouts TO farthing_app;
GRANT UPDATE (state, asked_at, code, settled_at) ON dispute_evidence TO farthing_app;

-- Every payment's customer is one of a tenant that there is, so its tenant need not be looked up once more.
ALTER TABLE payments DROP CONSTRAINT payments_tenant_id_fkey;
