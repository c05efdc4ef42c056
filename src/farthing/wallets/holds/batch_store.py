"""SQL of a batch of requests: a statement to lock and read, one to write, however many requests there are.

Columns go in as lines of text, as in `draw_store`; what may hold a line break goes in as an array.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.wallets.draw_store import ITS_WALLET, OPEN_GRANT, OPEN_GRANT_COLUMNS, lines_of, open_grants_of
from farthing.wallets.holds.model import Hold
from farthing.wallets.holds.store import HOLDS_OF, Movement, hold_of
from farthing.wallets.model import OpenGrant

HOLDS_KEY = "holds_pkey"
"""The constraint that lets a key stand for one authorisation."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


class CustomerRow(NamedTuple):
    """A customer as far as it matters here. `touched_at`: when anything about it was last written."""

    customer_id: int
    key: str
    currency: str
    timezone: str
    touched_at: datetime
    limited: bool


class Version(NamedTuple):
    """What the last of each kind of change to a tenant's catalog and subscriptions was."""

    subscription_id: int
    change_id: int
    meter_id: int


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom a batch concerns. `grants`: those that are not used up, by customer. `holds`: those that stand, by key."""

    version: Version
    customers: Sequence[CustomerRow]
    grants: dict[int, list[OpenGrant]]
    holds: dict[str, Hold]


TURN = "authorizing"
"""Batches of several processes would wait for each other at busy grants anyway. In turn, the next one does not say yet
what is in it, and grows."""
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""A batch looks up a few rows by their keys, and plans are made for that, once. They outlive the young table of which
statistics know nothing yet, so the keys of rows are said beside the join that says them, too: `= ANY` is looked up.
Grants are locked one by one, in the order of their ids: of all that are open PostgreSQL believes that there are few.
"""


_CONCERNED = (
    """
    WITH version AS MATERIALIZED (
        SELECT (SELECT coalesce(max(subscription_id), 0) FROM subscriptions WHERE tenant_id = %(tenant_id)s),
               (SELECT coalesce(max(change_id), 0) FROM subscription_changes WHERE tenant_id = %(tenant_id)s),
               (SELECT coalesce(max(meter_id), 0) FROM meters WHERE tenant_id = %(tenant_id)s)),
    hold AS MATERIALIZED ("""  # noqa: S608 - constants of ours
    + HOLDS_OF
    + """ AND h.key = ANY(string_to_array(%(keys)s, E'\\n'))),
    concerned AS MATERIALIZED (
        SELECT customer_id FROM customers WHERE tenant_id = %(tenant_id)s AND key = ANY(%(customers)s)
         UNION
        SELECT customer_id FROM hold),
    customer AS MATERIALIZED (
        SELECT customer_id, key, currency, timezone, updated_at,
               (SELECT true FROM spending_limits l
                 WHERE l.tenant_id = c.tenant_id AND l.customer_id = c.customer_id AND l.removed_at IS NULL
                 LIMIT 1) IS TRUE AS limited
          FROM customers c
         WHERE tenant_id = %(tenant_id)s AND customer_id = ANY(ARRAY(SELECT customer_id FROM concerned))),
    open_grant AS MATERIALIZED (
        SELECT locked.*
          FROM unnest(ARRAY(
               SELECT grant_id FROM grants
                WHERE tenant_id = %(tenant_id)s AND closed_at IS NULL
                  AND customer_id = ANY(ARRAY(SELECT customer_id FROM concerned))
                ORDER BY grant_id)) AS named (grant_id)
         CROSS JOIN LATERAL ("""
    + OPEN_GRANT
    + """, g.closed_at
                  FROM grants g """
    + ITS_WALLET
    + """
                 WHERE g.tenant_id = %(tenant_id)s AND g.grant_id BETWEEN named.grant_id AND named.grant_id
                 ORDER BY g.grant_id LIMIT 1 FOR NO KEY UPDATE OF g) AS locked
         WHERE locked.closed_at IS NULL)
    SELECT v.*, c.*, g.*, h.*
      FROM version v LEFT JOIN customer c ON true LEFT JOIN open_grant g ON g.customer_id = c.customer_id
      FULL JOIN hold h ON false
    """
)


