"""SQL of payment methods and payments: written, and read."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.db.rowset import rowset

_PAYMENTS = """
    SELECT p.payment_id, p.key, c.key AS customer, p.customer_id, p.gateway, m.key AS method, p.purpose, p.invoice_id,
           i.number AS invoice, p.top_up, p.currency, p.amount, p.reference, p.requested_at, p.state, p.moved_at,
           p.provider_id, p.failure, p.attempts, p.next_attempt_at, p.paid_at, p.fee, p.allocated, p.refunded,
           p.charged_back
      FROM payments p
      JOIN customers c ON c.tenant_id = p.tenant_id AND c.customer_id = p.customer_id
      LEFT JOIN payment_methods m ON m.tenant_id = p.tenant_id AND m.payment_method_id = p.payment_method_id
      LEFT JOIN invoices i ON i.tenant_id = p.tenant_id AND i.invoice_id = p.invoice_id
     WHERE p.tenant_id = %(tenant_id)s
"""
_METHODS = """
    SELECT m.payment_method_id, m.key, c.key AS customer, m.customer_id, m.gateway, m.kind, m.label, m.reference,
           m.mandate, m.is_default, m.created_at, m.removed_at
      FROM payment_methods m
      JOIN customers c ON c.tenant_id = m.tenant_id AND c.customer_id = m.customer_id
     WHERE m.tenant_id = %(tenant_id)s
"""

# ---- Payment methods


def clear_default(conn: BooksConnection, tenant_id: int, customer_id: int) -> None:
    """From now on no method of this customer is the one that is used by itself."""
    conn.execute(
        "UPDATE payment_methods SET is_default = false"
        " WHERE tenant_id = %s AND customer_id = %s AND is_default AND removed_at IS NULL",
        [tenant_id, customer_id],
    )


def insert_method(conn: BooksConnection, tenant_id: int, values: dict[str, Any]) -> None:
    """Keep a payment method; nothing happens if its key stands already."""
    mandate = values["mandate"]
    conn.execute(
        """
        INSERT INTO payment_methods (tenant_id, key, customer_id, gateway, kind, label, reference, mandate, is_default,
                                     created_at)
        VALUES (%(tenant_id)s, %(key)s, %(customer_id)s, %(gateway)s, %(kind)s, %(label)s, %(reference)s, %(mandate)s,
                %(is_default)s, %(created_at)s)
        ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        {**values, "tenant_id": tenant_id, "mandate": None if mandate is None else Jsonb(mandate)},
    )


