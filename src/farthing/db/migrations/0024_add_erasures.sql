-- Erasing a customer: what identifies the person is replaced, in place, by a pseudonym; sums, numbers and times stand.
--
-- Facts stay facts. Only the owner of these tables, in a transaction that says so (farthing.erasing), may replace the
-- columns that are named below, and nothing else of a row; the application cannot, whatever it says.

CREATE TABLE erasures (
    tenant_id      bigint NOT NULL REFERENCES tenants,
    erasure_id     bigint GENERATED ALWAYS AS IDENTITY,
    customer_id    bigint NOT NULL,
    pseudonym      key_text NOT NULL,               -- random: what the customer is called from now on
    documents_from timestamptz NOT NULL,            -- from then on its issued documents are erased as well
    requested_at   timestamptz NOT NULL,
    -- Only while it is under way:
    word_key       bytea,                           -- makes pseudonyms of words in events' data
    kept_words     jsonb,                           -- words of events' data that others use as well
    -- How far it came; each is done once what stands before it is:
    events_at      timestamptz,                     -- no segment in force and no sealed log has the person
    books_at       timestamptz,                     -- no row has, but for documents that are kept
    documents_at   timestamptz,                     -- the documents neither
    cleaned_at     timestamptz,                     -- files that were replaced are gone, tables written anew
    cleaned_lsn    pg_lsn,                          -- what PostgreSQL must have checkpointed for its log to be gone, too
    completed_at   timestamptz,
    PRIMARY KEY (tenant_id, erasure_id),
    UNIQUE (tenant_id, customer_id),
    UNIQUE (tenant_id, pseudonym),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers,
    CHECK (books_at IS NULL OR events_at IS NOT NULL),
    CHECK (documents_at IS NULL OR books_at IS NOT NULL),
    CHECK (cleaned_at IS NULL OR (books_at IS NOT NULL AND cleaned_lsn IS NOT NULL)),
    CHECK (completed_at IS NULL OR (cleaned_at IS NOT NULL AND documents_at IS NOT NULL)),
    CHECK (books_at IS NULL OR (word_key IS NULL AND kept_words IS NULL))
);
CREATE INDEX erasures_under_way ON erasures (tenant_id, documents_from) WHERE completed_at IS NULL;

-- By what an event of an erased customer is known: keyed hashes of its subjects. The key is no part of the books.
CREATE TABLE erased_subjects (
    tenant_id    bigint NOT NULL,
    subject_hash bytea NOT NULL CHECK (length(subject_hash) = 16),
    erasure_id   bigint NOT NULL,
    PRIMARY KEY (tenant_id, subject_hash),
    FOREIGN KEY (tenant_id, erasure_id) REFERENCES erasures
);
CREATE INDEX erased_subjects_erasure ON erased_subjects (tenant_id, erasure_id);

CREATE TRIGGER erasures_stay BEFORE DELETE OR TRUNCATE ON erasures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER erasures_immutable BEFORE UPDATE OF tenant_id, erasure_id, customer_id, pseudonym, requested_at
    ON erasures FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER erased_subjects_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON erased_subjects
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['erasures', 'erased_subjects'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) '
                       'WITH CHECK (tenant_id = current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO farthing_app', name);
    END LOOP;
END $$;
GRANT UPDATE (documents_from, kept_words, events_at, documents_at, cleaned_at, cleaned_lsn, completed_at) ON erasures
    TO farthing_app;

-- ---------------------------------------------------------------------------------------------
-- The one way past the triggers that keep facts.

CREATE FUNCTION erasing() RETURNS boolean LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(current_setting('farthing.erasing', true), '') = 'on'
       AND current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.erasures'::regclass)
$$;

-- Its arguments are the columns that identify somebody: all others of the row stay as they are.
CREATE FUNCTION replace_identity_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - TG_ARGV::text[] IS DISTINCT FROM to_jsonb(NEW) - TG_ARGV::text[] THEN
        RAISE EXCEPTION 'erasing a customer replaces who it was in %, and changes nothing else', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE
    identity jsonb := '{
        "customers": ["name", "key", "email", "address"],
        "customer_subjects": ["subject"],
        "customer_tax_facts": ["tax_ids", "exemption"],
        "subscriptions": ["key"],
        "subscription_changes": ["key"],
        "one_off_charges": ["key", "description"],
        "commitments": ["key", "definition"],
        "invoices": ["document"],
        "invoice_lines": ["dimensions", "one_off", "rate_card", "adjustment_key", "corrected_key"],
        "correction_credits": ["dimensions", "corrected_key"],
        "customer_credits": ["reference"],
        "dispute_evidence": ["content"],
        "provider_movements": ["provider_id", "signed"],
        "invoice_voids": ["reason"],
        "credit_notes": ["key", "request", "document"],
        "wallets": ["key", "name"],
        "recurring_grants": ["key"],
        "grants": ["key", "reference", "input_hash"],
        "grant_endings": ["note"],
        "top_ups": ["key", "failure"],
        "usage_positions": ["dimensions"],
        "holds": ["key", "input_hash", "positions", "event_source", "event_id", "event_hash"],
        "spending_limits": ["name"],
        "payment_methods": ["key", "label", "reference", "mandate", "is_default", "removed_at"],
        "payments": ["key", "reference", "cause", "provider_id", "failure", "top_up"],
        "payment_moves": ["cause"],
        "write_offs": ["reason"],
        "refunds": ["key", "reason", "provider_id", "failure"],
        "disputes": ["key", "reason"],
        "provider_events": ["said"],
        "bank_entries": ["payer", "remittance", "end_to_end"],
        "transfers": ["key", "reference", "corrects", "input_hash"],
        "outbox": ["subject", "body"],
        "quarantine": ["detail", "origin", "raw", "source", "event_id"],
        "otlp_streams": ["unconfirmed"],
        "event_corrections": ["source", "event_id", "target_source", "target_id", "reason"],
        "voided_events": ["source", "event_id", "event_type", "subject"]
    }';
    held record;
    said text;
    columns text;
    name text;
BEGIN
    -- What refuses updates of facts goes on to do so, for everybody who is not erasing.
    FOR held IN
        SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid) AS definition
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND identity ? c.relname
           AND t.tgtype & 16 > 0                    -- on UPDATE
           AND t.tgtype & 2 > 0                     -- BEFORE
    LOOP
        said := held.definition;
        said := CASE WHEN said ~ ' WHEN \('
                     THEN regexp_replace(said, ' WHEN \((.*)\) EXECUTE FUNCTION ', ' WHEN (NOT erasing() AND (\1)) EXECUTE FUNCTION ')
                     ELSE replace(said, ' EXECUTE FUNCTION ', ' WHEN (NOT erasing()) EXECUTE FUNCTION ') END;
        EXECUTE format('DROP TRIGGER %I ON %I', held.tgname, held.relname);
        EXECUTE said;
    END LOOP;
    FOR name IN SELECT jsonb_object_keys(identity) LOOP
        SELECT string_agg(quote_literal(one), ', ') INTO columns FROM jsonb_array_elements_text(identity -> name) AS one;
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %I FOR EACH ROW WHEN (erasing()) '
                       'EXECUTE FUNCTION replace_identity_only(%s)', name || '_identity', name, columns);
        IF name <> 'customer_subjects' THEN
            EXECUTE format('CREATE TRIGGER %I BEFORE DELETE OR TRUNCATE ON %I FOR EACH STATEMENT WHEN (erasing()) '
                           'EXECUTE FUNCTION refuse_change()', name || '_erasing_stay', name);
        END IF;
    END LOOP;
END $$;
