"""Clocks: which window of local time a moment lies in.

A window is a stretch of the day, `from` inclusive and `to` exclusive, on some days of the week, in the
wall-clock time of an IANA zone. One that does not end later than it begins ends on the next day: 22:00
to 06:00 on day 5 is Friday night until Saturday morning. The first window that holds a moment has it.

A moment is an instant, and its wall-clock time is what a clock on the wall there shows. So where the
clocks go back, an hour of wall-clock time is had twice and both are in the window; where they go
forward, a window may be an hour shorter, or not come at all.

To whoever gathers usage a clock is one more dimension of it: `dimension` is its name, and the windows'
labels are its values, `OTHER_TIMES` for what no window holds. Two clocks that are alike have the same
name within one price. Names and labels hold a space, so no dimension of a meter is called the same.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Final

from farthing.kernel.instant import YEAR_MIN, microseconds, offset_changes, zone_named
from farthing.kernel.quantity import exact

OTHER_TIMES: Final = "other times"
"""The label of all moments that no window of a clock holds."""

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS

_MONDAY = datetime(1899, 1, 2, tzinfo=UTC)  # before all instants
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the local week, in seconds from Monday 00:00, and the window that has it."""

    start: int
    label: str


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (1 is Monday) and seconds of the day; `end` is on the next day if not after `start`."""

    label: str
    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Windows of local time, in the order in which they are asked."""

    dimension: str
    timezone: str
    windows: tuple[Window, ...]
    week: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    # How long the windows last until each year, as far as it was asked: that does not change.
    _years: list[dict[str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "week", _week(self.windows))
        object.__setattr__(self, "_years", [])

    def label_at(self, moment: datetime) -> str:
        """The window that holds an instant."""
        local = moment.astimezone(zone_named(self.timezone))
        second = local.weekday() * DAY_SECONDS + local.hour * 3600 + local.minute * 60 + local.second
        return self.week[bisect_right(self.week, second, key=attrgetter("start")) - 1].label

    def seconds(self, start: datetime, end: datetime) -> dict[str, Decimal]:
        """How long each window lasts within [start, end), exactly; those that do not come are left out.

        The years between are looked up, so a century costs little more than a day.
        """
        lasted: dict[str, int] = {}
        first, last = start.astimezone(UTC), end.astimezone(UTC)
        if first.year + 1 < last.year:
            _add(lasted, self._until_year(last.year))
            _add(lasted, self._until_year(first.year + 1), -1)
            _add(lasted, _lasting(self, first, _new_year(first.year + 1)))
            first = _new_year(last.year)
        _add(lasted, _lasting(self, first, last))
        with exact():
            return {label: Decimal(length).scaleb(-6) for label, length in lasted.items() if length}

    def _until_year(self, year: int) -> dict[str, int]:
        """Microseconds of each window from the first year of all until a year begins."""
        for number in range(YEAR_MIN + len(self._years), year + 1):
            until = dict(self._years[-1]) if self._years else {}
            if self._years:
                _add(until, _lasting(self, _new_year(number - 1), _new_year(number)))
            self._years.append(until)
        return self._years[year - YEAR_MIN]


def _new_year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _add(lasted: dict[str, int], more: Mapping[str, int], sign: int = 1) -> None:
    for label, length in more.items():
        lasted[label] = lasted.get(label, 0) + sign * length


def _week(windows: Sequence[Window]) -> tuple[Piece, ...]:
    """The local week cut at every edge of a window."""
    held: list[tuple[int, int, str]] = []
    for window in windows:
        length = window.end - window.start + (0 if window.end > window.start else DAY_SECONDS)
        for day in window.days:
            start = (day - 1) * DAY_SECONDS + window.start
            end = start + length
            held.append((start, min(end, WEEK_SECONDS), window.label))
            if end > WEEK_SECONDS:  # Sunday night is Monday morning.
                held.append((0, end - WEEK_SECONDS, window.label))
    edges = sorted({0, *(start for start, _, _ in held), *(end for _, end, _ in held)} - {WEEK_SECONDS})
    pieces: list[Piece] = []
    for edge in edges:
        label = next((label for start, end, label in held if start <= edge < end), OTHER_TIMES)
        if not pieces or pieces[-1].label != label:
            pieces.append(Piece(edge, label))
    return tuple(pieces)


@lru_cache(maxsize=1024)
def _offsets(timezone: str, year: int) -> tuple[tuple[datetime, timedelta], ...]:
    """The offsets from UTC of one year, each with the first instant that it holds."""
    return tuple(offset_changes(timezone, _new_year(year), _new_year(year + 1)))


def _lasting(clock: Clock, start: datetime, end: datetime) -> dict[str, int]:
    """Microseconds of each window within [start, end), which is at most two years."""
    lasted: dict[str, int] = {}
    for year in range(start.year, end.year + 1):
        offsets = _offsets(clock.timezone, year)
        ends = (*(begins for begins, _ in offsets[1:]), _new_year(year + 1))
        for (begins, offset), until in zip(offsets, ends, strict=True):
            first, last = max(begins, start), min(until, end)
            if first < last:
                _add(lasted, _since_monday(clock, last, offset))
                _add(lasted, _since_monday(clock, first, offset), -1)
    return lasted


def _since_monday(clock: Clock, moment: datetime, offset: timedelta) -> dict[str, int]:
    """Microseconds of each window from a Monday long ago until a moment, by a clock that never changes."""
    local = microseconds(moment + offset - _MONDAY)
    weeks, rest = divmod(local, WEEK_SECONDS * _MICRO)
    lasted: dict[str, int] = {}
    for index, piece in enumerate(clock.week):
        begins = piece.start * _MICRO
        ends = clock.week[index + 1].start * _MICRO if index + 1 < len(clock.week) else WEEK_SECONDS * _MICRO
        length = weeks * (ends - begins) + max(0, min(rest, ends) - begins)
        lasted[piece.label] = lasted.get(piece.label, 0) + length
    return lasted
