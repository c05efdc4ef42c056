"""SQL of wallets, grants and how they end. What is written of many is one statement."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow, tuple_row
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.wallets.content import auto_top_up_json, auto_top_up_of
from farthing.wallets.model import (
    AutoTopUp,
    BalanceState,
    Ending,
    Grant,
    GrantContent,
    Scope,
    Wallet,
    WalletContent,
)

_WALLETS = """
    SELECT w.wallet_id, w.key, w.customer_id, c.key AS customer, w.name, w.currency, w.unit, w.priority,
           w.low_balance, w.top_up, w.balance_state, w.created_at, c.currency AS billed_in
      FROM wallets w JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id
     WHERE w.tenant_id = %(tenant_id)s
"""
_GRANTS = """
    SELECT g.grant_id, g.key, g.wallet_id, w.key AS wallet, g.paid, g.amount, g.priority, g.meters, g.rate_cards,
           g.effective_at, g.expires_at, g.reference, r.key AS recurring, f.key AS rolled_from, g.created_at,
           g.drawn, g.held, g.settled, g.expired, g.closed_at, g.unit_price
      FROM grants g
      JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
      LEFT JOIN recurring_grants r ON r.tenant_id = g.tenant_id AND r.recurring_grant_id = g.recurring_grant_id
      LEFT JOIN grants f ON f.tenant_id = g.tenant_id AND f.grant_id = g.rolled_from
     WHERE g.tenant_id = %(tenant_id)s
"""
# ---- Wallets


def insert_wallet(
    conn: BooksConnection, tenant_id: int, customer_id: int, content: WalletContent, now: datetime
) -> bool:
    """A new wallet. False where its key is taken."""
    made = conn.execute(
        """
        INSERT INTO wallets (tenant_id, key, customer_id, name, currency, unit, priority, low_balance, top_up,
                             balance_state, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        [
            tenant_id,
            content.key,
            customer_id,
            content.name,
            content.currency,
            content.unit,
            content.priority,
            content.low_balance,
            _json(content.top_up),
            BalanceState.EXHAUSTED.value,
            now,
        ],
    )
    return made.rowcount == 1


def update_wallet(conn: BooksConnection, tenant_id: int, wallet_id: int, content: WalletContent) -> None:
    """What may change of a wallet."""
    conn.execute(
        "UPDATE wallets SET name = %s, priority = %s, low_balance = %s, top_up = %s"
        " WHERE tenant_id = %s AND wallet_id = %s",
        [
            content.name,
            content.priority,
            content.low_balance,
            _json(content.top_up),
            tenant_id,
            wallet_id,
        ],
    )


def _json(top_up: AutoTopUp | None) -> Jsonb | None:
    return None if top_up is None else Jsonb(auto_top_up_json(top_up))


def select_wallet(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> Wallet | None:
    """A wallet by its key; with `hold` nobody else changes it until the transaction ends."""
    row = conn.execute(
        _WALLETS + " AND w.key = %(key)s" + (" FOR NO KEY UPDATE OF w" if hold else ""),
        {"tenant_id": tenant_id, "key": key},
    ).fetchone()
    return None if row is None else _wallet(row)


def select_wallets_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int, customer: str | None
) -> list[Wallet]:
    """Wallets in order of key, those after `after`, of one customer where one is named."""
    rows = conn.execute(
        _WALLETS
        + " AND w.key > %(after)s AND (%(customer)s::text IS NULL OR c.key = %(customer)s)"
        + " ORDER BY w.key LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after or "", "limit": limit, "customer": customer},
    )
    return [_wallet(row) for row in rows]


def _wallet(row: Mapping[str, Any]) -> Wallet:
    top_up = row["top_up"]
    return Wallet(
        **{
            **row,
            "top_up": None if top_up is None else auto_top_up_of(top_up),
            "balance_state": BalanceState(row["balance_state"]),
        }
    )


