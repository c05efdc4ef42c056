"""SQL of collecting. Rows are claimed with SKIP LOCKED: workers take different ones and wait for nobody."""

from collections.abc import Collection, Sequence
from datetime import datetime

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection

_CLAIMED = """
    {claim}
    SELECT p.payment_id, p.key, p.attempts AS attempt, p.amount, p.currency, p.gateway, p.provider_id,
           coalesce(m.reference, '') AS method, c.key AS customer, coalesce(i.number, p.reference) AS description,
           m.removed_at IS NOT NULL AS removed, s.sent_at
      FROM moved p
      JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = p.customer_id
      LEFT JOIN sent s ON s.payment_id = p.payment_id
      LEFT JOIN payment_methods m ON m.tenant_id = %(tenant_id)s AND m.payment_method_id = p.payment_method_id
      LEFT JOIN invoices i ON i.tenant_id = %(tenant_id)s AND i.invoice_id = p.invoice_id
     ORDER BY p.payment_id
"""

_CLAIM_REQUESTED = _CLAIMED.format(
    claim="""
    WITH taken AS MATERIALIZED (
        SELECT p.payment_id FROM payments p
         WHERE p.tenant_id = %(tenant_id)s AND p.state = 'requested' AND p.gateway = ANY(%(gateways)s)
           AND p.next_attempt_at <= %(now)s
           AND (p.invoice_id IS NULL OR EXISTS (SELECT FROM invoice_balances b WHERE b.tenant_id = p.tenant_id
                   AND b.invoice_id = p.invoice_id AND b.open >= p.amount))
         ORDER BY p.next_attempt_at, p.payment_id LIMIT %(limit)s FOR NO KEY UPDATE OF p SKIP LOCKED
    ), moved AS (
        UPDATE payments p SET state = 'sent', moved_at = %(now)s, cause = 'collect', attempts = p.attempts + 1,
               next_attempt_at = NULL
          FROM taken t WHERE p.tenant_id = %(tenant_id)s AND p.payment_id = t.payment_id RETURNING p.*
    ), sent AS (
        INSERT INTO payment_attempts (tenant_id, payment_id, attempt, sent_at, asked_at, outcome)
        SELECT tenant_id, payment_id, attempts, %(now)s, %(now)s, 'open' FROM moved RETURNING payment_id, sent_at
    )
"""
)
_CLAIM_UNRESOLVED = _CLAIMED.format(
    claim="""
    WITH taken AS MATERIALIZED (
        SELECT a.payment_id, a.attempt FROM payment_attempts a
          JOIN payments p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
         WHERE a.tenant_id = %(tenant_id)s AND a.outcome = 'open' AND p.gateway = ANY(%(gateways)s)
           AND ((p.state = 'sent' AND a.asked_at <= %(sent_before)s)
                OR (p.state IN ('processing', 'action_required') AND a.asked_at <= %(underway_before)s))
         ORDER BY a.asked_at, a.payment_id LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED
    ), sent AS (
        UPDATE payment_attempts a SET asked_at = %(now)s
          FROM taken t
         WHERE a.tenant_id = %(tenant_id)s AND a.payment_id = t.payment_id AND a.attempt = t.attempt
        RETURNING a.payment_id, a.sent_at
    ), moved AS (
        SELECT p.* FROM payments p JOIN sent s ON s.payment_id = p.payment_id WHERE p.tenant_id = %(tenant_id)s
    )
"""
)


