"""SQL of invoices. A batch of invoices is one statement for the invoices and one for their lines."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow, tuple_row
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.invoicing.adjusting.adjustments import NOT_REACHED, History
from farthing.invoicing.model import BillKey, LineKind, Reached, Reason
from farthing.invoicing.written import Invoice, rows_of
from farthing.kernel.quantity import plain

_SUMMARIES_AFTER = """
    SELECT i.number, c.key AS customer, s.key AS subscription,
           CASE WHEN v.invoice_id IS NULL THEN i.status ELSE 'void' END AS status, i.reason, i.currency,
           i.period_start, i.period_end, i.subtotal, i.tax, i.total_exact, i.total, i.issued_at
      FROM invoices i
      JOIN customers c ON c.tenant_id = i.tenant_id AND c.customer_id = i.customer_id
      JOIN subscriptions s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
      LEFT JOIN invoice_voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
     WHERE i.tenant_id = %(tenant_id)s
       AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
       AND (%(void)s::boolean IS NULL OR (v.invoice_id IS NOT NULL) = %(void)s)
       AND (%(numbers)s::text[] IS NULL OR i.number = ANY(%(numbers)s))
       AND (%(after)s::text IS NULL OR i.invoice_id >
            (SELECT invoice_id FROM invoices WHERE tenant_id = %(tenant_id)s AND number = %(after)s))
     ORDER BY i.invoice_id LIMIT %(limit)s
"""
# Long lists are bound in binary (%b): as text, each of their values would be quoted.
_INSERT_INVOICES = """
    WITH voided AS MATERIALIZED (
        -- Few, and looked up once for all: asked invoice by invoice, each would look through those of its tenant.
        SELECT e.subscription_id, e.period_start, e.reason, e.sequence, max(e.invoice_id) AS invoice_id
          FROM invoice_voids v
          JOIN invoices e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
         WHERE v.tenant_id = %(tenant_id)s
         GROUP BY e.subscription_id, e.period_start, e.reason, e.sequence
    ), given AS MATERIALIZED (
        SELECT said.*, named.number, named.paid, nullif(named.brings, '') AS brings, named.document, named.place
          FROM unnest(string_to_array(%(places)s, E'\\n')::int[], string_to_array(%(numbers)s, E'\\n'),
                      string_to_array(%(paid)s, E'\\n')::numeric[], string_to_array(%(brings)s, E'\\n'),
                      %(documents)b::text[]) WITH ORDINALITY AS named (at, number, paid, brings, document, place)
          JOIN json_to_recordset(%(rows)s::json)
               AS said (at int, customer_id bigint, subscription_id bigint, plan_version_id bigint, reason text,
                        currency text, period_start timestamptz, period_end timestamptz, subtotal numeric, tax numeric,
                        total numeric, total_exact numeric, sequence int, prices_include_tax boolean, carries boolean,
                        due_at timestamptz) USING (at)
    ), new AS (
        INSERT INTO invoices (tenant_id, number, customer_id, subscription_id, plan_version_id, status, reason,
                              currency, period_start, period_end, subtotal, tax, total, total_exact,
                              paid_from_wallets, issued_at, document, sequence, prices_include_tax,
                              due_at, replaces, carries, brings, brings_again)
        SELECT %(tenant_id)s, given.number, given.customer_id, given.subscription_id, given.plan_version_id,
               'issued', given.reason, given.currency, given.period_start, given.period_end, given.subtotal,
               given.tax, given.total, given.total_exact, given.paid, %(issued_at)s, given.document,
               given.sequence, given.prices_include_tax, given.due_at,
               voided.invoice_id,
               given.carries, given.brings,
               CASE WHEN given.brings IS NULL THEN 0 ELSE
                   (SELECT count(*) FROM invoices e
                      JOIN invoice_voids v ON v.tenant_id = e.tenant_id AND v.invoice_id = e.invoice_id
                     WHERE e.tenant_id = %(tenant_id)s AND e.brings = given.brings) END
          FROM given
          LEFT JOIN voided USING (subscription_id, period_start, reason, sequence)
         ORDER BY given.place
        RETURNING invoice_id, number),
    made AS MATERIALIZED (SELECT new.invoice_id, given.at FROM new JOIN given USING (number)),
    taxes AS (
        INSERT INTO invoice_taxes (tenant_id, invoice_id, place, name, country, region, category, treatment, percent,
                                   net, amount)
        SELECT %(tenant_id)s, made.invoice_id, said.place, said.name, said.country, said.region, said.category,
               said.treatment, said.rate, said.net, said.amount
          FROM json_to_recordset(%(tax_rows)s::json)
               AS said (at int, place int, name text, country text, region text, category text, treatment text,
                        rate numeric, net numeric, amount numeric)
          JOIN made USING (at)),
    lines AS (
        INSERT INTO invoice_lines (tenant_id, invoice_id, line, rate_card, meter_key, dimensions, service_start,
                                   service_end, quantity, amount_exact, amount, plan, plan_version, price, fee_start,
                                   fee_end, one_off, adjustment, adjustment_key, tax, subscription, one_off_again,
                                   corrected, corrected_key)
        SELECT %(tenant_id)s, made.invoice_id, said.line, said.rate_card, said.meter, said.dimensions,
               said.service_start, said.service_end, said.quantity, said.amount_exact, said.amount, said.plan,
               said.plan_version, said.price, said.fee_start, said.fee_end, said.one_off, said.adjustment,
               said.adjustment_key, said.tax, said.subscription,
               CASE WHEN said.one_off IS NULL THEN 0 ELSE
                   (SELECT count(*) FROM invoice_lines e WHERE e.tenant_id = %(tenant_id)s AND e.one_off = said.one_off
                       AND EXISTS (SELECT FROM invoice_voids v
                                    WHERE v.tenant_id = e.tenant_id AND v.invoice_id = e.invoice_id)) END,
               said.corrected, said.corrected_key
          FROM json_to_recordset(%(line_rows)s::json)
               AS said (at int, line int, rate_card text, meter text, dimensions jsonb, service_start timestamptz,
                        service_end timestamptz, fee_start timestamptz, fee_end timestamptz, quantity numeric,
                        amount_exact numeric, amount numeric, tax numeric, price jsonb, one_off text, subscription text,
                        plan text, plan_version int, adjustment text, adjustment_key text, corrected text,
                        corrected_key text)
          JOIN made USING (at))
    SELECT invoice_id FROM made ORDER BY at
