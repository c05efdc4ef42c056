"""Corrections in the books: which event corrects which, and which events no longer count. Only SQL."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa

Connection = psycopg.Connection[dict[str, Any]]
Identity = tuple[str, str]
"""(source, id)"""


@dataclass(frozen=True, slots=True)
class Voids:
    """Events that no longer count, in the order of their times; `anywhere`: those whose place could not be read."""

    times: Sequence[datetime]
    identities: Sequence[Identity]
    anywhere: tuple[Identity, ...] = ()

    def within(self, first: datetime, last: datetime) -> tuple[Identity, ...]:
        """Those that may be among events of these times, both included."""
        if not self.times:
            return self.anywhere
        some = slice(bisect_left(self.times, first), bisect_right(self.times, last))
        return (*self.identities[some], *self.anywhere)


NO_VOIDS = Voids((), ())


def voided_between(
    conn: Connection, tenant_id: int, event_type: str | None, start: datetime | None, end: datetime | None
) -> Voids:
    """The events of a type in [start, end) that no longer count."""
    found = conn.execute(
        """
        SELECT source, event_id, event_time FROM voided_events
         WHERE tenant_id = %(tenant)s
           AND (%(type)s::text IS NULL OR event_type = %(type)s)
           AND (%(start)s::timestamptz IS NULL OR event_time >= %(start)s)
           AND (%(end)s::timestamptz IS NULL OR event_time < %(end)s)
         ORDER BY event_time
        """,
        {"tenant": tenant_id, "type": event_type, "start": start, "end": end},
    ).fetchall()
    unplaced = conn.execute(
        """
        SELECT target_source, target_id FROM event_corrections WHERE tenant_id = %s AND target_unreadable
        """,
        [tenant_id],
    ).fetchall()
    return Voids(
        [row["event_time"] for row in found],
        [(row["source"], row["event_id"]) for row in found],
        tuple((row["target_source"], row["target_id"]) for row in unplaced),
    )


@dataclass(frozen=True, slots=True)
class NewCorrection:
    """A correcting event that was counted, and the event that it corrects."""

    kind: str
    source: str
    event_id: str
    target: Identity
    reason: str
    target_unreadable: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class VoidedEvent:
    """An event that no longer counts, as it stands in its segment."""

    source: str
    event_id: str
    event_type: str
    subject: str | None
    event_time: datetime
    received_at: datetime


def waiting_targets(conn: Connection, tenant_id: int) -> list[Identity]:
    """The events that were corrected before they came."""
    found = conn.execute(
        """
        SELECT target_source, target_id FROM event_corrections c
         WHERE tenant_id = %s AND NOT EXISTS (
               SELECT FROM voided_events v WHERE v.tenant_id = c.tenant_id AND v.correction_id = c.correction_id)
         ORDER BY correction_id
        """,
        [tenant_id],
    )
    return [(row["target_source"], row["target_id"]) for row in found]


def any_removed(conn: Connection, tenant_id: int) -> bool:
    """Whether counted events of a tenant were removed because of their age, or erased with their customer."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM removed_segments WHERE tenant_id = %(tenant)s)
            OR EXISTS (SELECT FROM erasures WHERE tenant_id = %(tenant)s) AS removed
        """,
        {"tenant": tenant_id},
    ).fetchone()
    assert row is not None
    return bool(row["removed"])


def corrected_among(
    conn: Connection, tenant_id: int, targets: Sequence[Identity]
) -> dict[Identity, Identity]:
    """Those of these events that have a correction, and which event that is."""
    found = conn.execute(
        """
        SELECT target_source, target_id, source, event_id FROM event_corrections
          JOIN unnest(%(sources)s::text[], %(ids)s::text[]) AS asked (target_source, target_id)
         USING (target_source, target_id)
         WHERE tenant_id = %(tenant)s
        """,
        {"tenant": tenant_id} | _columns(targets),
    )
    return {(row["target_source"], row["target_id"]): (row["source"], row["event_id"]) for row in found}


def voids_among(conn: Connection, tenant_id: int, identities: Sequence[Identity]) -> set[Identity]:
    """Those of these events that are voids themselves."""
    found = conn.execute(
        """
        SELECT source, event_id FROM event_corrections
          JOIN unnest(%(sources)s::text[], %(ids)s::text[]) AS asked (source, event_id) USING (source, event_id)
         WHERE tenant_id = %(tenant)s AND kind = 'void'
        """,
        {"tenant": tenant_id} | _columns(identities),
    )
    return {(row["source"], row["event_id"]) for row in found}


def _columns(identities: Sequence[Identity]) -> dict[str, list[str]]:
    # PostgreSQL text cannot hold NUL, and no event that has one is corrected or corrects.
    identities = [identity for identity in identities if not any("\0" in text for text in identity)]
    return {
        "sources": [source for source, _ in identities],
        "ids": [event_id for _, event_id in identities],
    }


def insert_corrections(
    conn: Connection, tenant_id: int, seal_id: str, corrections: Sequence[NewCorrection], now: datetime
) -> None:
    """Append corrections. The database refuses a second one of the same event."""
    conn.execute(
        """
        INSERT INTO event_corrections (tenant_id, seal_id, sealed_at, kind, source, event_id, target_source,
                                       target_id, reason, target_unreadable, received_at)
        SELECT %(tenant)s, %(seal)s, %(now)s, given.*
          FROM unnest(%(kinds)s::text[], %(sources)s::text[], %(ids)s::text[], %(target_sources)s::text[],
                      %(target_ids)s::text[], %(reasons)s::text[], %(unreadable)s::boolean[],
                      %(received)s::timestamptz[]) AS given
        """,
        {
            "tenant": tenant_id,
            "seal": seal_id,
            "now": now,
            "kinds": [one.kind for one in corrections],
            "sources": [one.source for one in corrections],
            "ids": [one.event_id for one in corrections],
            "target_sources": [one.target[0] for one in corrections],
            "target_ids": [one.target[1] for one in corrections],
            "reasons": [one.reason for one in corrections],
            "unreadable": [one.target_unreadable for one in corrections],
            "received": [one.received_at for one in corrections],
        },
    )


def insert_voided(conn: Connection, tenant_id: int, voided: Sequence[VoidedEvent], now: datetime) -> None:
    """Let these events no longer count. Each has a correction that says so."""
    conn.execute(
        """
        INSERT INTO voided_events (tenant_id, correction_id, source, event_id, event_type, subject, event_time,
                                   received_at, voided_at)
        SELECT c.tenant_id, c.correction_id, given.*, %(now)s
          FROM unnest(%(sources)s::text[], %(ids)s::text[], %(types)s::text[], %(subjects)s::text[],
                      %(times)s::timestamptz[], %(received)s::timestamptz[])
               AS given (source, event_id, event_type, subject, event_time, received_at)
          JOIN event_corrections c ON c.tenant_id = %(tenant)s AND c.target_source = given.source
                                  AND c.target_id = given.event_id
        """,
        {
            "tenant": tenant_id,
            "now": now,
            "sources": [one.source for one in voided],
            "ids": [one.event_id for one in voided],
            "types": [_postgres_text(one.event_type) for one in voided],
            "subjects": [None if one.subject is None else _postgres_text(one.subject) for one in voided],
            "times": [one.event_time for one in voided],
            "received": [one.received_at for one in voided],
        },
    )


def _postgres_text(text: str) -> str:
    """PostgreSQL text cannot hold NUL; no meter's event type and no customer's subject has one either."""
    return text.replace("\0", "\ufffd")


def correction_identities(conn: Connection, tenant_id: int) -> pa.Table:
    """Every correcting event and what it says beside its content: what its content hash is made of."""
    found = conn.execute(
        """
        SELECT source, event_id AS id, target_source, target_id, reason FROM event_corrections WHERE tenant_id = %s
        """,
        [tenant_id],
    ).fetchall()
    names = ("source", "id", "target_source", "target_id", "reason")
    return pa.table({name: pa.array([row[name] for row in found], pa.string()) for name in names})


_CORRECTIONS = """
    SELECT c.correction_id, c.kind, c.source, c.event_id, c.target_source, c.target_id, c.reason, c.received_at,
           c.sealed_at, c.target_unreadable, v.voided_at, v.event_type, v.subject, v.event_time, k.key AS customer
      FROM event_corrections c
      LEFT JOIN voided_events v ON v.tenant_id = c.tenant_id AND v.correction_id = c.correction_id
      LEFT JOIN customer_subjects s ON s.tenant_id = c.tenant_id AND s.subject = v.subject
      LEFT JOIN customers k ON k.tenant_id = c.tenant_id AND k.customer_id = s.customer_id
