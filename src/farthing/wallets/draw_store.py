"""SQL of draws: open grants, what was drawn, how far usage has been charged. Columns in, columns out.

Lines of text are the quickest way of thousands of rows into one statement, and no value holds a line break: keys
of catalogs have none, and dimensions are written as JSON.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import plain
from farthing.wallets.model import Cause, ChargeKey, DrawPart, OpenGrant, Scope

PARTS_PER_ROW = 500
"""Parts of draws that stand in one row."""


def hold_invoicing(conn: BooksConnection, tenant_id: int) -> None:
    """Until this transaction is over no invoice is issued; others that ask for this may go on."""
    conn.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtextextended('farthing.invoicing', %s))", [tenant_id]
    )


def hold_accruing(conn: BooksConnection, tenant_id: int) -> None:
    """Let one transaction at a time bring draws of a tenant to what usage comes to so far."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('farthing.accruing', %s))", [tenant_id])


OPEN_GRANT = """
    SELECT g.customer_id, g.grant_id, g.wallet_id, w.priority, g.paid, g.priority, g.meters, g.rate_cards,
           g.effective_at, g.expires_at, g.amount - g.drawn - g.held - g.settled - g.expired, w.currency, w.unit
"""
"""What `open_grants_of` reads of a grant `g` and its wallet `w`."""


def lock_open_grants(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[int, list[OpenGrant]]:
    """The grants of these customers that are not used up, by customer; they stand still until the end.

    Locked in the order of their ids, as everybody must.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        OPEN_GRANT
        + """
          FROM grants g JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
         WHERE g.tenant_id = %s AND g.customer_id = ANY(string_to_array(%s, E'\\n')::bigint[])
           AND g.closed_at IS NULL
         ORDER BY g.grant_id FOR NO KEY UPDATE OF g
        """,
        [tenant_id, lines_of(customer_ids)],
    )
    return open_grants_of(rows)


def open_grants_of(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[OpenGrant]]:
    """Rows of `OPEN_GRANT`, by customer."""
    found: dict[int, list[OpenGrant]] = defaultdict(list)
    scopes: dict[tuple[str, ...], Scope] = {}
    for customer_id, grant_id, wallet_id, wallet_priority, paid, priority, meters, cards, *rest in rows:
        effective_at, expires_at, left, currency, unit = rest
        named = (*meters, "", *cards)
        scope = scopes.get(named)
        if scope is None:
            scope = scopes[named] = Scope(tuple(meters), tuple(cards))
        found[customer_id].append(
            OpenGrant(
                grant_id,
                wallet_id,
                wallet_priority,
                paid,
                priority,
                scope,
                effective_at,
                expires_at,
                left,
                currency,
                unit,
            )
        )
    return dict(found)


def lines_of(values: Iterable[object]) -> str:
    """Values as lines of text."""
    return "\n".join(map(str, values))


def _moments(values: Iterable[datetime]) -> str:
    """The same for moments: thousands of rows share a few."""
    texts: dict[datetime, str] = {}
    return "\n".join(texts.get(value) or texts.setdefault(value, str(value)) for value in values)


def insert_draws(
    conn: BooksConnection,
    tenant_id: int,
    parts: Sequence[DrawPart],
    cause: Cause,
    reference: str,
    now: datetime,
) -> int:
    """Write draws, which moves the counters of their grants. The id of the first row, which names them all."""
    first: int | None = None
    for begin in range(0, len(parts), PARTS_PER_ROW):
        some = parts[begin : begin + PARTS_PER_ROW]
        keys = [part.charge.key for part in some]
        row = (
            conn.cursor(row_factory=tuple_row)
            .execute(
                """
                INSERT INTO wallet_draws (tenant_id, cause, reference, drawn_at, customer_ids, subscription_ids,
                                          period_starts, rate_cards, grant_ids, amounts, settled)
                VALUES (%s, %s, %s, %s, string_to_array(%s, E'\\n')::bigint[], string_to_array(%s, E'\\n')::bigint[],
                        string_to_array(%s, E'\\n')::timestamptz[], string_to_array(%s, E'\\n'),
                        string_to_array(%s, E'\\n')::bigint[], string_to_array(%s, E'\\n')::numeric[],
                        string_to_array(%s, E'\\n')::numeric[])
                RETURNING draw_id
                """,
                [
                    tenant_id,
                    cause.value,
                    reference,
                    now,
                    lines_of(part.charge.customer_id for part in some),
                    lines_of(key.subscription_id for key in keys),
                    _moments(key.period_start for key in keys),
                    lines_of(key.rate_card for key in keys),
                    lines_of(part.grant_id for part in some),
                    lines_of(plain(part.amount) for part in some),
                    lines_of(plain(part.settled) for part in some),
                ],
            )
            .fetchone()
        )
        assert row is not None
        first = first or row[0]
    assert first is not None, "nothing was drawn"
    return first


def reopen_grants(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> dict[int, bool]:
    """Something goes back to grants that were used up. Whether each of them is a paid one."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "UPDATE grants SET closed_at = NULL WHERE tenant_id = %s AND grant_id = ANY(%s) RETURNING grant_id, paid",
        [tenant_id, sorted(grant_ids)],
    )
    return dict(rows.fetchall())


