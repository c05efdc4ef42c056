"""SQL of draws: open grants, what was drawn, how far usage has been charged. Columns in, columns out.

Lines of text are the quickest way of thousands of rows into one statement, and no value holds a line break: keys
of catalogs have none, and dimensions are written as JSON.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import plain
from farthing.wallets.model import Cause, ChargeKey, DrawPart, LoneGrants, OpenGrant, Scope

PARTS_PER_ROW = 500
"""Parts of draws that stand in one row."""


@dataclass(slots=True)
class PartColumns:
    """What grants pay or get back, a column each, as lines of text."""

    customer_ids: list[str] = field(default_factory=list)
    subscription_ids: list[str] = field(default_factory=list)
    period_starts: list[str] = field(default_factory=list)
    rate_cards: list[str] = field(default_factory=list)
    grant_ids: list[str] = field(default_factory=list)
    amounts: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, parts: Sequence[DrawPart]) -> "PartColumns":
        """These parts."""
        keys = [part.charge.key for part in parts]
        return cls(
            [str(part.charge.customer_id) for part in parts],
            [str(key.subscription_id) for key in keys],
            moments(key.period_start for key in keys),
            [key.rate_card for key in keys],
            [str(part.grant_id) for part in parts],
            [plain(part.amount) for part in parts],
            [plain(part.settled) for part in parts],
        )


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
OPEN_GRANT_COLUMNS = 13
ITS_WALLET = """
      JOIN LATERAL (
           SELECT * FROM wallets WHERE tenant_id = g.tenant_id AND wallet_id BETWEEN g.wallet_id AND g.wallet_id
            ORDER BY wallet_id LIMIT 1) w ON true
"""
"""The wallet `w` of a grant `g`, looked up by its key. To the first of a range of keys leads only the index of keys;
of a tenant that PostgreSQL believes to have a wallet or two, any other would do as well."""


def lock_open_grants(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[int, list[OpenGrant]]:
    """The grants of these customers that are not used up, by customer; they stand still until the end.

    Locked in the order of their ids, as everybody must.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        OPEN_GRANT
        + "FROM grants g"
        + ITS_WALLET
        + """
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


def lock_lone_grants(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int], first: datetime, last: datetime
) -> LoneGrants:
    """Lock all open grants of these customers as `lock_open_grants` does, and tell those that leave no choice: the
    only one of its customer, for everything, in force from `first` to `last`, and its wallet is funded."""
    row = (
        conn.cursor(row_factory=tuple_row, binary=True)
        .execute(
            """
            WITH locked AS MATERIALIZED (
                SELECT g.tenant_id, g.customer_id, g.grant_id, g.paid, w.currency,
                       g.amount - g.drawn - g.held - g.settled - g.expired AS available,
                       greatest(w.low_balance, (w.top_up ->> 'below')::numeric, 0) AS changes_at,
                       w.currency IS NOT NULL AND w.balance_state = 'funded'
                           AND g.meters = '{}' AND g.rate_cards = '{}' AND g.effective_at <= %(first)s
                           AND (g.expires_at IS NULL OR g.expires_at > %(last)s) AS free
                  FROM grants g """  # noqa: S608 - a constant of ours
            + ITS_WALLET
            + """
                 WHERE g.tenant_id = %(tenant_id)s AND g.closed_at IS NULL
                   AND g.customer_id = ANY(string_to_array(%(customers)s, E'\\n')::bigint[])
                 ORDER BY g.grant_id FOR NO KEY UPDATE OF g),
            counted AS (SELECT *, count(*) OVER (PARTITION BY customer_id) AS grants FROM locked)
            SELECT array_agg(l.customer_id), array_agg(l.grant_id), array_agg(l.paid), array_agg(l.currency),
                   array_agg(l.available), array_agg(l.changes_at),
                   array_agg((SELECT a.account_id FROM accounts a
                               WHERE a.tenant_id = l.tenant_id AND a.customer_id = l.customer_id
                                 AND a.code = CASE WHEN l.paid THEN 'prepaid' ELSE 'promotional_credit' END
                                 AND a.currency = l.currency))
              FROM counted l
             WHERE l.grants = 1 AND l.free
            """,
            {"tenant_id": tenant_id, "customers": lines_of(customer_ids), "first": first, "last": last},
        )
        .fetchone()
    )
    assert row is not None
    return LoneGrants(*(column or [] for column in row))


def lines_of(values: Iterable[object]) -> str:
    """Values as lines of text."""
    return "\n".join(map(str, values))


def moments(values: Iterable[datetime]) -> list[str]:
    """Moments as text: thousands of rows share a few."""
    texts: dict[datetime, str] = {}
    return [texts.get(value) or texts.setdefault(value, str(value)) for value in values]


def _moments(values: Iterable[datetime]) -> str:
    return "\n".join(moments(values))


def insert_draws(
    conn: BooksConnection, tenant_id: int, parts: PartColumns, cause: Cause, reference: str, now: datetime
) -> int:
    """Write draws, which moves the counters of their grants. The id of the first row, which names them all.

    Where the money for charges came from is summed up by whoever asks next (`fund_charges`).
    """
    begins = range(0, len(parts.grant_ids), PARTS_PER_ROW)

    def rows_of(column: Sequence[str]) -> list[str]:
        return ["\n".join(column[begin : begin + PARTS_PER_ROW]) for begin in begins]

    found = conn.cursor(row_factory=tuple_row).execute(
        """
        WITH written AS (
            INSERT INTO wallet_draws (tenant_id, cause, reference, drawn_at, customer_ids, subscription_ids,
                                      period_starts, rate_cards, grant_ids, amounts, settled)
            SELECT %s, %s, %s, %s, string_to_array(given.customer_ids, E'\\n')::bigint[],
                   string_to_array(given.subscription_ids, E'\\n')::bigint[],
                   string_to_array(given.period_starts, E'\\n')::timestamptz[],
                   string_to_array(given.rate_cards, E'\\n'), string_to_array(given.grant_ids, E'\\n')::bigint[],
                   string_to_array(given.amounts, E'\\n')::numeric[], string_to_array(given.settled, E'\\n')::numeric[]
              FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
                   AS given (customer_ids, subscription_ids, period_starts, rate_cards, grant_ids, amounts, settled)
            RETURNING draw_id)
        SELECT min(draw_id) FROM written
        """,
        [
            tenant_id,
            cause.value,
            reference,
            now,
            rows_of(parts.customer_ids),
            rows_of(parts.subscription_ids),
            rows_of(parts.period_starts),
            rows_of(parts.rate_cards),
            rows_of(parts.grant_ids),
            rows_of(parts.amounts),
            rows_of(parts.settled),
        ],
    )
    ((first,),) = found.fetchall()
    assert first is not None, "nothing was drawn"
    return int(first)


def reopen_grants(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> dict[int, bool]:
    """Something goes back to grants that were used up. Whether each of them is a paid one."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "UPDATE grants SET closed_at = NULL WHERE tenant_id = %s AND grant_id = ANY(%s) RETURNING grant_id, paid",
        [tenant_id, sorted(grant_ids)],
    )
    return dict(rows.fetchall())


