"""SQL of drafts: which of them the outbox has told of."""

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.invoicing.model import BillKey, Reason


def insert_notices(
    conn: BooksConnection, tenant_id: int, keys: Sequence[BillKey], now: datetime
) -> set[BillKey]:
    """Write down that these bills have become drafts; those of which that was not known."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        INSERT INTO draft_notices (tenant_id, subscription_id, period_start, reason, noticed_at)
        SELECT %(tenant_id)s, given.*, %(now)s
          FROM unnest(%(subscriptions)s::bigint[], %(starts)s::timestamptz[], %(reasons)s::text[]) AS given
            ON CONFLICT DO NOTHING
        RETURNING subscription_id, period_start, reason
        """,
        {
            "tenant_id": tenant_id,
            "subscriptions": [key.subscription_id for key in keys],
            "starts": [key.period_start for key in keys],
            "reasons": [key.reason.value for key in keys],
            "now": now,
        },
    )
    return {BillKey(subscription_id, start, Reason(reason)) for subscription_id, start, reason in rows}