def insert_due(
    conn: BooksConnection,
    tenant_id: int,
    gateways: Collection[str],
    limit: int,
    due_by: datetime,
    now: datetime,
) -> int:
    """Write a payment for each invoice that is due by then and whose customer left a method of these gateways.

    Not where one is under way, nor where the same method failed for good for the same invoice, nor where money
    that had paid it was given or taken back: that is for people to decide.
    """
    return conn.execute(
        """
        INSERT INTO payments (tenant_id, key, customer_id, payment_method_id, gateway, purpose, invoice_id, currency,
                              amount, reference, requested_at, state, moved_at, cause, next_attempt_at)
        SELECT b.tenant_id, 'collect:' || i.number || ':' || 1 + (SELECT count(*) FROM payments e
                   WHERE e.tenant_id = b.tenant_id AND e.invoice_id = b.invoice_id AND e.key LIKE 'collect:%%'),
               b.customer_id, m.payment_method_id, m.gateway, 'invoice', b.invoice_id, b.currency, b.open, i.number,
               %(now)s, 'requested', %(now)s, 'due', %(now)s
          FROM invoice_balances b
          JOIN payment_methods m ON m.tenant_id = b.tenant_id AND m.customer_id = b.customer_id AND m.is_default
               AND m.removed_at IS NULL AND m.gateway = ANY(%(gateways)s)
          JOIN invoices i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
         WHERE b.tenant_id = %(tenant_id)s AND b.open > 0 AND b.due_at <= %(due_by)s
           AND (m.kind <> 'sepa_debit' OR b.currency = 'EUR')
           AND NOT EXISTS (SELECT FROM payments p WHERE p.tenant_id = b.tenant_id AND p.invoice_id = b.invoice_id
                              AND p.state IN ('requested', 'sent', 'processing', 'action_required'))
           AND NOT EXISTS (SELECT FROM payments f WHERE f.tenant_id = b.tenant_id AND f.invoice_id = b.invoice_id
                              AND f.state = 'failed' AND f.payment_method_id = m.payment_method_id)
           AND NOT EXISTS (SELECT FROM payment_allocations a WHERE a.tenant_id = b.tenant_id
                              AND a.invoice_id = b.invoice_id AND a.amount < 0)
         ORDER BY b.due_at, b.invoice_id LIMIT %(limit)s
        ON CONFLICT DO NOTHING
        """,
        {"tenant_id": tenant_id, "gateways": list(gateways), "limit": limit, "due_by": due_by, "now": now},
    ).rowcount


def claim_requested(
    conn: BooksConnection, tenant_id: int, gateways: Collection[str], limit: int, now: datetime
) -> list[DictRow]:
    """Take payments that are to be sent now, and write down that they are: each gets its next attempt.

    What was paid otherwise in the meantime is left alone.
    """
    return conn.execute(
        _CLAIM_REQUESTED,
        {"tenant_id": tenant_id, "gateways": list(gateways), "limit": limit, "now": now},
    ).fetchall()


def claim_unresolved(
    conn: BooksConnection,
    tenant_id: int,
    gateways: Collection[str],
    sent_before: datetime,
    underway_before: datetime,
    limit: int,
    now: datetime,
) -> list[DictRow]:
    """Take payments whose attempt nobody has answered for since `sent_before`, or that were on their way since then.

    They are marked as asked for now, so that another worker takes others.
    """
    return conn.execute(
        _CLAIM_UNRESOLVED,
        {
            "tenant_id": tenant_id,
            "gateways": list(gateways),
            "sent_before": sent_before,
            "underway_before": underway_before,
            "limit": limit,
            "now": now,
        },
    ).fetchall()


def name_at_provider(conn: BooksConnection, tenant_id: int, named: Sequence[tuple[int, str]]) -> None:
    """What gateways call these payments. A name that stands stays."""
    conn.execute(
        """
        UPDATE payments p SET provider_id = g.provider_id
          FROM unnest(%s::bigint[], %s::text[]) AS g (payment_id, provider_id)
         WHERE p.tenant_id = %s AND p.payment_id = g.payment_id AND p.provider_id IS NULL
        """,
        [[payment for payment, _ in named], [name for _, name in named], tenant_id],
    )


# ---- Refunds on their way


def claim_refunds(
    conn: BooksConnection,
    tenant_id: int,
    gateways: Collection[str],
    sent_before: datetime,
    limit: int,
    now: datetime,
) -> list[DictRow]:
    """Take refunds that are to be sent, and those that nobody has answered for; says which they were."""
    return conn.execute(
        """
        WITH taken AS MATERIALIZED (
            SELECT r.refund_id, r.state AS was FROM refunds r
              JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
             WHERE r.tenant_id = %(tenant_id)s AND p.gateway = ANY(%(gateways)s)
               AND (r.state = 'requested' OR (r.state = 'sent' AND r.moved_at <= %(sent_before)s))
             ORDER BY r.refund_id LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
        ), moved AS (
            UPDATE refunds r SET state = 'sent', moved_at = %(now)s
              FROM taken t WHERE r.tenant_id = %(tenant_id)s AND r.refund_id = t.refund_id
            RETURNING r.*, t.was
        )
        SELECT r.refund_id, r.key, r.amount, r.provider_id AS refund_provider_id, r.was, r.requested_at, p.currency,
               p.gateway, p.provider_id
          FROM moved r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
         ORDER BY r.refund_id
        """,
        {
            "tenant_id": tenant_id,
            "gateways": list(gateways),
            "sent_before": sent_before,
            "limit": limit,
            "now": now,
        },
    ).fetchall()


# ---- Dunning


