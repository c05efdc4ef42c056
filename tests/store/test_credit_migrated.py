"""Credit of the time before there were rows for it: the migration finds it in the documents, and takes none twice."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from farthing.db.external import given_postgres
from farthing.db.migration import bundled_migrations, migrate

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
TENANT = 7


def insert(conn: psycopg.Connection, table: str, row: Mapping[str, Any]) -> None:
    columns = {"tenant_id": TENANT, **row}
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    conn.execute(statement, list(columns.values()))


def invoice(conn: psycopg.Connection, place: int, total: int, paid_from_wallets: int = 0) -> None:
    document = {"amount_due": str(total - paid_from_wallets)} if paid_from_wallets else {}
    start = NOW + timedelta(days=place)
    row = {
        "invoice_id": place, "number": f"INV-{place}", "customer_id": 1, "subscription_id": 1, "plan_version_id": 1,
        "status": "issued", "reason": "period", "currency": "USD", "period_start": start, "period_end": LATER,
        "subtotal": total, "tax": 0, "total": total, "total_exact": total, "issued_at": LATER,
        "paid_from_wallets": paid_from_wallets, "document": json.dumps(document),
    }  # fmt: skip
    insert(conn, "invoices", row)
    line = {
        "invoice_id": place, "line": 1, "rate_card": "r", "dimensions": Jsonb({}), "service_start": start,
        "service_end": LATER, "quantity": 1, "amount_exact": total, "amount": total,
    }  # fmt: skip
    insert(conn, "invoice_lines", line)


def credit_note(conn: psycopg.Connection, place: int, total: int) -> None:
    row = {
        "credit_note_id": place, "number": f"CN-{place}", "key": f"k{place}", "request": Jsonb({}), "invoice_id": 1,
        "customer_id": 1, "currency": "USD", "subtotal": total, "tax": 0, "total": total,
        "prices_include_tax": False, "earned": total, "deferred": 0, "refund": False,
        "issued_at": LATER + timedelta(days=place), "document": "{}",
    }  # fmt: skip
    insert(conn, "credit_notes", row)
    part = {
        "credit_note_id": place, "invoice_id": 1, "kind": "line", "place": 1, "billed": 100, "amount": total,
        "net": total,
    }  # fmt: skip
    insert(conn, "credit_note_parts", part)


def test_what_stood_to_the_credit_before_is_found(given_server: Any) -> None:
    """Of 100.00 wallets paid 60.00; 30.00 and 25.00 were given back: 40.00 of it were due, 15.00 are credit. An invoice
    of -30.00 is credit whole, one of -10.00 was voided; a voided one over 5.00 gives none."""
    endpoint = given_postgres(given_server.new_database()[1])
    known = bundled_migrations()
    number = next(one.number for one in known if one.name == "keep_customer_credit")
    migrate(endpoint, NOW, known[: number - 1])
    with psycopg.connect(endpoint.owner) as conn:
        conn.execute("SELECT set_config('farthing.operator', 'on', false)")
        conn.execute("SELECT set_config('farthing.tenant', %s, false)", [str(TENANT)])
        insert(conn, "tenants", {"key": "t", "name": "T", "created_at": NOW})
        insert(conn, "plans", {"plan_id": 1, "key": "p", "created_at": NOW})
        version = {
            "plan_version_id": 1,
            "plan_id": 1,
            "version": 1,
            "definition": Jsonb({}),
            "published_at": NOW,
        }
        insert(conn, "plan_versions", version)
        customer = {"customer_id": 1, "key": "c", "name": "n", "currency": "USD", "timezone": "UTC"}
        insert(conn, "customers", customer | {"created_at": NOW, "updated_at": NOW})
        subscription = {"subscription_id": 1, "key": "s", "customer_id": 1, "plan_version_id": 1}
        more = {"anchor": "calendar", "start_at": NOW, "created_at": NOW}
        insert(conn, "subscriptions", subscription | more)
        invoice(conn, 1, 100, 60)
        invoice(conn, 2, -30)
        invoice(conn, 3, -10)
        invoice(conn, 4, 5)
        credit_note(conn, 1, 30)
        credit_note(conn, 2, 25)
        for place in (3, 4):
            insert(conn, "invoice_voids", {"invoice_id": place, "reason": "r", "voided_at": LATER})
    migrate(endpoint, NOW, known)
    with psycopg.connect(endpoint.owner) as conn:
        conn.execute("SELECT set_config('farthing.tenant', %s, false)", [str(TENANT)])
        credits_ = conn.execute(
            "SELECT source, reference, amount, taken_back FROM customer_credits ORDER BY source, reference"
        ).fetchall()
        reductions = conn.execute(
            "SELECT source, reference, amount FROM invoice_reductions ORDER BY source, reference"
        ).fetchall()
        forced = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relname IN ('invoices', 'transfers', 'customer_credits')"
            " AND relforcerowsecurity"
        ).fetchall()
    assert credits_ == [
        ("credit_note", "CN-2", 15, 0), ("invoice", "INV-2", 30, 0), ("invoice", "INV-3", 10, 10),
    ]  # fmt: skip
    assert reductions == [("credit_note", "CN-1", 30), ("credit_note", "CN-2", 10), ("void", "INV-4", 5)]
    assert forced == [(3,)]
