"""SQL of authorisations one by one, as they are listed, expire, and wait to be counted. Batches: `batch_store.py`."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.wallets.holds.model import (
    Counted,
    Hold,
    Part,
    Place,
    Status,
)
from farthing.wallets.holds.terms import LadderKey

_parts = msgspec.json.Decoder(list[Part])
_places = msgspec.json.Decoder(list[Place])
_counted = msgspec.json.Decoder(list[Counted])

HOLDS_OF = """
    SELECT h.key, h.customer_id, c.key, h.currency, h.input_hash, h.amount, h.held_parts::text, h.positions::text,
           h.limits::text, h.created_at, h.expires_at, h.status, h.ended_at, h.cost, h.covered,
           h.settled_parts::text, h.event_source, h.event_id, h.event_hash, h.counted_at
      FROM holds h JOIN customers c ON c.tenant_id = h.tenant_id AND c.customer_id = h.customer_id
     WHERE h.tenant_id = %(tenant_id)s
"""
"""What `hold_of` reads."""

_STATUS = {status.value: status for status in Status}


class Movement(NamedTuple):
    """By how much the counters of a grant move."""

    grant_id: int
    held: Decimal
    settled: Decimal


def select_holds(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, Hold]:
    """The authorisations of these keys that stand."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        HOLDS_OF + " AND h.key = ANY(%(keys)s)", {"tenant_id": tenant_id, "keys": list(keys)}
    )
    return {row[0]: hold_of(row) for row in rows}


def select_holds_after(
    conn: BooksConnection,
    tenant_id: int,
    after: str | None,
    limit: int,
    customer_id: int | None,
    status: Collection[Status],
) -> list[Hold]:
    """Authorisations in the order of their keys, those after `after`."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        HOLDS_OF
        + """ AND h.key > %(after)s AND (%(customer_id)s::bigint IS NULL OR h.customer_id = %(customer_id)s)
              AND h.status = ANY(%(status)s) ORDER BY h.key LIMIT %(limit)s""",
        {
            "tenant_id": tenant_id,
            "after": after or "",
            "limit": limit,
            "customer_id": customer_id,
            "status": [one.value for one in status],
        },
    )
    return [hold_of(row) for row in rows]


def select_grant_keys(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> dict[int, str]:
    """The keys of grants, by id."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT grant_id, key FROM grants WHERE tenant_id = %s AND grant_id = ANY(%s)",
        [tenant_id, list(grant_ids)],
    )
    return dict(rows.fetchall())


def hold_of(row: Sequence[Any]) -> Hold:
    """A row of `HOLDS_OF`."""
    key, customer_id, customer, currency, input_hash, amount, held, positions, limits, *rest = row
    (
        created_at,
        expires_at,
        status,
        ended_at,
        cost,
        covered,
        settled,
        source,
        event_id,
        event_hash,
        counted,
    ) = rest
    return Hold(
        key,
        customer_id,
        customer,
        currency,
        input_hash,
        amount,
        tuple(_parts.decode(held)),
        tuple(_places.decode(positions)),
        tuple(_counted.decode(limits)),
        created_at,
        expires_at,
        _STATUS[status],
        ended_at,
        cost,
        covered,
        () if settled is None else tuple(_parts.decode(settled)),
        source,
        event_id,
        event_hash,
        counted,
    )


