"""SQL of money that goes back: refunds, disputes; and of what is given up."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection

_REFUNDS = """
    SELECT r.refund_id, r.key, p.key AS payment, p.currency, r.amount, r.reason, r.state, r.requested_at, r.moved_at,
           r.provider_id, r.failure, p.payment_id, p.customer_id, p.gateway
      FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
     WHERE r.tenant_id = %(tenant_id)s
"""
_DISPUTES = """
    SELECT d.dispute_id, d.key, p.key AS payment, c.key AS customer, d.kind, d.reason, p.currency, d.amount, d.fee,
           d.state, d.opened_at, d.moved_at, d.respond_by, p.payment_id, p.customer_id, p.gateway, p.purpose,
           p.payment_method_id
      FROM disputes d
      JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
      JOIN customers c ON c.tenant_id = p.tenant_id AND c.customer_id = p.customer_id
     WHERE d.tenant_id = %(tenant_id)s
"""

# ---- Refunds


def insert_refund(conn: BooksConnection, tenant_id: int, values: dict[str, Any]) -> None:
    """Keep a refund; the payment's counter moves with it, and refuses more than the payment."""
    conn.execute(
        """
        INSERT INTO refunds (tenant_id, key, payment_id, amount, reason, requested_at, state, moved_at)
        VALUES (%(tenant_id)s, %(key)s, %(payment_id)s, %(amount)s, %(reason)s, %(now)s, 'requested', %(now)s)
        """,
        {**values, "tenant_id": tenant_id},
    )


def select_refund(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """One refund by its key."""
    return conn.execute(_REFUNDS + " AND r.key = %(key)s", {"tenant_id": tenant_id, "key": key}).fetchone()


def select_refunds_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, payment: str | None
) -> list[DictRow]:
    """Refunds in the order of their making, those behind the id `after`."""
    return conn.execute(
        _REFUNDS
        + """
           AND r.refund_id > %(after)s AND (%(payment)s::text IS NULL OR p.key = %(payment)s)
         ORDER BY r.refund_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "payment": payment},
    ).fetchall()


def move_refunds(
    conn: BooksConnection, tenant_id: int, rows: Sequence[dict[str, Any]], now: datetime
) -> list[DictRow]:
    """Move refunds that are not settled yet; answers with those that moved and whose money it was."""
    return conn.execute(
        """
        WITH moved AS (
            UPDATE refunds r SET state = g.state, moved_at = %(now)s, failure = g.code,
                   provider_id = coalesce(r.provider_id, g.provider_id)
              FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(provider_ids)s::text[], %(codes)s::text[])
                   AS g (refund_id, state, provider_id, code)
             WHERE r.tenant_id = %(tenant_id)s AND r.refund_id = g.refund_id AND r.state IN ('requested', 'sent')
               AND NOT (r.state = g.state AND r.provider_id IS NOT DISTINCT FROM g.provider_id)
            RETURNING r.refund_id, r.key, r.payment_id, r.amount, r.state, r.failure
        )
        SELECT m.*, p.customer_id, p.currency, p.purpose, p.gateway, p.provider_id AS charged_as, p.key AS payment
          FROM moved m JOIN payments p ON p.tenant_id = %(tenant_id)s AND p.payment_id = m.payment_id
         ORDER BY m.refund_id
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "ids": [row["refund_id"] for row in rows],
            "states": [row["state"] for row in rows],
            "provider_ids": [row["provider_id"] for row in rows],
            "codes": [row["code"] for row in rows],
        },
    ).fetchall()


# ---- Disputes


