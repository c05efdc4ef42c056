"""SQL of units beside authorisations: how much of counted usage units have paid, and how much they may yet."""

from collections.abc import Mapping
from decimal import Decimal

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.wallets.draw_store import lines_of
from farthing.wallets.holds.terms import LadderKey


def select_unit_places(
    conn: BooksConnection, tenant_id: int, unit_of: Mapping[LadderKey, str]
) -> dict[LadderKey, tuple[Decimal, Decimal]]:
    """Of ladders that usage climbs which units may pay, by their meter: how much units were drawn for, and how many of
    the customer's are not drawn, whether free or held."""
    keys = list(unit_of)
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT k.place - 1,
               coalesce((SELECT sum(f.quantity) FROM unit_funding f
                          WHERE f.tenant_id = s.tenant_id AND f.subscription_id = s.subscription_id
                            AND f.period_start = k.period_start AND f.rate_card = k.rate_card), 0),
               coalesce((SELECT sum(g.amount - g.drawn - g.expired)
                           FROM grants g JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
                          WHERE g.tenant_id = s.tenant_id AND g.customer_id = s.customer_id AND g.closed_at IS NULL
                            AND w.unit = k.unit), 0)
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[], string_to_array(%(cards)s, E'\\n'),
                      string_to_array(%(units)s, E'\\n'))
               WITH ORDINALITY AS k (subscription_id, period_start, rate_card, unit, place)
          JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.subscription_id = k.subscription_id
        """,
        {
            "tenant_id": tenant_id,
            "subscriptions": lines_of(key[0] for key in keys),
            "starts": lines_of(key[1] for key in keys),
            "cards": lines_of(key[2] for key in keys),
            "units": lines_of(unit_of[key] for key in keys),
        },
    )
    return {keys[place]: (drawn, undrawn) for place, drawn, undrawn in rows}