"""


def lock_issuing(conn: BooksConnection, tenant_id: int) -> None:
    """Let one transaction at a time issue invoices of a tenant."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('farthing.invoicing', %s))", [tenant_id])


def select_issued(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int] | None = None
) -> set[BillKey]:
    """What has been invoiced and holds, of all subscriptions or of these."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT subscription_id, period_start, reason, sequence FROM standing_invoices
         WHERE tenant_id = %(tenant_id)s AND (%(ids)b::bigint[] IS NULL OR subscription_id = ANY(%(ids)b::bigint[]))
        """,
        {"tenant_id": tenant_id, "ids": None if subscription_ids is None else list(subscription_ids)},
    )
    reasons = {reason.value: reason for reason in Reason}
    return {
        BillKey(subscription_id, start, reasons[reason], sequence)
        for subscription_id, start, reason, sequence in rows
    }


def select_number_of(conn: BooksConnection, tenant_id: int, key: BillKey) -> DictRow | None:
    """The number of the invoice of a bill that holds, and when it was issued."""
    return conn.execute(
        """
        SELECT number, issued_at FROM standing_invoices
         WHERE tenant_id = %s AND subscription_id = %s AND period_start = %s AND reason = %s AND sequence = %s
        """,
        [tenant_id, key.subscription_id, key.period_start, key.reason.value, key.sequence],
    ).fetchone()


def hold_changes(conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]) -> dict[int, int]:
    """The latest change of each of these subscriptions that has one; that stays so until this transaction is over."""
    ids = sorted(subscription_ids)
    conn.execute(
        "SELECT 1 FROM subscriptions WHERE tenant_id = %s AND subscription_id = ANY(%b::bigint[])"
        " ORDER BY subscription_id FOR KEY SHARE",
        [tenant_id, ids],
    )
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT subscription_id, max(change_id) FROM subscription_changes"
        " WHERE tenant_id = %s AND subscription_id = ANY(%b::bigint[]) GROUP BY subscription_id",
        [tenant_id, ids],
    )
    return dict(rows.fetchall())