def select_currencies(conn: BooksConnection, tenant_id: int, wallet_ids: Collection[int]) -> dict[int, str]:
    """The currency of each of these wallets, or what its units are paid for in."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT w.wallet_id, c.currency FROM wallets w"
        " JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id"
        " WHERE w.tenant_id = %s AND w.wallet_id = ANY(%s)",
        [tenant_id, list(wallet_ids)],
    )
    return dict(rows.fetchall())


def select_balances(
    conn: BooksConnection, tenant_id: int, wallet_ids: Collection[int], now: datetime
) -> dict[int, DictRow]:
    """Of each wallet: what its grants in force hold, by what became of it, and what is still to come."""
    rows = conn.execute(
        """
        SELECT w.wallet_id,
               coalesce(sum(g.amount - g.drawn - g.held - g.settled - g.expired)
                        FILTER (WHERE in_force), 0) AS available,
               coalesce(sum(g.amount - g.drawn - g.held - g.settled - g.expired)
                        FILTER (WHERE in_force AND g.paid), 0) AS available_paid,
               coalesce(sum(g.held), 0) AS held, coalesce(sum(g.settled), 0) AS settled,
               coalesce(sum(g.amount - g.drawn - g.held - g.settled - g.expired)
                        FILTER (WHERE g.effective_at > %(now)s), 0) AS scheduled
          FROM wallets w
          LEFT JOIN LATERAL (
               SELECT g.*, g.effective_at <= %(now)s AND (g.expires_at IS NULL OR g.expires_at > %(now)s) AS in_force
                 FROM grants g
                WHERE g.tenant_id = w.tenant_id AND g.customer_id = w.customer_id AND g.wallet_id = w.wallet_id
                  AND g.closed_at IS NULL) g ON true
         WHERE w.tenant_id = %(tenant_id)s AND w.wallet_id = ANY(%(ids)s)
         GROUP BY w.wallet_id
        """,
        {"tenant_id": tenant_id, "ids": list(wallet_ids), "now": now},
    )
    return {row["wallet_id"]: row for row in rows}


# ---- Grants


def insert_grants(
    conn: BooksConnection, tenant_id: int, grants: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, int]:
    """New grants; those whose key stands already are passed over. The ids of the new ones, by key.

    grants: what `grant_row` makes.
    """
    columns = {name: [grant[name] for grant in grants] for name in _GRANT_COLUMNS}
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        INSERT INTO grants (tenant_id, key, wallet_id, customer_id, paid, amount, unit_price, priority, meters,
                            rate_cards, effective_at, expires_at, recurring_grant_id, rolled_from, reference,
                            input_hash, created_at, returned_of)
        SELECT %(tenant_id)s, given.key, given.wallet_id, given.customer_id, given.paid, given.amount,
               given.unit_price, given.priority,
               string_to_array(given.meters, E'\\n'), string_to_array(given.rate_cards, E'\\n'),
               given.effective_at, given.expires_at, given.recurring_grant_id, given.rolled_from, given.reference,
               given.input_hash, %(now)s, given.returned_of
          FROM unnest(%(key)s::text[], %(wallet_id)s::bigint[], %(customer_id)s::bigint[], %(paid)s::boolean[],
                      %(amount)s::numeric[], %(unit_price)s::numeric[], %(priority)s::int[], %(meters)s::text[],
                      %(rate_cards)s::text[],
                      %(effective_at)s::timestamptz[], %(expires_at)s::timestamptz[],
                      %(recurring_grant_id)s::bigint[], %(rolled_from)s::bigint[], %(reference)s::text[],
                      %(input_hash)s::bytea[], %(returned_of)s::bigint[])
               WITH ORDINALITY AS given (key, wallet_id, customer_id, paid, amount, unit_price, priority, meters,
                                         rate_cards, effective_at, expires_at, recurring_grant_id, rolled_from,
                                         reference, input_hash, returned_of, place)
         ORDER BY given.place
        ON CONFLICT DO NOTHING
        RETURNING key, grant_id
        """,
        {**columns, "tenant_id": tenant_id, "now": now},
    )
    return dict(rows.fetchall())