_CUSTOMER = len(Version._fields)
_GRANT = _CUSTOMER + len(CustomerRow._fields)
_CLOSED = _GRANT + OPEN_GRANT_COLUMNS
_HOLD = _CLOSED + 1
"""Where in a row what it says of each begins."""


def lock_concerned(
    conn: BooksConnection, tenant_id: int, customers: Collection[str], keys: Collection[str]
) -> Concerned:
    """These customers, and those of the authorisations of these keys, with their grants, which stand still until the
    end.

    The authorisations are as they stood before the grants were locked. Batches take turns, so only what has expired or
    was counted since then may differ: `write_batch` refuses to end it again.
    """
    values = {"tenant_id": tenant_id, "customers": list(customers), "keys": lines_of(keys)}
    found = conn.cursor(row_factory=tuple_row).execute(_CONCERNED, values).fetchall()
    version = next(row[:_CUSTOMER] for row in found if row[0] is not None)
    told = {
        row[_CUSTOMER]: CustomerRow(*row[_CUSTOMER:_GRANT]) for row in found if row[_CUSTOMER] is not None
    }
    grants = open_grants_of(row[_GRANT:_CLOSED] for row in found if row[_GRANT] is not None)
    holds = (hold_of(row[_HOLD:]) for row in found if row[_HOLD] is not None)
    return Concerned(Version(*version), list(told.values()), grants, {hold.key: hold for hold in holds})


def select_changed_customers(
    conn: BooksConnection, tenant_id: int, before: Version, now: Version
) -> set[int]:
    """The customers whose subscriptions were begun or changed between two versions."""
    found = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT customer_id FROM subscriptions
         WHERE tenant_id = %(tenant_id)s AND subscription_id > %(subscription)s
         UNION
        SELECT s.customer_id FROM subscription_changes x
          JOIN subscriptions s ON s.tenant_id = x.tenant_id AND s.subscription_id = x.subscription_id
         WHERE x.tenant_id = %(tenant_id)s AND x.change_id > %(change)s
        """,
        {"tenant_id": tenant_id, "subscription": before.subscription_id, "change": before.change_id},
    )
    return {row[0] for row in found}


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be written. `settled`: with the lines of their events. `movements`: of grants that are locked."""

    opened: Sequence[Hold]
    settled: Sequence[tuple[Hold, bytes]]
    released: Collection[str]
    movements: Sequence[Movement]


_OPEN = """
    INSERT INTO holds (tenant_id, key, customer_id, currency, input_hash, amount, held_parts, positions, limits,
                       created_at, expires_at)
    SELECT %(tenant_id)s, key, customer_id, currency, decode(input_hash, 'hex'), amount, held_parts, positions,
           limits, %(now)s, expires_at
      FROM unnest(string_to_array(%(opened)s, E'\\n'), string_to_array(%(customers)s, E'\\n')::bigint[],
                  string_to_array(%(currencies)s, E'\\n'), string_to_array(%(hashes)s, E'\\n'),
                  string_to_array(%(amounts)s, E'\\n')::numeric[],
                  string_to_array(%(held_parts)s, E'\\n')::jsonb[],
                  string_to_array(%(held_places)s, E'\\n')::jsonb[],
                  string_to_array(%(limits)s, E'\\n')::jsonb[],
                  string_to_array(%(expiring)s, E'\\n')::timestamptz[])
           AS given (key, customer_id, currency, input_hash, amount, held_parts, positions, limits,
                     expires_at)
"""
_SETTLE = """
    UPDATE holds h
       SET status = 'settled', ended_at = %(now)s, cost = given.cost, covered = given.covered,
           settled_parts = given.parts, positions = given.positions, event_source = given.source,
           event_id = given.id, event_hash = decode(given.hash, 'hex'), event = given.event
      FROM unnest(string_to_array(%(settled)s, E'\\n'), string_to_array(%(costs)s, E'\\n')::numeric[],
                  string_to_array(%(covered)s, E'\\n')::numeric[],
                  string_to_array(%(settled_parts)s, E'\\n')::jsonb[],
                  string_to_array(%(settled_places)s, E'\\n')::jsonb[], %(sources)b::text[], %(ids)b::text[],
                  string_to_array(%(event_hashes)s, E'\\n'), %(events)b::bytea[])
           AS given (key, cost, covered, parts, positions, source, id, hash, event)
     WHERE h.tenant_id = %(tenant_id)s AND h.key = given.key
       AND h.key = ANY(string_to_array(%(settled)s, E'\\n'))
"""
_RELEASE = """
    UPDATE holds SET status = 'released', ended_at = %(now)s, positions = '[]'
     WHERE tenant_id = %(tenant_id)s AND key = ANY(%(released)s)
"""
_MOVE = """
    UPDATE grants g SET held = g.held + given.held, settled = g.settled + given.settled
      FROM unnest(string_to_array(%(grants)s, E'\\n')::bigint[], string_to_array(%(moved_held)s, E'\\n')::numeric[],
                  string_to_array(%(moved_settled)s, E'\\n')::numeric[]) AS given (grant_id, held, settled)
     WHERE g.tenant_id = %(tenant_id)s AND g.grant_id = given.grant_id
       AND g.grant_id = ANY(string_to_array(%(grants)s, E'\\n')::bigint[])
"""


