"""Law 12: tenants are apart, in every table, and the application cannot change that."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from farthing.db import Books
from farthing.db.tenants import create_tenant

NO_TENANT = 0

TENANT_TABLES = """
    SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""

Row = Mapping[str, object]

KEPT_BY_THE_DATABASE = (
    "account_balances",
    "draws_to_fund",
    "credited_invoices",
    "credited_parts",
    "payment_moves",
    "invoice_balances",
    "invoice_reductions",
)
"""Tables whose rows follow from others: a transfer makes the row of a balance, a draw that of what waits, a credit note
that of its sums, an invoice that of what is open."""


def one_row_of_each(now: datetime) -> dict[str, Row]:
    """Each tenant table with a row for it, in an order that its references allow."""
    later = now + timedelta(days=30)
    entries: Row = {"account_ids": [1, 1], "amounts": [5, -5]}
    ids: Row = {"meter_id": 1, "plan_id": 1, "plan_version_id": 1, "customer_id": 1, "subscription_id": 1}
    definition = Jsonb({})
    return {
        "api_keys": {"api_key_id": "ak", "secret_hash": b"h", "name": "n", "created_at": now},
        "idempotent_writes": {
            "idempotency_key": "k", "operation": "o", "input_hash": b"h", "status": 200, "response": "{}",
            "created_at": now,
        },
        "meters": {"meter_id": 1, "key": "m", "event_type": "t", "definition": definition, "created_at": now},
        "plans": {"plan_id": 1, "key": "p", "created_at": now},
        "plan_versions": {
            "plan_version_id": 1, "plan_id": 1, "version": 1, "definition": definition, "published_at": now,
        },
        "seals": {
            "seal_id": "s", "log_file": "a/1.log", "log_from": 0, "log_to": 9, "accepted": 2, "counted": 1,
            "duplicate": 1, "quarantined": 0, "sealed_at": now,
        },
        "segments": {
            "segment_id": "s", "path": "p", "events": 1, "bytes": 1, "checksum": b"c", "event_types": ["t"],
            "min_time": now, "max_time": now, "columns": definition, "sealed_at": now,
        },
        "retention": {"keep_days": 30, "set_at": now},
        "removed_segments": {
            "segment_id": "s", "events": 1, "event_types": ["t"], "min_time": now, "max_time": now, "removed_at": now,
        },
        "id_runs": {"run_id": "r", "path": "p", "ids": 1, "checksum": b"c", "created_at": now},
        "quarantine": {
            "quarantine_id": 1, "seal_id": "s", "reason": "r", "detail": "d", "origin": "o", "raw": b"r",
            "received_at": now,
        },
        "quarantine_resolutions": {"quarantine_id": 1, "resolution": "dropped", "resolved_at": now},
        "imports": {"file_key": "f", "read_to": 1, "updated_at": now},
        "customers": {
            "customer_id": 1, "key": "c", "name": "n", "currency": "USD", "timezone": "UTC", "created_at": now,
            "updated_at": now,
        },
        "customer_subjects": {"subject": "c", "customer_id": 1, "is_key": True},
        "erasures": {
            "erasure_id": 1, "customer_id": 1, "pseudonym": "e", "documents_from": now, "requested_at": now,
        },
        "erased_subjects": {"subject_hash": b"h" * 16, "erasure_id": 1},
        "subscriptions": {
            "subscription_id": 1, "key": "s", "customer_id": 1, "plan_version_id": 1, "anchor": "calendar",
            "start_at": now, "created_at": now,
        },
        "subscription_changes": {
            "change_id": 1, "subscription_id": 1, "key": "c", "kind": "pause", "effective_at": now,
            "payload": definition, "made_at": now,
        },
        "one_off_charges": {
            "key": "o", "subscription_id": 1, "description": "d", "amount": 5, "charged_at": now, "made_at": now,
        },
        "invoice_counters": {"last_number": 1},
        "invoices": {
            "invoice_id": 1, "number": "INV-1", **{key: ids[key] for key in
            ("customer_id", "subscription_id", "plan_version_id")}, "status": "issued", "reason": "period",
            "currency": "USD", "period_start": now, "period_end": later, "subtotal": 5, "tax": 0, "total": 5,
            "total_exact": 5, "issued_at": later, "document": "{}",
        },
        "accounts": {"account_id": 1, "code": "cash", "kind": "asset", "currency": "USD", "created_at": now},
        "transfers": {
            "transfer_id": 1, "key": "t", "kind": "k", "currency": "USD", "reference": "", "effective_at": now,
            "booked_at": now, "input_hash": b"h", **entries,
        },
        "invoice_lines": {
            "invoice_id": 1, "line": 1, "rate_card": "r", "dimensions": definition, "service_start": now,
            "service_end": later, "quantity": 5, "amount_exact": 5, "amount": 5,
        },
        "tax_rates": {
            "tax_rate_id": 1, "country": "DE", "category": "standard", "percent": 19, "name": "VAT",
            "valid_from": now, "adds": False, "loaded_at": now,
        },
        "customer_tax_facts": {"tax_facts_id": 1, "customer_id": 1, "tax_ids": Jsonb([]), "known_at": now},
        "invoice_taxes": {
            "invoice_id": 1, "place": 1, "name": "VAT", "category": "standard", "treatment": "taxed", "percent": 19,
            "net": 5, "amount": 1,
        },
        "credit_note_counters": {"last_number": 1},
        "credit_notes": {
            "credit_note_id": 1, "number": "CN-1", "key": "k", "request": definition, "invoice_id": 1,
            "customer_id": 1, "currency": "USD", "subtotal": 1, "tax": 0, "total": 1, "prices_include_tax": False,
            "earned": 1, "deferred": 0, "refund": False, "issued_at": later, "document": "{}",
        },
        "credit_note_parts": {
            "credit_note_id": 1, "invoice_id": 1, "kind": "line", "place": 1, "billed": 5, "amount": 1,
            "net": 1,
        },
        "coupons": {
            "coupon_id": 1, "key": "c", "definition": definition, "max_redemptions": 1, "created_at": now,
        },
        "coupon_redemptions": {
            "coupon_id": 1, "subscription_id": 1, "place": 1, "max_redemptions": 1, "start_at": now,
            "redeemed_at": now,
        },
        "commitments": {
            "subscription_id": 1, "key": "c", "definition": definition, "start_at": now, "end_at": later,
            "created_at": now,
        },
        "otlp_streams": {"stream": b"s" * 16, "value": 1, "advanced": 1, "unconfirmed": b""},
        "payment_methods": {
            "payment_method_id": 1, "key": "m", "customer_id": 1, "gateway": "fake", "kind": "card", "label": "l",
            "reference": "r", "is_default": True, "created_at": now,
        },
        "payments": {
            "payment_id": 1, "key": "p", "customer_id": 1, "gateway": "manual", "purpose": "top_up",
            "currency": "USD", "amount": 5, "reference": "r", "requested_at": now, "state": "succeeded",
            "moved_at": now, "cause": "c", "paid_at": now,
        },
        "payment_attempts": {
            "payment_id": 1, "attempt": 1, "sent_at": now, "asked_at": now, "outcome": "succeeded",
        },
        "payment_allocations": {
            "payment_id": 1, "invoice_id": 1, "amount": 1, "cause": "c", "allocated_at": now,
        },
        "customer_credits": {
            "credit_id": 1, "customer_id": 1, "currency": "USD", "source": "grant", "reference": "g", "amount": 5,
            "arose_at": now,
        },
        "credit_allocations": {
            "credit_id": 1, "invoice_id": 1, "amount": 1, "cause": "c", "allocated_at": now,
        },
        "correction_credits": {
            "credit_note_id": 1, "place": 1, "invoice_id": 1, "rate_card": "r", "dimensions": definition,
            "service_start": now, "service_end": later, "quantity": 1, "amount_exact": -1, "since": now,
        },
        "write_offs": {"invoice_id": 1, "net": 1, "tax": 0, "reason": "r", "written_off_at": now},
        "refunds": {
            "refund_id": 1, "key": "r", "payment_id": 1, "amount": 1, "reason": "r", "requested_at": now,
            "state": "requested", "moved_at": now,
        },
        "disputes": {
            "dispute_id": 1, "key": "d", "payment_id": 1, "kind": "chargeback", "reason": "r", "amount": 1,
            "fee": 0, "opened_at": now, "state": "needs_response", "moved_at": now,
        },
        "provider_events": {
            "gateway": "g", "event_id": "e", "kind": "k", "said": definition, "effect": "ignored",
            "occurred_at": now, "received_at": now,
        },
        "dunning_policies": {"policy_id": 1, "definition": definition, "made_at": now},
        "dunning_reminders": {"invoice_id": 1, "step": 1, "reminded_at": now},
        "suspensions": {"suspension_id": 1, "customer_id": 1, "suspended_at": now},
        "bank_statements": {
            "statement_id": 1, "account": "a", "reference": "r", "entries": 1, "imported_at": now,
        },
        "bank_entries": {
            "entry_id": 1, "statement_id": 1, "account": "a", "identity": "i", "amount": 1, "currency": "EUR",
            "booked_at": now, "payer": "p", "remittance": "r", "end_to_end": "e", "effect": "unmatched",
        },
        "payouts": {
            "payout_id": 1, "gateway": "fake", "name": "po", "amount": 1, "currency": "USD", "made_at": now,
            "reference": "", "learnt_at": now, "state": "paid", "arrives_on": now.date(),
        },
        "provider_movements": {
            "gateway": "fake", "kind": "payment", "movement_id": "m", "provider_id": "p", "amount": 1,
            "currency": "USD", "moved_at": now, "payout": "po", "learnt_at": now,
        },
        "payout_syncs": {"sync_id": 1, "gateway": "fake", "synced_until": now},
        "dispute_evidence": {
            "evidence_id": 1, "dispute_id": 1, "content": definition, "written_at": now, "state": "written",
            "asked_at": now,
        },
        "debit_batches": {
            "batch_id": 1, "message_id": "m", "collect_on": now.date(), "creditor": definition, "made_at": now,
        },
        "debit_batch_payments": {"batch_id": 1, "payment_id": 1, "attempt": 1, "sequence": "FRST"},
        "outbox": {"fact_id": 1, "kind": "k", "subject": "s", "body": definition, "occurred_at": now},
        "period_closings": {"closing_id": 1, "reason": "r", "closed_at": now},
        "event_corrections": {
            "correction_id": 1, "seal_id": "s", "kind": "void", "source": "s", "event_id": "v",
            "target_source": "s", "target_id": "e", "target_unreadable": False, "received_at": now, "sealed_at": now,
        },
        "voided_events": {
            "correction_id": 1, "source": "s", "event_id": "e", "event_type": "t", "event_time": now,
            "received_at": now, "voided_at": now,
        },
        "recognition_runs": {"run_id": 1, "until": now, "booked": 0, "ran_at": now},
        "wallets": {
            "wallet_id": 1, "key": "w", "customer_id": 1, "name": "n", "currency": "USD", "priority": 1,
            "balance_state": "funded", "created_at": now,
        },
        "recurring_grants": {
            "recurring_grant_id": 1, "key": "r", "wallet_id": 1, "paid": True, "amount": 5, "priority": 1,
            "meters": [], "rate_cards": [], "schedule_interval": "month", "interval_count": 1, "expires": True,
            "rollover_percent": 0, "start_at": now, "next_start": later, "created_at": now,
        },
        "grants": {
            "grant_id": 1, "key": "g", "wallet_id": 1, "customer_id": 1, "paid": True, "amount": 50, "priority": 1,
            "meters": [], "rate_cards": [], "effective_at": now, "reference": "", "input_hash": b"h",
            "created_at": now,
        },
        "grant_endings": {
            "grant_id": 1, "place": 1, "reason": "voided", "amount": 5, "note": "", "ended_at": now,
        },
        "wallet_draws": {
            "draw_id": 1, "cause": "sealed", "reference": "s", "drawn_at": now, "customer_ids": [1],
            "subscription_ids": [1], "period_starts": [now], "rate_cards": ["r"], "grant_ids": [1],
            "amounts": [5], "settled": [0],
        },
        "usage_positions": {
            "subscription_id": 1, "period_start": now, "rate_card": "r", "dimensions": "", "quantity": 5,
        },
        "charge_funding": {
            "subscription_id": 1, "period_start": now, "rate_card": "r", "grant_id": 1, "customer_id": 1,
            "amount": 5, "last_draw_id": 1,
        },
        "holds": {
            "key": "h", "customer_id": 1, "currency": "USD", "input_hash": b"h", "amount": 5, "held_parts": "[]",
            "positions": "[]", "limits": "[]", "created_at": now, "expires_at": later,
        },
        "spending_limits": {
            "limit_id": 1, "customer_id": 1, "level": "customer", "name": "", "schedule_interval": "day",
            "amount": 5, "created_at": now, "updated_at": now,
        },
        "spending": {"limit_id": 1, "period_start": now, "held": 0, "spent": 0},
        "payment_grants": {
            "funding_id": 1, "payment_id": 1, "grant_id": 1, "amount": 5, "cause": "c", "moved_at": now,
        },
        "unit_funding": {
            "subscription_id": 1, "period_start": now, "rate_card": "r", "grant_id": 1, "customer_id": 1, "quantity": 5,
            "last_draw_id": 1,
        },
        "top_ups": {
            "top_up_id": 1, "key": "t", "wallet_id": 1, "amount": 5, "automatic": True, "requested_at": now,
        },
        "collection_terms": {
            "collection_id": 1, "subscription_id": 1, "definition": definition, "made_at": now,
        },
        "billing_terms": {"billing_terms_id": 1, "definition": definition, "made_at": now},
        "draft_notices": {
            "subscription_id": 1, "period_start": now, "reason": "period", "noticed_at": now,
        },
        "accrued_spend": {
            "subscription_id": 1, "period_start": now, "period_end": later, "accrued": 5, "billed": 0,
            "checkpoints": definition, "last_change_id": 0, "last_collection_id": 0, "as_of": now,
        },
        "accrual_cursors": {"segments": ["s"], "updated_at": now},
    }  # fmt: skip


