"""SQL of what stands to customers' credit, and of what they owe beside invoices."""

from datetime import datetime

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection

# Everything that moves what is open, what is to somebody's credit, and what is owed for grants, each with the moment
# that it happened at. What an allocation takes off an invoice it takes off a credit too.
_STANDING = """
    WITH moved AS (
        SELECT customer_id, currency, 'open' AS part, payable AS amount
          FROM invoice_balances WHERE tenant_id = %(tenant)s AND issued_at < %(end)s::timestamptz
        UNION ALL
        SELECT b.customer_id, b.currency, 'open', -m.amount
          FROM (SELECT invoice_id, amount, allocated_at AS at FROM payment_allocations WHERE tenant_id = %(tenant)s
                UNION ALL
                SELECT invoice_id, amount, allocated_at FROM credit_allocations WHERE tenant_id = %(tenant)s
                UNION ALL
                SELECT invoice_id, amount, reduced_at FROM invoice_reductions WHERE tenant_id = %(tenant)s
                UNION ALL
                SELECT invoice_id, net + tax, written_off_at FROM write_offs WHERE tenant_id = %(tenant)s) m
          JOIN invoice_balances b ON b.tenant_id = %(tenant)s AND b.invoice_id = m.invoice_id
         WHERE m.at < %(end)s::timestamptz
        UNION ALL
        SELECT p.customer_id, p.currency, CASE WHEN p.purpose = 'top_up' THEN 'owed_for_grants' ELSE 'payments' END,
               CASE WHEN p.purpose = 'top_up' THEN -p.amount ELSE p.amount END
          FROM payments p
          JOIN transfers t ON t.tenant_id = p.tenant_id AND t.key = 'payment:' || p.key
         WHERE p.tenant_id = %(tenant)s AND p.state = 'succeeded' AND t.effective_at < %(end)s::timestamptz
        UNION ALL
        SELECT p.customer_id, p.currency, 'payments', -a.amount
          FROM payment_allocations a JOIN payments p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
         WHERE a.tenant_id = %(tenant)s AND a.allocated_at < %(end)s::timestamptz
        UNION ALL
        SELECT p.customer_id, p.currency, CASE WHEN p.purpose = 'top_up' THEN 'owed_for_grants' ELSE 'payments' END,
               CASE WHEN p.purpose = 'top_up' THEN d.amount ELSE -d.amount END
          FROM disputes d
          JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
          JOIN transfers t ON t.tenant_id = d.tenant_id AND t.key = 'chargeback:' || d.key
         WHERE d.tenant_id = %(tenant)s AND t.effective_at < %(end)s::timestamptz
        UNION ALL
        -- What is to be paid back is no credit any more, and owed to the customer until it is.
        SELECT p.customer_id, p.currency, s.part, s.sign * r.amount
          FROM refunds r
          JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
          LEFT JOIN transfers t ON t.tenant_id = r.tenant_id AND t.key = 'refund:' || r.key
                               AND t.effective_at < %(end)s::timestamptz
         CROSS JOIN (VALUES ('payments', -1), ('refunds_under_way', 1)) AS s (part, sign)
         WHERE r.tenant_id = %(tenant)s AND p.purpose <> 'top_up' AND r.requested_at < %(end)s::timestamptz
           AND NOT (r.state = 'failed' AND r.moved_at < %(end)s::timestamptz)
           AND (s.part = 'payments' OR t.key IS NULL)
        UNION ALL
        SELECT customer_id, currency, source, amount
          FROM customer_credits WHERE tenant_id = %(tenant)s AND arose_at < %(end)s::timestamptz
        UNION ALL
        SELECT c.customer_id, c.currency, c.source, -a.amount
          FROM credit_allocations a
          JOIN customer_credits c ON c.tenant_id = a.tenant_id AND c.credit_id = a.credit_id
         WHERE a.tenant_id = %(tenant)s AND a.allocated_at < %(end)s::timestamptz
        UNION ALL
        SELECT c.customer_id, c.currency, c.source, -c.taken_back
          FROM customer_credits c
          JOIN invoices i ON i.tenant_id = c.tenant_id AND i.number = c.reference
          JOIN invoice_voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
         WHERE c.tenant_id = %(tenant)s AND c.source = 'invoice' AND v.voided_at < %(end)s::timestamptz
        UNION ALL
        SELECT g.customer_id, coalesce(w.currency, o.currency), 'owed_for_grants',
               g.amount * coalesce(g.unit_price, 1)
          FROM grants g
          JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
          JOIN customers o ON o.tenant_id = g.tenant_id AND o.customer_id = g.customer_id
         WHERE g.tenant_id = %(tenant)s AND g.paid AND g.rolled_from IS NULL
           AND g.returned_of IS NULL AND g.created_at < %(end)s::timestamptz
        UNION ALL
        -- What a refund or a dispute takes out of a grant is not owed any more; what is paid back is.
        SELECT p.customer_id, p.currency, 'owed_for_grants', f.amount
          FROM payment_grants f JOIN payments p ON p.tenant_id = f.tenant_id AND p.payment_id = f.payment_id
         WHERE f.tenant_id = %(tenant)s AND f.amount < 0 AND f.cause <> 'dispute won'
           AND f.moved_at < %(end)s::timestamptz
        UNION ALL
        SELECT p.customer_id, p.currency, 'owed_for_grants', r.amount
          FROM refunds r
          JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id AND p.purpose = 'top_up'
          JOIN transfers t ON t.tenant_id = r.tenant_id AND t.key = 'refund:' || r.key
         WHERE r.tenant_id = %(tenant)s AND t.effective_at < %(end)s::timestamptz
    ), summed AS (
        SELECT customer_id, currency,
               coalesce(sum(amount) FILTER (WHERE part = 'open'), 0) AS open,
               coalesce(sum(amount) FILTER (WHERE part = 'payments'), 0) AS payments,
               coalesce(sum(amount) FILTER (WHERE part = 'invoice'), 0) AS invoices,
               coalesce(sum(amount) FILTER (WHERE part = 'credit_note'), 0) AS credit_notes,
               coalesce(sum(amount) FILTER (WHERE part = 'grant'), 0) AS grants,
               coalesce(sum(amount) FILTER (WHERE part = 'refunds_under_way'), 0) AS refunds_under_way,
               coalesce(sum(amount) FILTER (WHERE part = 'owed_for_grants'), 0) AS owed_for_grants
          FROM moved
         WHERE %(customer)s::bigint IS NULL OR customer_id = %(customer)s
         GROUP BY customer_id, currency
    )
    SELECT c.key AS customer, s.customer_id, s.currency, s.open, s.payments, s.invoices, s.credit_notes, s.grants,
           s.refunds_under_way, s.owed_for_grants
      FROM summed s JOIN customers c ON c.tenant_id = %(tenant)s AND c.customer_id = s.customer_id
     ORDER BY c.key COLLATE "C", s.currency
"""