def add_funding(
    conn: BooksConnection,
    tenant_id: int,
    funding: Sequence[tuple[ChargeKey, int, int, Decimal]],
    draw_id: int,
) -> None:
    """Where the money for charges came from, on top of what stands: (key, grant or 0, customer, amount)."""
    conn.execute(
        """
        INSERT INTO charge_funding AS f (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id,
                                         amount, last_draw_id)
        SELECT %(tenant_id)s, given.*, %(draw_id)s
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[], string_to_array(%(cards)s, E'\\n'),
                      string_to_array(%(grants)s, E'\\n')::bigint[],
                      string_to_array(%(customers)s, E'\\n')::bigint[],
                      string_to_array(%(amounts)s, E'\\n')::numeric[])
               AS given (subscription_id, period_start, rate_card, grant_id, customer_id, amount)
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, grant_id)
        DO UPDATE SET amount = f.amount + excluded.amount, last_draw_id = excluded.last_draw_id
        """,
        {
            "tenant_id": tenant_id,
            "draw_id": draw_id,
            "subscriptions": lines_of(key.subscription_id for key, *_ in funding),
            "starts": _moments(key.period_start for key, *_ in funding),
            "cards": lines_of(key.rate_card for key, *_ in funding),
            "grants": lines_of(grant_id for _, grant_id, *_ in funding),
            "customers": lines_of(customer_id for *_, customer_id, _ in funding),
            "amounts": lines_of(plain(amount) for *_, amount in funding),
        },
    )


def select_funding(
    conn: BooksConnection, tenant_id: int, periods: Collection[tuple[int, datetime]]
) -> dict[ChargeKey, list[tuple[int, Decimal]]]:
    """Where the money came from so far in these (subscription, period start): pairs of grant (0: nobody) and amount,
    those that paid first before those that paid last."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT f.subscription_id, f.period_start, f.rate_card, f.grant_id, f.amount
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[]) AS given (subscription_id, period_start)
          JOIN charge_funding f ON f.tenant_id = %(tenant_id)s AND f.subscription_id = given.subscription_id
                               AND f.period_start = given.period_start
         ORDER BY f.last_draw_id, f.grant_id
        """,
        _periods(tenant_id, periods),
    )
    found: dict[ChargeKey, list[tuple[int, Decimal]]] = defaultdict(list)
    for subscription_id, start, card, grant_id, amount in rows:
        found[ChargeKey(subscription_id, start, card)].append((grant_id, amount))
    return dict(found)


def select_invoiced(
    conn: BooksConnection, tenant_id: int, periods: Collection[tuple[int, datetime]]
) -> set[tuple[int, datetime]]:
    """Those of these (subscription, period start) whose usage stands on an invoice."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT i.subscription_id, i.period_start
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[]) AS given (subscription_id, period_start)
          JOIN standing_invoices i ON i.tenant_id = %(tenant_id)s AND i.subscription_id = given.subscription_id
                         AND i.period_start = given.period_start AND i.reason = 'period'
        """,
        _periods(tenant_id, periods),
    )
    return set(rows.fetchall())


def _periods(tenant_id: int, periods: Collection[tuple[int, datetime]]) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "subscriptions": lines_of(subscription_id for subscription_id, _ in periods),
        "starts": _moments(start for _, start in periods),
    }


# ---- Positions


