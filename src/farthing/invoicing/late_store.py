"""SQL of usage that came after the invoice of its period."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def select_invoices_with_late_usage(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int], lag: timedelta
) -> list[DictRow]:
    """Invoices of periods of these subscriptions for which events may have been sealed since the last was issued, and
    `voided`: those that have events of their customer which do not count any more since then.

    The last invoice of a period saw everything that was sealed before it, of all earlier periods as well. `since`: when
    that one was issued. lag: by how much a seal may seem earlier than it became visible.
    """
    return conn.execute(
        """
        WITH last AS (
            SELECT subscription_id, max(issued_at) AS since FROM standing_invoices
             WHERE tenant_id = %(tenant_id)s AND subscription_id = ANY(%(ids)s) AND reason = 'period'
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


def select_billed_usage(conn: BooksConnection, tenant_id: int, invoice_ids: Sequence[int]) -> list[DictRow]:
    """What was billed of the lines of these invoices, and of corrections of them on others, by rate card and
    dimensions. Fixed fees are among them."""
    return conn.execute(
        """
        SELECT i.invoice_id, l.rate_card, l.dimensions, sum(l.amount_exact) AS amount
          FROM invoices i
          JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
         WHERE i.tenant_id = %(tenant_id)s AND i.invoice_id = ANY(%(ids)s) AND l.adjustment IS NULL
           AND l.one_off IS NULL
         GROUP BY i.invoice_id, l.rate_card, l.dimensions
         UNION ALL
        SELECT i.invoice_id, l.rate_card, l.dimensions, sum(l.amount_exact)
          FROM invoices i
          JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.adjustment = 'correction'
                              AND l.adjustment_key = i.number
          JOIN standing_invoices s ON s.tenant_id = l.tenant_id AND s.invoice_id = l.invoice_id
         WHERE i.tenant_id = %(tenant_id)s AND i.invoice_id = ANY(%(ids)s)
         GROUP BY i.invoice_id, l.rate_card, l.dimensions
        """,
        {"tenant_id": tenant_id, "ids": list(invoice_ids)},
    ).fetchall()
