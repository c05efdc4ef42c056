"""SQL of credit notes and voids."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow, tuple_row
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.invoicing.credit_notes.decide import net_of
from farthing.invoicing.credit_notes.model import Credit, Creditable, CreditWanted


def select_invoice(conn: BooksConnection, tenant_id: int, number: str) -> DictRow | None:
    """An invoice, what of it was given back (in all; `reduced`: of what it asked for) and given up, whether it is void,
    and whether a later one of its subscription holds."""
    return conn.execute(
        """
        SELECT i.invoice_id, i.customer_id, i.subscription_id, i.currency, i.total, i.document, i.reason,
               i.period_start, i.paid_from_wallets,
               coalesce(c.credited, 0) AS credited, coalesce(c.voided, false) AS voided,
               b.payable, b.credited AS reduced, b.written_off,
               (SELECT min(l.number) FROM standing_invoices l
                 WHERE l.tenant_id = i.tenant_id AND l.subscription_id = i.subscription_id
                   AND l.invoice_id > i.invoice_id) AS later
          FROM invoices i
          JOIN invoice_balances b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id
          LEFT JOIN credited_invoices c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s AND i.number = %s
        """,
        [tenant_id, number],
    ).fetchone()


def select_given(conn: BooksConnection, tenant_id: int, invoice_id: int) -> dict[tuple[str, int], Any]:
    """What of an invoice's lines and taxes was given back, by kind and place."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT kind, place, credited FROM credited_parts WHERE tenant_id = %s AND invoice_id = %s",
        [tenant_id, invoice_id],
    )
    return {(kind, place): credited for kind, place, credited in rows}


def select_by_key(conn: BooksConnection, tenant_id: int, key: str) -> DictRow | None:
    """The credit note that was asked for under a key, and what was asked."""
    return conn.execute(
        "SELECT number, request, document FROM credit_notes WHERE tenant_id = %s AND key = %s",
        [tenant_id, key],
    ).fetchone()


def take_number(conn: BooksConnection, tenant_id: int) -> int:
    """The next number. It is used by this transaction or by a later one."""
    row = conn.execute(
        """
        INSERT INTO credit_note_counters AS c (tenant_id, last_number) VALUES (%s, 1)
        ON CONFLICT (tenant_id) DO UPDATE SET last_number = c.last_number + 1
        RETURNING last_number
        """,
        [tenant_id],
    ).fetchone()
    assert row is not None
    return int(row["last_number"])


def insert_credit_note(
    conn: BooksConnection,
    tenant_id: int,
    number: str,
    wanted: CreditWanted,
    request: dict[str, Any],
    invoice: Mapping[str, Any],
    credit: Credit,
    creditable: Creditable,
    deferred: Any,
    to_wallets: Any,
    document: str,
    issued_at: datetime,
) -> None:
    """Issue a credit note with its parts. The database refuses one over what was billed."""
    row = conn.execute(
        """
        INSERT INTO credit_notes (tenant_id, number, key, request, invoice_id, customer_id, currency, subtotal, tax,
                                  total, prices_include_tax, earned, deferred, refund, issued_at, document,
                                  to_wallets)
        VALUES (%(tenant_id)s, %(number)s, %(key)s, %(request)s, %(invoice_id)s, %(customer_id)s, %(currency)s,
                %(subtotal)s, %(tax)s, %(total)s, %(inclusive)s,
                %(total)s::numeric - %(tax)s::numeric - %(deferred)s::numeric, %(deferred)s, %(refund)s,
                %(issued_at)s, %(document)s, %(to_wallets)s)
        RETURNING credit_note_id
        """,
        {
            "tenant_id": tenant_id,
            "number": number,
            "key": wanted.key,
            "request": Jsonb(request),
            "invoice_id": invoice["invoice_id"],
            "customer_id": invoice["customer_id"],
            "currency": invoice["currency"],
            "subtotal": credit.subtotal,
            "tax": credit.tax,
            "total": credit.total,
            "inclusive": creditable.inclusive,
            "deferred": deferred,
            "refund": wanted.refund,
            "issued_at": issued_at,
            "document": document,
            "to_wallets": to_wallets,
        },
    ).fetchone()
    assert row is not None
    _insert_parts(conn, tenant_id, row["credit_note_id"], invoice["invoice_id"], credit, creditable)


def _insert_parts(
    conn: BooksConnection,
    tenant_id: int,
    credit_note_id: int,
    invoice_id: int,
    credit: Credit,
    creditable: Creditable,
) -> None:
    """What a credit note gives back of each line and each tax."""
    billed = {
        tax: amount
        for bundle in creditable.bundles
        for tax, amount in zip(bundle.taxes, bundle.tax_billed, strict=True)
    }
    parts = [
        ("line", one.line.number, one.line.billed, one.amount, net_of(one, creditable))
        for one in credit.lines
    ]
    parts += [("tax", tax.place + 1, billed[tax.place], tax.amount, tax.amount) for tax in credit.taxes]
    conn.execute(
        """
        INSERT INTO credit_note_parts (tenant_id, credit_note_id, invoice_id, kind, place, billed, amount, net)
        SELECT %(tenant_id)s, %(credit_note_id)s, %(invoice_id)s, kind, place, billed, amount, net
          FROM unnest(%(kinds)s::text[], %(places)s::int[], %(billed)s::numeric[], %(amounts)s::numeric[],
                      %(nets)s::numeric[])
               AS given (kind, place, billed, amount, net)
        """,
        {
            "tenant_id": tenant_id,
            "credit_note_id": credit_note_id,
            "invoice_id": invoice_id,
            "kinds": [part[0] for part in parts],
            "places": [part[1] for part in parts],
            "billed": [part[2] for part in parts],
            "amounts": [part[3] for part in parts],
            "nets": [part[4] for part in parts],
        },
    )