def insert_disputes(
    conn: BooksConnection, tenant_id: int, rows: Sequence[dict[str, Any]], now: datetime
) -> list[DictRow]:
    """Keep disputes whose keys do not stand yet; answers with those that are new and whose money it was."""
    return conn.execute(
        """
        WITH opened AS (
            INSERT INTO disputes (tenant_id, key, payment_id, kind, reason, amount, fee, opened_at, respond_by, state,
                                  moved_at)
            SELECT %(tenant_id)s, g.key, g.payment_id, g.kind, g.reason, g.amount, g.fee, g.opened_at, g.respond_by,
                   g.state, %(now)s
              FROM unnest(%(keys)s::text[], %(payments)s::bigint[], %(kinds)s::text[], %(reasons)s::text[],
                          %(amounts)s::numeric[], %(fees)s::numeric[], %(opened)s::timestamptz[],
                          %(respond)s::timestamptz[], %(states)s::text[])
                   AS g (key, payment_id, kind, reason, amount, fee, opened_at, respond_by, state)
             ORDER BY g.payment_id
            ON CONFLICT (tenant_id, key) DO NOTHING
            RETURNING key, payment_id, kind, reason, amount, fee, opened_at, state
        )
        SELECT o.*, p.customer_id, p.currency, p.purpose, p.gateway, p.provider_id AS charged_as, p.key AS payment
          FROM opened o JOIN payments p ON p.tenant_id = %(tenant_id)s AND p.payment_id = o.payment_id
         ORDER BY o.key
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "keys": [row["key"] for row in rows],
            "payments": [row["payment_id"] for row in rows],
            "kinds": [row["kind"] for row in rows],
            "reasons": [row["reason"] for row in rows],
            "amounts": [row["amount"] for row in rows],
            "fees": [row["fee"] for row in rows],
            "opened": [row["opened_at"] for row in rows],
            "respond": [row.get("respond_by") for row in rows],
            "states": [row["state"] for row in rows],
        },
    ).fetchall()


def select_dispute_keys(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> set[str]:
    """Those of these keys that are disputes."""
    rows = conn.execute(
        "SELECT key FROM disputes WHERE tenant_id = %s AND key = ANY(%s)", [tenant_id, list(keys)]
    ).fetchall()
    return {row["key"] for row in rows}


def select_dispute(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """One dispute by its key."""
    return conn.execute(_DISPUTES + " AND d.key = %(key)s", {"tenant_id": tenant_id, "key": key}).fetchone()


def select_disputes_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, state: str | None
) -> list[DictRow]:
    """Disputes in the order of their opening, those behind the id `after`."""
    return conn.execute(
        _DISPUTES
        + """
           AND d.dispute_id > %(after)s AND (%(state)s::text IS NULL OR d.state = %(state)s)
         ORDER BY d.dispute_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "state": state},
    ).fetchall()


def move_dispute(conn: BooksConnection, tenant_id: int, key: str, state: str, now: datetime) -> bool:
    """Move a dispute that is not closed; says whether it moved."""
    return bool(
        conn.execute(
            "UPDATE disputes SET state = %s, moved_at = %s"
            " WHERE tenant_id = %s AND key = %s AND state IN ('needs_response', 'under_review') AND state <> %s",
            [state, now, tenant_id, key, state],
        ).rowcount
    )


def select_room(
    conn: BooksConnection, tenant_id: int, payment_ids: Collection[int]
) -> dict[int, tuple[Decimal, Decimal]]:
    """Of these payments that succeeded: what stands to the customer's credit, and what may still go back at all."""
    rows = conn.execute(
        """
        SELECT payment_id, amount - allocated - refunded - charged_back AS credit,
               amount - refunded - charged_back AS kept
          FROM payments WHERE tenant_id = %s AND payment_id = ANY(%s) AND state = 'succeeded'
        """,
        [tenant_id, list(payment_ids)],
    ).fetchall()
    return {row["payment_id"]: (row["credit"], row["kept"]) for row in rows}


# ---- Write-offs


def select_taxed(
    conn: BooksConnection, tenant_id: int, invoice_ids: Collection[int]
) -> dict[int, tuple[Decimal, Decimal]]:
    """(total, tax) of these invoices, less what credit notes gave back of each."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT i.invoice_id, i.total - coalesce(n.total, 0), i.tax - coalesce(n.tax, 0)
          FROM invoices i
          LEFT JOIN (SELECT invoice_id, sum(total) AS total, sum(tax) AS tax FROM credit_notes
                      WHERE tenant_id = %(tenant_id)s AND invoice_id = ANY(%(ids)s) GROUP BY invoice_id) n
                 ON n.invoice_id = i.invoice_id
         WHERE i.tenant_id = %(tenant_id)s AND i.invoice_id = ANY(%(ids)s)
        """,
        {"tenant_id": tenant_id, "ids": list(invoice_ids)},
    )
    return {invoice_id: (total, tax) for invoice_id, total, tax in rows}


def insert_write_offs(
    conn: BooksConnection,
    tenant_id: int,
    written: Sequence[tuple[int, Decimal, Decimal]],
    reason: str,
    now: datetime,
) -> None:
    """Give up (invoice, net, tax) each. An invoice is written off once."""
    conn.execute(
        """
        INSERT INTO write_offs (tenant_id, invoice_id, net, tax, reason, written_off_at)
        SELECT %(tenant_id)s, g.invoice_id, g.net, g.tax, %(reason)s, %(now)s
          FROM unnest(%(invoices)s::bigint[], %(nets)s::numeric[], %(taxes)s::numeric[]) AS g (invoice_id, net, tax)
        """,
        {
            "tenant_id": tenant_id,
            "reason": reason,
            "now": now,
            "invoices": [invoice for invoice, _, _ in written],
            "nets": [net for _, net, _ in written],
            "taxes": [tax for _, _, tax in written],
        },
    )
