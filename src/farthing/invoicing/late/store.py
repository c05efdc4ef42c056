"""SQL of usage that came after the invoice of its period."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def select_invoices_with_late_usage(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int], lag: timedelta
) -> list[DictRow]:
    """Invoices of periods of these subscriptions for which events may have been sealed since the last was issued, and
    `voided`: those that have events of their customer which do not count any more since then.

    The last invoice of a period, or settlement, saw everything that was sealed before it, of all earlier periods as
    well. `since`: when that one was issued. lag: by how much a seal may seem earlier than it became visible.
    """
    return conn.execute(
        """
        WITH last AS (
            SELECT subscription_id, max(issued_at) AS since FROM standing_invoices
             WHERE tenant_id = %(tenant_id)s AND subscription_id = ANY(%(ids)s) AND reason IN ('period', 'settlement')
             GROUP BY subscription_id
        ), fresh AS MATERIALIZED (
            SELECT sealed_at, min_time, max_time FROM segments
             WHERE tenant_id = %(tenant_id)s AND sealed_at >= (SELECT min(since) FROM last) - %(lag)s::interval
        ), dropped AS MATERIALIZED (
            SELECT s.customer_id, v.event_time, v.voided_at
              FROM voided_events v
              JOIN customer_subjects s ON s.tenant_id = v.tenant_id AND s.subject = v.subject
             WHERE v.tenant_id = %(tenant_id)s AND v.voided_at >= (SELECT min(since) FROM last) - %(lag)s::interval
        ), fewer AS MATERIALIZED (
            SELECT DISTINCT i.invoice_id
              FROM dropped d
              JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.customer_id = d.customer_id
                                      AND i.reason = 'period'
                                      AND i.period_start <= d.event_time AND d.event_time < i.period_end
              JOIN last l ON l.subscription_id = i.subscription_id AND d.voided_at >= l.since - %(lag)s::interval
        )
        SELECT i.invoice_id, i.number, i.subscription_id, i.period_start, l.since, f.invoice_id IS NOT NULL AS voided
          FROM last l
          JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.subscription_id = l.subscription_id
                                  AND i.reason = 'period'
          LEFT JOIN fewer f ON f.invoice_id = i.invoice_id
         WHERE f.invoice_id IS NOT NULL
            OR EXISTS (SELECT FROM fresh f
                        WHERE f.sealed_at >= l.since - %(lag)s::interval
                          AND f.min_time < i.period_end AND f.max_time >= i.period_start)
         ORDER BY i.invoice_id
        """,
        {"tenant_id": tenant_id, "ids": list(subscription_ids), "lag": lag},
    ).fetchall()


def select_settlements(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[int, int]:
    """How many settlements were issued of each of these subscriptions, those that were voided included."""
    rows = conn.execute(
        """
        SELECT subscription_id, max(sequence) + 1 AS settlements FROM invoices
         WHERE tenant_id = %s AND subscription_id = ANY(%s) AND reason = 'settlement'
         GROUP BY subscription_id
        """,
        [tenant_id, list(subscription_ids)],
    ).fetchall()
    return {row["subscription_id"]: row["settlements"] for row in rows}


def select_billed_usage(conn: BooksConnection, tenant_id: int, invoice_ids: Sequence[int]) -> list[DictRow]:
    """What was billed on the lines of these invoices, by rate card and dimensions. Fixed fees are among them."""
    return conn.execute(
        """
        SELECT l.invoice_id, l.rate_card, l.dimensions, sum(l.amount_exact) AS amount
          FROM invoice_lines l
         WHERE l.tenant_id = %(tenant_id)s AND l.invoice_id = ANY(%(ids)s) AND l.adjustment IS NULL
           AND l.one_off IS NULL
         GROUP BY l.invoice_id, l.rate_card, l.dimensions
        """,
        {"tenant_id": tenant_id, "ids": list(invoice_ids)},
    ).fetchall()


def select_corrected(conn: BooksConnection, tenant_id: int, invoice_ids: Sequence[int]) -> list[DictRow]:
    """What was corrected of these invoices so far, on others that hold and by credit notes, by what it is of."""
    return conn.execute(
        """
        SELECT invoice_id, rate_card, dimensions, corrected, corrected_key, service_start, service_end,
               sum(quantity) AS quantity, sum(amount_exact) AS amount
          FROM (SELECT i.invoice_id, l.rate_card, l.dimensions, l.corrected, l.corrected_key, l.service_start,
                       l.service_end, l.quantity, l.amount_exact
                  FROM invoices i
                  JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.adjustment = 'correction'
                                      AND l.adjustment_key = i.number
                  JOIN standing_invoices s ON s.tenant_id = l.tenant_id AND s.invoice_id = l.invoice_id
                 WHERE i.tenant_id = %(tenant_id)s AND i.invoice_id = ANY(%(ids)s)
                UNION ALL
                SELECT invoice_id, rate_card, dimensions, corrected, corrected_key, service_start, service_end,
                       quantity, amount_exact
                  FROM correction_credits WHERE tenant_id = %(tenant_id)s AND invoice_id = ANY(%(ids)s)) one
         GROUP BY invoice_id, rate_card, dimensions, corrected, corrected_key, service_start, service_end
        """,
        {"tenant_id": tenant_id, "ids": list(invoice_ids)},
    ).fetchall()


def select_issued_from(conn: BooksConnection, tenant_id: int, first: Mapping[int, int]) -> list[DictRow]:
    """The invoices of these subscriptions that hold, in order of issue: by subscription, from this id on.

    Interim invoices aside: the invoice of their period takes off what they billed.
    """
    return conn.execute(
        """
        SELECT i.invoice_id, i.number, i.subscription_id, i.period_start, i.reason, i.sequence, i.issued_at, i.document
          FROM unnest(%(ids)s::bigint[], %(first)s::bigint[]) AS given (subscription_id, first)
          JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.subscription_id = given.subscription_id
                                  AND i.invoice_id >= given.first AND i.reason <> 'interim'
         ORDER BY i.invoice_id
        """,
        {"tenant_id": tenant_id, "ids": list(first), "first": list(first.values())},
    ).fetchall()


def select_redeemed_at(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[tuple[int, str], datetime]:
    """When coupons were redeemed, by subscription and key of the coupon."""
    rows = conn.execute(
        """
        SELECT r.subscription_id, c.key, r.redeemed_at
          FROM coupon_redemptions r JOIN coupons c ON c.tenant_id = r.tenant_id AND c.coupon_id = r.coupon_id
         WHERE r.tenant_id = %s AND r.subscription_id = ANY(%s)
        """,
        [tenant_id, list(subscription_ids)],
    ).fetchall()
    return {(row["subscription_id"], row["key"]): row["redeemed_at"] for row in rows}


def select_credited_at_once(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[int, int]:
    """How many corrections of each of these subscriptions credit notes gave back at once."""
    rows = conn.execute(
        """
        SELECT i.subscription_id, count(*) AS corrections
          FROM correction_credits c JOIN invoices i ON i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id
         WHERE c.tenant_id = %s AND i.subscription_id = ANY(%s)
         GROUP BY i.subscription_id
        """,
        [tenant_id, list(subscription_ids)],
    ).fetchall()
    return {row["subscription_id"]: row["corrections"] for row in rows}