_GRANT_COLUMNS = (
    "key",
    "wallet_id",
    "customer_id",
    "paid",
    "amount",
    "unit_price",
    "priority",
    "meters",
    "rate_cards",
    "effective_at",
    "expires_at",
    "recurring_grant_id",
    "rolled_from",
    "reference",
    "input_hash",
    "returned_of",
)


def grant_row(
    content: GrantContent,
    wallet_id: int,
    customer_id: int,
    effective_at: datetime,
    input_hash: bytes,
    *,
    recurring_grant_id: int | None = None,
    rolled_from: int | None = None,
    returned_of: int | None = None,
) -> dict[str, Any]:
    """A grant as `insert_grants` takes it. Keys of catalogs hold no line break."""
    return {
        "key": content.key,
        "wallet_id": wallet_id,
        "customer_id": customer_id,
        "paid": content.paid,
        "amount": content.amount,
        "unit_price": content.unit_price,
        "priority": content.priority,
        "meters": "\n".join(content.scope.meters),
        "rate_cards": "\n".join(content.scope.rate_cards),
        "effective_at": effective_at,
        "expires_at": content.expires_at,
        "recurring_grant_id": recurring_grant_id,
        "rolled_from": rolled_from,
        "reference": content.reference,
        "input_hash": input_hash,
        "returned_of": returned_of,
    }