_CREDITS = """
    SELECT 'payment' AS source, p.key AS reference, p.amount,
           p.amount - p.allocated - p.refunded - p.charged_back AS left, p.paid_at AS since, p.currency
      FROM payments p
     WHERE p.tenant_id = %(tenant)s AND p.customer_id = %(customer)s AND p.state = 'succeeded' AND p.purpose <> 'top_up'
       AND p.allocated + p.refunded + p.charged_back < p.amount
     UNION ALL
    SELECT c.source, c.reference, c.amount, c.amount - c.allocated - c.taken_back, c.arose_at, c.currency
      FROM customer_credits c
     WHERE c.tenant_id = %(tenant)s AND c.customer_id = %(customer)s AND c.allocated + c.taken_back < c.amount
     ORDER BY since, source, reference LIMIT %(limit)s
"""


def select_standing(
    conn: BooksConnection, tenant_id: int, end: datetime | None, customer_id: int | None = None
) -> list[DictRow]:
    """By customer and currency, before `end` or now: what is open of invoices, what is to its credit by where that
    comes from, what is about to be refunded, and what is owed for paid grants less the top-ups that paid for some."""
    given = {"tenant": tenant_id, "end": end or "infinity", "customer": customer_id}
    return conn.execute(_STANDING, given).fetchall()


def select_credits_left(conn: BooksConnection, tenant_id: int, customer_id: int, limit: int) -> list[DictRow]:
    """What is left to a customer's credit now, in the order that it pays in."""
    given = {"tenant": tenant_id, "customer": customer_id, "limit": limit}
    return conn.execute(_CREDITS, given).fetchall()