def select_holders(conn: BooksConnection, tenant_id: int, subjects: Collection[str]) -> dict[str, int]:
    """The customers that these subjects mean."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT subject, customer_id FROM customer_subjects WHERE tenant_id = %s AND subject = ANY(%s)",
        [tenant_id, list(subjects)],
    )
    return dict(rows.fetchall())


def select_climbing(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[LadderKey, Decimal]:
    """How far the authorised usage of these customers that is not counted yet can move each ladder."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT (p.place ->> 0)::bigint, (p.place ->> 1)::timestamptz, p.place ->> 2, p.place ->> 3,
               sum((p.place ->> 4)::numeric)
          FROM holds h CROSS JOIN LATERAL jsonb_array_elements(h.positions) AS p (place)
         WHERE h.tenant_id = %s AND h.customer_id = ANY(%s) AND h.status IN ('held', 'settled')
           AND h.positions <> '[]'
         GROUP BY 1, 2, 3, 4
        """,
        [tenant_id, list(customer_ids)],
    )
    return {
        (subscription, start, card, ladder): quantity for subscription, start, card, ladder, quantity in rows
    }


def end_holds(
    conn: BooksConnection, tenant_id: int, keys: Collection[str], status: Status, now: datetime
) -> set[str]:
    """Authorisations that are released or have expired. The keys of those that were open."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "UPDATE holds SET status = %s, ended_at = %s, positions = '[]'"
        " WHERE tenant_id = %s AND key = ANY(%s) AND status = 'held' RETURNING key",
        [status.value, now, tenant_id, list(keys)],
    )
    return {row[0] for row in rows}


def move_grants(conn: BooksConnection, tenant_id: int, movements: Collection[Movement]) -> None:
    """Move what is held and settled of grants that this transaction has locked."""
    conn.execute(
        """
        UPDATE grants g SET held = g.held + given.held, settled = g.settled + given.settled
          FROM unnest(%(grants)s::bigint[], %(held)s::numeric[], %(settled)s::numeric[])
               AS given (grant_id, held, settled)
         WHERE g.tenant_id = %(tenant_id)s AND g.grant_id = given.grant_id AND g.grant_id = ANY(%(grants)s)
        """,
        {
            "tenant_id": tenant_id,
            "grants": [movement.grant_id for movement in movements],
            "held": [movement.held for movement in movements],
            "settled": [movement.settled for movement in movements],
        },
    )


def select_expired(conn: BooksConnection, tenant_id: int, now: datetime, limit: int) -> dict[str, int]:
    """Open authorisations whose time is over, the longest first, and whose they are."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT key, customer_id FROM holds WHERE tenant_id = %s AND status = 'held' AND expires_at <= %s"
        " ORDER BY expires_at LIMIT %s",
        [tenant_id, now, limit],
    )
    return dict(rows.fetchall())


# ---- Settled, and waiting to be counted


class Waiting(NamedTuple):
    """A settled authorisation whose event is not counted yet."""

    key: str
    customer_id: int
    currency: str
    event_source: str
    event_id: str
    settled_parts: tuple[Part, ...]


def select_waiting(conn: BooksConnection, tenant_id: int) -> list[Waiting]:
    """Every settled authorisation whose event is not counted yet."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT key, customer_id, currency, event_source, event_id, settled_parts::text FROM holds"
        " WHERE tenant_id = %s AND status = 'settled'",
        [tenant_id],
    )
    return [Waiting(row[0], row[1], row[2], row[3], row[4], tuple(_parts.decode(row[5]))) for row in rows]


def mark_counted(conn: BooksConnection, tenant_id: int, keys: Collection[str], now: datetime) -> set[str]:
    """Their events are counted: they need not be kept here any longer. The keys that were waiting."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "UPDATE holds SET status = 'counted', counted_at = %s, event = NULL, positions = '[]'"
        " WHERE tenant_id = %s AND key = ANY(%s) AND status = 'settled' RETURNING key",
        [now, tenant_id, list(keys)],
    )
    return {row[0] for row in rows}


def take_unappended(
    conn: BooksConnection, tenant_id: int, before: datetime, now: datetime, limit: int
) -> list[tuple[datetime, bytes]]:
    """Events of settled authorisations that were last put into the log before a moment: settled when, and the line.

    They are noted as put into the log now.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        UPDATE holds SET appended_at = %(now)s
         WHERE tenant_id = %(tenant_id)s AND key IN (
               SELECT key FROM holds
                WHERE tenant_id = %(tenant_id)s AND status = 'settled' AND ended_at <= %(before)s
                  AND (appended_at IS NULL OR appended_at <= %(before)s OR appended_at > %(now)s)
                ORDER BY ended_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING ended_at, event
        """,
        {"tenant_id": tenant_id, "before": before, "now": now, "limit": limit},
    )
    return [(ended_at, bytes(event)) for ended_at, event in rows]
