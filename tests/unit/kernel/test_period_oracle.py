"""Billing periods against a slow second opinion.

The oracle shares nothing with `kernel/period.py`: it learns what each zone's clock shows by stepping
through time, walks the calendar day by day, and looks through the whole table for when the local clock
shows a time: in a gap, when it would have without the change, or for a day the first moment that is in it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from farthing.kernel.period import CALENDAR, Anchor, Interval, Period, billing_periods

# fmt: off
ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Moscow",
    "Europe/Istanbul", "Europe/Samara", "Europe/Chisinau", "Africa/Cairo", "Africa/Casablanca",
    "Africa/Windhoek", "Africa/Tripoli", "Africa/Juba", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran",
    "Asia/Kabul", "Asia/Yangon", "Asia/Beirut", "Asia/Gaza", "Asia/Amman", "Asia/Damascus",
    "Asia/Tokyo", "Asia/Pyongyang", "Asia/Novosibirsk", "Australia/Lord_Howe", "Australia/Adelaide",
    "Australia/Sydney", "Australia/Eucla", "Pacific/Apia", "Pacific/Fakaofo", "Pacific/Chatham",
    "Pacific/Kiritimati", "Pacific/Fiji", "Pacific/Auckland", "Pacific/Marquesas", "Pacific/Tongatapu",
    "America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Havana", "America/Santiago",
    "America/Caracas", "America/Asuncion", "America/Nuuk", "America/Scoresbysund", "Antarctica/Troll",
    "Atlantic/Azores", "America/Anchorage",
]
# fmt: on
# Where something rare happened: the years around it.
RARE = [
    ("Pacific/Kwajalein", 1992),
    ("Pacific/Kwajalein", 1968),
    ("Pacific/Kiritimati", 1993),
    ("Asia/Manila", 1977),
]
DENSE_YEARS = 4
"""Every day of these is a boundary of some period."""
LONG_YEARS = 30
DAY = timedelta(days=1)

Clock = list[tuple[datetime, timedelta]]
"""From which UTC moment (naive here) the zone's clock differs from UTC by how much."""


def clock_of(zone: str, first_year: int, years: int) -> Clock:
    info = ZoneInfo(zone)

    def shows(moment: datetime) -> timedelta:
        offset = moment.replace(tzinfo=UTC).astimezone(info).utcoffset()
        assert offset is not None
        return offset

    now, end = datetime(first_year, 1, 1), datetime(first_year + years, 1, 1)
    clock = [(now, shows(now))]
    while now < end:
        later = now + timedelta(hours=3)
        if shows(later) != clock[-1][1]:
            while shows(now) == clock[-1][1]:
                now += timedelta(minutes=1)
            clock.append((now, shows(now)))
        now = later
    return clock


def moment_of(wall: datetime, clock: Clock, *, first: bool) -> datetime:
    before: timedelta | None = None
    # No clock is two days off: what was over two days before need not be looked at.
    near = max(bisect_right(clock, wall - 2 * DAY, key=lambda change: change[0]) - 1, 0)
    changes = clock[near:]
    for (start, offset), (end, _) in zip(changes, [*changes[1:], (datetime(9000, 1, 1), None)], strict=True):
        if wall < start + offset:
            return start if first or before is None else wall - before
        if wall < end + offset:
            return wall - offset
        before = offset
    raise AssertionError(wall)


def boundary_days(first: date, interval: Interval, count: int, until: date) -> Iterator[date]:
    """The local days on which a period begins, found by looking at each day in turn."""
    months = {Interval.MONTH: 1, Interval.QUARTER: 3, Interval.HALF_YEAR: 6, Interval.YEAR: 12}.get(
        interval, 0
    )
    days = {Interval.DAY: 1, Interval.WEEK: 7}.get(interval, 0)
    day, days_gone, months_gone = first, 0, 0
    while day < until:
        if days and days_gone % (days * count) == 0:
            yield day
        if months and months_gone % (months * count) == 0:
            last_of_month = (day + DAY).month != day.month
            if day.day == first.day or (last_of_month and day.day < first.day):
                yield day
        day, days_gone = day + DAY, days_gone + 1
        months_gone += day.day == 1