def add_owed(
    conn: BooksConnection, tenant_id: int, owed: Sequence[tuple[ChargeKey, int, Decimal]], draw_id: int
) -> None:
    """How much more of charges no funds covered, on top of what stands: (key, customer, amount).

    What grants paid is told by draws.
    """
    conn.execute(
        """
        INSERT INTO charge_funding AS f (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id,
                                         amount, last_draw_id)
        SELECT %(tenant_id)s, given.subscription_id, given.period_start, given.rate_card, 0, given.customer_id,
               given.amount, %(draw_id)s
          FROM unnest(string_to_array(%(subscriptions)s, E'\\n')::bigint[],
                      string_to_array(%(starts)s, E'\\n')::timestamptz[], string_to_array(%(cards)s, E'\\n'),
                      string_to_array(%(customers)s, E'\\n')::bigint[],
                      string_to_array(%(amounts)s, E'\\n')::numeric[])
               AS given (subscription_id, period_start, rate_card, customer_id, amount)
        ON CONFLICT (tenant_id, subscription_id, period_start, rate_card, grant_id)
        DO UPDATE SET amount = f.amount + excluded.amount, last_draw_id = excluded.last_draw_id
        """,
        {
            "tenant_id": tenant_id,
            "draw_id": draw_id,
            "subscriptions": lines_of(key.subscription_id for key, *_ in owed),
            "starts": _moments(key.period_start for key, *_ in owed),
            "cards": lines_of(key.rate_card for key, *_ in owed),
            "customers": lines_of(customer_id for _, customer_id, _ in owed),
            "amounts": lines_of(plain(amount) for *_, amount in owed),
        },
    )


def fund_charges(conn: BooksConnection) -> None:
    """Sum up what draws have paid since this was last done, for whoever asks where the money for charges came from.

    To be done before any grant is locked, and after `hold_invoicing`: two that do it wait for each other.
    """
    conn.execute("SELECT fund_charges()")


def select_funding(
    conn: BooksConnection, tenant_id: int, periods: Collection[tuple[int, datetime]]
) -> dict[ChargeKey, list[tuple[int, Decimal]]]:
    """Where the money came from so far in these (subscription, period start): pairs of grant (0: nobody) and amount,
    those that paid first before those that paid last. See `fund_charges`."""
    fund_charges(conn)
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
