"""SQL of the reports. Each is one statement over the entries, or over the documents behind them."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection

# Entries are added up by account first, in one pass over the arrays; names are looked up for the sums only.
_MOVEMENTS = """
    WITH wanted AS MATERIALIZED (
        SELECT account_id, code, currency, customer_id FROM accounts
         WHERE tenant_id = %(tenant)s AND code = ANY(%(codes)s)
    ), summed AS (
        {summed}
    )
    SELECT w.code, w.currency, {customer} AS customer, s.kind, sum(s.before) AS before, sum(s.within) AS within
      FROM summed s
      JOIN wanted w USING (account_id)
      LEFT JOIN customers c ON c.tenant_id = %(tenant)s AND c.customer_id = w.customer_id
     GROUP BY 1, 2, 3, 4
     ORDER BY 2, 1, 3, 4
"""
_BEFORE_AND_WITHIN = """
        SELECT e.account_id, t.kind,
               coalesce(sum(e.amount) FILTER (WHERE t.effective_at < %(start)s), 0) AS before,
               coalesce(sum(e.amount) FILTER (WHERE t.effective_at >= %(start)s), 0) AS within
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
          JOIN wanted w ON w.account_id = e.account_id
         WHERE t.tenant_id = %(tenant)s AND t.effective_at < %(end)s
         GROUP BY e.account_id, t.kind"""
_WITHIN = """
        SELECT e.account_id, t.kind, 0::numeric AS before, sum(e.amount) AS within
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
         WHERE t.tenant_id = %(tenant)s AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
         GROUP BY e.account_id, t.kind"""
_MOVED_BY_CUSTOMER = _MOVEMENTS.format(summed=_BEFORE_AND_WITHIN, customer="c.key")
_MOVED = _MOVEMENTS.format(summed=_BEFORE_AND_WITHIN, customer="NULL::text")
_MOVED_WITHIN = _MOVEMENTS.format(summed=_WITHIN, customer="NULL::text")

NET_OF_LINE = "l.amount - CASE WHEN i.prices_include_tax THEN l.tax ELSE 0 END"
"""What a line earns: what it shows contains its tax where prices include it."""

_REVENUE_OF = """
    WITH revenue AS MATERIALIZED (
        SELECT account_id, currency FROM accounts WHERE tenant_id = %(tenant)s AND code = 'revenue'
    ), earned AS MATERIALIZED (
        SELECT t.key, t.kind, t.reference, r.currency, -e.amount AS amount, t.account_ids
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
          JOIN revenue r ON r.account_id = e.account_id
         WHERE t.tenant_id = %(tenant)s AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
           AND t.kind <> 'wallet_draw'
    ), by_line AS (
        SELECT i.customer_id, e.currency, coalesce(l.rate_card, l.adjustment) AS product, {net} AS amount
          FROM earned e
          JOIN invoices i ON i.tenant_id = %(tenant)s AND i.number = e.reference
          JOIN invoice_lines l ON l.tenant_id = %(tenant)s AND l.invoice_id = i.invoice_id
                              AND CASE l.adjustment WHEN 'carried_forward' THEN false WHEN 'brought_forward' THEN true
                                  ELSE l.service_end <= i.issued_at END
         WHERE e.kind = 'invoice_issued'
        UNION ALL
        -- What is brought forward became revenue when it was carried; there it stands below zero.
        SELECT i.customer_id, e.currency, 'brought_forward',
               l.amount - CASE WHEN s.prices_include_tax THEN l.tax ELSE 0 END
          FROM earned e
          JOIN invoices i ON i.tenant_id = %(tenant)s AND i.number = e.reference AND i.brings IS NOT NULL
          JOIN invoices s ON s.tenant_id = %(tenant)s AND s.number = i.brings
          JOIN invoice_lines l ON l.tenant_id = %(tenant)s AND l.invoice_id = s.invoice_id
                              AND l.adjustment = 'carried_forward'
         WHERE e.kind = 'invoice_issued'
        UNION ALL
        SELECT i.customer_id, e.currency, coalesce(l.rate_card, l.adjustment), e.amount
          FROM earned e
          JOIN invoices i ON i.tenant_id = %(tenant)s AND i.number = e.reference
          JOIN invoice_lines l ON l.tenant_id = %(tenant)s AND l.invoice_id = i.invoice_id
                              AND l.line = abs(split_part(e.key, ':', 3)::integer)
         WHERE e.kind = 'revenue_recognised'
        UNION ALL
        SELECT n.customer_id, e.currency, coalesce(l.rate_card, l.adjustment), e.amount
          FROM earned e
          JOIN credit_notes n ON n.tenant_id = %(tenant)s AND n.number = e.reference
          JOIN invoice_lines l ON l.tenant_id = %(tenant)s AND l.invoice_id = n.invoice_id
                              AND l.line = split_part(e.key, ':', 3)::integer
         WHERE e.kind = 'revenue_recognised'
        UNION ALL
        -- An invoice that wallets paid whole books no revenue itself; its lines are of products all the same.
        SELECT i.customer_id, i.currency, coalesce(l.rate_card, l.adjustment), {net}
          FROM invoices i
          JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
                              AND l.service_end <= i.issued_at
         WHERE i.tenant_id = %(tenant)s AND i.paid_from_wallets > 0
           AND i.issued_at >= %(start)s AND i.issued_at < %(end)s
           AND i.number NOT IN (SELECT reference FROM earned WHERE kind = 'invoice_issued')
        UNION ALL
        -- What wallets paid became revenue when it was drawn, of each customer by itself; what of that stands on
        -- invoices is counted by their lines.
        SELECT a.customer_id, a.currency, '(wallet draw)', e.amount
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
          JOIN accounts a ON a.tenant_id = t.tenant_id AND a.account_id = e.account_id
                         AND a.code IN ('prepaid', 'promotional_credit')
         WHERE t.tenant_id = %(tenant)s AND t.kind = 'wallet_draw'
           AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
        UNION ALL
        SELECT i.customer_id, i.currency, '(wallet draw)', -i.paid_from_wallets
          FROM invoices i
         WHERE i.tenant_id = %(tenant)s AND i.paid_from_wallets > 0
           AND i.issued_at >= %(start)s AND i.issued_at < %(end)s
        UNION ALL
        -- What a credit note gives back of service that was rendered is of the products that it gives back.
        SELECT n.customer_id, e.currency, coalesce(l.rate_card, l.adjustment), -p.net
          FROM earned e
          JOIN credit_notes n ON n.tenant_id = %(tenant)s AND n.number = e.reference
          JOIN credit_note_parts p ON p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id
                                  AND p.kind = 'line'
          JOIN invoice_lines l ON l.tenant_id = n.tenant_id AND l.invoice_id = n.invoice_id AND l.line = p.place
                              AND l.service_end <= n.issued_at
         WHERE e.kind = 'credit_note_issued'
        UNION ALL
        SELECT (SELECT a.customer_id FROM unnest(e.account_ids) AS other (account_id)
                  JOIN accounts a ON a.tenant_id = %(tenant)s AND a.account_id = other.account_id
                 WHERE a.customer_id IS NOT NULL LIMIT 1),
               e.currency, '(' || replace(e.kind, '_', ' ') || ')', e.amount
          FROM earned e WHERE e.kind NOT IN ('invoice_issued', 'credit_note_issued', 'revenue_recognised')
    )
    SELECT b.product, c.key AS customer, b.currency, sum(b.amount) AS amount
      FROM by_line b LEFT JOIN customers c ON c.tenant_id = %(tenant)s AND c.customer_id = b.customer_id
     GROUP BY b.product, c.key, b.currency HAVING sum(b.amount) <> 0
     ORDER BY b.currency, b.product, c.key