def a_void(now: datetime) -> tuple[Row, Row]:
    """Another invoice, and its void: one that is credited cannot be void."""
    invoice = one_row_of_each(now)["invoices"] | {"invoice_id": 2, "number": "INV-2", "reason": "start"}
    return invoice, {"invoice_id": 2, "reason": "r", "voided_at": now}


def insert(conn: psycopg.Connection, table: str, tenant_id: int, row: Row) -> None:
    columns = {"tenant_id": tenant_id, **row}
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    conn.execute(statement, list(columns.values()))


def counts(conn: psycopg.Connection, tables: Mapping[str, object]) -> dict[str, int]:
    found = {}
    for table in tables:
        row = conn.execute(sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table))).fetchone()
        found[table] = row["n"] if isinstance(row, dict) else row[0]
    return found


@pytest.fixture
def filled(books: Books, tenant_id: int, now: datetime) -> dict[str, Row]:
    """A tenant with one row in every tenant table."""
    rows = one_row_of_each(now)
    rows["api_keys"] = {**rows["api_keys"], "api_key_id": f"ak-{tenant_id}"}  # unique over all tenants
    with books.transaction(tenant_id) as conn:
        for table, row in rows.items():
            insert(conn, table, tenant_id, row)
        invoice, void = a_void(now)
        insert(conn, "invoices", tenant_id, invoice)
        insert(conn, "invoice_voids", tenant_id, void)
    rows["invoice_voids"] = void
    return rows | {table: {} for table in KEPT_BY_THE_DATABASE}