def expected(
    zone: str, clock: Clock, years: int, anchor: Anchor, interval: Interval, count: int
) -> list[Period]:
    until = clock[0][0].date() + timedelta(days=365 * years - 30)
    if isinstance(anchor, datetime):
        wall = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        first, at_clock = wall.date(), wall.time()
    else:
        # January of every year begins a period of 1, 2, 3, 4, 6 or 12 months; weeks begin on Mondays.
        first, at_clock = clock[0][0].date() + timedelta(days=31), datetime.min.time()
        while (first.weekday() != 0) if interval is Interval.WEEK else (first.month, first.day) != (1, 1):
            first += DAY
    bounds: list[datetime] = []
    for day in boundary_days(first, interval, count, until):
        wall = datetime.combine(day, at_clock)
        moment = moment_of(wall, clock, first=not isinstance(anchor, datetime)).replace(tzinfo=UTC)
        if not bounds or moment > bounds[-1]:
            bounds.append(moment)
    return [Period(start, end) for start, end in pairwise(bounds)]


def compare(zone: str, first_year: int, years: int, cases: Iterable[tuple[Anchor, Interval, int]]) -> int:
    clock = clock_of(zone, first_year, years)
    compared = 0
    for anchor, interval, count in cases:
        wanted = expected(zone, clock, years, anchor, interval, count)
        if not wanted:
            continue
        found = list(islice(billing_periods(anchor, interval, count, zone, wanted[0].start), len(wanted)))
        assert found == wanted, (zone, anchor, interval, count)
        compared += len(found)
    return compared


def anchors_of(first_year: int) -> list[Anchor]:
    late_days = [datetime(first_year, 1, day, 10, 0, tzinfo=UTC) for day in (28, 29, 30, 31)]
    return [
        CALENDAR,
        *late_days,
        *(datetime(first_year, 1, 15, hour, 30, tzinfo=UTC) for hour in (1, 13, 23)),
    ]


def dense_cases(first_year: int) -> Iterator[tuple[Anchor, Interval, int]]:
    for anchor in anchors_of(first_year):
        for interval in Interval:
            for count in (1, 2) if interval in (Interval.MONTH, Interval.DAY) else (1,):
                # Calendar days by twos are counted from 1970: see the worked examples.
                if not (anchor == CALENDAR and interval is Interval.DAY and count == 2):
                    yield anchor, interval, count


def long_cases(first_year: int) -> Iterator[tuple[Anchor, Interval, int]]:
    late_days = [datetime(first_year, 1, day, 10, 0, tzinfo=UTC) for day in (29, 30, 31)]
    for anchor in [CALENDAR, *late_days, datetime(first_year, 1, 15, 23, 30, tzinfo=UTC)]:
        for interval in Interval:
            if interval is not Interval.DAY or anchor == CALENDAR:
                yield anchor, interval, 1
    for months in (2, 5, 7):  # Counts that do not divide a year: the day comes back in another month.
        yield datetime(first_year, 1, 31, 10, 0, tzinfo=UTC), Interval.MONTH, months


@pytest.mark.parametrize("part", range(5))
def test_fifty_zones_agree_with_the_oracle(part: int) -> None:
    # 2010 to 2013: Samoa and Tokelau skip a day, 2012 is a leap year, Russia and Turkey move their rules.
    assert len(ZONES) == 50
    for zone in ZONES[part::5]:
        assert compare(zone, 2010, DENSE_YEARS, dense_cases(2010)) > 5_000


@pytest.mark.parametrize("part", range(5))
def test_fifty_zones_agree_over_thirty_years(part: int) -> None:
    # 1995 to 2024, leap years with and without a leap century: seven of them, 2000 among them.
    for zone in ZONES[part::5]:
        assert compare(zone, 1995, LONG_YEARS, long_cases(1995)) > 20_000


@pytest.mark.parametrize(("zone", "first_year"), RARE)
def test_rare_changes_agree_with_the_oracle(zone: str, first_year: int) -> None:
    assert compare(zone, first_year, DENSE_YEARS, dense_cases(first_year)) > 5_000
