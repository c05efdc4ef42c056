"""SQL of the checks of payments."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def count_payments(conn: BooksConnection, tenant_id: int) -> int:
    """How many payments there are."""
    row = conn.execute(
        "SELECT count(*) AS payments FROM payments WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["payments"])


def select_unlike_parts(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Payments whose kept counters are not the sums of what was appended."""
    return conn.execute(
        """
        SELECT p.key, p.allocated, p.refunded, p.charged_back, coalesce(a.amount, 0) AS allocations,
               coalesce(r.amount, 0) AS refunds, coalesce(d.amount, 0) AS disputes
          FROM payments p
          LEFT JOIN (SELECT payment_id, sum(amount) AS amount FROM payment_allocations
                      WHERE tenant_id = %(tenant_id)s GROUP BY 1) a USING (payment_id)
          LEFT JOIN (SELECT payment_id, sum(amount) AS amount FROM refunds
                      WHERE tenant_id = %(tenant_id)s AND state <> 'failed' GROUP BY 1) r USING (payment_id)
          LEFT JOIN (SELECT payment_id, sum(amount) AS amount FROM disputes
                      WHERE tenant_id = %(tenant_id)s GROUP BY 1) d USING (payment_id)
         WHERE p.tenant_id = %(tenant_id)s
           AND (p.allocated, p.refunded, p.charged_back)
               <> (coalesce(a.amount, 0), coalesce(r.amount, 0), coalesce(d.amount, 0))
         ORDER BY p.payment_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def select_unlike_ledger(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Payments, refunds, disputes and payouts that are not booked as they stand, and transfers of none that stands."""
    return conn.execute(
        """
        WITH said AS (
            SELECT 'payment:' || key AS key, currency, amount FROM payments
             WHERE tenant_id = %(tenant_id)s AND state = 'succeeded'
            UNION ALL
            SELECT 'payment_fee:' || key, currency, fee FROM payments
             WHERE tenant_id = %(tenant_id)s AND state = 'succeeded' AND fee > 0
            UNION ALL
            SELECT 'refund:' || r.key, p.currency, r.amount
              FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
             WHERE r.tenant_id = %(tenant_id)s AND r.state = 'succeeded'
            UNION ALL
            SELECT 'chargeback:' || d.key, p.currency, d.amount + d.fee
              FROM disputes d JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
             WHERE d.tenant_id = %(tenant_id)s
            UNION ALL
            SELECT 'payment_fee:' || gateway || ':' || movement_id, currency, amount FROM provider_movements
             WHERE tenant_id = %(tenant_id)s AND kind = 'provider_fee'
            UNION ALL
            SELECT 'payout:' || gateway || ':' || name, currency, abs(amount) FROM payouts
             WHERE tenant_id = %(tenant_id)s AND arrived_at IS NOT NULL
            UNION ALL
            SELECT 'write_off:' || i.number, i.currency, w.net + w.tax
              FROM write_offs w JOIN invoices i ON i.tenant_id = w.tenant_id AND i.invoice_id = w.invoice_id
             WHERE w.tenant_id = %(tenant_id)s
        ), booked AS (
            SELECT t.key, t.currency, (SELECT sum(a.amount) FROM unnest(t.amounts) AS a (amount) WHERE a.amount > 0)
                   AS amount
              FROM transfers t
             WHERE t.tenant_id = %(tenant_id)s
               AND t.kind IN ('payment_received', 'payment_fee', 'refund_paid', 'chargeback', 'payout_arrived',
                              'write_off')
        )
        SELECT key, s.amount AS said, b.amount AS booked
          FROM said s FULL JOIN booked b USING (key)
         WHERE s.amount IS DISTINCT FROM b.amount OR s.currency IS DISTINCT FROM b.currency
         ORDER BY key LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def select_unlike_allocations(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Invoices whose kept balance is not the fold of allocations and write-offs, or that have none."""
    return conn.execute(
        """
        SELECT i.number, b.paid, b.written_off, coalesce(a.amount, 0) AS allocations,
               coalesce(w.net + w.tax, 0) AS write_offs
          FROM invoices i
          LEFT JOIN invoice_balances b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id
          LEFT JOIN (SELECT invoice_id, sum(amount) AS amount
                       FROM (SELECT invoice_id, amount FROM payment_allocations WHERE tenant_id = %(tenant_id)s
                             UNION ALL
                             SELECT invoice_id, amount FROM credit_allocations WHERE tenant_id = %(tenant_id)s) paying
                      GROUP BY 1) a ON a.invoice_id = i.invoice_id
          LEFT JOIN write_offs w ON w.tenant_id = i.tenant_id AND w.invoice_id = i.invoice_id
         WHERE i.tenant_id = %(tenant_id)s
           AND (b.paid, b.written_off) IS DISTINCT FROM (coalesce(a.amount, 0), coalesce(w.net + w.tax, 0))
         ORDER BY i.number LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def select_unlike_top_ups(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Payments of top-ups of which less is in grants than is left of them, or more without a bank having taken it back;
    and those whose top-up says otherwise than they do."""
    return conn.execute(
        """
        SELECT p.key, p.amount, p.state, t.status, coalesce(f.funded, 0) AS funded, p.refunded + p.charged_back AS gone
          FROM payments p
          LEFT JOIN top_ups t ON t.tenant_id = p.tenant_id AND t.key = p.top_up
          LEFT JOIN (SELECT payment_id, sum(amount) AS funded FROM payment_grants
                      WHERE tenant_id = %(tenant_id)s GROUP BY 1) f ON f.payment_id = p.payment_id
         WHERE p.tenant_id = %(tenant_id)s AND p.purpose = 'top_up'
           AND CASE WHEN p.state = 'succeeded'
                    THEN coalesce(f.funded, 0) + p.refunded + p.charged_back < p.amount
                         OR (coalesce(f.funded, 0) + p.refunded + p.charged_back > p.amount AND p.charged_back = 0)
                         OR (p.top_up IS NOT NULL AND t.status IS DISTINCT FROM 'funded')
                    ELSE coalesce(f.funded, 0) <> 0
                         OR t.status IS DISTINCT FROM
                            CASE WHEN p.state IN ('failed', 'cancelled') THEN 'failed' ELSE 'collecting' END
               END
         ORDER BY p.payment_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()
