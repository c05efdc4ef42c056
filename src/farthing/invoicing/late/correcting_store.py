"""SQL of corrections that credit notes give back at once."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection
from farthing.invoicing.late.at_once import GivenBack


def select_invoice(conn: BooksConnection, tenant_id: int, number: str) -> DictRow | None:
    """Whose an invoice is, and up to when the invoices of its subscription reach."""
    return conn.execute(
        """
        SELECT i.invoice_id, i.customer_id, i.subscription_id,
               (SELECT max(greatest(l.period_end, l.period_start)) FROM standing_invoices l
                 WHERE l.tenant_id = i.tenant_id AND l.subscription_id = i.subscription_id) AS until
          FROM invoices i WHERE i.tenant_id = %s AND i.number = %s
        """,
        [tenant_id, number],
    ).fetchone()


def select_last_period_end(conn: BooksConnection, tenant_id: int) -> datetime | None:
    """Up to when anything is invoiced."""
    row = conn.execute(
        "SELECT max(period_end) AS until FROM standing_invoices WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    return None if row is None else row["until"]


def insert_given_back(
    conn: BooksConnection,
    tenant_id: int,
    credit_note: str,
    invoice_id: int,
    given: Sequence[GivenBack],
    since: datetime,
) -> None:
    """What of a correction this credit note gives back."""
    corrected = [None if one.line.adjustment is None else one.line.adjustment.corrected for one in given]
    conn.execute(
        """
        INSERT INTO correction_credits (tenant_id, credit_note_id, place, invoice_id, rate_card, dimensions, corrected,
                                        corrected_key, service_start, service_end, quantity, amount_exact, since)
        SELECT %(tenant_id)s, n.credit_note_id, g.place, %(invoice_id)s, g.rate_card, g.dimensions::jsonb, g.corrected,
               g.corrected_key, g.service_start, g.service_end, g.quantity, g.amount_exact, %(since)s
          FROM credit_notes n
         CROSS JOIN unnest(%(rate_cards)s::text[], %(dimensions)s::text[], %(kinds)s::text[], %(keys)s::text[],
                           %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(quantities)s::numeric[],
                           %(amounts)s::numeric[])
               WITH ORDINALITY AS g (rate_card, dimensions, corrected, corrected_key, service_start, service_end,
                                     quantity, amount_exact, place)
         WHERE n.tenant_id = %(tenant_id)s AND n.number = %(number)s
        """,
        {
            "tenant_id": tenant_id,
            "number": credit_note,
            "invoice_id": invoice_id,
            "since": since,
            "rate_cards": [one.line.rate_card for one in given],
            "dimensions": [msgspec.json.encode(dict(one.line.dimensions)).decode() for one in given],
            "kinds": [None if one is None else one.kind.value for one in corrected],
            "keys": [None if one is None else one.key for one in corrected],
            "starts": [one.line.service_period.start for one in given],
            "ends": [one.line.service_period.end for one in given],
            "quantities": [one.quantity for one in given],
            "amounts": [one.amount_exact for one in given],
        },
    )


def select_given_back(conn: BooksConnection, tenant_id: int, credit_note: str) -> DictRow | None:
    """Of a credit note that corrects: the time and customer that it is about, and when events were late."""
    return conn.execute(
        """
        SELECT i.number AS invoice, i.customer_id, i.period_start, i.period_end, min(c.since) AS since, n.issued_at
          FROM credit_notes n
          JOIN correction_credits c ON c.tenant_id = n.tenant_id AND c.credit_note_id = n.credit_note_id
          JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
         WHERE n.tenant_id = %s AND n.number = %s
         GROUP BY i.number, i.customer_id, i.period_start, i.period_end, n.issued_at
        """,
        [tenant_id, credit_note],
    ).fetchone()


def select_policy(conn: BooksConnection, tenant_id: int) -> str:
    """What becomes of a correction below zero."""
    row = conn.execute("SELECT below_zero FROM tenants WHERE tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None, "the tenant of this transaction exists"
    return str(row["below_zero"])


def update_policy(conn: BooksConnection, tenant_id: int, below_zero: str) -> None:
    """From now on."""
    conn.execute("UPDATE tenants SET below_zero = %s WHERE tenant_id = %s", [below_zero, tenant_id])


def is_credit_note(conn: BooksConnection, tenant_id: int, number: str) -> bool:
    """Whether there is a credit note of this number."""
    found = conn.execute(
        "SELECT FROM credit_notes WHERE tenant_id = %s AND number = %s", [tenant_id, number]
    ).fetchone()
    return found is not None
