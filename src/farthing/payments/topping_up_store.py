"""SQL of what payments of top-ups funded."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def insert_due_top_ups(
    conn: BooksConnection, tenant_id: int, gateways: Collection[str], limit: int, now: datetime
) -> int:
    """Write a payment for each top-up that payments collect and whose customer left a method of these gateways.

    A wallet does not go on by itself with a method that failed it for good, or whose bank took a top-up back: not
    until another payment of a top-up by it has succeeded, or another method takes its place.
    """
    return conn.execute(
        """
        WITH due AS MATERIALIZED (
            SELECT t.top_up_id, t.key, w.customer_id, w.currency, t.amount, m.payment_method_id, m.gateway
              FROM top_ups t
              JOIN wallets w ON w.tenant_id = t.tenant_id AND w.wallet_id = t.wallet_id
              JOIN payment_methods m ON m.tenant_id = t.tenant_id AND m.customer_id = w.customer_id AND m.is_default
                   AND m.removed_at IS NULL AND m.gateway = ANY(%(gateways)s)
             WHERE t.tenant_id = %(tenant_id)s AND t.status = 'requested' AND t.collected_by = 'payment'
               AND (m.kind <> 'sepa_debit' OR w.currency = 'EUR')
               AND NOT (t.automatic AND EXISTS (
                    SELECT FROM payments f
                      JOIN top_ups o ON o.tenant_id = f.tenant_id AND o.key = f.top_up AND o.wallet_id = t.wallet_id
                     WHERE f.tenant_id = t.tenant_id AND f.customer_id = w.customer_id AND f.purpose = 'top_up'
                       AND f.payment_method_id = m.payment_method_id AND (f.state = 'failed' OR f.charged_back > 0)
                       AND NOT EXISTS (
                           SELECT FROM payments s
                            WHERE s.tenant_id = f.tenant_id AND s.customer_id = f.customer_id
                              AND s.purpose = 'top_up' AND s.state = 'succeeded' AND s.charged_back = 0
                              AND s.payment_method_id = f.payment_method_id AND s.payment_id > f.payment_id)))
             ORDER BY t.top_up_id LIMIT %(limit)s FOR NO KEY UPDATE OF t SKIP LOCKED
        ), made AS (
            INSERT INTO payments (tenant_id, key, customer_id, payment_method_id, gateway, purpose, top_up, currency,
                                  amount, reference, requested_at, state, moved_at, cause, next_attempt_at)
            SELECT %(tenant_id)s, 'topup:' || key, customer_id, payment_method_id, gateway, 'top_up', key, currency,
                   amount, 'top_up:' || key, %(now)s, 'requested', %(now)s, 'top-up', %(now)s
              FROM due ORDER BY top_up_id
            RETURNING top_up
        )
        UPDATE top_ups t SET status = 'collecting'
          FROM made WHERE t.tenant_id = %(tenant_id)s AND t.key = made.top_up
        """,
        {"tenant_id": tenant_id, "gateways": list(gateways), "limit": limit, "now": now},
    ).rowcount


def cancel_unconfirmed(
    conn: BooksConnection, tenant_id: int, asked_before: datetime, code: str, now: datetime
) -> list[str]:
    """Call off payments of top-ups whose payer was asked to prove who it is before then, and did not; the top-ups."""
    rows = conn.execute(
        """
        WITH cancelled AS (
            UPDATE payments SET state = 'cancelled', moved_at = %(now)s, cause = 'not confirmed'
             WHERE tenant_id = %(tenant_id)s AND purpose = 'top_up' AND state = 'action_required'
               AND moved_at <= %(asked_before)s
            RETURNING payment_id, attempts, top_up
        ), ended AS (
            UPDATE payment_attempts a SET outcome = 'failed', code = %(code)s, settled_at = %(now)s, asked_at = %(now)s
              FROM cancelled c
             WHERE a.tenant_id = %(tenant_id)s AND a.payment_id = c.payment_id AND a.attempt = c.attempts
               AND a.outcome = 'open')
        SELECT top_up FROM cancelled ORDER BY payment_id
        """,
        {"tenant_id": tenant_id, "asked_before": asked_before, "code": code, "now": now},
    )
    return [row["top_up"] for row in rows]


def select_asked_once(conn: BooksConnection, tenant_id: int, payment_ids: Collection[int]) -> set[int]:
    """Those of these payments that are for top-ups that somebody asked for: whoever wants to tries again."""
    rows = conn.execute(
        """
        SELECT p.payment_id FROM payments p
          JOIN top_ups t ON t.tenant_id = p.tenant_id AND t.key = p.top_up AND NOT t.automatic
         WHERE p.tenant_id = %s AND p.payment_id = ANY(%s)
        """,
        [tenant_id, list(payment_ids)],
    ).fetchall()
    return {row["payment_id"] for row in rows}


def insert_fundings(
    conn: BooksConnection,
    tenant_id: int,
    fundings: Sequence[tuple[int, int, Decimal]],
    cause: str,
    now: datetime,
) -> None:
    """Which payment funded how much of which grant: (payment, grant, amount); below zero, what was taken out."""
    if not fundings:
        return
    conn.execute(
        """
        INSERT INTO payment_grants (tenant_id, payment_id, grant_id, amount, cause, moved_at)
        SELECT %(tenant_id)s, g.payment_id, g.grant_id, g.amount, %(cause)s, %(now)s
          FROM unnest(%(payments)s::bigint[], %(grants)s::bigint[], %(amounts)s::numeric[])
               AS g (payment_id, grant_id, amount)
        """,
        {
            "tenant_id": tenant_id,
            "cause": cause,
            "now": now,
            "payments": [payment for payment, _, _ in fundings],
            "grants": [grant for _, grant, _ in fundings],
            "amounts": [amount for *_, amount in fundings],
        },
    )


def select_funded(conn: BooksConnection, tenant_id: int, payment_ids: Collection[int]) -> list[DictRow]:
    """What these payments have in which grants; the latest grant first."""
    return conn.execute(
        """
        SELECT payment_id, grant_id, sum(amount) AS amount FROM payment_grants
         WHERE tenant_id = %s AND payment_id = ANY(%s)
         GROUP BY payment_id, grant_id HAVING sum(amount) > 0 ORDER BY payment_id, grant_id DESC
        """,
        [tenant_id, list(payment_ids)],
    ).fetchall()


def select_latest_grants(
    conn: BooksConnection, tenant_id: int, payment_ids: Collection[int]
) -> dict[int, int]:
    """The last grant that each of these payments had anything in."""
    rows = conn.execute(
        "SELECT payment_id, max(grant_id) AS grant_id FROM payment_grants"
        " WHERE tenant_id = %s AND payment_id = ANY(%s) GROUP BY payment_id",
        [tenant_id, list(payment_ids)],
    ).fetchall()
    return {row["payment_id"]: row["grant_id"] for row in rows}


def select_owed(conn: BooksConnection, tenant_id: int, payment_ids: Collection[int] | None) -> list[DictRow]:
    """Payments of top-ups that have more in grants than is left of them: of these, or of all that banks took back."""
    return conn.execute(
        """
        SELECT p.payment_id, p.key, p.currency, c.key AS customer, w.key AS wallet,
               f.funded + p.refunded + p.charged_back - p.amount AS owed
          FROM payments p
          JOIN customers c ON c.tenant_id = p.tenant_id AND c.customer_id = p.customer_id
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(g.amount), 0) AS funded, max(g.grant_id) AS grant_id FROM payment_grants g
                WHERE g.tenant_id = p.tenant_id AND g.payment_id = p.payment_id) f
          JOIN grants n ON n.tenant_id = p.tenant_id AND n.grant_id = f.grant_id
          JOIN wallets w ON w.tenant_id = n.tenant_id AND w.wallet_id = n.wallet_id
         WHERE p.tenant_id = %(tenant_id)s AND p.purpose = 'top_up' AND p.charged_back > 0 AND p.state = 'succeeded'
           AND (%(ids)s::bigint[] IS NULL OR p.payment_id = ANY(%(ids)s))
           AND f.funded + p.refunded + p.charged_back > p.amount
         ORDER BY p.payment_id
        """,
        {"tenant_id": tenant_id, "ids": None if payment_ids is None else list(payment_ids)},
    ).fetchall()


def select_fundings(conn: BooksConnection, tenant_id: int, payment_id: int) -> list[DictRow]:
    """What a payment put into which grant, and what was taken out again, in order."""
    return conn.execute(
        """
        SELECT g.key AS grant, w.key AS wallet, f.amount, f.cause, f.moved_at
          FROM payment_grants f
          JOIN grants g ON g.tenant_id = f.tenant_id AND g.grant_id = f.grant_id
          JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
         WHERE f.tenant_id = %s AND f.payment_id = %s ORDER BY f.funding_id
        """,
        [tenant_id, payment_id],
    ).fetchall()
