"""SQL of accrued spend: whom to look at again, what was seen, and which segments have been looked at."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.invoicing.accrued.model import Accrued, Checkpoint, Held
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import trimmed

# Subscriptions that are, or once were, to be charged as they go: by a plan version that says so, or by terms of
# their own. Of those, the ones about which something may be new. What belongs to a subscription is looked up by
# index, so that no estimate of a table that has just been filled can make the plan go through it for each row.
_TO_LOOK_AT = """
    WITH collecting AS MATERIALIZED (
        SELECT array_agg(plan_version_id) AS versions FROM plan_versions
         WHERE tenant_id = %(tenant_id)s AND definition -> 'collection' ->> 'mode' = 'pay_as_you_go'
    )
    SELECT s.subscription_id
      FROM subscriptions s
     CROSS JOIN collecting
     CROSS JOIN LATERAL (
        SELECT coalesce(max(x.change_id), 0) AS last_id,
               coalesce(bool_or(x.plan_version_id = ANY(collecting.versions)), false) AS collecting
          FROM subscription_changes x
         WHERE x.tenant_id = s.tenant_id AND x.subscription_id = s.subscription_id) AS change
     CROSS JOIN LATERAL (
        SELECT coalesce(max(t.collection_id), 0) AS last_id FROM collection_terms t
         WHERE t.tenant_id = s.tenant_id AND t.subscription_id = s.subscription_id) AS own
      LEFT JOIN accrued_spend a ON a.tenant_id = s.tenant_id AND a.subscription_id = s.subscription_id
     WHERE s.tenant_id = %(tenant_id)s AND s.start_at < %(now)s
       AND (s.plan_version_id = ANY(collecting.versions) OR change.collecting OR own.last_id > 0)
       AND (a.subscription_id IS NULL OR a.period_end <= %(now)s OR a.as_of < %(seen_since)s
            OR a.last_change_id <> change.last_id OR a.last_collection_id <> own.last_id
            OR s.customer_id = ANY(%(customers)s)
            OR (a.held IS NULL AND (a.accrued - a.billed >= a.threshold OR a.charge_by <= %(now)s)))
     ORDER BY s.subscription_id
"""
_WRITE = """
    INSERT INTO accrued_spend AS a
           (tenant_id, subscription_id, period_start, period_end, accrued, billed, threshold, unbilled_since,
            charge_by, held, checkpoints, last_change_id, last_collection_id, as_of)
    SELECT %(tenant_id)s, given.* FROM unnest(
           %(ids)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(accrued)s::numeric[],
           %(billed)s::numeric[], %(thresholds)s::numeric[], %(since)s::timestamptz[],
           %(charge_by)s::timestamptz[], %(held)s::text[], %(checkpoints)s::jsonb[], %(changes)s::bigint[],
           %(collections)s::bigint[], %(as_of)s::timestamptz[]) AS given (subscription_id)
     ORDER BY given.subscription_id
        ON CONFLICT (tenant_id, subscription_id) DO UPDATE
       SET period_start = excluded.period_start, period_end = excluded.period_end, accrued = excluded.accrued,
           billed = excluded.billed, threshold = excluded.threshold, unbilled_since = excluded.unbilled_since,
           charge_by = excluded.charge_by, held = excluded.held, checkpoints = excluded.checkpoints,
           last_change_id = excluded.last_change_id, last_collection_id = excluded.last_collection_id,
           as_of = excluded.as_of
     WHERE a.as_of <= excluded.as_of
"""


def charges_as_you_go(conn: BooksConnection, tenant_id: int) -> bool:
    """Whether a plan or a subscription of the tenant says so, or ever did."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM plan_versions
                        WHERE tenant_id = %(tenant_id)s AND definition -> 'collection' ->> 'mode' = 'pay_as_you_go')
            OR EXISTS (SELECT FROM collection_terms WHERE tenant_id = %(tenant_id)s) AS does
        """,
        {"tenant_id": tenant_id},
    ).fetchone()
    return row is not None and bool(row["does"])


def select_to_look_at(
    conn: BooksConnection,
    tenant_id: int,
    now: datetime,
    customers: Sequence[int],
    look_again: timedelta,
) -> list[int]:
    """Subscriptions that are charged as they go and about which something may be new.

    customers: those with new events. look_again: how long nobody is left alone.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        _TO_LOOK_AT,
        {
            "tenant_id": tenant_id,
            "now": now,
            "customers": list(customers),
            "seen_since": now - look_again,
        },
    )
    return [subscription_id for (subscription_id,) in rows]


