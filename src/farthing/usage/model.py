"""The nouns of usage: what is asked, and the rows that answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

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
class Span:
    """A stretch of time for which a customer's usage is wanted, under a number of the caller's."""

    span_id: int
    customer_id: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one span for one combination of dimension values (those an event lacks are left out)."""

    span_id: int
    dimensions: Mapping[str, str]
    quantity: Decimal
    events: int
