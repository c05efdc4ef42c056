"""SQL of terms. Those of many subscriptions are two statements, to read as to write."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from farthing.catalog.coupon import Coupon, parse_coupon
from farthing.customers.terms.collecting_store import insert_collections
from farthing.customers.terms.content import commitment_json, commitment_of
from farthing.customers.terms.decide import TermsChange
from farthing.customers.terms.model import Commitment, Redemption, Terms
from farthing.db.pool import BooksConnection

_INSERT_REDEMPTIONS = """
    INSERT INTO coupon_redemptions
           (tenant_id, coupon_id, subscription_id, place, max_redemptions, start_at, redeemed_at)
    SELECT c.tenant_id, c.coupon_id, s.subscription_id,
           (SELECT count(*) FROM coupon_redemptions r
             WHERE r.tenant_id = c.tenant_id AND r.coupon_id = c.coupon_id)
           + row_number() OVER (PARTITION BY c.coupon_id ORDER BY given.number),
           c.max_redemptions, given.start_at, %(now)s
      FROM unnest(%(coupons)s::text[], %(subscriptions)s::text[], %(starts)s::timestamptz[])
           WITH ORDINALITY AS given (coupon, subscription, start_at, number)
      JOIN coupons c ON c.tenant_id = %(tenant_id)s AND c.key = given.coupon
      JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.key = given.subscription
     ORDER BY given.number
"""


def select_terms(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int] | None = None
) -> dict[int, Terms]:
    """The terms of all subscriptions that have any, or of these, by subscription id."""
    ids = None if subscription_ids is None else list(subscription_ids)
    asked = {"tenant_id": tenant_id, "ids": ids}
    redemptions = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT r.subscription_id, r.coupon_id, c.definition, r.start_at
          FROM coupon_redemptions r
          JOIN coupons c ON c.tenant_id = r.tenant_id AND c.coupon_id = r.coupon_id
         WHERE r.tenant_id = %(tenant_id)s
           AND (%(ids)s::bigint[] IS NULL OR r.subscription_id = ANY(%(ids)s))
         ORDER BY r.redemption_id
        """,
        asked,
    )
    coupons: dict[int, Coupon] = {}
    redeemed: dict[int, list[Redemption]] = defaultdict(list)
    for subscription_id, coupon_id, definition, start in redemptions:
        if coupon_id not in coupons:
            coupons[coupon_id] = parse_coupon(definition)
        redeemed[subscription_id].append(Redemption(coupons[coupon_id], start))
    commitments = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT subscription_id, definition FROM commitments
         WHERE tenant_id = %(tenant_id)s AND (%(ids)s::bigint[] IS NULL OR subscription_id = ANY(%(ids)s))
         ORDER BY start_at, key
        """,
        asked,
    )
    committed: dict[int, list[Commitment]] = defaultdict(list)
    for subscription_id, definition in commitments:
        committed[subscription_id].append(commitment_of(definition))
    return {
        one: Terms(tuple(redeemed.get(one, ())), tuple(committed.get(one, ())))
        for one in {**redeemed, **committed}
    }


def select_period_invoiced_until(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[int, datetime]:
    """For each of these subscriptions of which a period was invoiced: the end of the last such period."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT subscription_id, max(period_end) FROM invoices"
        " WHERE tenant_id = %s AND subscription_id = ANY(%s) AND reason NOT IN ('start', 'interim')"
        " GROUP BY subscription_id",
        [tenant_id, list(subscription_ids)],
    )
    return dict(rows.fetchall())


def select_timezones(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, str]:
    """Of these customers, by key."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT key, timezone FROM customers WHERE tenant_id = %s AND key = ANY(%s)", [tenant_id, list(keys)]
    )
    return dict(rows.fetchall())


def insert_terms(
    conn: BooksConnection, tenant_id: int, changes: Sequence[TermsChange], now: datetime
) -> None:
    """What is new of these subscriptions, which stand by now."""
    redemptions = [(change.subscription, one) for change in changes for one in change.redemptions]
    if redemptions:
        conn.execute(
            _INSERT_REDEMPTIONS,
            {
                "tenant_id": tenant_id,
                "now": now,
                "coupons": [one.coupon.key for _, one in redemptions],
                "subscriptions": [subscription for subscription, _ in redemptions],
                "starts": [one.start for _, one in redemptions],
            },
        )
    collections = {change.subscription: change.collection for change in changes if change.collection}
    if collections:
        insert_collections(conn, tenant_id, collections, now)
    commitments = [(change.subscription, one) for change in changes for one in change.commitments]
    if commitments:
        conn.execute(
            """
            INSERT INTO commitments (tenant_id, subscription_id, key, definition, start_at, end_at, created_at)
            SELECT s.tenant_id, s.subscription_id, given.key, given.definition, given.start_at, given.end_at,
                   %(now)s
              FROM unnest(%(subscriptions)s::text[], %(keys)s::text[], %(definitions)s::jsonb[],
                          %(starts)s::timestamptz[], %(ends)s::timestamptz[])
                   AS given (subscription, key, definition, start_at, end_at)
              JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.key = given.subscription
            """,
            {
                "tenant_id": tenant_id,
                "now": now,
                "subscriptions": [subscription for subscription, _ in commitments],
                "keys": [one.key for _, one in commitments],
                "definitions": [Jsonb(commitment_json(one)) for _, one in commitments],
                "starts": [one.term.start for _, one in commitments],
                "ends": [one.term.end for _, one in commitments],
            },
        )
