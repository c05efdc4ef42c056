"""Counters and histograms that only grow: how much each of their points adds.

A cumulative point says how much there was since its stream began. What it adds is the difference to the point
before it, so the last point of every stream is kept in the books. A stream begins anew when its process does, with
another start; each run is a stream of its own here, so that a last point which comes late still counts.

A run whose start is known counts from zero. One whose start is not known (0) begins with its first point, which adds
nothing. A value (of a histogram, its count) lower than the one before means that it began anew unsaid: all of it is
added. A point that is no later than one that was counted adds nothing: what it says is within what the later one said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from farthing.events.doors.counted import Counted
from farthing.events.doors.otlp import as_number
from farthing.events.model import Event
from farthing.kernel.instant import format_instant, from_unix_microseconds
from farthing.kernel.quantity import exact


@dataclass(frozen=True, slots=True)
class Reading:
    """A point of a counter, or of a histogram: then `value` is its count, and `total` its sum where it has one.

    `event` is what it becomes, but for what it adds; `data` are that event's other members.
    """

    stream: str
    begun_known: bool
    time_ns: int
    value: Decimal
    total: Decimal | None
    names: tuple[str, str]
    event: Event
    data: Mapping[str, Any]


def advance(
    counted: Mapping[str, Counted], readings: Iterable[Reading]
) -> tuple[dict[str, Counted], dict[str, list[Event]]]:
    """How far the streams are counted after these readings, and the events that they become, by stream.

    The same readings from the same state give the same events.
    """
    after = dict(counted)
    events: dict[str, list[Event]] = {}
    for reading in sorted(readings, key=lambda one: one.time_ns):
        before = after.get(reading.stream, Counted(None, Decimal(0)))
        if before.time_ns is not None and reading.time_ns <= before.time_ns:
            continue
        since = Counted(before.time_ns, Decimal(0)) if reading.value < before.value else before
        total = since.total if reading.total is None else reading.total
        after[reading.stream] = Counted(reading.time_ns, reading.value, total)
        if before.time_ns is None and not reading.begun_known:
            continue
        if added := _added(reading, since):
            events.setdefault(reading.stream, []).append(_event(reading, before, added))
    return after, events


def _added(reading: Reading, before: Counted) -> dict[str, Decimal]:
    """What the reading adds, by name; nothing where it adds nothing at all."""
    of_value, of_total = reading.names
    with exact():
        added = {of_value: reading.value - before.value}
        if reading.total is not None:
            added[of_total] = reading.total - (before.total or Decimal(0))
    return added if any(added.values()) else {}


def _event(reading: Reading, before: Counted, added: Mapping[str, Decimal]) -> Event:
    data: dict[str, Any] = {name: as_number(number) for name, number in added.items()}
    data |= reading.data
    if before.time_ns is not None:
        data["start"] = format_instant(from_unix_microseconds(before.time_ns // 1000))
    return msgspec.structs.replace(reading.event, data=msgspec.Raw(msgspec.json.encode(data)))
