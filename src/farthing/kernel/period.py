"""Billing periods: half-open spans of time that follow a calendar in the customer's own time zone.

Boundary k lies k steps after the anchor's wall-clock time, for every whole k, also below zero:

    31 January 18:30, monthly  ->  29 February 18:30, 31 March 18:30, 30 April 18:30

Each boundary is counted from the anchor, never from the boundary before it, so the anchor's day
comes back after a short month. A boundary becomes an instant by the offset from UTC that the local
clock had before it was last set (RFC 5545, 3.3.5, and what calendars commonly do):

- the clock is set forward over it (a gap): as late as it would have been, 02:30 is 03:30 after the gap;
- the clock shows it twice (an overlap): the first of the two;
- the zone skips the whole day (Apia, 30 December 2011): the boundary falls on the next one, and the
  empty period between them is left out.

Local days begin at their first instant, also where midnight itself lies in a gap. All of this never
runs backwards, so periods tile time: no gap, no overlap, always forward. The one exception is the anchor
itself, which is a boundary exactly as given, also when it is the second showing of its wall-clock time.

Calendar periods are anchored at 1970-01-01 00:00 local time (weeks at Monday 1969-12-29), so that
with a count above one every customer has the same boundaries: three-month periods begin in January,
April, July and October; five-day periods are counted from the first of January 1970.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Literal
from zoneinfo import ZoneInfo

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import microseconds, zone_named
from farthing.kernel.reading import parse_choice, parse_count

CALENDAR: Final = "calendar"
Anchor = datetime | date | Literal["calendar"]
"""An instant, a local day (its midnight), or the calendar."""

INTERVAL_COUNT_MAX = 1000
BOUNDARY_YEAR_MAX = 9998
"""The calendar ends here; a period that would end later is refused."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall-clock time, in whatever zone it is read
_EPOCH_MONDAY = datetime(1969, 12, 29)  # noqa: DTZ001
_SECOND = timedelta(seconds=1)