def select_fee_lines(
    conn: BooksConnection, tenant_id: int, since: Mapping[int, tuple[datetime, datetime]]
) -> list[DictRow]:
    """The lines of fixed fees that are for a time after a moment, in order of issue.

    since: by subscription, that moment, and the one since which the invoices ended that may have them.
    """
    return conn.execute(
        """
        SELECT i.subscription_id, i.plan_version_id, l.rate_card, l.plan, l.plan_version, l.price, l.quantity,
               l.amount_exact, l.service_start, l.service_end, l.fee_start, l.fee_end,
               CASE WHEN EXISTS (SELECT FROM invoice_lines c
                                  WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id
                                    AND c.adjustment = 'coupon')
                    THEN (SELECT -coalesce(sum((share ->> 'amount')::numeric), 0)
                            FROM jsonb_array_elements(i.document::jsonb -> 'lines') AS said,
                                 jsonb_array_elements(said -> 'adjustment' -> 'of') AS share
                           WHERE said ->> 'kind' = 'coupon' AND (share ->> 'line')::int = l.line)
                    ELSE 0 END AS taken
          FROM unnest(%(ids)s::bigint[], %(moments)s::timestamptz[], %(invoiced)s::timestamptz[])
               AS wanted (subscription_id, since, invoiced_since)
          JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.subscription_id = wanted.subscription_id
                         AND i.period_end >= wanted.invoiced_since
          JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
         WHERE l.meter_key IS NULL AND l.one_off IS NULL AND l.adjustment IS NULL AND l.service_end > wanted.since
         ORDER BY i.invoice_id, l.line
        """,
        {
            "tenant_id": tenant_id,
            "ids": list(since),
            "moments": [moment for moment, _ in since.values()],
            "invoiced": [moment for _, moment in since.values()],
        },
    ).fetchall()


def select_histories(
    conn: BooksConnection,
    tenant_id: int,
    since: Mapping[int, datetime],
    before: Mapping[int, int] | None = None,
) -> dict[int, History]:
    """What the issued invoices of these subscriptions did, by id, in two statements for all of them.

    since: for each subscription the first moment that matters of what was charged in advance.
    before: only invoices with a lower id than this one of the subscription, with all that corrected them.
    """
    asked = {
        "tenant_id": tenant_id,
        "ids": list(since),
        "since": list(since.values()),
        "before": [None if before is None else before[one] for one in since],
        "moved": [kind.value for kind in NOT_REACHED],
    }
    histories: dict[int, History] = defaultdict(History)
    adjustments = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT subscription_id, kind, key, sum(quantity), sum(amount),
               count(*) FILTER (WHERE amount <> 0
                                   OR (quantity <> 0 AND kind NOT IN ('coupon', 'true_up', 'minimum')))
          FROM (SELECT a.subscription_id, a.kind, a.key, a.invoice_id, sum(a.quantity) AS quantity,
                       sum(a.amount_exact) AS amount
                  FROM unnest(%(ids)s::bigint[], %(before)s::bigint[]) AS given (subscription_id, before)
                  JOIN standing_adjustments a ON a.tenant_id = %(tenant_id)s
                                             AND a.subscription_id = given.subscription_id
                                             AND (given.before IS NULL OR a.invoice_id < given.before)
                                             AND a.kind <> ALL (%(moved)s)
                 GROUP BY a.subscription_id, a.kind, a.key, a.invoice_id) of_invoice
         GROUP BY subscription_id, kind, key
        """,
        asked,
    )
    for subscription_id, kind, key, quantity, amount, invoices in adjustments:
        histories[subscription_id].reached[LineKind(kind), key] = Reached(quantity, amount, invoices)
    ahead = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT subscription_id, service_start, sum(amount_exact)
          FROM (SELECT i.subscription_id, l.service_start, l.amount_exact
                  FROM unnest(%(ids)s::bigint[], %(since)s::timestamptz[], %(before)s::bigint[])
                       AS given (subscription_id, since, before)
                  JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s
                                          AND i.subscription_id = given.subscription_id
                                          AND (given.before IS NULL OR i.invoice_id < given.before)
                  JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
                                      AND l.service_start >= given.since
                                      AND (l.service_start >= i.period_end OR i.reason IN ('start', 'change'))
                 WHERE l.adjustment IS NULL
                UNION ALL
                SELECT a.subscription_id, a.service_start, a.amount_exact
                  FROM unnest(%(ids)s::bigint[], %(since)s::timestamptz[], %(before)s::bigint[])
                       AS given (subscription_id, since, before)
                  JOIN standing_adjustments a ON a.tenant_id = %(tenant_id)s
                                             AND a.subscription_id = given.subscription_id
                                             AND (given.before IS NULL OR a.invoice_id < given.before)
                                             AND a.kind IN ('coupon', 'overage') AND a.service_start >= given.since
                                             AND (a.service_start >= a.period_end OR a.reason IN ('start', 'change'))
               ) charged
         GROUP BY subscription_id, service_start
        """,
        asked,
    )
    for subscription_id, start, amount in ahead:
        histories[subscription_id].ahead[start] = amount
    return dict(histories)


