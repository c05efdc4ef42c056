"""SQL of the report of money at gateways."""

from datetime import datetime
from decimal import Decimal

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.payments.model import BY_HAND
from farthing.payments.paying_out.store import OURS

# A movement is one of ours by its kind and the gateway's name for what moved; several movements may be one of ours.
_CLEARING = f"""
    WITH {OURS}, moved AS (
        SELECT m.gateway, m.kind, m.signed, m.currency, m.provider_id, p.name AS payout, p.state,
               p.arrived_at < %(end)s AS arrived,
               CASE WHEN m.kind IN ('refund', 'dispute', 'provider_fee') THEN m.movement_id
                    ELSE m.provider_id END AS name
          FROM provider_movements m
          LEFT JOIN payouts p ON p.tenant_id = m.tenant_id AND p.gateway = m.gateway AND p.name = m.payout
               AND p.made_at < %(end)s
         WHERE m.tenant_id = %(tenant)s AND m.moved_at < %(end)s
    ), unlike AS (
        -- Of each thing that moved, what our books say beside what the gateway says, where they say different things.
        SELECT gateway, kind, name, currency, sum(ours) AS ours, sum(theirs) AS theirs, count(*) AS movements
          FROM (SELECT gateway, kind, name, currency, amount AS ours, NULL::numeric AS theirs
                  FROM ours WHERE since < %(end)s
                UNION ALL
                SELECT m.gateway, CASE WHEN m.kind = 'payment' AND w.name IS NOT NULL THEN 'won' ELSE m.kind END,
                       m.name, m.currency, NULL, m.signed
                  FROM moved m
                  LEFT JOIN (SELECT DISTINCT gateway, name FROM said WHERE kind = 'won') w
                         ON w.gateway = m.gateway AND w.name = m.name
                 WHERE m.kind <> 'payout_returned') AS both_sides
         GROUP BY gateway, kind, name, currency HAVING sum(ours) IS DISTINCT FROM sum(theirs)
    ), found AS (
        SELECT gateway, 'held' AS what, count(*) AS movements, currency, sum(signed) AS amount
          FROM moved WHERE payout IS NULL GROUP BY gateway, currency
        UNION ALL
        SELECT gateway, 'in transit', count(*), currency, sum(signed)
          FROM moved WHERE payout IS NOT NULL AND state <> 'failed' AND arrived IS NOT TRUE GROUP BY gateway, currency
        UNION ALL
        SELECT gateway, 'failed', count(*), currency, sum(amount)
          FROM (SELECT gateway, currency, signed AS amount FROM moved
                 WHERE payout IS NOT NULL AND state = 'failed' AND arrived IS NOT TRUE
                UNION ALL
                SELECT gateway, currency, -signed FROM moved WHERE kind = 'payout_returned') f
         GROUP BY gateway, currency
        UNION ALL
        SELECT gateway,
               CASE WHEN theirs IS NULL THEN 'not told' WHEN ours IS NULL THEN 'unknown here' ELSE 'differs' END,
               sum(movements), currency, sum(coalesce(ours, 0) - coalesce(theirs, 0))
          FROM unlike GROUP BY gateway, 2, currency
        UNION ALL
        SELECT p.gateway, 'not listed', count(*), p.currency, -sum(p.amount - coalesce(m.signed, 0))
          FROM payouts p
          LEFT JOIN (SELECT gateway, payout, sum(signed) AS signed FROM moved GROUP BY 1, 2) m
                 ON m.gateway = p.gateway AND m.payout = p.name
         WHERE p.tenant_id = %(tenant)s AND p.arrived_at < %(end)s AND p.amount <> coalesce(m.signed, 0)
         GROUP BY p.gateway, p.currency
    )
    SELECT gateway, what, movements, currency, amount FROM found WHERE amount <> 0 OR what = 'unknown here'
"""  # noqa: S608


def select_clearing(
    conn: BooksConnection, tenant_id: int, end: datetime
) -> list[tuple[str, str, int, str, Decimal]]:
    """Where gateways' money was before `end`: (gateway, what, how many, currency, amount)."""
    given = {"tenant": tenant_id, "end": end, "by_hand": sorted(BY_HAND)}
    return conn.cursor(row_factory=tuple_row).execute(_CLEARING, given).fetchall()