def select_accrued(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[int, Accrued]:
    """What was last seen of these subscriptions."""
    rows = conn.execute(
        "SELECT * FROM accrued_spend WHERE tenant_id = %s AND subscription_id = ANY(%s)",
        [tenant_id, list(subscription_ids)],
    )
    return {row["subscription_id"]: _accrued(row) for row in rows}


def _accrued(row: Mapping[str, Any]) -> Accrued:
    return Accrued(
        row["subscription_id"],
        Period(row["period_start"], row["period_end"]),
        row["accrued"],
        row["billed"],
        row["threshold"],
        row["unbilled_since"],
        row["charge_by"],
        None if row["held"] is None else Held(row["held"]),
        tuple(Checkpoint(parse_instant(at, ""), Decimal(spent)) for at, spent in row["checkpoints"]),
        row["last_change_id"],
        row["last_collection_id"],
        row["as_of"],
    )


def write_accrued(conn: BooksConnection, tenant_id: int, seen: Sequence[Accrued]) -> None:
    """Keep what was seen. Something that was seen later stays."""
    conn.execute(
        _WRITE,
        {
            "tenant_id": tenant_id,
            "ids": [one.subscription_id for one in seen],
            "starts": [one.period.start for one in seen],
            "ends": [one.period.end for one in seen],
            "accrued": [one.accrued for one in seen],
            "billed": [one.billed for one in seen],
            "thresholds": [one.threshold for one in seen],
            "since": [one.unbilled_since for one in seen],
            "charge_by": [one.charge_by for one in seen],
            "held": [one.held and one.held.value for one in seen],
            "checkpoints": [
                Jsonb([[format_instant(point.at), trimmed(point.spent)] for point in one.checkpoints])
                for one in seen
            ],
            "changes": [one.last_change_id for one in seen],
            "collections": [one.last_collection_id for one in seen],
            "as_of": [one.as_of for one in seen],
        },
    )


def select_not_seen(conn: BooksConnection, tenant_id: int) -> dict[str, bool]:
    """The segments in force that have not been looked at, and whether any of their events have not.

    One that was put together from segments that have all been looked at tells nothing new.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        WITH seen AS MATERIALIZED (
            SELECT unnest(segments) AS segment_id FROM accrual_cursors WHERE tenant_id = %(tenant_id)s)
        SELECT s.segment_id, s.merged_from IS NULL OR EXISTS (
                   SELECT FROM unnest(s.merged_from) AS part (segment_id)
                    WHERE part.segment_id NOT IN (SELECT segment_id FROM seen))
          FROM segments s
         WHERE s.tenant_id = %(tenant_id)s AND s.segment_id NOT IN (SELECT segment_id FROM seen)
        """,
        {"tenant_id": tenant_id},
    )
    return dict(rows.fetchall())


def add_segments_seen(
    conn: BooksConnection, tenant_id: int, segments: Collection[str], now: datetime
) -> None:
    """These have been looked at, too; those that are no longer in force are forgotten."""
    conn.execute(
        """
        INSERT INTO accrual_cursors AS c (tenant_id, segments, updated_at)
        VALUES (%(tenant_id)s, %(segments)s, %(now)s)
        ON CONFLICT (tenant_id) DO UPDATE
           SET segments = ARRAY(SELECT s.segment_id::text FROM segments s
                                 WHERE s.tenant_id = c.tenant_id AND s.segment_id = ANY(c.segments || excluded.segments)
                                 ORDER BY s.segment_id),
               updated_at = excluded.updated_at
        """,
        {"tenant_id": tenant_id, "segments": sorted(segments), "now": now},
    )


def select_begun_after(
    conn: BooksConnection,
    tenant_id: int,
    now: datetime,
    after: str | None,
    limit: int | None,
    customer: str | None,
) -> list[int]:
    """Subscriptions that have begun, in order of key, those after `after`, of one customer where one is named."""
    found = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT s.subscription_id
          FROM subscriptions s JOIN customers c ON c.tenant_id = s.tenant_id AND c.customer_id = s.customer_id
         WHERE s.tenant_id = %(tenant_id)s AND s.start_at < %(now)s AND s.key > %(after)s
           AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
         ORDER BY s.key LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "now": now, "after": after or "", "customer": customer, "limit": limit},
    )
    return [subscription_id for (subscription_id,) in found]
