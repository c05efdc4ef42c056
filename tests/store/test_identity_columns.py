"""Whatever the books can say in words is erased with a customer, or it is known why it stays."""

import psycopg

NAMED_BY_PROGRAMS = {
    "accounts": {"code", "kind"}, "api_keys": {"api_key_id", "secret_hash"},
    "provider_movements": {"gateway", "kind", "movement_id", "payout"}, "payout_syncs": {"gateway"},
    "payouts": {"gateway", "name", "reference", "state"}, "dispute_evidence": {"code", "state"},
    "correction_credits": {"corrected"}, "credit_allocations": {"cause"}, "customer_credits": {"source"},
    "invoice_reductions": {"reference", "source"},
    "bank_entries": {"account", "effect", "identity", "returned"}, "bank_statements": {"account", "reference"},
    "credit_note_parts": {"kind"}, "credit_notes": {"number"}, "credited_parts": {"kind"},
    "debit_batch_payments": {"sequence"}, "debit_batches": {"message_id"}, "disputes": {"kind", "state"},
    "event_corrections": {"kind", "seal_id"}, "grant_endings": {"reason"},
    "holds": {"held_parts", "limits", "settled_parts", "status", "event"}, "id_runs": {"checksum", "path", "run_id"},
    "imports": {"file_key"}, "invoice_taxes": {"category", "country", "name", "region", "treatment"},
    "invoice_lines": {"adjustment", "corrected"}, "invoices": {"brings", "number", "reason", "status"},
    "otlp_streams": {"stream"},
    "outbox": {"kind"}, "payment_allocations": {"cause"}, "payment_attempts": {"code", "outcome"},
    "payment_methods": {"gateway", "kind"}, "payment_moves": {"from_state", "to_state"},
    "payments": {"gateway", "purpose", "state"}, "provider_events": {"effect", "event_id", "gateway", "kind"},
    "quarantine": {"reason", "seal_id"}, "quarantine_resolutions": {"resolution", "seal_id"}, "refunds": {"state"},
    "removed_segments": {"event_types", "segment_id"}, "seals": {"log_file", "seal_id"},
    "spending_limits": {"level", "schedule_interval"}, "subscription_changes": {"kind"}, "subscriptions": {"anchor"},
    "payment_grants": {"cause"},
    "top_ups": {"collected_by", "status"}, "transfers": {"kind"}, "wallet_draws": {"cause", "reference"},
    "wallets": {"balance_state", "top_up", "unit"}, "recurring_grants": {"schedule_interval"},
    "customers": {"timezone"}, "accrued_spend": {"checkpoints", "held"}, "accrual_cursors": {"segments"},
    "collection_terms": {"definition"}, "erasures": {"pseudonym", "word_key", "kept_words"},
    "erased_subjects": {"subject_hash"}, "billing_terms": {"definition"}, "draft_notices": {"reason"},
}  # fmt: skip
"""Numbers, states, hashes and names that no client chose."""
WHAT_IS_SOLD = {
    "charge_funding": {"rate_card"}, "correction_credits": {"rate_card"}, "coupons": {"definition", "key"},
    "grants": {"meters", "rate_cards"},
    "invoice_lines": {"meter_key", "plan", "price"}, "meters": {"definition", "event_type", "key"},
    "plan_versions": {"definition"}, "plans": {"key"}, "recurring_grants": {"meters", "rate_cards"},
    "subscription_changes": {"payload"}, "unit_funding": {"rate_card"},
    "usage_positions": {"rate_card"}, "wallet_draws": {"rate_cards"},
}  # fmt: skip
OF_THE_SELLER = {
    "api_keys": {"name"}, "debit_batches": {"creditor"}, "dunning_policies": {"definition"},
    "period_closings": {"reason"}, "tax_rates": {"category", "country", "name", "region"},
    "tenants": {"key", "name", "seller", "below_zero"},
}  # fmt: skip
REWRITTEN_OR_REMOVED = {
    "segments": {"checksum", "columns", "event_types", "first_subjects", "id_filter", "last_subjects", "merge_id",
                 "merged_from", "path", "segment_id", "sources"},
    "idempotent_writes": {"idempotency_key", "input_hash", "operation", "response"},
}  # fmt: skip

WORDS = """
    SELECT c.relname AS name, a.attname AS column,
           coalesce((SELECT string_to_array(replace(encode(t.tgargs, 'escape'), '\\000', ','), ',')
                       FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = c.relname || '_identity'),
                    '{}') AS erased
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
       AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
       AND format_type(a.atttypid, a.atttypmod) ~ '^(text|key_text|json|bytea|character|inet|xml)'
       AND a.attname <> 'currency'
"""


def test_every_column_of_words_is_erased_or_known_why_not(owner: psycopg.Connection) -> None:
    stays: dict[str, set[str]] = {}
    for reason in (NAMED_BY_PROGRAMS, WHAT_IS_SOLD, OF_THE_SELLER, REWRITTEN_OR_REMOVED):
        for table, columns in reason.items():
            assert not stays.get(table, set()) & columns
            stays[table] = stays.get(table, set()) | columns
    found = owner.execute(WORDS).fetchall()
    assert {(table, column) for table, column, erased in found if column not in erased} == {
        (table, column) for table, columns in stays.items() for column in columns
    }


GUARDED = """
    SELECT t.tgrelid::regclass::text AS name,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = t.tgrelid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)) AS kept,
           string_to_array(trim(trailing ',' FROM replace(encode(t.tgargs, 'escape'), '\\000', ',')), ',') AS replaced
      FROM pg_trigger t WHERE t.tgfoid = 'replace_identity_only'::regproc
"""


def test_every_column_is_replaced_by_an_erasure_or_kept_from_it(owner: psycopg.Connection) -> None:
    """Whoever adds a column to a table that is erased says which of both: the trigger names the kept ones."""
    found = owner.execute(GUARDED).fetchall()
    assert len(found) > 30
    for name, columns, kept, replaced in found:
        assert sorted(columns) == sorted([*kept, *replaced]), name