def select_grant(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> Grant | None:
    """A grant by its key; with `hold` its counters stand still until the transaction ends."""
    row = conn.execute(
        _GRANTS + " AND g.key = %(key)s" + (" FOR NO KEY UPDATE OF g" if hold else ""),
        {"tenant_id": tenant_id, "key": key},
    ).fetchone()
    return None if row is None else _grant(row)


def select_grant_hash(conn: BooksConnection, tenant_id: int, key: str) -> bytes | None:
    """What was asked for under a key."""
    row = conn.execute(
        "SELECT input_hash FROM grants WHERE tenant_id = %s AND key = %s", [tenant_id, key]
    ).fetchone()
    return None if row is None else bytes(row["input_hash"])


def select_grants_after(
    conn: BooksConnection, tenant_id: int, wallet_id: int, after: int, limit: int
) -> list[Grant]:
    """The grants of a wallet in the order of their making, those behind the id `after`."""
    rows = conn.execute(
        _GRANTS
        + " AND g.wallet_id = %(wallet_id)s AND g.grant_id > %(after)s ORDER BY g.grant_id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "wallet_id": wallet_id, "after": after, "limit": limit},
    )
    return [_grant(row) for row in rows]


def select_latest_grants(conn: BooksConnection, tenant_id: int, wallet_id: int, limit: int) -> list[Grant]:
    """The last so many grants of a wallet, in the order of their making."""
    rows = conn.execute(
        _GRANTS + " AND g.wallet_id = %(wallet_id)s ORDER BY g.grant_id DESC LIMIT %(limit)s",
        {"tenant_id": tenant_id, "wallet_id": wallet_id, "limit": limit},
    ).fetchall()
    return [_grant(row) for row in reversed(rows)]


def _grant(row: Mapping[str, Any]) -> Grant:
    values = dict(row)
    scope = Scope(tuple(values.pop("meters")), tuple(values.pop("rate_cards")))
    return Grant(**values, scope=scope)


def lock_ending_grants(conn: BooksConnection, tenant_id: int, until: datetime, limit: int) -> list[DictRow]:
    """Grants that had expired by then and have something left, with what recurring ones leave to the next.

    They stand still until the transaction ends; in the order of their ids.
    """
    return conn.execute(
        """
        SELECT g.grant_id, g.key, g.wallet_id, g.customer_id, w.key AS wallet, w.unit, g.unit_price,
               coalesce(w.currency, c.currency) AS currency, c.key AS customer, g.paid,
               g.amount - g.drawn - g.held - g.settled - g.expired AS left_over, g.amount, g.priority, g.meters,
               g.rate_cards, g.effective_at, g.expires_at, g.recurring_grant_id, g.rolled_from,
               r.key AS recurring, coalesce(r.rollover_percent, 0) AS rollover_percent, r.rollover_maximum,
               n.grant_id IS NOT NULL AS was_rolled, next_grant.expires_at AS next_expires_at,
               next_grant.effective_at AS next_effective_at,
               (SELECT count(*) FROM grant_endings e
                 WHERE e.tenant_id = g.tenant_id AND e.grant_id = g.grant_id) AS endings
          FROM grants g
          JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
          JOIN customers c ON c.tenant_id = g.tenant_id AND c.customer_id = g.customer_id
          LEFT JOIN recurring_grants r ON r.tenant_id = g.tenant_id AND r.recurring_grant_id = g.recurring_grant_id
          LEFT JOIN grants n ON n.tenant_id = g.tenant_id AND n.rolled_from = g.grant_id
          LEFT JOIN LATERAL (
               SELECT x.effective_at, x.expires_at FROM grants x
                WHERE x.tenant_id = g.tenant_id AND x.recurring_grant_id = g.recurring_grant_id
                  AND x.rolled_from IS NULL AND x.effective_at >= g.expires_at
                ORDER BY x.effective_at LIMIT 1) next_grant ON true
         WHERE g.tenant_id = %(tenant_id)s AND g.closed_at IS NULL AND g.expires_at <= %(until)s
           AND g.amount - g.drawn - g.held - g.settled - g.expired > 0
         ORDER BY g.grant_id LIMIT %(limit)s
           FOR NO KEY UPDATE OF g
        """,
        {"tenant_id": tenant_id, "until": until, "limit": limit},
    ).fetchall()


def insert_endings(
    conn: BooksConnection,
    tenant_id: int,
    endings: Sequence[tuple[int, int, Ending, Decimal, str]],
    now: datetime,
) -> None:
    """Parts of grants that can no longer be drawn: (grant, place, reason, amount, note). Their counters move."""
    conn.execute(
        """
        INSERT INTO grant_endings (tenant_id, grant_id, place, reason, amount, note, ended_at)
        SELECT %(tenant_id)s, given.*, %(now)s
          FROM unnest(%(grants)s::bigint[], %(places)s::int[], %(reasons)s::text[], %(amounts)s::numeric[],
                      %(notes)s::text[]) AS given
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "grants": [ending[0] for ending in endings],
            "places": [ending[1] for ending in endings],
            "reasons": [ending[2].value for ending in endings],
            "amounts": [ending[3] for ending in endings],
            "notes": [ending[4] for ending in endings],
        },
    )


def count_endings(conn: BooksConnection, tenant_id: int, grant_id: int) -> int:
    """How many parts of a grant have ended so far."""
    row = conn.execute(
        "SELECT count(*) AS endings FROM grant_endings WHERE tenant_id = %s AND grant_id = %s",
        [tenant_id, grant_id],
    ).fetchone()
    assert row is not None
    return int(row["endings"])


def close_used_up(conn: BooksConnection, tenant_id: int, now: datetime, limit: int) -> int:
    """Put grants aside that nothing is left of, so that nobody looks at them any more. How many those were."""
    return conn.execute(
        """
        UPDATE grants SET closed_at = %(now)s
         WHERE tenant_id = %(tenant_id)s AND grant_id IN (
               SELECT grant_id FROM grants
                WHERE tenant_id = %(tenant_id)s AND closed_at IS NULL AND drawn + expired = amount
                ORDER BY grant_id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
        """,
        {"tenant_id": tenant_id, "now": now, "limit": limit},
    ).rowcount
