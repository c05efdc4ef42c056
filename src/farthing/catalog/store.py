"""SQL of the catalog. Definitions are read back through the same parsers that let them in."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.catalog.coupon import REDEMPTIONS_MAX, Coupon, coupon_json, parse_coupon
from farthing.catalog.meter import meter_json, parse_meter
from farthing.catalog.model import Meter, Plan, PlanRef, PlanVersion
from farthing.catalog.plan import parse_plan, plan_json
from farthing.db.pool import BooksConnection

_VERSIONS = """
    SELECT v.plan_version_id, v.version, v.definition, v.published_at
      FROM plan_versions v JOIN plans p ON p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id
     WHERE v.tenant_id = %(tenant_id)s
"""
_IS_LATEST = """
       AND v.version = (SELECT max(w.version) FROM plan_versions w
                         WHERE w.tenant_id = v.tenant_id AND w.plan_id = v.plan_id)
"""
_INSERT_VERSIONS = """
    WITH new AS (
        SELECT p.tenant_id, p.plan_id, p.key, given.version, given.definition
          FROM unnest(%(keys)s::text[], %(versions)s::int[], %(definitions)s::jsonb[])
               AS given (key, version, definition)
          JOIN plans p ON p.tenant_id = %(tenant_id)s AND p.key = given.key),
    written AS (
        INSERT INTO plan_versions (tenant_id, plan_id, version, definition, published_at)
        SELECT tenant_id, plan_id, version, definition, %(now)s FROM new
        RETURNING plan_id, plan_version_id)
    SELECT new.key, written.plan_version_id FROM written JOIN new USING (plan_id)
"""


def lock_catalog(conn: BooksConnection, tenant_id: int) -> None:
    """Let one transaction at a time change a tenant's catalog and customers; readers are not held up."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('farthing.catalog', %s))", [tenant_id])


def select_meters(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, Meter]:
    """The meters of these keys that stand, by key."""
    rows = conn.execute(
        "SELECT definition FROM meters WHERE tenant_id = %s AND key = ANY(%s)", [tenant_id, list(keys)]
    ).fetchall()
    return {meter.key: meter for meter in map(_meter, rows)}


def select_meters_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int | None
) -> list[Meter]:
    """Meters in order of key, those after `after`; all of them where there is no limit."""
    rows = conn.execute(
        "SELECT definition FROM meters WHERE tenant_id = %s AND key > %s ORDER BY key LIMIT %s",
        [tenant_id, after or "", limit],
    ).fetchall()
    return [_meter(row) for row in rows]


def insert_meters(conn: BooksConnection, tenant_id: int, meters: Sequence[Meter], now: datetime) -> None:
    """New meters."""
    conn.execute(
        "INSERT INTO meters (tenant_id, key, event_type, definition, created_at)"
        " SELECT %s, new.key, new.event_type, new.definition, %s"
        "   FROM unnest(%s::text[], %s::text[], %s::jsonb[]) AS new (key, event_type, definition)",
        [
            tenant_id,
            now,
            [meter.key for meter in meters],
            [meter.event_type for meter in meters],
            [Jsonb(meter_json(meter)) for meter in meters],
        ],
    )


def select_latest_plans(
    conn: BooksConnection, tenant_id: int, keys: Collection[str]
) -> dict[str, PlanVersion]:
    """The latest version of each of these plans that stands, by key."""
    rows = conn.execute(
        _VERSIONS + _IS_LATEST + " AND p.key = ANY(%(keys)s)", {"tenant_id": tenant_id, "keys": list(keys)}
    ).fetchall()
    return {version.plan.key: version for version in map(_plan_version, rows)}


def select_plans_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int
) -> list[PlanVersion]:
    """The latest version of each plan, in order of key, those after `after`."""
    rows = conn.execute(
        _VERSIONS + _IS_LATEST + " AND p.key > %(after)s ORDER BY p.key LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after or "", "limit": limit},
    ).fetchall()
    return [_plan_version(row) for row in rows]


def select_plan_version(conn: BooksConnection, tenant_id: int, key: str, version: int) -> PlanVersion | None:
    """One version of a plan."""
    row = conn.execute(
        _VERSIONS + " AND p.key = %(key)s AND v.version = %(version)s",
        {"tenant_id": tenant_id, "key": key, "version": version},
    ).fetchone()
    return None if row is None else _plan_version(row)


def select_plan_versions(
    conn: BooksConnection, tenant_id: int, plan_version_ids: Collection[int]
) -> dict[int, PlanVersion]:
    """These plan versions, by id."""
    rows = conn.execute(
        _VERSIONS + " AND v.plan_version_id = ANY(%(ids)s)",
        {"tenant_id": tenant_id, "ids": list(plan_version_ids)},
    ).fetchall()
    return {version.plan_version_id: version for version in map(_plan_version, rows)}