def insert_reminders(
    conn: BooksConnection, tenant_id: int, days: Sequence[int], now: datetime
) -> list[DictRow]:
    """The next reminders of overdue invoices that are due themselves; answers with what they remind of."""
    return conn.execute(
        """
        WITH reminded AS (
            INSERT INTO dunning_reminders (tenant_id, invoice_id, step, reminded_at)
            SELECT b.tenant_id, b.invoice_id, max(s.step), %(now)s
              FROM invoice_balances b
              JOIN unnest(%(days)s::int[]) WITH ORDINALITY AS s (days, step)
                   ON b.due_at + s.days * interval '1 day' <= %(now)s
             WHERE b.tenant_id = %(tenant_id)s AND b.open > 0 AND b.due_at <= %(now)s
             GROUP BY b.tenant_id, b.invoice_id
            ON CONFLICT DO NOTHING RETURNING invoice_id, step
        )
        SELECT i.number, c.key AS customer, b.currency, b.open, b.due_at, r.step
          FROM reminded r
          JOIN invoice_balances b ON b.tenant_id = %(tenant_id)s AND b.invoice_id = r.invoice_id
          JOIN invoices i ON i.tenant_id = %(tenant_id)s AND i.invoice_id = r.invoice_id
          JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = b.customer_id
         ORDER BY i.number
        """,
        {"tenant_id": tenant_id, "days": list(days), "now": now},
    ).fetchall()


def suspend_overdue(
    conn: BooksConnection, tenant_id: int, due_before: datetime, now: datetime
) -> list[DictRow]:
    """Suspend customers with something open that was due before then, unless they are; answers with them."""
    return conn.execute(
        """
        WITH late AS (
            SELECT b.customer_id, min(b.due_at) AS due_at FROM invoice_balances b
             WHERE b.tenant_id = %(tenant_id)s AND b.open > 0 AND b.due_at <= %(due_before)s
               -- What is on its way is waited for.
               AND NOT EXISTS (SELECT FROM payments f WHERE f.tenant_id = b.tenant_id AND f.invoice_id = b.invoice_id
                                  AND f.state IN ('sent', 'processing'))
             GROUP BY b.customer_id
        ), suspended AS (
            INSERT INTO suspensions (tenant_id, customer_id, suspended_at)
            SELECT %(tenant_id)s, customer_id, %(now)s FROM late ON CONFLICT DO NOTHING RETURNING customer_id
        )
        SELECT c.key AS customer, l.due_at
          FROM suspended s JOIN late l USING (customer_id)
          JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = s.customer_id ORDER BY c.key
        """,
        {"tenant_id": tenant_id, "due_before": due_before, "now": now},
    ).fetchall()


def resume_paid(
    conn: BooksConnection, tenant_id: int, due_before: datetime | None, now: datetime
) -> list[DictRow]:
    """End suspensions of customers with nothing open that was due before then; answers with them.

    None: nobody is suspended under the policy in force.
    """
    return conn.execute(
        """
        WITH resumed AS (
            UPDATE suspensions s SET resumed_at = %(now)s
             WHERE s.tenant_id = %(tenant_id)s AND s.resumed_at IS NULL AND s.suspended_at <= %(now)s
               AND (%(due_before)s::timestamptz IS NULL OR NOT EXISTS (
                    SELECT FROM invoice_balances b WHERE b.tenant_id = s.tenant_id AND b.customer_id = s.customer_id
                       AND b.open > 0 AND b.due_at <= %(due_before)s))
            RETURNING s.customer_id, s.suspended_at
        )
        SELECT c.key AS customer, r.suspended_at
          FROM resumed r JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = r.customer_id
         ORDER BY c.key
        """,
        {"tenant_id": tenant_id, "due_before": due_before, "now": now},
    ).fetchall()


def select_to_write_off(
    conn: BooksConnection, tenant_id: int, due_before: datetime, limit: int
) -> list[DictRow]:
    """Invoices with something open that was due before then, and no payment of which is under way."""
    return conn.execute(
        """
        SELECT i.number, b.invoice_id, b.customer_id, b.currency, b.open
          FROM invoice_balances b JOIN invoices i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
         WHERE b.tenant_id = %(tenant_id)s AND b.open > 0 AND b.due_at <= %(due_before)s
           AND NOT EXISTS (SELECT FROM write_offs w WHERE w.tenant_id = b.tenant_id AND w.invoice_id = b.invoice_id)
           AND NOT EXISTS (SELECT FROM payments f WHERE f.tenant_id = b.tenant_id AND f.invoice_id = b.invoice_id
                              AND f.state IN ('requested', 'sent', 'processing', 'action_required'))
         ORDER BY b.due_at, b.invoice_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "due_before": due_before, "limit": limit},
    ).fetchall()
