"""SQL of wallets of units: what of them can be drawn, and what was drawn for which usage."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.wallets.model import ChargeKey, OpenGrant, Scope, Standing
from farthing.wallets.units import UnitGrants


def select_unit_meters(conn: BooksConnection, tenant_id: int) -> dict[int, frozenset[str]]:
    """The customers that have a wallet of units, and the meters that theirs are of."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT customer_id, array_agg(DISTINCT unit::text) FROM wallets WHERE tenant_id = %s AND unit IS NOT NULL"
        " GROUP BY customer_id",
        [tenant_id],
    )
    return {customer_id: frozenset(units) for customer_id, units in rows}


def lock_grants_of(conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]) -> None:
    """All open grants of these customers, of units and of money, stand still: locked at once, in the order of ids."""
    conn.execute(
        """
        SELECT FROM grants WHERE tenant_id = %s AND customer_id = ANY(%s) AND closed_at IS NULL
         ORDER BY grant_id FOR NO KEY UPDATE
        """,
        [tenant_id, list(customer_ids)],
    )


def select_unit_grants(
    conn: BooksConnection,
    tenant_id: int,
    customer_ids: Collection[int],
    periods: Collection[tuple[int, datetime]],
) -> UnitGrants:
    """The units of these customers, and what of units was drawn for these (subscription, period start)."""
    standing = _standing(conn, tenant_id, periods)
    named = {grant_id for some in standing.values() for grant_id, _ in some}
    grants: dict[int, list[OpenGrant]] = defaultdict(list)
    wallet_of: dict[int, str] = {}
    price_of: dict[int, Decimal] = {}
    for row in conn.execute(
        """
        SELECT g.customer_id, g.grant_id, g.wallet_id, w.key AS wallet, w.unit, w.priority AS wallet_priority, g.paid,
               g.priority, g.meters, g.rate_cards, g.effective_at, g.expires_at, g.unit_price,
               g.amount - g.drawn - g.held - g.settled - g.expired AS unused
          FROM grants g JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
         WHERE g.tenant_id = %(tenant_id)s AND w.unit IS NOT NULL
           AND (g.grant_id = ANY(%(named)s) OR (g.customer_id = ANY(%(customers)s) AND g.closed_at IS NULL))
         ORDER BY g.grant_id
        """,
        {"tenant_id": tenant_id, "named": list(named), "customers": list(customer_ids)},
    ):
        wallet_of[row["grant_id"]], price_of[row["grant_id"]] = row["wallet"], row["unit_price"]
        if row["customer_id"] in customer_ids:
            grants[row["customer_id"]].append(_open_grant(row))
    return UnitGrants(dict(grants), standing, wallet_of, price_of)


def _open_grant(row: Mapping[str, Any]) -> OpenGrant:
    return OpenGrant(
        row["grant_id"],
        row["wallet_id"],
        row["wallet_priority"],
        row["paid"],
        row["priority"],
        Scope(tuple(row["meters"]), tuple(row["rate_cards"])),
        row["effective_at"],
        row["expires_at"],
        row["unused"],
        None,
        row["unit"],
    )


def _standing(
    conn: BooksConnection, tenant_id: int, periods: Collection[tuple[int, datetime]]
) -> dict[ChargeKey, Standing]:
    found: dict[ChargeKey, Standing] = defaultdict(list)
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT f.subscription_id, f.period_start, f.rate_card, f.grant_id, f.quantity
          FROM unnest(%s::bigint[], %s::timestamptz[]) AS given (subscription_id, period_start)
          JOIN unit_funding f ON f.tenant_id = %s AND f.subscription_id = given.subscription_id
                             AND f.period_start = given.period_start
         WHERE f.quantity <> 0 ORDER BY f.last_draw_id, f.grant_id
        """,
        [[number for number, _ in periods], [start for _, start in periods], tenant_id],
    )
    for subscription_id, start, card, grant_id, quantity in rows:
        found[ChargeKey(subscription_id, start, card)].append((grant_id, quantity))
    return dict(found)


def add_unit_funding(
    conn: BooksConnection,
    tenant_id: int,
    funding: Sequence[tuple[ChargeKey, int, int, Decimal]],
    draw_id: int,
) -> None:
    """Which units paid for usage, on top of what stands: (key, grant, customer, quantity)."""
    conn.execute(
        """
        INSERT INTO unit_funding AS f (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id,
                                       quantity, last_draw_id)
        SELECT %(tenant_id)s, given.*, %(draw_id)s
          FROM unnest(%(subscriptions)s::bigint[], %(starts)s::timestamptz[], %(cards)s::text[], %(grants)s::bigint[],
                      %(customers)s::bigint[], %(quantities)s::numeric[])
               AS given (subscription_id, period_start, rate_card, grant_id, customer_id, quantity)
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, grant_id)
        DO UPDATE SET quantity = f.quantity + excluded.quantity, last_draw_id = excluded.last_draw_id
        """,
        {
            "tenant_id": tenant_id,
            "draw_id": draw_id,
            "subscriptions": [key.subscription_id for key, *_ in funding],
            "starts": [key.period_start for key, *_ in funding],
            "cards": [key.rate_card for key, *_ in funding],
            "grants": [grant_id for _, grant_id, *_ in funding],
            "customers": [customer_id for *_, customer_id, _ in funding],
            "quantities": [quantity for *_, quantity in funding],
        },
    )


def select_wallets_among(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> list[int]:
    """The wallets that these grants are in."""
    rows = conn.execute(
        "SELECT DISTINCT wallet_id FROM grants WHERE tenant_id = %s AND grant_id = ANY(%s) ORDER BY wallet_id",
        [tenant_id, list(grant_ids)],
    )
    return [row["wallet_id"] for row in rows]