def select_plan_refs(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> list[PlanRef]:
    """Every version of these plans, the latest of each plan last."""
    rows = conn.execute(
        "SELECT p.key, v.version, v.plan_version_id, v.definition ->> 'currency' AS currency,"
        "       jsonb_path_query_array(v.definition, '$.rate_cards[*].key') AS rate_cards"
        "  FROM plan_versions v JOIN plans p ON p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id"
        " WHERE v.tenant_id = %s AND p.key = ANY(%s) ORDER BY p.key, v.version",
        [tenant_id, list(keys)],
    ).fetchall()
    return [
        PlanRef(row["key"], row["version"], row["currency"], row["plan_version_id"], tuple(row["rate_cards"]))
        for row in rows
    ]


def insert_plan_versions(
    conn: BooksConnection, tenant_id: int, versions: Mapping[int, Sequence[Plan]], now: datetime
) -> dict[str, int]:
    """Publish plans, `{version number: plans}`, under names that are made where they are new. Ids by key."""
    numbered = [(number, plan) for number, plans in versions.items() for plan in plans]
    keys = [plan.key for _, plan in numbered]
    conn.execute(
        "INSERT INTO plans (tenant_id, key, created_at)"
        " SELECT %s, unnest(%s::text[]), %s ON CONFLICT DO NOTHING",
        [tenant_id, keys, now],
    )
    rows = conn.execute(
        _INSERT_VERSIONS,
        {
            "tenant_id": tenant_id,
            "keys": keys,
            "versions": [number for number, _ in numbered],
            "definitions": [Jsonb(plan_json(plan)) for _, plan in numbered],
            "now": now,
        },
    ).fetchall()
    return {row["key"]: row["plan_version_id"] for row in rows}


def select_coupons(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, Coupon]:
    """The coupons of these keys that stand, by key."""
    rows = conn.execute(
        "SELECT definition FROM coupons WHERE tenant_id = %s AND key = ANY(%s)", [tenant_id, list(keys)]
    ).fetchall()
    return {coupon.key: coupon for coupon in map(_coupon, rows)}


def select_coupons_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int
) -> list[tuple[Coupon, int]]:
    """Coupons in order of key, those after `after`, and how often each was redeemed."""
    rows = conn.execute(
        """
        SELECT c.definition, (SELECT count(*) FROM coupon_redemptions r
                               WHERE r.tenant_id = c.tenant_id AND r.coupon_id = c.coupon_id) AS redeemed
          FROM coupons c WHERE c.tenant_id = %s AND c.key > %s ORDER BY c.key LIMIT %s
        """,
        [tenant_id, after or "", limit],
    ).fetchall()
    return [(_coupon(row), row["redeemed"]) for row in rows]


def select_redeemed(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, int]:
    """How often each of these coupons was redeemed, by key."""
    rows = conn.execute(
        """
        SELECT c.key, count(r.coupon_id) AS redeemed
          FROM coupons c
          LEFT JOIN coupon_redemptions r ON r.tenant_id = c.tenant_id AND r.coupon_id = c.coupon_id
         WHERE c.tenant_id = %s AND c.key = ANY(%s) GROUP BY c.key
        """,
        [tenant_id, list(keys)],
    ).fetchall()
    return {row["key"]: row["redeemed"] for row in rows}


def insert_coupons(conn: BooksConnection, tenant_id: int, coupons: Sequence[Coupon], now: datetime) -> None:
    """New coupons."""
    conn.execute(
        "INSERT INTO coupons (tenant_id, key, definition, max_redemptions, created_at)"
        " SELECT %s, new.key, new.definition, new.max_redemptions, %s"
        "   FROM unnest(%s::text[], %s::jsonb[], %s::int[]) AS new (key, definition, max_redemptions)",
        [
            tenant_id,
            now,
            [coupon.key for coupon in coupons],
            [Jsonb(coupon_json(coupon)) for coupon in coupons],
            [coupon.max_redemptions or REDEMPTIONS_MAX for coupon in coupons],
        ],
    )


def _coupon(row: DictRow) -> Coupon:
    return parse_coupon(row["definition"])


def _meter(row: DictRow) -> Meter:
    return parse_meter(row["definition"])


def _plan_version(row: DictRow) -> PlanVersion:
    return PlanVersion(
        row["plan_version_id"], row["version"], parse_plan(row["definition"]), row["published_at"]
    )
