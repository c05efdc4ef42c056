"""The outbox: what happened that the world outside may want to know.

A fact is written in the transaction that makes it true, so it is announced exactly if it happened. Readers go
through the facts of a tenant by position and may stop and go on anywhere: none is passed over, whatever
transactions were under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farthing.db import store
from farthing.db.pool import Books, BooksConnection
from farthing.kernel.instant import format_instant
from farthing.kernel.value import value

FACTS_READ_MAX = 10_000
"""At most so many facts are read at once."""


@value
class Fact:
    """Something that happened.

    kind: what, with its room in front: `wallet.low_balance`. subject: to what, a key or a number that people
    know. body: what else there is to say, a JSON object whose amounts are decimal strings.
    """

    kind: str
    subject: str
    body: Mapping[str, Any]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class PositionedFact:
    """A fact and its place among those of its tenant, from 1 on without gaps."""

    position: int
    fact: Fact


def announce(conn: BooksConnection, tenant_id: int, facts: Sequence[Fact]) -> None:
    """Write facts, to be told when this transaction commits. Waits for nobody."""
    if facts:
        store.insert_facts(
            conn,
            tenant_id,
            [
                {
                    "kind": fact.kind,
                    "subject": fact.subject,
                    "body": fact.body,
                    "occurred_at": fact.occurred_at,
                }
                for fact in facts
            ],
        )


def facts_after(
    books: Books, tenant_id: int, after: int, limit: int, kind: str | None = None
) -> list[PositionedFact]:
    """The facts behind a position (0: from the beginning), in order; of one kind, or all.

    kind: `wallet.low_balance`, or with a star at its end all of a room: `wallet.*`.
    """
    assert 1 <= limit <= FACTS_READ_MAX
    with books.transaction(tenant_id) as conn:
        store.place_facts(conn, tenant_id)
        rows = store.select_facts(conn, tenant_id, after, limit, kind)
    return [
        PositionedFact(row["position"], Fact(row["kind"], row["subject"], row["body"], row["occurred_at"]))
        for row in rows
    ]


def fact_document(one: PositionedFact) -> dict[str, Any]:
    """A fact as the API and the command line show it."""
    return {
        "position": one.position,
        "kind": one.fact.kind,
        "subject": one.fact.subject,
        "occurred_at": format_instant(one.fact.occurred_at),
        "body": one.fact.body,
    }
