"""What a price must be told of usage, so that whoever gathers it asks for no more and no less.

    {"model": "per_unit", ...}               the quantity of the period
    a matrix                                 the same by its dimensions
    a time_of_use                            the same by the windows of its clock: one dimension more
    a percentage without limits              and how many events it is the sum of
    a percentage with free events or amount  and the first events by themselves, the rest as a sum
    a percentage with limits, a timed price  and every event by itself: its value, and equal ones together
    a capacity or block of several meters    the quantities of these meters in place of the one

How it is told stands in `rating/__init__.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from farthing.kernel.quantity import ZERO
from farthing.rating.clock import Clock
from farthing.rating.modifiers import Modifiers
from farthing.rating.price import EventFormula, LooksAt, Measure, MetersFormula, Price
from farthing.rating.time_of_use import TimeOfUse, matrix_of

ALL_EVENTS: Final = 10**15
"""As `Needs.first_events`: the order of all events matters, however many there are."""


class Events(StrEnum):
    """How much of single events a price must know; each includes what stands before it."""

    NONE = "none"
    COUNT = "count"
    FIRST = "first"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a price must be told of usage.

    dimensions: of the meter, that usage must be grouped by; those of nested prices included.
    clocks: each is one more dimension to group by, with the window of the event's time as its value.
    events: nothing of single events, their count, the first ones as runs, or all of them as runs.
    first_events, first_amount: in each group, so many events in their order, and then more of them until
        those above zero sum to the amount; the rest may be told as a sum and a count for FIRST, and for
        EVERY in any order.
    meters: the keys of several meters, whose quantities stand in place of one quantity; or the one that
        a price names; none for a price that prices whatever its rate card counts.
    measures: what is counted (units, an amount of money, seconds).
    """

    dimensions: tuple[str, ...] = ()
    clocks: tuple[Clock, ...] = ()
    events: Events = Events.NONE
    first_events: int = 0
    first_amount: Decimal = ZERO
    meters: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()


def needs_of(price: Price) -> Needs:
    """What this price must be told, nested prices included: the most that one of them needs."""
    dimensions: dict[str, None] = {}
    clocks: dict[str, Clock] = {}
    meters: set[str] = set()
    measures: dict[Measure, None] = {}
    looks: list[LooksAt] = []
    for around, inner in _within((), price):
        matrix = matrix_of(inner.model)
        if isinstance(inner.model, TimeOfUse):
            clocks[inner.model.clock.dimension] = inner.model.clock
        elif matrix is not None:
            dimensions |= dict.fromkeys(matrix.dimensions)
        else:
            measures[inner.model.measure] = None  # type: ignore[union-attr]
        if isinstance(inner.model, MetersFormula):
            meters.update(inner.model.meters)
        if isinstance(inner.model, EventFormula):
            looks.append(_through((*around, inner.modifiers), inner.model.looks_at))
    return Needs(
        tuple(dimensions),
        tuple(clocks.values()),
        _events(looks),
        max((look.first_events for look in looks), default=0),
        max((look.first_amount for look in looks), default=ZERO),
        tuple(sorted(meters)),
        tuple(measures),
    )


def dimensions_of(price: Price) -> tuple[str, ...]:
    """The dimensions that usage must be grouped by for this price, those of nested prices included."""
    return needs_of(price).dimensions


def _within(around: tuple[Modifiers, ...], price: Price) -> Iterator[tuple[tuple[Modifiers, ...], Price]]:
    """The price and all prices in it, each with the modifiers of those around it."""
    yield around, price
    matrix = matrix_of(price.model)
    if matrix is not None:
        inner = (*(cell.price for cell in matrix.cells), *([matrix.default] if matrix.default else ()))
        for nested in inner:
            yield from _within((*around, price.modifiers), nested)


def _through(modifiers: tuple[Modifiers, ...], look: LooksAt) -> LooksAt:
    """What must be known of events before these modifiers have worked on the value of each.

    Free units are taken off the first events, as a free amount is. Where a conversion stands around
    either, how many events that takes is not known beforehand: all are told in their order.
    """
    converted = any(around.convert for around in modifiers)
    rounded = any(around.convert and around.convert.round is not None for around in modifiers)
    freed = sum((around.free_units for around in modifiers), ZERO)
    if converted and (freed or look.first_amount):
        return LooksAt(ALL_EVENTS, every=True)
    every = look.every or rounded or bool(freed)
    return LooksAt(look.first_events, look.first_amount + freed, every)


def _events(looks: list[LooksAt]) -> Events:
    if any(look.every for look in looks):
        return Events.EVERY
    if any(look.first_events or look.first_amount for look in looks):
        return Events.FIRST
    return Events.COUNT if looks else Events.NONE