def select_positions(
    conn: BooksConnection, tenant_id: int, keys: Collection[ChargeKey]
) -> dict[ChargeKey, dict[str, Decimal]]:
    """How much was sealed so far of each of these, by dimensions; those that nothing is known of are left out."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT u.subscription_id, u.period_start, u.rate_card, u.dimensions, u.quantity
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[], string_to_array(%(cards)s, E'\\n'))
               AS given (subscription_id, period_start, rate_card)
          JOIN usage_positions u ON u.tenant_id = %(tenant_id)s AND u.subscription_id = given.subscription_id
                                AND u.period_start = given.period_start AND u.rate_card = given.rate_card
        """,
        {
            "tenant_id": tenant_id,
            "subscriptions": lines_of(key.subscription_id for key in keys),
            "starts": _moments(key.period_start for key in keys),
            "cards": lines_of(key.rate_card for key in keys),
        },
    )
    found: dict[ChargeKey, dict[str, Decimal]] = {}
    for subscription_id, start, card, dimensions, quantity in rows:
        found.setdefault(ChargeKey(subscription_id, start, card), {})[dimensions] = quantity
    return found


def put_positions(
    conn: BooksConnection, tenant_id: int, positions: Mapping[tuple[ChargeKey, str], Decimal]
) -> None:
    """How much is sealed now of each of these."""
    conn.execute(
        """
        INSERT INTO usage_positions (tenant_id, subscription_id, period_start, rate_card, dimensions, quantity)
        SELECT %(tenant_id)s, given.subscription_id, given.period_start, given.rate_card,
               coalesce(given.dimensions, ''), given.quantity
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[], string_to_array(%(cards)s, E'\\n'),
                      string_to_array(%(dimensions)s, E'\\n'), string_to_array(%(quantities)s, E'\\n')::numeric[])
               AS given (subscription_id, period_start, rate_card, dimensions, quantity)
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, dimensions)
        DO UPDATE SET quantity = excluded.quantity
        """,
        {
            "tenant_id": tenant_id,
            "subscriptions": lines_of(key.subscription_id for key, _ in positions),
            "starts": _moments(key.period_start for key, _ in positions),
            "cards": lines_of(key.rate_card for key, _ in positions),
            "dimensions": lines_of(dimensions for _, dimensions in positions),
            "quantities": lines_of(plain(quantity) for quantity in positions.values()),
        },
    )


# ---- Whose usage is drawn


def select_version(conn: BooksConnection, tenant_id: int) -> tuple[Any, ...]:
    """What changes whenever anything changes that says whose usage is drawn as it is sealed, and by which price.

    The first says whether there are wallets at all, the last from when on something can be drawn.
    """
    row = (
        conn.cursor(row_factory=tuple_row)
        .execute(
            """
            SELECT (SELECT max(wallet_id) FROM wallets WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(subscription_id) FROM subscriptions WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(change_id) FROM subscription_changes WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(meter_id) FROM meters WHERE tenant_id = %(tenant_id)s),
                   (SELECT count(*) FROM commitments WHERE tenant_id = %(tenant_id)s),
                   (SELECT count(*) FROM coupon_redemptions WHERE tenant_id = %(tenant_id)s),
                   (SELECT min(effective_at) FROM grants WHERE tenant_id = %(tenant_id)s)
            """,
            {"tenant_id": tenant_id},
        )
        .fetchone()
    )
    assert row is not None
    return tuple(row)


def select_holders(conn: BooksConnection, tenant_id: int) -> dict[int, str]:
    """The customers that have a wallet of money: their ids and time zones."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT c.customer_id, c.timezone FROM customers c
         WHERE c.tenant_id = %(tenant_id)s AND EXISTS (
               SELECT FROM wallets w WHERE w.tenant_id = c.tenant_id AND w.customer_id = c.customer_id
                  AND w.currency IS NOT NULL)
        """,
        {"tenant_id": tenant_id},
    )
    return dict(rows.fetchall())


def select_holders_among(conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]) -> set[int]:
    """Those of these customers that have a wallet."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT DISTINCT customer_id FROM wallets WHERE tenant_id = %s AND customer_id = ANY(%s)",
        [tenant_id, list(customer_ids)],
    )
    return {customer_id for (customer_id,) in rows}


def select_subjects(conn: BooksConnection, tenant_id: int) -> list[tuple[str, int]]:
    """Every subject that means a customer with a wallet."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT s.subject, s.customer_id FROM customer_subjects s
         WHERE s.tenant_id = %(tenant_id)s AND EXISTS (
               SELECT FROM wallets w WHERE w.tenant_id = s.tenant_id AND w.customer_id = s.customer_id)
        """,
        {"tenant_id": tenant_id},
    )
    return rows.fetchall()