def select_credits_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, customer: str | None
) -> list[DictRow]:
    """Credits that no payment brought, in the order they arose, those behind the id `after`, and what they paid."""
    return conn.execute(
        """
        SELECT c.credit_id, k.key AS customer, c.currency, c.source, c.reference, c.amount, c.allocated, c.taken_back,
               c.arose_at,
               coalesce((SELECT jsonb_agg(jsonb_build_object('invoice', p.number, 'amount', p.amount::text)
                                          ORDER BY p.number)
                           FROM (SELECT i.number, sum(a.amount) AS amount FROM credit_allocations a
                                   JOIN invoices i ON i.tenant_id = a.tenant_id AND i.invoice_id = a.invoice_id
                                  WHERE a.tenant_id = c.tenant_id AND a.credit_id = c.credit_id
                                  GROUP BY i.number HAVING sum(a.amount) <> 0) p), '[]') AS paid
          FROM customer_credits c JOIN customers k ON k.tenant_id = c.tenant_id AND k.customer_id = c.customer_id
         WHERE c.tenant_id = %(tenant)s AND c.credit_id > %(after)s
           AND (%(customer)s::text IS NULL OR k.key = %(customer)s)
         ORDER BY c.credit_id LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "after": after, "limit": limit, "customer": customer},
    ).fetchall()


# ---- What must hold


def count_credits(conn: BooksConnection, tenant_id: int) -> int:
    """How many credits no payment brought."""
    row = conn.execute(
        "SELECT count(*) AS credits FROM customer_credits WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["credits"])


def select_receivables(conn: BooksConnection, tenant_id: int) -> list[DictRow]:
    """What the ledger says each customer owes, by currency; opening balances aside, which stand on no invoice."""
    return conn.execute(
        """
        WITH aside AS (
            SELECT e.account_id, sum(e.amount) AS amount
              FROM transfers t CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
             WHERE t.tenant_id = %(tenant)s AND t.kind = 'opening_balance'
             GROUP BY e.account_id)
        SELECT c.key AS customer, a.currency, b.balance - coalesce(s.amount, 0) AS balance
          FROM accounts a
          JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
          JOIN customers c ON c.tenant_id = a.tenant_id AND c.customer_id = a.customer_id
          LEFT JOIN aside s ON s.account_id = a.account_id
         WHERE a.tenant_id = %(tenant)s AND a.code = 'receivable'
        """,
        {"tenant": tenant_id},
    ).fetchall()


def select_unlike_parts(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Credits and invoices whose kept sums are not those of what was appended."""
    return conn.execute(
        """
        SELECT c.source || ' ' || c.reference AS what, c.allocated AS kept, coalesce(a.amount, 0) AS summed
          FROM customer_credits c
          LEFT JOIN (SELECT credit_id, sum(amount) AS amount FROM credit_allocations
                      WHERE tenant_id = %(tenant)s GROUP BY 1) a USING (credit_id)
         WHERE c.tenant_id = %(tenant)s AND c.allocated <> coalesce(a.amount, 0)
         UNION ALL
        SELECT 'invoice ' || i.number || ', by credit', b.from_credit, coalesce(a.amount, 0)
          FROM invoice_balances b
          JOIN invoices i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
          LEFT JOIN (SELECT invoice_id, sum(amount) AS amount FROM credit_allocations
                      WHERE tenant_id = %(tenant)s GROUP BY 1) a ON a.invoice_id = b.invoice_id
         WHERE b.tenant_id = %(tenant)s AND b.from_credit <> coalesce(a.amount, 0)
         UNION ALL
        SELECT 'invoice ' || i.number || ', given back', b.credited, coalesce(r.amount, 0)
          FROM invoice_balances b
          JOIN invoices i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
          LEFT JOIN (SELECT invoice_id, sum(amount) AS amount FROM invoice_reductions
                      WHERE tenant_id = %(tenant)s GROUP BY 1) r ON r.invoice_id = b.invoice_id
         WHERE b.tenant_id = %(tenant)s AND b.credited <> coalesce(r.amount, 0)
         UNION ALL
        SELECT 'credit note ' || n.number || ', to wallets', n.to_wallets, coalesce(g.amount, 0)
          FROM credit_notes n
          LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM grants
                              WHERE tenant_id = n.tenant_id AND reference = n.number AND returned_of IS NOT NULL) g
                 ON true
         WHERE n.tenant_id = %(tenant)s AND n.to_wallets > 0 AND n.to_wallets <> coalesce(g.amount, 0)
         ORDER BY 1 LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "limit": limit},
    ).fetchall()