def test_row_level_security_is_forced_on_every_tenant_table(books: Books, now: datetime) -> None:
    with books.operator_transaction() as conn:
        forced = {row["name"]: row["forced"] for row in conn.execute(TENANT_TABLES)}
    known = {"tenants", *one_row_of_each(now), "invoice_voids", *KEPT_BY_THE_DATABASE}
    assert set(forced) == known, "a new tenant table needs a row in this test"
    assert all(forced.values()), forced


def test_every_policy_asks_for_the_tenant(books: Books) -> None:
    with books.operator_transaction() as conn:
        found = conn.execute("SELECT tablename, policyname, qual, with_check FROM pg_policies").fetchall()
    asking = {row["tablename"] for row in found if row["policyname"] == "tenant_only"}
    assert all(
        row["qual"] == row["with_check"] == "(tenant_id = current_tenant())"
        for row in found
        if row["policyname"] == "tenant_only"
    )
    others = {(row["tablename"], row["policyname"]) for row in found if row["policyname"] != "tenant_only"}
    assert others == {("tenants", "operator"), ("api_keys", "presented_key")}
    assert "invoices" in asking


def test_a_tenant_sees_its_own_rows(books: Books, tenant_id: int, filled: dict[str, Row]) -> None:
    with books.read_only(tenant_id) as conn:
        # The invoice that is void is another than the one that is credited.
        assert counts(conn, filled) == dict.fromkeys(filled, 1) | {
            "invoices": 2,
            "credited_invoices": 2,
            "invoice_balances": 2,
            "invoice_reductions": 2,
        }