"""
_REVENUE = _REVENUE_OF.format(net=NET_OF_LINE)

_OPEN_ITEMS = """
    WITH receivable AS MATERIALIZED (
        SELECT account_id, currency, customer_id FROM accounts
         WHERE tenant_id = %(tenant)s AND code = 'receivable'
    ), standing AS (
        -- What corrects an invoice is taken off that invoice, whatever document it has itself.
        SELECT r.customer_id, r.currency,
               coalesce(substring(t.corrects FROM '^invoice:(.*)$'), t.reference) AS reference,
               sum(e.amount) AS amount, min(t.effective_at) AS since
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
          JOIN receivable r USING (account_id)
         WHERE t.tenant_id = %(tenant)s AND t.effective_at < %(end)s
         GROUP BY 1, 2, 3 HAVING sum(e.amount) <> 0
    )
    SELECT c.key AS customer, s.currency, s.reference, s.amount, s.since, b.due_at
      FROM standing s
      JOIN customers c ON c.tenant_id = %(tenant)s AND c.customer_id = s.customer_id
      LEFT JOIN invoices i ON i.tenant_id = %(tenant)s AND i.number = s.reference
      LEFT JOIN invoice_balances b ON b.tenant_id = %(tenant)s AND b.invoice_id = i.invoice_id
     ORDER BY c.key, s.currency, s.reference
"""

# What is left of an account at a moment by its kept balance, less what took effect since: not the way of the reports.
_BALANCES_AT = """
    WITH kept AS (
        SELECT a.code, a.currency, sum(b.balance) AS balance
          FROM accounts a
          JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
         WHERE a.tenant_id = %(tenant)s AND a.code = ANY(%(codes)s)
         GROUP BY a.code, a.currency
    ), since AS (
        SELECT a.code, a.currency, sum(e.amount) AS amount
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
          JOIN accounts a ON a.tenant_id = %(tenant)s AND a.account_id = e.account_id AND a.code = ANY(%(codes)s)
         WHERE t.tenant_id = %(tenant)s AND t.effective_at >= %(end)s
         GROUP BY a.code, a.currency
    )
    SELECT code, currency, balance - coalesce(amount, 0)
      FROM kept LEFT JOIN since USING (code, currency)