"""


def select_corrections_after(
    conn: Connection, tenant_id: int, after: int, limit: int, customer: str | None
) -> list[dict[str, Any]]:
    """Corrections in the order in which they were sealed: all, or those of a customer's events."""
    return conn.execute(
        f"""
        {_CORRECTIONS}
         WHERE c.tenant_id = %(tenant)s AND c.correction_id > %(after)s
           AND (%(customer)s::text IS NULL OR k.key = %(customer)s)
         ORDER BY c.correction_id LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "after": after, "limit": limit, "customer": customer},
    ).fetchall()


def select_corrections_about(conn: Connection, tenant_id: int, identity: Identity) -> list[dict[str, Any]]:
    """The correction of an event, and the correction that it is itself."""
    if any("\0" in text for text in identity):
        return []
    return conn.execute(
        f"""
        {_CORRECTIONS}
         WHERE c.tenant_id = %(tenant)s
           AND ((c.target_source = %(source)s AND c.target_id = %(id)s)
                OR (c.source = %(source)s AND c.event_id = %(id)s))
         ORDER BY c.correction_id
        """,
        {"tenant": tenant_id, "source": identity[0], "id": identity[1]},
    ).fetchall()


def voided_count(conn: Connection, tenant_id: int) -> int:
    """How many counted events no longer count in usage."""
    row = conn.execute(
        "SELECT count(*) AS voided FROM voided_events WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["voided"])


def voided_states(conn: Connection, tenant_id: int, identities: Sequence[Identity]) -> set[Identity]:
    """Those of these events that no longer count."""
    found = conn.execute(
        """
        SELECT source, event_id FROM voided_events
          JOIN unnest(%(sources)s::text[], %(ids)s::text[]) AS asked (source, event_id) USING (source, event_id)
         WHERE tenant_id = %(tenant)s
        UNION
        SELECT target_source, target_id FROM event_corrections WHERE tenant_id = %(tenant)s AND target_unreadable
        """,
        {"tenant": tenant_id} | _columns(identities),
    )
    return {(row["source"], row["event_id"]) for row in found}