def write_batch(conn: BooksConnection, tenant_id: int, batch: Batch, now: datetime) -> None:
    """Keep what was decided, in one statement: of the tables that it is about, since each costs as much as many rows.

    Raises UniqueViolation of `HOLDS_KEY` where an authorisation stands already, RestrictViolation where one that is to
    end has ended.
    """
    written = {_OPEN: batch.opened, _SETTLE: batch.settled, _RELEASE: batch.released, _MOVE: batch.movements}
    *beside, last = [statement for statement, rows in written.items() if rows]
    steps = ", ".join(f"step_{number} AS ({statement})" for number, statement in enumerate(beside))
    conn.execute(f"WITH {steps} {last}" if steps else last, _columns(tenant_id, batch, now))


def _columns(tenant_id: int, batch: Batch, now: datetime) -> dict[str, Any]:
    opened = sorted(batch.opened, key=lambda hold: hold.key)
    settled = [hold for hold, _ in batch.settled]
    return {
        "tenant_id": tenant_id,
        "now": now,
        "opened": lines_of(hold.key for hold in opened),
        "customers": lines_of(hold.customer_id for hold in opened),
        "currencies": lines_of(hold.currency for hold in opened),
        "hashes": lines_of(hold.input_hash.hex() for hold in opened),
        "amounts": lines_of(hold.amount for hold in opened),
        "held_parts": _json_lines(hold.held_parts for hold in opened),
        "held_places": _json_lines(hold.places for hold in opened),
        "limits": _json_lines(hold.limits for hold in opened),
        "expiring": lines_of(hold.expires_at for hold in opened),
        "settled": lines_of(hold.key for hold in settled),
        "costs": lines_of(hold.cost for hold in settled),
        "covered": lines_of(hold.covered for hold in settled),
        "settled_parts": _json_lines(hold.settled_parts for hold in settled),
        "settled_places": _json_lines(hold.places for hold in settled),
        "sources": [hold.event_source for hold in settled],
        "ids": [hold.event_id for hold in settled],
        "event_hashes": lines_of((hold.event_hash or b"").hex() for hold in settled),
        "events": [line for _, line in batch.settled],
        "released": list(batch.released),
        "grants": lines_of(one.grant_id for one in batch.movements),
        "moved_held": lines_of(one.held for one in batch.movements),
        "moved_settled": lines_of(one.settled for one in batch.movements),
    }


def _json_lines(values: Iterable[Sequence[tuple[Any, ...]]]) -> str:
    """Named tuples as JSON has them, amounts as text. JSON that is encoded has no line break."""
    return "\n".join([_encode(value).decode() if value else "[]" for value in values])