"""

# What gives back is a line below zero, deferred whole when it is issued and earned back like the line itself: of a
# credit note under its own number, of a void under the invoice's, with the line's number below zero.
_DEFERRED_OF = """
    SELECT i.number AS document, l.line, i.customer_id, i.currency, {net} AS amount, l.service_start, l.service_end,
           i.issued_at
      FROM invoices i
      JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
     WHERE i.tenant_id = %(tenant)s AND l.service_end > i.issued_at AND {net} <> 0 AND {earns}
       AND i.issued_at < %(until)s
       AND (l.service_end > %(after)s OR i.issued_at > %(issued_after)s)
     UNION ALL
    SELECT i.number, -l.line, i.customer_id, i.currency, -({net}), l.service_start, l.service_end, v.voided_at
      FROM invoice_voids v
      JOIN invoices i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
      JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
     WHERE v.tenant_id = %(tenant)s AND l.service_end > i.issued_at AND {net} <> 0 AND {earns}
       AND v.voided_at < %(until)s
       AND (l.service_end > %(after)s OR v.voided_at > %(issued_after)s)
     UNION ALL
    SELECT n.number, l.line, n.customer_id, n.currency, -p.net, l.service_start, l.service_end, n.issued_at
      FROM credit_notes n
      JOIN credit_note_parts p ON p.tenant_id = n.tenant_id AND p.credit_note_id = n.credit_note_id
                              AND p.kind = 'line'
      JOIN invoice_lines l ON l.tenant_id = n.tenant_id AND l.invoice_id = n.invoice_id AND l.line = p.place
     WHERE n.tenant_id = %(tenant)s AND l.service_end > n.issued_at AND p.net <> 0 AND {earns}
       AND n.issued_at < %(until)s
       AND (l.service_end > %(after)s OR n.issued_at > %(issued_after)s)
     ORDER BY document, line
"""
_DEFERRED_LINES = _DEFERRED_OF.format(
    net=NET_OF_LINE, earns="coalesce(l.adjustment, '') NOT IN ('carried_forward', 'brought_forward')"
)


def select_movements(
    conn: BooksConnection,
    tenant_id: int,
    codes: Collection[str],
    start: datetime,
    end: datetime,
    *,
    by_customer: bool,
) -> list[DictRow]:
    """Entries on the accounts of these codes, added up by kind of transfer: before `start`, and in [start, end)."""
    statement = _MOVED_BY_CUSTOMER if by_customer else _MOVED
    given = {"tenant": tenant_id, "codes": list(codes), "start": start, "end": end}
    return conn.execute(statement, given).fetchall()


def select_movements_within(
    conn: BooksConnection, tenant_id: int, codes: Collection[str], start: datetime, end: datetime
) -> list[DictRow]:
    """The same of [start, end) alone: nothing is said of what was before."""
    given = {"tenant": tenant_id, "codes": list(codes), "start": start, "end": end}
    return conn.execute(_MOVED_WITHIN, given).fetchall()


def select_revenue(
    conn: BooksConnection, tenant_id: int, start: datetime, end: datetime
) -> list[tuple[str, str | None, str, Decimal]]:
    """What was earned in [start, end): (product, customer, currency, amount).

    A product is a rate card, or what else a line is; what has no line is named by its kind in brackets.
    """
    given = {"tenant": tenant_id, "start": start, "end": end}
    return conn.cursor(row_factory=tuple_row).execute(_REVENUE, given).fetchall()


def select_open_items(conn: BooksConnection, tenant_id: int, end: datetime) -> list[DictRow]:
    """What stood on receivables before `end`, by customer, currency and reference; what came to zero is left out."""
    return conn.execute(_OPEN_ITEMS, {"tenant": tenant_id, "end": end}).fetchall()


def select_balances_at(
    conn: BooksConnection, tenant_id: int, codes: Collection[str], end: datetime
) -> dict[tuple[str, str], Decimal]:
    """The balance of each (code, currency) before `end`, from the balances that the ledger keeps."""
    given = {"tenant": tenant_id, "codes": list(codes), "end": end}
    found = conn.cursor(row_factory=tuple_row).execute(_BALANCES_AT, given).fetchall()
    return {(code, currency): balance for code, currency, balance in found}


def select_deferred_lines(
    conn: BooksConnection, tenant_id: int, until: datetime, after: datetime, issued_after: datetime
) -> list[DictRow]:
    """Lines that were deferred when they were issued, before `until`: whose service lasts beyond `after`, or that
    were issued after `issued_after`."""
    given = {"tenant": tenant_id, "until": until, "after": after, "issued_after": issued_after}
    return conn.execute(_DEFERRED_LINES, given).fetchall()


def select_recognised_until(conn: BooksConnection, tenant_id: int) -> datetime | None:
    """Up to when revenue was recognised."""
    row = conn.execute(
        "SELECT max(until) AS until FROM recognition_runs WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    return None if row is None else row["until"]


def insert_recognition_run(
    conn: BooksConnection, tenant_id: int, until: datetime, booked: int, now: datetime
) -> None:
    """Everything that was rendered up to then has been booked."""
    conn.execute(
        "INSERT INTO recognition_runs (tenant_id, until, booked, ran_at) VALUES (%s, %s, %s, %s)",
        [tenant_id, until, booked, now],
    )