def test_another_tenant_sees_none_of_them(books: Books, filled: dict[str, Row], now: datetime) -> None:
    other = create_tenant(books, "an-onlooker", "Onlooker Inc.", now)
    with books.read_only(other) as conn:
        assert counts(conn, filled) == dict.fromkeys(filled, 0)
        assert counts(conn, {"tenants": None}) == {"tenants": 1}


def test_without_a_tenant_nothing_is_seen(books: Books, filled: dict[str, Row]) -> None:
    with books.operator_transaction() as conn:
        assert counts(conn, filled) == dict.fromkeys(filled, 0)
        conn.execute("SELECT set_config('farthing.operator', '', true)")
        assert counts(conn, {"tenants": None}) == {"tenants": 0}


def test_not_even_the_owner_sees_a_row_without_its_tenant(
    owner: psycopg.Connection, filled: dict[str, Row]
) -> None:
    assert counts(owner, {**filled, "tenants": None}) == dict.fromkeys([*filled, "tenants"], 0)


@pytest.mark.parametrize("table", list(one_row_of_each(datetime(2026, 1, 1))))
def test_nobody_inserts_for_another_tenant(books: Books, tenant_id: int, now: datetime, table: str) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        books.transaction(NO_TENANT) as conn,
    ):
        insert(conn, table, tenant_id, one_row_of_each(now)[table])


