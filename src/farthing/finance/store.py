"""SQL of the reports. Each is one statement over the entries, or over the documents behind them."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection

# Plans that hold whatever the planner knows. Tables that were just filled have no statistics, or those of an empty
# table; it then takes a million transfers for one and reads them through an index of texts, each from another page,
# or joins them row by row. Whole sets are read in the order of the pages, hashed and not sorted.
_FOR_WHOLE_SETS = (
    "SET LOCAL enable_nestloop = off", "SET LOCAL enable_mergejoin = off", "SET LOCAL enable_indexscan = off",
    "SET LOCAL enable_sort = off", "SET LOCAL work_mem = '64MB'",
)  # fmt: skip

# Whether a transfer may have an entry on a wanted account. Where few accounts are wanted, transfers that touch none of
# them are not taken apart: to look for a few numbers in an array is a tenth of making rows of it. Plain subqueries, for
# a query over a WITH has no helpers.
_WANTED = "FROM accounts WHERE tenant_id = %(tenant)s AND code = ANY(%(codes)s)"
_TOUCHES_WANTED = (
    f"((SELECT count(*) > 12 {_WANTED}) OR t.account_ids && (SELECT array_agg(account_id) {_WANTED}))"
)

# Entries are added up by account first, in one pass over the arrays; names are looked up for the sums only.
_MOVEMENTS = f"""
    WITH summed AS (
        SELECT account_id, kind, earlier, sum(amount) AS amount
          FROM (SELECT unnest(t.account_ids) AS account_id, unnest(t.amounts) AS amount, t.kind,
                       t.effective_at < %(start)s AS earlier
                  FROM transfers t
                 WHERE t.tenant_id = %(tenant)s AND t.effective_at < %(end)s AND {{since}} AND {_TOUCHES_WANTED}) AS e
         GROUP BY account_id, kind, earlier
    )
    SELECT w.code, w.currency, {{customer}} AS customer, s.kind,
           coalesce(sum(s.amount) FILTER (WHERE s.earlier), 0) AS before,
           coalesce(sum(s.amount) FILTER (WHERE NOT s.earlier), 0) AS within
      FROM summed s
      JOIN accounts w ON w.tenant_id = %(tenant)s AND w.account_id = s.account_id AND w.code = ANY(%(codes)s)
      LEFT JOIN customers c ON c.tenant_id = %(tenant)s AND c.customer_id = w.customer_id
     GROUP BY 1, 2, 3, 4
     ORDER BY 2, 1, 3, 4
"""  # noqa: S608
_MOVED_BY_CUSTOMER = _MOVEMENTS.format(since="true", customer="c.key")
_MOVED = _MOVEMENTS.format(since="true", customer="NULL::text")
_MOVED_WITHIN = _MOVEMENTS.format(since="t.effective_at >= %(start)s", customer="NULL::text")

NET_OF_LINE = "l.amount - CASE WHEN i.prices_include_tax THEN l.tax ELSE 0 END"
"""What a line earns: what it shows contains its tax where prices include it."""

_REVENUE_OF = """
    WITH revenue AS MATERIALIZED (
        SELECT account_id, currency FROM accounts WHERE tenant_id = %(tenant)s AND code = 'revenue'
    ), earned AS MATERIALIZED (
        SELECT e.key, e.kind, e.reference, r.currency, -e.amount AS amount, e.account_ids
          FROM (SELECT t.key, t.kind, t.reference, t.account_ids, unnest(t.account_ids) AS account_id,
                       unnest(t.amounts) AS amount
                  FROM transfers t
                 WHERE t.tenant_id = %(tenant)s AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
                   AND t.kind <> 'wallet_draw') AS e
          JOIN revenue r ON r.account_id = e.account_id
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
        SELECT a.customer_id, a.currency, '(wallet draw)', d.amount
          FROM (SELECT account_id, sum(amount) AS amount
                  FROM (SELECT unnest(t.account_ids) AS account_id, unnest(t.amounts) AS amount
                          FROM transfers t
                         WHERE t.tenant_id = %(tenant)s AND t.kind = 'wallet_draw'
                           AND t.effective_at >= %(start)s AND t.effective_at < %(end)s) AS e
                 GROUP BY account_id) AS d
          JOIN accounts a ON a.tenant_id = %(tenant)s AND a.account_id = d.account_id
                         AND a.code IN ('prepaid', 'promotional_credit')
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
    WITH standing AS (
        -- What corrects an invoice is taken off that invoice, whatever document it has itself.
        SELECT r.customer_id, r.currency,
               coalesce(substring(e.corrects FROM '^invoice:(.*)$'), e.reference) AS reference,
               sum(e.amount) AS amount, min(e.effective_at) AS since
          FROM (SELECT unnest(t.account_ids) AS account_id, unnest(t.amounts) AS amount, t.corrects, t.reference,
                       t.effective_at
                  FROM transfers t
                 WHERE t.tenant_id = %(tenant)s AND t.effective_at < %(end)s) AS e
          JOIN accounts r ON r.tenant_id = %(tenant)s AND r.account_id = e.account_id AND r.code = 'receivable'
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
_BALANCES_AT = f"""
    WITH since AS (
        SELECT account_id, sum(amount) AS amount, sum(amount) FILTER (WHERE later) AS later
          FROM (SELECT unnest(t.account_ids) AS account_id, unnest(t.amounts) AS amount,
                       t.effective_at >= %(end)s AS later
                  FROM transfers t
                 WHERE t.tenant_id = %(tenant)s AND t.effective_at >= %(start)s AND {_TOUCHES_WANTED}) AS e
         GROUP BY account_id
    )
    SELECT w.code, w.currency, sum(b.balance) - coalesce(sum(s.amount), 0) AS at_start,
           sum(b.balance) - coalesce(sum(s.later), 0) AS at_end
      FROM accounts w
      JOIN account_balances b ON b.tenant_id = %(tenant)s AND b.account_id = w.account_id
      LEFT JOIN since s ON s.account_id = w.account_id
     WHERE w.tenant_id = %(tenant)s AND w.code = ANY(%(codes)s)
     GROUP BY w.code, w.currency
"""  # noqa: S608

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


def expect_whole_sets(conn: BooksConnection) -> None:
    """Until the transaction ends, read and join whole sets, whatever statistics there are."""
    for statement in _FOR_WHOLE_SETS:
        conn.execute(statement)


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
    conn: BooksConnection, tenant_id: int, codes: Collection[str], start: datetime, end: datetime
) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """The balances of each (code, currency) before `start` and before `end`, from those that the ledger keeps."""
    given = {"tenant": tenant_id, "codes": list(codes), "start": start, "end": end}
    found = conn.cursor(row_factory=tuple_row).execute(_BALANCES_AT, given).fetchall()
    return {(code, currency): (at_start, at_end) for code, currency, at_start, at_end in found}


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