class Interval(StrEnum):
    """The unit of a billing period; a plan takes 1 to 1000 of them."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"


_DAYS = {Interval.DAY: 1, Interval.WEEK: 7}
_MONTHS = {Interval.MONTH: 1, Interval.QUARTER: 3, Interval.HALF_YEAR: 6, Interval.YEAR: 12}


def parse_interval(raw: object, path: str) -> Interval:
    """day, week, month, quarter, half_year or year. Raises InvalidInput `invalid_interval`."""
    return Interval(parse_choice(raw, path, tuple(Interval), code="invalid_interval"))


def parse_interval_count(raw: object, path: str) -> int:
    """1 to 1000. Raises InvalidInput `invalid_interval_count`."""
    return parse_count(raw, path, least=1, most=INTERVAL_COUNT_MAX, code="invalid_interval_count")


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)`: the start belongs to it, the end to the next one. Aware, UTC, never empty."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        assert self.start.utcoffset() == self.end.utcoffset() == timedelta(0), "periods are in UTC"
        assert self.start < self.end, "a period is never empty"

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def length(self) -> int:
        """In microseconds: exact, so that a share of a period is a ratio of whole numbers."""
        return microseconds(self.end - self.start)

    def clipped(self, start: datetime, end: datetime | None) -> "Period | None":
        """The part within `[start, end)`, or None where they do not meet."""
        first = max(self.start, start)
        last = self.end if end is None else min(self.end, end)
        return Period(first, last) if first < last else None


def billing_periods(
    anchor: Anchor, interval: Interval, interval_count: int, timezone: str, at: datetime
) -> Iterator[Period]:
    """The period that contains `at`, and the ones after it without end.

    `at` may lie before the anchor: the periods extend backwards from it in the same way. The first
    one is found by arithmetic, however far `at` is from the anchor.

    Raises InvalidInput `period_out_of_range` where a boundary would leave the calendar (year 9998).
    """
    assert 1 <= interval_count <= INTERVAL_COUNT_MAX
    boundaries = _boundaries(anchor, interval, interval_count, zone_named(timezone))
    index = boundaries.last_index_until(at)
    start = boundaries[index]
    while True:
        index += 1
        end = boundaries[index]
        if end > start:  # The zone may have skipped the whole step.
            yield Period(start, end)
            start = end


def local_midnight(day: date, timezone: str) -> datetime:
    """The first instant of a local day, also where the clocks skip midnight."""
    return _first_instant(datetime.combine(day, time()), zone_named(timezone))


@dataclass(frozen=True, slots=True)
class _Boundaries:
    """The instants that part one period from the next, numbered from the anchor in both directions."""

    wall: datetime
    """The anchor's wall-clock time in `zone`: a datetime without an offset."""
    origin: datetime | None
    """The instant of boundary 0, where the anchor was given as one."""
    months: int
    days: int
    zone: ZoneInfo

    def __getitem__(self, index: int) -> datetime:
        if index == 0 and self.origin is not None:
            return self.origin
        try:
            wall = self._wall_at(index)
            return _first_instant(wall, self.zone) if self.origin is None else _instant(wall, self.zone)
        except (OverflowError, ValueError):
            raise InvalidInput.of(
                "period_out_of_range", [Fault("", f"a period would end after the year {BOUNDARY_YEAR_MAX}")]
            ) from None

    def _wall_at(self, index: int) -> datetime:
        if self.days:
            wall = self.wall + timedelta(days=index * self.days)
        else:
            year, month = divmod(self.wall.year * 12 + self.wall.month - 1 + index * self.months, 12)
            day = min(self.wall.day, monthrange(year, month + 1)[1])
            wall = self.wall.replace(year=year, month=month + 1, day=day)
        if not 1 < wall.year <= BOUNDARY_YEAR_MAX:
            raise OverflowError
        return wall

    def last_index_until(self, at: datetime) -> int:
        """The number of the last boundary that is not after `at`."""
        wall = at.astimezone(self.zone).replace(tzinfo=None)
        if self.days:
            index = (wall - self.wall) // timedelta(days=self.days)
        else:
            index = ((wall.year - self.wall.year) * 12 + wall.month - self.wall.month) // self.months
        # The guess is off by one step at most: by the day of the month, or by an hour of summer time.
        while self[index] > at:
            index -= 1
        while self[index + 1] <= at:
            index += 1
        return index


def _boundaries(anchor: Anchor, interval: Interval, interval_count: int, zone: ZoneInfo) -> _Boundaries:
    origin: datetime | None = None
    if isinstance(anchor, datetime):
        origin = anchor.astimezone(UTC)
        wall = anchor.astimezone(zone).replace(tzinfo=None, fold=0)
    elif isinstance(anchor, date):
        wall = datetime.combine(anchor, time())
    else:
        wall = _EPOCH_MONDAY if interval is Interval.WEEK else _EPOCH
    months = _MONTHS.get(interval, 0) * interval_count
    days = _DAYS.get(interval, 0) * interval_count
    return _Boundaries(wall, origin, months, days, zone)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which the clock of the zone shows `wall`, by the offset before a change that meets it."""
    return (wall - _offset(wall.replace(tzinfo=zone, fold=0))).replace(tzinfo=UTC)


def _first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the clock of the zone shows `wall` or later."""
    before = _offset(wall.replace(tzinfo=zone, fold=0))
    after = _offset(wall.replace(tzinfo=zone, fold=1))
    late = (wall - before).replace(tzinfo=UTC)
    if after <= before:
        return late
    # A gap. The clock changes somewhere in (early, late], on a whole second: halve until it is found.
    early = (wall - after).replace(tzinfo=UTC, microsecond=0)
    seconds = -(-microseconds(late - early) // 1_000_000)
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        if _offset((early + middle * _SECOND).astimezone(zone)) == before:
            low = middle
        else:
            high = middle
    return early + high * _SECOND


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    assert offset is not None
    return offset
