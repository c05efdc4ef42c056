"""SQL of what becomes of payments: outcomes, what they paid, what was taken back. Each is one statement for many."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def lock_settling(conn: BooksConnection, tenant_id: int) -> None:
    """One settles at a time for a tenant, so that nobody waits in a circle; gateways are never called meanwhile."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('farthing.payments'), %s::int)", [tenant_id % 2**31])


def expect_many(conn: BooksConnection) -> None:
    """Join sets with sets until the transaction ends.

    Tables that were just filled, as by the first billing of many customers, have no statistics yet; taken for empty,
    they were joined row by row, and thousands of invoices took minutes.
    """
    conn.execute("SET LOCAL enable_nestloop = off")


def select_closed_until(conn: BooksConnection, tenant_id: int) -> datetime | None:
    """Before when nothing may take effect any more, if any period is closed."""
    row = conn.execute(
        "SELECT closed_until FROM period_closings WHERE tenant_id = %s ORDER BY closing_id DESC LIMIT 1",
        [tenant_id],
    ).fetchone()
    return None if row is None else row["closed_until"]


def settle_attempts(
    conn: BooksConnection, tenant_id: int, rows: Sequence[dict[str, Any]], outcome: str, now: datetime
) -> None:
    """Say how these attempts ended. One that succeeded stays so; a payment has one that did."""
    conn.execute(
        """
        UPDATE payment_attempts a SET outcome = %(outcome)s, code = g.code, settled_at = %(now)s, asked_at = %(now)s
          FROM unnest(%(ids)s::bigint[], %(attempts)s::int[], %(codes)s::text[]) AS g (payment_id, attempt, code)
         WHERE a.tenant_id = %(tenant_id)s AND a.payment_id = g.payment_id AND a.attempt = g.attempt
           AND (a.outcome = 'open' OR (a.outcome = 'failed' AND %(outcome)s = 'succeeded'))
           AND NOT EXISTS (SELECT FROM payment_attempts o WHERE o.tenant_id = a.tenant_id
                              AND o.payment_id = a.payment_id AND o.outcome = 'succeeded')
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "outcome": outcome,
            "ids": [row["payment_id"] for row in rows],
            "attempts": [row["attempt"] for row in rows],
            "codes": [row["code"] for row in rows],
        },
    )


_MOVE = """
    UPDATE payments p
       SET state = g.state, moved_at = %(now)s, cause = %(cause)s, provider_id = coalesce(p.provider_id, g.provider_id),
           failure = g.code, next_attempt_at = g.next_attempt_at, paid_at = g.paid_at, fee = g.fee
      FROM unnest(%(ids)s::bigint[], %(attempts)s::int[], %(states)s::text[], %(provider_ids)s::text[],
                  %(codes)s::text[], %(next)s::timestamptz[], %(paid)s::timestamptz[], %(fees)s::numeric[])
           AS g (payment_id, attempt, state, provider_id, code, next_attempt_at, paid_at, fee)
     WHERE p.tenant_id = %(tenant_id)s AND p.payment_id = g.payment_id AND p.state <> g.state
       AND (g.state = 'succeeded' OR (p.attempts = g.attempt AND p.state IN ('sent', 'processing', 'action_required')))
       AND p.state <> 'succeeded'
    RETURNING p.payment_id, p.key, p.customer_id, p.currency, p.amount, p.purpose, p.invoice_id, p.top_up, p.reference,
              p.paid_at, p.fee, p.state, p.failure, p.next_attempt_at, p.gateway
"""


def move_payments(
    conn: BooksConnection, tenant_id: int, rows: Sequence[dict[str, Any]], cause: str, now: datetime
) -> list[DictRow]:
    """Move payments to the states that these rows say, those that can go there; answers with those that did."""
    return conn.execute(
        _MOVE,
        {
            "tenant_id": tenant_id,
            "now": now,
            "cause": cause,
            "ids": [row["payment_id"] for row in rows],
            "attempts": [row["attempt"] for row in rows],
            "states": [row["state"] for row in rows],
            "provider_ids": [row.get("provider_id") for row in rows],
            "codes": [row.get("code") for row in rows],
            "next": [row.get("next_attempt_at") for row in rows],
            "paid": [row.get("paid_at") for row in rows],
            "fees": [row.get("fee", Decimal(0)) for row in rows],
        },
    ).fetchall()


def cancel_needless(conn: BooksConnection, tenant_id: int, now: datetime) -> int:
    """Call off payments that wait to be sent for invoices of which less is open by now."""
    return conn.execute(
        """
        UPDATE payments p SET state = 'cancelled', moved_at = %(now)s, cause = 'paid otherwise', next_attempt_at = NULL
          FROM invoice_balances b
         WHERE p.tenant_id = %(tenant_id)s AND p.state = 'requested' AND b.tenant_id = p.tenant_id
           AND b.invoice_id = p.invoice_id AND b.open < p.amount
        """,
        {"tenant_id": tenant_id, "now": now},
    ).rowcount


# ---- What payments pay

_ALLOCATE_TARGETS = """
    WITH paying AS (
        SELECT p.payment_id, t.invoice_id, p.customer_id, p.currency,
               p.amount - p.allocated - p.refunded - p.charged_back AS credit
          FROM unnest(%(payments)s::bigint[], %(invoices)s::bigint[]) AS t (payment_id, invoice_id)
          JOIN payments p ON p.tenant_id = %(tenant_id)s AND p.payment_id = t.payment_id
         WHERE p.state = 'succeeded'
    ), placed AS (
        SELECT *, sum(credit) OVER (PARTITION BY invoice_id ORDER BY payment_id) - credit AS before
          FROM paying WHERE credit > 0
    )
    INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
    SELECT %(tenant_id)s, s.payment_id, s.invoice_id, least(s.credit, b.open - s.before), %(cause)s, %(now)s
      FROM placed s
      JOIN invoice_balances b ON b.tenant_id = %(tenant_id)s AND b.invoice_id = s.invoice_id
           AND b.customer_id = s.customer_id AND b.currency = s.currency
     WHERE b.open > s.before
     ORDER BY s.payment_id
    RETURNING invoice_id
"""

# Credits and debts of a customer are laid end to end on two lines; where they overlap, one pays the other. What is to
# a customer's credit for a grant that was called off counts as far as the customer had paid for grants.
_ALLOCATE_OLDEST = """
    WITH called_off AS (
        SELECT c.customer_id, c.currency, c.credit_id, c.arose_at, c.amount - c.allocated - c.taken_back AS credit,
               sum(c.amount - c.allocated - c.taken_back)
                   OVER (PARTITION BY c.customer_id, c.currency ORDER BY c.credit_id)
               - coalesce((SELECT sum(g.amount * coalesce(g.unit_price, 1)) FROM grants g
                             JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
                            WHERE g.tenant_id = c.tenant_id AND w.customer_id = c.customer_id
                              AND (w.currency = c.currency OR w.currency IS NULL)
                              AND g.paid AND g.rolled_from IS NULL AND g.returned_of IS NULL), 0)
               -- What refunds and disputes took out of grants is not owed any more.
               - coalesce((SELECT sum(f.amount) FROM payment_grants f
                             JOIN payments t ON t.tenant_id = f.tenant_id AND t.payment_id = f.payment_id
                            WHERE f.tenant_id = c.tenant_id AND t.customer_id = c.customer_id
                              AND t.currency = c.currency AND f.amount < 0 AND f.cause <> 'dispute won'), 0)
               + coalesce((SELECT sum(t.amount - t.charged_back - t.refunded) FROM payments t
                            WHERE t.tenant_id = c.tenant_id AND t.customer_id = c.customer_id
                              AND t.currency = c.currency
                              AND t.state = 'succeeded' AND t.purpose = 'top_up'), 0) AS paid_upto
          FROM customer_credits c
         WHERE c.tenant_id = %(tenant_id)s AND c.source = 'grant' AND c.allocated + c.taken_back < c.amount
           AND (%(customers)s::bigint[] IS NULL OR c.customer_id = ANY(%(customers)s))
    ), usable AS (
        SELECT p.customer_id, p.currency, p.payment_id, NULL::bigint AS credit_id, p.paid_at AS arose_at,
               p.amount - p.allocated - p.refunded - p.charged_back AS credit
          FROM payments p
         WHERE p.tenant_id = %(tenant_id)s AND p.state = 'succeeded' AND p.purpose <> 'top_up'
           AND p.allocated + p.refunded + p.charged_back < p.amount
           AND (%(customers)s::bigint[] IS NULL OR p.customer_id = ANY(%(customers)s))
        UNION ALL
        SELECT c.customer_id, c.currency, NULL, c.credit_id, c.arose_at, c.amount - c.allocated - c.taken_back
          FROM customer_credits c
         WHERE c.tenant_id = %(tenant_id)s AND c.source <> 'grant' AND c.allocated + c.taken_back < c.amount
           AND (%(customers)s::bigint[] IS NULL OR c.customer_id = ANY(%(customers)s))
        UNION ALL
        SELECT customer_id, currency, NULL, credit_id, arose_at,
               greatest(paid_upto, 0) - greatest(paid_upto - credit, 0)
          FROM called_off WHERE paid_upto > 0
    ), credits AS (
        SELECT customer_id, currency, payment_id, credit_id, credit,
               sum(credit) OVER (PARTITION BY customer_id, currency ORDER BY arose_at, payment_id, credit_id) AS upto
          FROM usable
    ), debts AS (
        SELECT b.customer_id, b.currency, b.invoice_id, b.open,
               sum(b.open) OVER (PARTITION BY b.customer_id, b.currency ORDER BY b.due_at, b.invoice_id) AS upto
          FROM invoice_balances b
         WHERE b.tenant_id = %(tenant_id)s AND b.open > 0
           AND b.customer_id IN (SELECT customer_id FROM credits)
           -- What is on its way to an invoice is waited for.
           AND NOT EXISTS (SELECT FROM payments f WHERE f.tenant_id = b.tenant_id AND f.invoice_id = b.invoice_id
                              AND f.state IN ('sent', 'processing', 'action_required'))
    ), met AS MATERIALIZED (
        SELECT c.payment_id, c.credit_id, d.invoice_id,
               least(c.upto, d.upto) - greatest(c.upto - c.credit, d.upto - d.open) AS amount
          FROM credits c
          JOIN debts d ON d.customer_id = c.customer_id AND d.currency = c.currency
               AND c.upto - c.credit < d.upto AND d.upto - d.open < c.upto
    ), from_payments AS (
        INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
        SELECT %(tenant_id)s, payment_id, invoice_id, amount, %(cause)s, %(now)s
          FROM met WHERE payment_id IS NOT NULL ORDER BY payment_id, invoice_id
        RETURNING invoice_id
    ), from_credits AS (
        INSERT INTO credit_allocations (tenant_id, credit_id, invoice_id, amount, cause, allocated_at)
        SELECT %(tenant_id)s, credit_id, invoice_id, amount, %(cause)s, %(now)s
          FROM met WHERE credit_id IS NOT NULL ORDER BY credit_id, invoice_id
        RETURNING invoice_id
    )
    SELECT invoice_id FROM from_payments UNION ALL SELECT invoice_id FROM from_credits
"""


def allocate_targets(
    conn: BooksConnection, tenant_id: int, pairs: Sequence[tuple[int, int]], cause: str, now: datetime
) -> list[int]:
    """Let payments pay the invoices that they are for, as far as both go. One payment stands in one pair.

    Answers with the invoices that got something.
    """
    rows = conn.execute(
        _ALLOCATE_TARGETS,
        {
            "tenant_id": tenant_id,
            "cause": cause,
            "now": now,
            "payments": [payment for payment, _ in pairs],
            "invoices": [invoice for _, invoice in pairs],
        },
    ).fetchall()
    return [row["invoice_id"] for row in rows]


def allocate_oldest(
    conn: BooksConnection, tenant_id: int, customers: Collection[int] | None, cause: str, now: datetime
) -> list[int]:
    """Let what stands to customers' credit pay what they owe, oldest first; of all customers, or of these."""
    given = None if customers is None else list(customers)
    rows = conn.execute(
        _ALLOCATE_OLDEST, {"tenant_id": tenant_id, "cause": cause, "now": now, "customers": given}
    ).fetchall()
    return [row["invoice_id"] for row in rows]


def take_back(
    conn: BooksConnection, tenant_id: int, wanted: Sequence[tuple[int, Decimal]], cause: str, now: datetime
) -> list[int]:
    """Take so much of what these payments paid away from their invoices, the last one first."""
    rows = conn.execute(
        """
        WITH net AS (
            SELECT a.payment_id, a.invoice_id, sum(a.amount) AS amount, max(a.allocation_id) AS latest,
                   w.amount AS wanted
              FROM unnest(%(payments)s::bigint[], %(amounts)s::numeric[]) AS w (payment_id, amount)
              JOIN payment_allocations a ON a.tenant_id = %(tenant_id)s AND a.payment_id = w.payment_id
             GROUP BY a.payment_id, a.invoice_id, w.amount HAVING sum(a.amount) > 0
        ), placed AS (
            SELECT *, sum(amount) OVER (PARTITION BY payment_id ORDER BY latest DESC) - amount AS before FROM net
        )
        INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
        SELECT %(tenant_id)s, payment_id, invoice_id, -least(amount, wanted - before), %(cause)s, %(now)s
          FROM placed WHERE before < wanted ORDER BY payment_id, invoice_id
        RETURNING invoice_id
        """,
        {
            "tenant_id": tenant_id,
            "cause": cause,
            "now": now,
            "payments": [payment for payment, _ in wanted],
            "amounts": [amount for _, amount in wanted],
        },
    ).fetchall()
    return [row["invoice_id"] for row in rows]


def select_paid(conn: BooksConnection, tenant_id: int, invoice_ids: Collection[int]) -> list[DictRow]:
    """Those of these invoices of which nothing is open any more."""
    return conn.execute(
        """
        SELECT i.number, c.key AS customer, b.currency, b.paid
          FROM invoice_balances b
          JOIN invoices i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
          JOIN customers c ON c.tenant_id = b.tenant_id AND c.customer_id = b.customer_id
         WHERE b.tenant_id = %s AND b.invoice_id = ANY(%s) AND b.open = 0 ORDER BY i.number
        """,
        [tenant_id, list(invoice_ids)],
    ).fetchall()


def select_numbers(conn: BooksConnection, tenant_id: int, invoice_ids: Collection[int]) -> dict[int, str]:
    """The numbers of these invoices."""
    rows = conn.execute(
        "SELECT invoice_id, number FROM invoices WHERE tenant_id = %s AND invoice_id = ANY(%s)",
        [tenant_id, list(invoice_ids)],
    ).fetchall()
    return {row["invoice_id"]: row["number"] for row in rows}


def select_customer_keys(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[int, str]:
    """The keys of these customers."""
    rows = conn.execute(
        "SELECT customer_id, key FROM customers WHERE tenant_id = %s AND customer_id = ANY(%s)",
        [tenant_id, list(customer_ids)],
    ).fetchall()
    return {row["customer_id"]: row["key"] for row in rows}