def take_numbers(conn: BooksConnection, tenant_id: int, count: int) -> int:
    """The first of the next `count` numbers. They are used by this transaction or by a later one."""
    row = conn.execute(
        """
        INSERT INTO invoice_counters AS c (tenant_id, last_number) VALUES (%(tenant_id)s, %(count)s)
        ON CONFLICT (tenant_id) DO UPDATE SET last_number = c.last_number + excluded.last_number
        RETURNING last_number
        """,
        {"tenant_id": tenant_id, "count": count},
    ).fetchone()
    assert row is not None
    return int(row["last_number"]) - count + 1


def insert_invoices(
    conn: BooksConnection, tenant_id: int, invoices: Sequence[Invoice], issued_at: datetime
) -> list[int]:
    """Issue these invoices, in this order, and say their ids."""
    as_written = [invoice.written for invoice in invoices]
    made = conn.cursor(row_factory=tuple_row).execute(
        _INSERT_INVOICES,
        {
            "tenant_id": tenant_id,
            "issued_at": issued_at,
            "places": "\n".join(str(one.place) for one in as_written),
            "numbers": "\n".join(invoice.number for invoice in invoices),
            "paid": "\n".join(plain(invoice.draft.paid) for invoice in invoices),
            "brings": "\n".join(invoice.brings or "" for invoice in invoices),
            "documents": [
                one.numbered(invoice.number) for one, invoice in zip(as_written, invoices, strict=True)
            ],
            "rows": rows_of(one.row for one in as_written),
            "line_rows": rows_of(one.line_rows for one in as_written),
            "tax_rows": rows_of(one.tax_rows for one in as_written),
        },
    )
    return [invoice_id for (invoice_id,) in made]


def select_document(conn: BooksConnection, tenant_id: int, number: str) -> DictRow | None:
    """The document of one invoice, the customer it is for, and when and why it was voided."""
    return conn.execute(
        """
        SELECT i.document, i.customer_id, v.voided_at, v.reason AS void_reason
          FROM invoices i
          LEFT JOIN invoice_voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s AND i.number = %s
        """,
        [tenant_id, number],
    ).fetchone()


def select_documents(conn: BooksConnection, tenant_id: int, numbers: Collection[str]) -> dict[str, str]:
    """The documents of these invoices, by number."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT number, document FROM invoices WHERE tenant_id = %s AND number = ANY(%s)",
        [tenant_id, list(numbers)],
    )
    return dict(rows.fetchall())


def select_summaries_after(
    conn: BooksConnection,
    tenant_id: int,
    after: str | None,
    limit: int,
    *,
    customer: str | None = None,
    void: bool | None = None,
    numbers: Sequence[str] | None = None,
) -> list[DictRow]:
    """Invoices in order of issue, those after the number `after`.

    customer: only this one's. void: only those that are, or are not. numbers: only these.
    """
    given = {"customer": customer, "void": void, "numbers": None if numbers is None else list(numbers)}
    return conn.execute(
        _SUMMARIES_AFTER, given | {"tenant_id": tenant_id, "after": after, "limit": limit}
    ).fetchall()


def select_seller(conn: BooksConnection, tenant_id: int) -> tuple[str, dict[str, Any]]:
    """The tenant's name, and what it said of itself as a seller."""
    row = conn.execute("SELECT name, seller FROM tenants WHERE tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None, "the tenant of this transaction exists"
    return row["name"], row["seller"]


def update_seller(conn: BooksConnection, tenant_id: int, seller: Mapping[str, Any]) -> None:
    """What the tenant says of itself as a seller, on every invoice from now on."""
    conn.execute("UPDATE tenants SET seller = %s WHERE tenant_id = %s", [Jsonb(dict(seller)), tenant_id])
