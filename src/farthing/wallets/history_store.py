"""SQL of a wallet's history: every movement, with what caused it, from the facts that moved the counters."""

from datetime import datetime
from typing import Any

from farthing.db.pool import BooksConnection

# Each branch is cut to the page by itself, so that a wallet with a million draws is read from its end.
_HISTORY = """
    WITH own AS (
        SELECT grant_id, key FROM grants WHERE tenant_id = %(tenant_id)s AND wallet_id = %(wallet_id)s),
    granted AS (
        SELECT g.created_at AS moved_at, 'granted' AS movement, g.grant_id AS id, 0::bigint AS place, g.key AS grant,
               g.amount, CASE WHEN g.rolled_from IS NOT NULL THEN 'rolled over from ' || f.key
                              WHEN r.key IS NOT NULL THEN 'recurring grant ' || r.key
                              ELSE g.reference END AS because,
               NULL::text AS subscription, NULL::timestamptz AS period_start, NULL::text AS rate_card
          FROM grants g
          LEFT JOIN grants f ON f.tenant_id = g.tenant_id AND f.grant_id = g.rolled_from
          LEFT JOIN recurring_grants r ON r.tenant_id = g.tenant_id AND r.recurring_grant_id = g.recurring_grant_id
         WHERE g.tenant_id = %(tenant_id)s AND g.wallet_id = %(wallet_id)s
           AND (%(at)s::timestamptz IS NULL OR (g.created_at, 'granted'::text, g.grant_id, 0::bigint)
                < (%(at)s, %(movement)s::text, %(id)s::bigint, %(place)s::bigint))
         ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC LIMIT %(limit)s),
    ended AS (
        SELECT e.ended_at, e.reason, e.grant_id, e.place::bigint, o.key, -e.amount, e.note,
               NULL::text, NULL::timestamptz, NULL::text
          FROM own o JOIN grant_endings e ON e.tenant_id = %(tenant_id)s AND e.grant_id = o.grant_id
         WHERE %(at)s::timestamptz IS NULL OR (e.ended_at, e.reason, e.grant_id, e.place::bigint)
               < (%(at)s, %(movement)s::text, %(id)s::bigint, %(place)s::bigint)
         ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC LIMIT %(limit)s),
    drawn AS (
        SELECT d.drawn_at, 'drawn', d.draw_id, p.place, o.key, -p.amount,
               d.cause || CASE WHEN d.reference = '' THEN '' ELSE ' ' || d.reference END,
               s.key, p.period_start, p.rate_card
          FROM wallet_draws d
         CROSS JOIN LATERAL unnest(d.subscription_ids, d.period_starts, d.rate_cards, d.grant_ids, d.amounts)
               WITH ORDINALITY AS p (subscription_id, period_start, rate_card, grant_id, amount, place)
          JOIN own o ON o.grant_id = p.grant_id
          JOIN subscriptions s ON s.tenant_id = d.tenant_id AND s.subscription_id = p.subscription_id
         WHERE d.tenant_id = %(tenant_id)s AND d.grant_ids && ARRAY(SELECT grant_id FROM own) AND p.amount <> 0
           AND (%(at)s::timestamptz IS NULL OR (d.drawn_at, 'drawn'::text, d.draw_id, p.place)
                < (%(at)s, %(movement)s::text, %(id)s::bigint, %(place)s::bigint))
         ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC LIMIT %(limit)s)
    SELECT * FROM (SELECT * FROM granted UNION ALL SELECT * FROM ended UNION ALL SELECT * FROM drawn) moved
     ORDER BY moved_at DESC, movement DESC, id DESC, place DESC LIMIT %(limit)s
"""


def select_history(
    conn: BooksConnection,
    tenant_id: int,
    wallet_id: int,
    before: tuple[datetime, str, int, int] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Movements of a wallet, the latest first, those before a place: (moved_at, movement, id, place)."""
    at, movement, number, place = before or (None, None, None, None)
    return conn.execute(
        _HISTORY,
        {
            "tenant_id": tenant_id,
            "wallet_id": wallet_id,
            "limit": limit,
            "at": at,
            "movement": movement,
            "id": number,
            "place": place,
        },
    ).fetchall()
