"""Usage on its way through a price: from what was used before to what is used now.

A span is the usage of one combination of dimensions. Both of its ends carry all that a formula may look
at: the running quantity, the events that it is the sum of, and the quantities by meter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain

from farthing.kernel.quantity import ZERO
from farthing.rating.charge import Row
from farthing.rating.modifiers import Convert
from farthing.rating.runs import Run, Stretch, converted_each, stretches_of, without_free_each


@dataclass(frozen=True, slots=True)
class Running:
    """Usage up to a moment, in parts. `events` is None where nothing is known of them."""

    quantity: Decimal = ZERO
    events: tuple[Stretch, ...] | None = ()
    quantities: Mapping[str, Decimal] = field(default_factory=dict)

    def of_meter(self, meters: Sequence[str]) -> Decimal:
        """The running quantity of the one meter that a formula names, if it names one and it is told."""
        if self.quantities and len(meters) == 1:
            return self.quantities.get(meters[0], ZERO)
        return self.quantity

    def converted(self, convert: Convert, one: Decimal) -> "Running":
        """After a conversion of the quantity, and of the value of each event."""
        events = None if self.events is None else converted_each(self.events, convert, one)
        return Running(convert.applied(self.quantity, one), events, self.quantities)

    def without_free(self, free: Decimal) -> tuple["Running", Decimal]:
        """What is charged after so many free units, and how many of these are used."""
        freed = min(max(self.quantity, ZERO), free)
        events = None if self.events is None else without_free_each(self.events, freed)[0]
        return Running(self.quantity - freed, events, self.quantities), freed


UNUSED = Running()


def sum_of(parts: Iterable[Running]) -> Running:
    """All of them together, their events one after the other."""
    parts = [part for part in parts if part is not UNUSED]
    if len(parts) < 2:
        return parts[0] if parts else UNUSED
    known = [part.events for part in parts if part.events is not None]
    return Running(
        sum((part.quantity for part in parts), ZERO),
        tuple(chain.from_iterable(known)) if len(known) == len(parts) else None,
        sum_of_numbers(part.quantities for part in parts),
    )


def sum_of_numbers(parts: Iterable[Mapping[str, Decimal]]) -> Mapping[str, Decimal]:
    """The sums by meter."""
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return parts[0] if parts else {}
    summed: dict[str, Decimal] = {}
    for part in parts:
        for meter, number in part.items():
            summed[meter] = summed.get(meter, ZERO) + number
    return summed


@dataclass(frozen=True, slots=True)
class Span:
    """Usage of one combination of dimensions: as given, its net, and both ends that are to be priced."""

    dimensions: Mapping[str, str]
    quantity: Decimal
    quantities: Mapping[str, Decimal]
    net: Decimal
    net_quantities: Mapping[str, Decimal]
    start: Running
    end: Running

    def without_events(self) -> "Span":
        """The same usage for formulas that do not look at single events."""
        return replace(self, start=replace(self.start, events=None), end=replace(self.end, events=None))

    def until_start(self) -> "Span":
        """The same usage up to where this part begins."""
        return replace(self, start=UNUSED, end=self.start)


def spans_of(rows: Iterable[Row]) -> list[Span]:
    """One span for each combination of dimensions, in the order of their names and values.

    Rows of the same combination are added up. Their events follow each other in the order of the rows,
    those that came before the part first.
    """
    found: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(sorted(row.dimensions.items())), []).append(row)
    spans: list[Span] = []
    for key, alike in sorted(found.items(), key=lambda item: item[0]):
        before = sum_of(
            _running(row.before, row.events_before, row.runs_before, row.quantities_before) for row in alike
        )
        part = sum_of(_running(row.quantity, row.events, row.runs, row.quantities) for row in alike)
        end = sum_of((before, part))
        spans.append(
            Span(dict(key), part.quantity, part.quantities, end.quantity, end.quantities, before, end)
        )
    return spans


def _running(
    quantity: Decimal, count: int | None, runs: Sequence[Run], quantities: Mapping[str, Decimal]
) -> Running:
    if not (quantity or count or runs or quantities):
        return UNUSED
    if count is None and not runs:
        return Running(quantity, None if quantity else (), quantities)
    if count is None:
        count = sum(run.count for run in runs)
    return Running(quantity, stretches_of(runs, quantity, count), quantities)
