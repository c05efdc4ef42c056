"""SQL of interim invoices: what they billed, for the invoices that come after them in their periods."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection
from farthing.invoicing.interim.charging import ToldOf, told_of
from farthing.invoicing.model import Bill, BilledBefore
from farthing.invoicing.taxes.taxing import TaxName
from farthing.kernel.quantity import ZERO, exact

Billed = dict[tuple[int, datetime], tuple[BilledBefore, ...]]


def select_billed_before(conn: BooksConnection, tenant_id: int, bills: Iterable[Bill]) -> Billed:
    """The interim invoices of the periods that these bills are for, all of them at once."""
    since: dict[int, datetime] = {}
    for bill in bills:
        if bill.bills_usage:
            key, start = bill.subscription.subscription_id, bill.period.start
            since[key] = min(since.get(key, start), start)
    return select_billed(conn, tenant_id, since) if since else {}


def select_billed(conn: BooksConnection, tenant_id: int, since: Mapping[int, datetime]) -> Billed:
    """The interim invoices of these subscriptions that hold, by subscription and start of the period, in order.

    since: by subscription, the start of the first period that matters.
    """
    # The last one of a period says of which of its lines each one before it was.
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT i.subscription_id, i.period_start, i.period_end, i.number, i.sequence, i.subtotal,
               CASE WHEN i.sequence = max(i.sequence) OVER (PARTITION BY i.subscription_id, i.period_start)
                    THEN i.document END
          FROM unnest(%(ids)b::bigint[], %(since)b::timestamptz[]) AS given (subscription_id, since)
          JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.reason = 'interim'
                                  AND i.subscription_id = given.subscription_id AND i.period_start >= given.since
         ORDER BY i.subscription_id, i.period_start, i.sequence
        """,
        {"tenant_id": tenant_id, "ids": list(since), "since": list(since.values())},
    )
    found: dict[tuple[int, datetime], list[BilledBefore]] = defaultdict(list)
    told: dict[tuple[int, datetime], ToldOf] = {}
    for subscription_id, start, until, number, sequence, subtotal, document in rows:
        found[subscription_id, start].append(BilledBefore(number, sequence, subtotal, until, ()))
        if document is not None:
            told[subscription_id, start] = told_of(number, json.loads(document)["lines"])
    return {
        period: tuple(replace(one, of=told[period].get(one.number, ())) for one in invoices)
        for period, invoices in found.items()
    }


def select_billed_taxes(
    conn: BooksConnection, tenant_id: int, numbers: Collection[str]
) -> dict[str, dict[TaxName, Decimal]]:
    """The taxes of these interim invoices, by number and by what tells taxes apart."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT i.number, t.country, t.category, t.treatment, t.name, t.percent, t.region, t.amount
          FROM invoices i
          JOIN invoice_taxes t ON t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s AND i.number = ANY(%s)
        """,
        [tenant_id, list(numbers)],
    )
    found: dict[str, dict[TaxName, Decimal]] = defaultdict(dict)
    for number, *name, amount in rows:
        named: TaxName = tuple(name)
        with exact():
            found[number][named] = found[number].get(named, ZERO) + amount
    return dict(found)


def count_interims(conn: BooksConnection, tenant_id: int) -> int:
    """How many interim invoices there are."""
    row = conn.execute(
        "SELECT count(*) AS interims FROM invoices WHERE tenant_id = %s AND reason = 'interim'", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["interims"])


def select_taken_off_wrongly(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Where what an interim invoice billed and what a later invoice of its period takes off of it differ.

    billed: by the interim invoice, none where the invoice has nothing to do with it. taken: off the invoice.
    """
    return conn.execute(
        """
        WITH due AS (
            SELECT i.invoice_id, i.number, e.number AS interim, e.subtotal AS billed
              FROM standing_invoices e
              JOIN standing_invoices i ON i.tenant_id = e.tenant_id AND i.subscription_id = e.subscription_id
                                      AND i.period_start = e.period_start
                                      AND (i.reason = 'period' OR i.reason = 'interim' AND i.sequence > e.sequence)
             WHERE e.tenant_id = %(tenant_id)s AND e.reason = 'interim'
        ), made AS (
            SELECT i.invoice_id, i.number, l.adjustment_key AS interim, -sum(l.amount_exact) AS taken
              FROM standing_invoices i
              JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
                                  AND l.adjustment = 'billed'
             WHERE i.tenant_id = %(tenant_id)s
             GROUP BY i.invoice_id, i.number, l.adjustment_key
        )
        SELECT number, interim, billed, taken
          FROM due FULL JOIN made USING (invoice_id, number, interim)
         WHERE billed IS DISTINCT FROM taken
         ORDER BY invoice_id, interim LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()
