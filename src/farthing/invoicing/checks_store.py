"""SQL of the checks of invoicing."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def select_unbalanced(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Invoices whose lines and taxes do not sum to what the invoice says."""
    return conn.execute(
        """
        SELECT i.number, i.subtotal, i.tax, i.total, i.total_exact, coalesce(sum(l.tax), 0) AS lines_tax,
               coalesce((SELECT sum(t.amount) FROM invoice_taxes t
                          WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id), 0) AS taxes,
               coalesce(sum(l.amount), 0) AS lines_amount, coalesce(sum(l.amount_exact), 0) AS lines_exact
          FROM invoices i
          LEFT JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s
         GROUP BY i.tenant_id, i.invoice_id
        HAVING coalesce(sum(l.amount), 0) <> i.subtotal OR coalesce(sum(l.tax), 0) <> i.tax
            OR i.subtotal + CASE WHEN i.prices_include_tax THEN 0 ELSE i.tax END <> i.total
            OR coalesce(sum(l.amount_exact), 0)
               <> i.total_exact - CASE WHEN i.prices_include_tax THEN 0 ELSE i.tax END
            OR i.tax <> coalesce((SELECT sum(t.amount) FROM invoice_taxes t
                                   WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id), 0)
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def select_overdrawn(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Commitments of which more was drawn, lapsed or trued up than they are, or that were paid twice."""
    return conn.execute(
        """
        SELECT s.key AS subscription, c.key, (c.definition ->> 'amount')::numeric AS committed,
               coalesce(sum(l.quantity) FILTER (WHERE l.kind IN ('drawdown', 'lapse')), 0) AS spent,
               coalesce(sum(l.amount_exact) FILTER (WHERE l.kind = 'true_up'), 0) AS true_up,
               count(*) FILTER (WHERE l.kind = 'prepaid') AS paid
          FROM commitments c
          JOIN subscriptions s ON s.tenant_id = c.tenant_id AND s.subscription_id = c.subscription_id
          JOIN standing_adjustments l ON l.tenant_id = c.tenant_id AND l.subscription_id = c.subscription_id
                                     AND l.key = c.key AND l.kind IN ('prepaid', 'drawdown', 'lapse', 'true_up')
         WHERE c.tenant_id = %s
         GROUP BY s.subscription_id, s.key, c.key, c.definition
        HAVING coalesce(sum(l.quantity) FILTER (WHERE l.kind IN ('drawdown', 'lapse')), 0)
               > (c.definition ->> 'amount')::numeric
            OR coalesce(sum(l.amount_exact) FILTER (WHERE l.kind = 'true_up'), 0)
               > (c.definition ->> 'amount')::numeric
            OR count(*) FILTER (WHERE l.kind = 'prepaid') > 1
         ORDER BY s.key, c.key LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def select_overused_coupons(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Coupons that reduced more invoices of a subscription than they last for."""
    return conn.execute(
        """
        SELECT s.key AS subscription, c.key, count(*) AS invoices,
               CASE c.definition ->> 'duration' WHEN 'once' THEN 1
                    ELSE (c.definition ->> 'periods')::int END AS periods
          FROM coupon_redemptions r
          JOIN coupons c ON c.tenant_id = r.tenant_id AND c.coupon_id = r.coupon_id
          JOIN subscriptions s ON s.tenant_id = r.tenant_id AND s.subscription_id = r.subscription_id
          JOIN LATERAL (SELECT l.invoice_id FROM standing_adjustments l
                         WHERE l.tenant_id = r.tenant_id AND l.subscription_id = r.subscription_id
                           AND l.kind = 'coupon' AND l.key = c.key
                         GROUP BY l.invoice_id HAVING sum(l.amount_exact) <> 0) reduced ON true
         WHERE r.tenant_id = %s AND c.definition ->> 'duration' <> 'forever'
         GROUP BY s.subscription_id, s.key, c.coupon_id, c.key, c.definition
        HAVING count(*) > CASE c.definition ->> 'duration' WHEN 'once' THEN 1
                               ELSE (c.definition ->> 'periods')::int END
         ORDER BY s.key, c.key LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def count_terms(conn: BooksConnection, tenant_id: int) -> int:
    """How many coupons are redeemed and commitments made."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM coupon_redemptions WHERE tenant_id = %(tenant_id)s)"
        "     + (SELECT count(*) FROM commitments WHERE tenant_id = %(tenant_id)s) AS terms",
        {"tenant_id": tenant_id},
    ).fetchone()
    assert row is not None
    return int(row["terms"])


def select_issued_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """Invoices behind the id `after`, in order: what their columns say, their lines, and the document.

    as_issued: the customer was erased, and the document is kept as it was issued.
    """
    return conn.execute(
        """
        SELECT i.invoice_id, i.number, c.key AS customer, s.key AS subscription, i.status, i.reason, i.currency,
               i.period_start, i.period_end, i.subtotal, i.tax, i.total, i.total_exact, i.issued_at, i.document,
               b.due_at, b.payable,
               EXISTS (SELECT FROM erasures e WHERE e.tenant_id = i.tenant_id AND e.customer_id = i.customer_id
                                                AND e.books_at IS NOT NULL AND e.documents_at IS NULL) AS as_issued,
               (SELECT json_agg(ARRAY[coalesce(l.adjustment || ' ' || l.adjustment_key, l.rate_card),
                                      l.quantity::text, l.amount_exact::text, l.amount::text]
                                ORDER BY l.line)
                  FROM invoice_lines l
                 WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id) AS lines
          FROM invoices i
          JOIN customers c ON c.tenant_id = i.tenant_id AND c.customer_id = i.customer_id
          JOIN subscriptions s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
          JOIN invoice_balances b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s AND i.invoice_id > %s
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, after, limit],
    ).fetchall()


def select_numbers(conn: BooksConnection, tenant_id: int) -> tuple[int, list[str]]:
    """The last number that was taken, and the numbers of all invoices in the order of their issue."""
    row = conn.execute(
        """
        SELECT coalesce((SELECT last_number FROM invoice_counters WHERE tenant_id = %(tenant_id)s), 0) AS last_number,
               ARRAY(SELECT number::text FROM invoices WHERE tenant_id = %(tenant_id)s ORDER BY invoice_id) AS numbers
        """,
        {"tenant_id": tenant_id},
    ).fetchone()
    assert row is not None
    return row["last_number"], row["numbers"]
