"""The nouns of usage: what is asked, and the rows that answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.quantity import ZERO
from farthing.kernel.value import value
from farthing.rating import Clock, Events, Needs, Run

GROUPS_MAX = 10
WINDOWS_MAX = 50_000
"""Most windows that one query may span."""
ROWS_MAX = 1_000_000
"""Most rows that one query answers with."""


class Window(StrEnum):
    """A stretch of local time that usage is split by."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """How much of a meter was used in [start, end).

    customer: only this customer's usage; None for everybody's, events of unknown subjects included.
    group_by: names of dimensions of the meter, and "customer", "subject" or "source".
    window, timezone: split by local minutes, hours, days or months of a zone.
    filter: dimension -> the value it must have.
    """

    meter: str
    start: datetime
    end: datetime
    customer: str | None = None
    group_by: tuple[str, ...] = ()
    window: Window | None = None
    timezone: str = "UTC"
    filter: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """One row of an answer: the group, the window's start where one was asked for, the quantity, the events."""

    group: Mapping[str, str | None]
    window_start: datetime | None
    quantity: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class Detail:
    """How finely usage is told for billing.

    dimensions, clocks: usage is told apart by these dimensions of the meter, and by the windows of these
        clocks that the events' times lie in; a clock's name stands among the dimensions of a row.
    events: how much of the single events is told beside the quantity and their number, as `rating/needs.py`
        says it: for FIRST and EVERY the first `first_events` of each row, and more of them until those
        above zero sum to `first_amount`, in the order of (event time, source, id). What follows is told as a
        sum for FIRST; for EVERY as so many events of each value, the smallest first.
    """

    dimensions: tuple[str, ...] = ()
    clocks: tuple[Clock, ...] = ()
    events: Events = Events.NONE
    first_events: int = 0
    first_amount: Decimal = ZERO

    @classmethod
    def of(cls, needs: Needs) -> "Detail":
        """What a price needs. Every row says how many events it has, so to need their number is no more."""
        if needs.events not in (Events.FIRST, Events.EVERY):
            return cls(needs.dimensions, needs.clocks)
        return cls(needs.dimensions, needs.clocks, needs.events, needs.first_events, needs.first_amount)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a row's usage is told apart by."""
        return (*self.dimensions, *(clock.dimension for clock in self.clocks))


NO_DETAIL = Detail()


@value
class Span:
    """A stretch of time for which a customer's usage is wanted, under a number of the caller's.

    Spans of one number are told together.
    """

    span_id: int
    customer_id: int
    start: datetime
    end: datetime


@value
class UsageRow:
    """The usage of one span for one combination of dimension values (those an event lacks are left out).

    runs: the events that are told by themselves, as the detail asked for; they are among `events`.
    """

    span_id: int
    dimensions: Mapping[str, str]
    quantity: Decimal
    events: int
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Until:
    """A place in the order of (time, source, id): that of one event, which is included or not."""

    time: datetime
    source: str
    event_id: str
    included: bool
