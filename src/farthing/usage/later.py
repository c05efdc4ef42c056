"""Events whose effect on a time that was billed came after its bill: late ones, and ones that were corrected since.

    came     it counts, and was received after the bill
    voided   it was received before, and a correction that took effect after the bill says that it no longer counts

An event that came and was voided after the bill is neither: it makes no difference to it. A replacement is two: the
event that was voided, and the one that came in its place. So the usage that was billed, with what `came` and
without what was `voided`, is the usage as it is now. (Receipt and bill are compared to the microsecond; what was
received in the second in which a run issues a bill may be told although the bill has it. Money is settled by
rating the period anew, which is exact whatever is told here.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from farthing.events.segments.damage import check_segments
from farthing.events.store import books as event_rows
from farthing.events.store.duckdb import EventStore
from farthing.kernel.instant import unix_microseconds
from farthing.usage import later_store as rows
from farthing.usage.store import Connection, subjects

CAME, VOIDED = "came", "voided"
EVENTS_TOLD_MAX = 10_000


@dataclass(frozen=True, slots=True)
class BilledTime:
    """A customer's time in [start, end) that a bill of the moment `since` is of, under a number of the caller's."""

    number: int
    customer_id: int
    start: datetime
    end: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class LaterEffect:
    """An event and what it did to a billed time since: it came, or was voided, at `known_at`."""

    number: int
    effect: str
    source: str
    event_id: str
    event_type: str
    subject: str
    event_time: datetime
    known_at: datetime


def later_effects(
    store: EventStore, conn: Connection, tenant_id: int, billed: Sequence[BilledTime], most: int
) -> list[LaterEffect]:
    """What happened to these billed times after their bills, at most so many, in the order of number and time.

    One query over the events and one over the corrections, for any number of bills.
    Raises Corrupt `segment_damaged`.
    """
    assert 1 <= most <= EVENTS_TOLD_MAX
    if not billed:
        return []
    start, end = min(one.start for one in billed), max(one.end for one in billed)
    segments = event_rows.segments(conn, tenant_id, start=start, end=end)
    check_segments(store, tenant_id, segments)
    known = subjects(conn, tenant_id, {one.customer_id for one in billed})
    came = rows.came_later(store, segments, known, _table(billed), start, end, most)
    voided = rows.voided_later(
        conn,
        tenant_id,
        [one.number for one in billed],
        [one.customer_id for one in billed],
        [one.start for one in billed],
        [one.end for one in billed],
        [one.since for one in billed],
        most,
    )
    found = [
        LaterEffect(number, CAME, source, event_id, event_type, subject, _utc(time), _utc(received_at))
        for number, source, event_id, event_type, subject, time, received_at in came
    ]
    found += [LaterEffect(effect=VOIDED, **row) for row in voided]
    return sorted(found, key=lambda one: (one.number, one.event_time, one.source, one.event_id))[:most]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _table(billed: Sequence[BilledTime]) -> pa.Table:
    return pa.table(
        {
            "number": pa.array([one.number for one in billed], pa.int64()),
            "customer_id": pa.array([one.customer_id for one in billed], pa.int64()),
            "billed_start": pa.array([unix_microseconds(one.start) for one in billed], pa.timestamp("us")),
            "billed_end": pa.array([unix_microseconds(one.end) for one in billed], pa.timestamp("us")),
            "since": pa.array([unix_microseconds(one.since) for one in billed], pa.timestamp("us")),
        }
    )