def select_method(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """One payment method by its key."""
    return conn.execute(_METHODS + " AND m.key = %(key)s", {"tenant_id": tenant_id, "key": key}).fetchone()


def select_methods_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int, customer: str | None
) -> list[DictRow]:
    """Payment methods in the order of their keys, those behind `after`."""
    return conn.execute(
        _METHODS
        + """
           AND (%(after)s::text IS NULL OR m.key > %(after)s COLLATE "C")
           AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
         ORDER BY m.key COLLATE "C" LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "customer": customer},
    ).fetchall()


def remove_method(conn: BooksConnection, tenant_id: int, method_id: int, now: datetime) -> None:
    """Use it no more."""
    conn.execute(
        "UPDATE payment_methods SET removed_at = %s, is_default = false"
        " WHERE tenant_id = %s AND payment_method_id = %s AND removed_at IS NULL",
        [now, tenant_id, method_id],
    )


# ---- Payments


def insert_payments(conn: BooksConnection, tenant_id: int, rows: Sequence[dict[str, Any]]) -> list[DictRow]:
    """Write payments; those whose key stands, or whose invoice is being paid already, are passed over.

    Answers with the ids and keys of those that were written.
    """
    return conn.execute(
        """
        INSERT INTO payments (tenant_id, key, customer_id, payment_method_id, gateway, purpose, invoice_id, top_up,
                              currency, amount, reference, requested_at, state, moved_at, cause, provider_id,
                              next_attempt_at, paid_at)
        SELECT %(tenant_id)s, g.key, g.customer_id, g.method_id, g.gateway, g.purpose, g.invoice_id, g.top_up,
               g.currency, g.amount, g.reference, g.requested_at, g.state, g.requested_at, g.cause, g.provider_id,
               g.next_attempt_at, g.paid_at
          FROM json_to_recordset(%(rows)s::json)
               AS g (key text, customer_id bigint, method_id bigint, gateway text, purpose text, invoice_id bigint,
                     top_up text, currency text, amount numeric, reference text, state text, cause text,
                     provider_id text, next_attempt_at timestamptz, paid_at timestamptz, requested_at timestamptz)
        ON CONFLICT DO NOTHING
        RETURNING payment_id, key
        """,
        {"tenant_id": tenant_id, "rows": rowset(rows)},
    ).fetchall()


def select_payment(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """One payment by its key."""
    return conn.execute(_PAYMENTS + " AND p.key = %(key)s", {"tenant_id": tenant_id, "key": key}).fetchone()


def select_payments_of(conn: BooksConnection, tenant_id: int, payment_ids: Collection[int]) -> list[DictRow]:
    """These payments, by id."""
    return conn.execute(
        _PAYMENTS + " AND p.payment_id = ANY(%(ids)s) ORDER BY p.payment_id",
        {"tenant_id": tenant_id, "ids": list(payment_ids)},
    ).fetchall()


def hold_payment(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """One payment by its key; nobody else moves it until the transaction ends."""
    conn.execute("SELECT FROM payments WHERE tenant_id = %s AND key = %s FOR NO KEY UPDATE", [tenant_id, key])
    return select_payment(conn, tenant_id, key)


def select_payments_after(
    conn: BooksConnection,
    tenant_id: int,
    after: int,
    limit: int,
    customer: str | None,
    invoice: str | None,
    state: str | None,
) -> list[DictRow]:
    """Payments in the order of their making, those behind the id `after`."""
    return conn.execute(
        _PAYMENTS
        + """
           AND p.payment_id > %(after)s
           AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
           AND (%(state)s::text IS NULL OR p.state = %(state)s)
           AND (%(invoice)s::text IS NULL OR i.number = %(invoice)s OR EXISTS (
                SELECT FROM payment_allocations a
                  JOIN invoices n ON n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id
                 WHERE a.tenant_id = p.tenant_id AND a.payment_id = p.payment_id AND n.number = %(invoice)s))
         ORDER BY p.payment_id LIMIT %(limit)s
        """,
        {
            "tenant_id": tenant_id,
            "after": after,
            "limit": limit,
            "customer": customer,
            "invoice": invoice,
            "state": state,
        },
    ).fetchall()


def select_moves(conn: BooksConnection, tenant_id: int, payment_id: int) -> list[DictRow]:
    """Every move of a payment, in order."""
    return conn.execute(
        "SELECT from_state, to_state, cause, moved_at FROM payment_moves"
        " WHERE tenant_id = %s AND payment_id = %s ORDER BY move_id",
        [tenant_id, payment_id],
    ).fetchall()


def select_attempts(conn: BooksConnection, tenant_id: int, payment_id: int) -> list[DictRow]:
    """Every attempt of a payment, in order."""
    return conn.execute(
        "SELECT attempt, sent_at, asked_at, outcome, code, settled_at FROM payment_attempts"
        " WHERE tenant_id = %s AND payment_id = %s ORDER BY attempt",
        [tenant_id, payment_id],
    ).fetchall()


def select_allocations(conn: BooksConnection, tenant_id: int, payment_id: int) -> list[DictRow]:
    """What a payment paid of which invoice, and what was taken back of that, in order."""
    return conn.execute(
        """
        SELECT i.number AS invoice, a.amount, a.cause, a.allocated_at
          FROM payment_allocations a
          JOIN invoices i ON i.tenant_id = a.tenant_id AND i.invoice_id = a.invoice_id
         WHERE a.tenant_id = %s AND a.payment_id = %s ORDER BY a.allocation_id
        """,
        [tenant_id, payment_id],
    ).fetchall()


# ---- Invoices, as far as they are to be paid


def select_balances(conn: BooksConnection, tenant_id: int, numbers: Collection[str]) -> dict[str, DictRow]:
    """What is still to be paid of these invoices, by number."""
    rows = conn.execute(
        """
        SELECT i.number, b.invoice_id, b.customer_id, c.key AS customer, b.currency, b.issued_at, b.due_at, b.payable,
               b.paid, b.from_credit, b.credited, b.written_off, b.open
          FROM invoices i
          JOIN invoice_balances b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id
          JOIN customers c ON c.tenant_id = b.tenant_id AND c.customer_id = b.customer_id
         WHERE i.tenant_id = %s AND i.number = ANY(%s)
        """,
        [tenant_id, list(numbers)],
    ).fetchall()
    return {row["number"]: row for row in rows}


# ---- Dunning policies


def select_policy(conn: BooksConnection, tenant_id: int) -> dict[str, Any] | None:
    """The dunning policy in force, if there ever was one."""
    row = conn.execute(
        "SELECT definition FROM dunning_policies WHERE tenant_id = %s ORDER BY policy_id DESC LIMIT 1",
        [tenant_id],
    ).fetchone()
    return None if row is None else dict(row["definition"])


def insert_policy(conn: BooksConnection, tenant_id: int, definition: dict[str, Any], now: datetime) -> None:
    """From now on."""
    conn.execute(
        "INSERT INTO dunning_policies (tenant_id, definition, made_at) VALUES (%s, %s, %s)",
        [tenant_id, Jsonb(definition), now],
    )