_BOOKED = """
    SELECT n.credit_note_id, n.number, i.number AS invoice, n.customer_id, n.currency, n.earned, n.deferred, n.tax,
           n.issued_at
      FROM credit_notes n
      JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
     WHERE n.tenant_id = %(tenant_id)s
"""


def select_for_booking(conn: BooksConnection, tenant_id: int, numbers: Sequence[str]) -> list[DictRow]:
    """These credit notes in the terms of the ledger."""
    given = {"tenant_id": tenant_id, "numbers": list(numbers)}
    return conn.execute(
        _BOOKED + " AND n.number = ANY(%(numbers)s) ORDER BY n.credit_note_id", given
    ).fetchall()


def select_for_booking_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """The same of all credit notes behind the id `after`, in order."""
    given = {"tenant_id": tenant_id, "after": after, "limit": limit}
    return conn.execute(
        _BOOKED + " AND n.credit_note_id > %(after)s ORDER BY n.credit_note_id LIMIT %(limit)s", given
    ).fetchall()


def select_document(conn: BooksConnection, tenant_id: int, number: str) -> str | None:
    """The document of one credit note."""
    row = conn.execute(
        "SELECT document FROM credit_notes WHERE tenant_id = %s AND number = %s", [tenant_id, number]
    ).fetchone()
    return None if row is None else str(row["document"])


def select_after(
    conn: BooksConnection,
    tenant_id: int,
    after: str | None,
    limit: int,
    customer: str | None,
    invoice: str | None,
) -> list[DictRow]:
    """Credit notes in order of issue, those after the number `after`, of one customer or invoice where named."""
    return conn.execute(
        """
        SELECT n.number, i.number AS invoice, c.key AS customer, n.request ->> 'reason' AS reason, n.currency,
               n.subtotal, n.tax, n.total, n.refund, n.issued_at
          FROM credit_notes n
          JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
          JOIN customers c ON c.tenant_id = n.tenant_id AND c.customer_id = n.customer_id
         WHERE n.tenant_id = %(tenant_id)s
           AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
           AND (%(invoice)s::text IS NULL OR i.number = %(invoice)s)
           AND (%(after)s::text IS NULL OR n.credit_note_id >
                (SELECT credit_note_id FROM credit_notes WHERE tenant_id = %(tenant_id)s AND number = %(after)s))
         ORDER BY n.credit_note_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "customer": customer, "invoice": invoice},
    ).fetchall()


def insert_void(
    conn: BooksConnection, tenant_id: int, invoice_id: int, reason: str, voided_at: datetime
) -> None:
    """The invoice no longer holds."""
    conn.execute(
        "INSERT INTO invoice_voids (tenant_id, invoice_id, reason, voided_at) VALUES (%s, %s, %s, %s)",
        [tenant_id, invoice_id, reason, voided_at],
    )


def select_void(conn: BooksConnection, tenant_id: int, number: str) -> DictRow | None:
    """The void of an invoice, if there is one."""
    return conn.execute(
        """
        SELECT v.reason, v.voided_at FROM invoice_voids v
          JOIN invoices i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
         WHERE v.tenant_id = %s AND i.number = %s
        """,
        [tenant_id, number],
    ).fetchone()


def select_voided_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """Void invoices behind the id `after`, in order, and when they were voided."""
    return conn.execute(
        """
        SELECT v.invoice_id, i.number, v.voided_at FROM invoice_voids v
          JOIN invoices i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
         WHERE v.tenant_id = %s AND v.invoice_id > %s ORDER BY v.invoice_id LIMIT %s
        """,
        [tenant_id, after, limit],
    ).fetchall()


def select_numbers(conn: BooksConnection, tenant_id: int) -> tuple[int, list[str]]:
    """The last number that was taken, and the numbers of all credit notes in the order of their issue."""
    row = conn.execute(
        """
        SELECT coalesce((SELECT last_number FROM credit_note_counters WHERE tenant_id = %(tenant_id)s), 0) AS last,
               ARRAY(SELECT number::text FROM credit_notes WHERE tenant_id = %(tenant_id)s
                      ORDER BY credit_note_id) AS numbers
        """,
        {"tenant_id": tenant_id},
    ).fetchone()
    assert row is not None
    return row["last"], row["numbers"]


def select_overcredited(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Invoices of which more was given back than billed, or whose kept sum is not that of their credit notes."""
    return conn.execute(
        """
        SELECT i.number, i.total, coalesce(n.total, 0) AS credited, c.credited AS kept
          FROM credited_invoices c
          JOIN invoices i ON i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id
          LEFT JOIN (SELECT tenant_id, invoice_id, sum(total) AS total FROM credit_notes
                      GROUP BY tenant_id, invoice_id) n
                 ON n.tenant_id = c.tenant_id AND n.invoice_id = c.invoice_id
         WHERE c.tenant_id = %s
           AND (coalesce(n.total, 0) <> c.credited OR (c.credited > i.total AND c.credited > 0))
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()