def test_nobody_moves_a_row_to_another_tenant(books: Books, tenant_id: int, filled: dict[str, Row]) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        books.transaction(tenant_id) as conn,
    ):
        conn.execute("UPDATE imports SET tenant_id = 1")


def test_nobody_points_at_another_tenants_row(
    books: Books, tenant_id: int, filled: dict[str, Row], now: datetime
) -> None:
    other = create_tenant(books, "a-neighbour", "Neighbour Inc.", now)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), books.transaction(other) as conn:
        insert(conn, "customer_subjects", other, {"subject": "theirs", "customer_id": 1, "is_key": True})


def test_a_presented_key_finds_itself_and_nothing_else(
    books: Books, tenant_id: int, filled: dict[str, Row]
) -> None:
    with books.operator_transaction() as conn:
        conn.execute("SELECT set_config('farthing.presented_key', %s, true)", [f"ak-{tenant_id}"])
        assert conn.execute("SELECT tenant_id FROM api_keys").fetchall() == [{"tenant_id": tenant_id}]
        assert conn.execute("UPDATE api_keys SET revoked_at = now()").rowcount == 0


@pytest.mark.parametrize(
    "attempt",
    [
        "SET ROLE farthing_owner",
        "SET ROLE farthing_bootstrap",
        "SET SESSION AUTHORIZATION farthing_owner",
        "SET session_replication_role = replica",
        "ALTER ROLE farthing_app BYPASSRLS",
        "ALTER ROLE farthing_app SUPERUSER",
        "CREATE ROLE mine",
        "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE invoices NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE invoices DISABLE TRIGGER ALL",
        "DROP POLICY tenant_only ON invoices",
        "CREATE POLICY mine ON invoices USING (true)",
        "CREATE OR REPLACE FUNCTION current_tenant() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        "CREATE SCHEMA mine",
        "COPY tenants TO '/tmp/tenants'",
        "SET row_security = off; SELECT * FROM invoices",
    ],
)
def test_the_application_cannot_free_itself(books: Books, tenant_id: int, attempt: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), books.transaction(tenant_id) as conn:
        conn.execute(attempt)


def test_the_roles_have_no_powers(books: Books) -> None:
    with books.operator_transaction() as conn:
        roles = conn.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles"
            " WHERE rolname IN ('farthing_app', 'farthing_owner') ORDER BY 1"
        ).fetchall()
    powers = dict.fromkeys(
        ["rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication"], False
    )
    assert roles == [{"rolname": "farthing_app", **powers}, {"rolname": "farthing_owner", **powers}]
