"""SQL of reconciling."""

from datetime import datetime

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def select_moved(
    conn: BooksConnection, tenant_id: int, gateway: str, start: datetime, end: datetime
) -> list[DictRow]:
    """What moved at a gateway in [start, end) by our books, with the gateway's names for it."""
    return conn.execute(
        """
        SELECT 'payment' AS kind, coalesce(provider_id, key) AS provider_id, key, amount, currency FROM payments
         WHERE tenant_id = %(tenant_id)s AND gateway = %(gateway)s AND state = 'succeeded'
           AND purpose <> 'won_dispute' AND paid_at >= %(start)s AND paid_at < %(end)s
        UNION ALL
        -- A dispute that was won comes back under the dispute's own name.
        SELECT 'payment', substr(key, 5 + length(gateway) + 1), key, amount, currency FROM payments
         WHERE tenant_id = %(tenant_id)s AND gateway = %(gateway)s AND purpose = 'won_dispute'
           AND paid_at >= %(start)s AND paid_at < %(end)s
        UNION ALL
        SELECT 'fee', coalesce(provider_id, key), key, fee, currency FROM payments
         WHERE tenant_id = %(tenant_id)s AND gateway = %(gateway)s AND state = 'succeeded' AND fee > 0
           AND paid_at >= %(start)s AND paid_at < %(end)s
        UNION ALL
        SELECT 'refund', coalesce(r.provider_id, r.key), r.key, r.amount, p.currency
          FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
         WHERE r.tenant_id = %(tenant_id)s AND p.gateway = %(gateway)s AND r.state = 'succeeded'
           AND r.moved_at >= %(start)s AND r.moved_at < %(end)s
        UNION ALL
        SELECT 'dispute', substr(d.key, length(p.gateway) + 2), d.key, d.amount, p.currency
          FROM disputes d JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
         WHERE d.tenant_id = %(tenant_id)s AND p.gateway = %(gateway)s
           AND d.opened_at >= %(start)s AND d.opened_at < %(end)s
        UNION ALL
        SELECT 'dispute_fee', substr(d.key, length(p.gateway) + 2), d.key, d.fee, p.currency
          FROM disputes d JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
         WHERE d.tenant_id = %(tenant_id)s AND p.gateway = %(gateway)s AND d.fee > 0
           AND d.opened_at >= %(start)s AND d.opened_at < %(end)s
         ORDER BY 1, 2
        """,
        {"tenant_id": tenant_id, "gateway": gateway, "start": start, "end": end},
    ).fetchall()
