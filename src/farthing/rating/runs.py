"""Events one by one, where a price looks at each: in their order, equal ones together.

A month of a million calls of the same value is one run. What is computed from runs costs one step for
each run, however many events it has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, Inexact
from typing import TYPE_CHECKING

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import ZERO

if TYPE_CHECKING:
    from farthing.rating.modifiers import Convert

EVENTS_MISSING = "events_missing"
"""The price looks at single events, and was told only what they sum to."""


@dataclass(frozen=True, slots=True)
class Run:
    """So many events in a row, each worth the same: 3 payments of 20, 1000 calls of 60 seconds."""

    value: Decimal
    count: int = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events on their way through a price: what they sum to, in parts, and how many there are."""

    total: Decimal
    count: int

    @property
    def value(self) -> Decimal:
        """What each of them is worth. Raises InvalidInput `events_missing` if they are known as a sum only."""
        if self.count == 1:
            return self.total
        try:
            return self.total / self.count
        except Inexact:
            raise events_missing() from None

    def split(self, count: int) -> "tuple[Stretch, Stretch]":
        """The first `count` of them, and the others."""
        if count >= self.count:
            return self, NOTHING
        first = Stretch(self.value * count, count) if count else NOTHING
        return first, Stretch(self.total - first.total, self.count - count)


NOTHING = Stretch(ZERO, 0)


def events_missing() -> InvalidInput:
    """The error of a price that looks at single events and was not told them."""
    complaint = "are needed: the price looks at single events, and only their sum was given"
    return InvalidInput.of(EVENTS_MISSING, [Fault("events", complaint)])


def stretches_of(runs: Iterable[Run], total: Decimal, count: int) -> tuple[Stretch, ...]:
    """The runs, and then what they leave of the total and of the count."""
    told: list[Stretch] = []
    for run in runs:
        if run.count:
            told.append(Stretch(run.value * run.count, run.count))
            total -= told[-1].total
            count -= run.count
    if count < 0 or (total and not count):
        raise events_missing()
    return (*told, Stretch(total, count)) if count else tuple(told)


def converted_each(events: Iterable[Stretch], convert: "Convert", one: Decimal) -> tuple[Stretch, ...]:
    """`convert` on the value of each event; where nothing is rounded that is the same as on their sum."""
    return tuple(
        Stretch(convert.applied(stretch.total, one), stretch.count)
        if convert.round is None
        else Stretch(convert.applied(stretch.value, one) * stretch.count, stretch.count)
        for stretch in events
    )


def without_free_each(events: Sequence[Stretch], free: Decimal) -> tuple[tuple[Stretch, ...], Decimal]:
    """The events after so much is taken off their values in their order, and what was taken off.

    An event stays an event, though nothing is left of its value. Values below zero are left alone.
    """
    charged: list[Stretch] = []
    left = free
    for stretch in events:
        if left <= 0 or stretch.total <= 0:
            charged.append(stretch)
            continue
        if stretch.total <= left:
            left -= stretch.total
            charged.append(Stretch(ZERO, stretch.count))
            continue
        whole, rest = stretch.split(int(left // stretch.value))
        left -= whole.total
        first, rest = rest.split(1)
        charged += [Stretch(ZERO, whole.count), Stretch(first.total - left, 1), rest]
        left = ZERO
    return tuple(stretch for stretch in charged if stretch.count), free - left


def scaled_each(events: Iterable[Stretch], grain: Decimal) -> tuple[Stretch, ...]:
    """The same events in parts that are so many times finer."""
    return tuple(Stretch(stretch.total * grain, stretch.count) for stretch in events)
