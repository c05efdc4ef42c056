"""Rating: one quantity, or rows of usage by dimensions.

Which rows share a line. A price that is no matrix rates the sum of its rows: one line, no dimensions.
(A time_of_use is a matrix, whose dimension is the window.)
In a matrix the rows that match the same cell share that cell's price, so its tiers, packages and free
units count their sum:

- where the cell's price is in proportion to the quantity (per unit, exact packages; percentage
  discounts and unrounded conversions keep it so), each combination of dimensions is a line by itself;
- otherwise the cell is one line, under the dimensions that the cell names (none for the default).

On a shared ladder (`rating/matrix.py`) each cell is one line, and the lines' places on it depend on each
other. A price of single events takes the events of its rows in the order of the rows' dimensions, and of
one row in the order in which they are told.

Either way a line stands alone: a negative net quantity owes zero on its own line. Lines come in the
order of the cells, then the default, then unpriced rows; within these by their dimensions, whatever
the order of the input. A cell that no row matches is not rated and owes nothing, not even a flat fee.

Modifiers of the matrix itself apply to all its usage together: `convert` to the running quantity of
each row, `free_units` are one pool drawn on by the lines in their order (unpriced rows aside), and
discounts, maximum and minimum work on the sum of the lines. What they add is a last line without
dimensions. All of this is a function of the running quantities at both ends, so it stays additive.

Example, {"model": "opus"} costs 0.01 a unit, {"model": "haiku"} 0.001, minimum 20:
    opus 1000 -> 10, haiku 5000 -> 5, and a last line: 1 x 5, minimum
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, DecimalException
from typing import Final, cast

from farthing.kernel.errors import Fault, InvalidInput, LimitExceeded
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.rating.between import (
    adjustments,
    charges_between,
    divided,
    event_charges_between,
    meters_charges_between,
    owed,
    shared_charges_between,
)
from farthing.rating.charge import Charge, Rated, RatedRow, Row, charge
from farthing.rating.graduated import Graduated
from farthing.rating.graduated_percentage import GraduatedPercentage
from farthing.rating.matrix import Ladder, Matrix
from farthing.rating.modifiers import free_charges
from farthing.rating.needs import Events, needs_of
from farthing.rating.per_unit import PerUnit
from farthing.rating.price import EventFormula, Formula, MetersFormula, Price
from farthing.rating.runs import Run, events_missing
from farthing.rating.spans import Running, Span, spans_of, sum_of, sum_of_numbers
from farthing.rating.time_of_use import TimeOfUse, matrix_of

UNPRICED: Final = "unpriced"


def rate(price: Price, *, quantity: Decimal, before: Decimal = ZERO, final: bool = True) -> Rated:
    """What `quantity` more units cost after `before` units of the same period.

    Law: for every price rate(quantity=b, final=False) and rate(before=b, quantity=q) sum to
    rate(quantity=b + q). `final` says that the period ends here: a minimum, and what is owed for
    nothing used, are due then and not earlier.

    A matrix takes the quantity as usage without dimensions, a time_of_use as usage at no time that a
    window holds. A price of single events takes the quantity as one event, and `before` as an earlier
    one; there the law holds between events. (Where several meters are counted there is no one quantity:
    `rate_rows`.)

    Raises:
        LimitExceeded: `too_many_digits`, if conversions, discounts and units of nested prices multiply
            to more than 200 digits. No price of this world gets there.
        InvalidInput: `meters_missing`.
    """
    if not price.of_one_quantity:
        return _sum_of(rate_rows(price, [_one_event(quantity, before)], final=final))
    try:
        with exact():
            return Rated(*_rate_quantity(price, before, quantity, final=final))
    except DecimalException:
        raise _too_many_digits() from None


def rate_rows(price: Price, rows: Sequence[Row], *, final: bool = True) -> tuple[RatedRow, ...]:
    """The lines that a price owes for rows of usage; see the module on which rows share a line.

    Raises:
        InvalidInput: `events_missing`, `meters_missing`, if a row does not tell what the price needs.
        LimitExceeded: `too_many_digits`, as in `rate`.
    """
    try:
        with exact():
            if len(rows) == 1 and price.of_one_quantity:
                (row,) = rows
                if not row.quantities and not row.quantities_before:  # nearly every line of every invoice
                    rated = _rate_quantity(price, row.before, row.quantity, final=final)
                    return (RatedRow({}, row.quantity, *rated),)
            return tuple(_rate_spans(price, spans_of(rows), ONE, final=final))
    except DecimalException:
        raise _too_many_digits() from None


def _rate_quantity(
    price: Price, before: Decimal, quantity: Decimal, *, final: bool
) -> tuple[Decimal, tuple[Charge, ...], Decimal]:
    """What a price of one quantity owes for it, by which charges, and how far the net quantity lies below zero."""
    end = before + quantity
    charges = charges_between(cast(Formula, price.model), price.modifiers, before, end, ONE, final=final)
    return owed(charges), tuple(charges), -end if end < ZERO else ZERO


def _one_event(quantity: Decimal, before: Decimal) -> Row:
    """Each quantity that is not nothing is one event."""
    runs = [Run(quantity)] if quantity else []
    return Row.of_runs({}, runs, [Run(before)] if before else [])


@dataclass(frozen=True, slots=True)
class _Group:
    """The spans that one cell prices. The default names no dimension; unpriced usage has no price."""

    when: Mapping[str, str]
    price: Price | None
    spans: Sequence[Span]


def _rate_spans(price: Price, spans: Sequence[Span], one: Decimal, *, final: bool) -> list[RatedRow]:
    matrix = matrix_of(price.model)
    if matrix is not None:
        return _rate_matrix(price, matrix, spans, one, final=final)
    return [_rate_together(price, spans, {}, one, final=final)]


def _rate_together(
    price: Price, spans: Sequence[Span], dimensions: Mapping[str, str], one: Decimal, *, final: bool
) -> RatedRow:
    """One line for the sum of the spans."""
    start, end = sum_of(span.start for span in spans), sum_of(span.end for span in spans)
    charges = _charges(price, start, end, one, final=final)
    meters = _meters(price)
    quantities = sum_of_numbers(span.quantities for span in spans)
    net = sum_of_numbers(span.net_quantities for span in spans)
    if len(meters) > 1:
        used = {meter: quantities.get(meter, ZERO) for meter in meters}
        below = -sum((min(net.get(meter, ZERO), ZERO) for meter in meters), ZERO)
        quantity = ONE if any(used.values()) else ZERO
        return _in_money(
            price, RatedRow(dimensions, quantity, owed(charges), tuple(charges), below, quantities=used)
        )
    if meters and quantities:
        quantity, left = quantities.get(meters[0], ZERO), net.get(meters[0], ZERO)
    else:
        quantity = sum((span.quantity for span in spans), ZERO)
        left = sum((span.net for span in spans), ZERO)
    return _in_money(
        price, RatedRow(dimensions, quantity, owed(charges), tuple(charges), -left if left < 0 else ZERO)
    )


def _charges(price: Price, start: Running, end: Running, one: Decimal, *, final: bool) -> list[Charge]:
    model, modifiers = price.model, price.modifiers
    assert not isinstance(model, Matrix | TimeOfUse)
    if isinstance(model, EventFormula):
        if start.events is None or end.events is None:
            raise events_missing()
        return event_charges_between(model, modifiers, start.events, end.events, one, final=final)
    if not isinstance(model, MetersFormula):
        return charges_between(model, modifiers, start.quantity, end.quantity, one, final=final)
    if len(model.meters) < 2:
        first, last = start.of_meter(model.meters), end.of_meter(model.meters)
        return charges_between(model, modifiers, first, last, one, final=final)
    if (start.quantity and not start.quantities) or (end.quantity and not end.quantities):
        complaint = f"are needed: the price counts the meters {', '.join(model.meters)}"
        raise InvalidInput.of("meters_missing", [Fault("quantities", complaint)])
    return meters_charges_between(model, modifiers, start.quantities, end.quantities, final=final)


def _meters(price: Price) -> tuple[str, ...]:
    return price.model.meters if isinstance(price.model, MetersFormula) else ()


def _in_money(price: Price, line: RatedRow) -> RatedRow:
    """A line of a price that may be written in a unit of its own."""
    if price.unit is None:
        return line
    charges = price.unit.in_money(line.charges)
    return replace(line, amount=owed(charges), charges=tuple(charges))


def _rate_matrix(
    price: Price, matrix: Matrix, spans: Sequence[Span], one: Decimal, *, final: bool
) -> list[RatedRow]:
    modifiers = price.modifiers
    if (modifiers.convert or modifiers.free_units) and needs_of(price).events is Events.NONE:
        # They may be told for the sake of a price beside this one, and not so that they could be converted or freed.
        spans = [span.without_events() for span in spans]
    if modifiers.convert:
        convert = modifiers.convert
        spans = [
            replace(span, start=span.start.converted(convert, one), end=span.end.converted(convert, one))
            for span in spans
        ]
        one = convert.finer(one)
    groups, freed = _groups_of(matrix, spans), ZERO
    if modifiers.free_units:
        groups, freed = _without_free_units(groups, modifiers.free_units * one)
    lines = _rate_groups(matrix, groups, one, final=final)
    charges = free_charges(divided(freed, one))
    if modifiers.change_amount:
        until_start = [replace(group, spans=[span.until_start() for span in group.spans]) for group in groups]
        earlier = _amount_of(_rate_groups(matrix, until_start, one, final=False))
        for reason, step in adjustments(modifiers, earlier, _amount_of(lines), ONE, final=final):
            charges.append(charge(ONE, step, reason))
    if charges:
        lines.append(RatedRow({}, ZERO, owed(charges), tuple(charges), adjusts=True))
    return [_in_money(price, line) for line in lines]


def _groups_of(matrix: Matrix, spans: Sequence[Span]) -> list[_Group]:
    """The spans by the cell that prices them: cells in their order, the default, unpriced usage."""
    by_cell: dict[int, list[Span]] = {}
    default = len(matrix.cells)
    for span in spans:
        position = matrix.cell_for(span.dimensions)
        by_cell.setdefault(default if position is None else position, []).append(span)
    rest = by_cell.pop(default, [])
    groups = [
        _Group(dict(matrix.cells[position].when), matrix.cells[position].price, by_cell[position])
        for position in sorted(by_cell)
    ]
    return [*groups, _Group({}, matrix.default, rest)] if rest else groups


def _without_free_units(groups: Sequence[_Group], pool: Decimal) -> tuple[list[_Group], Decimal]:
    """The groups after the pool of free units, drawn on in their order at either end; and what was drawn."""
    left_start = left_end = pool
    charged: list[_Group] = []
    for group in groups:
        if group.price is None:
            charged.append(group)
            continue
        spans: list[Span] = []
        for span in group.spans:
            start, free_start = span.start.without_free(left_start)
            end, free_end = span.end.without_free(left_end)
            left_start, left_end = left_start - free_start, left_end - free_end
            spans.append(replace(span, start=start, end=end))
        charged.append(replace(group, spans=spans))
    return charged, left_start - left_end


def _rate_groups(matrix: Matrix, groups: Sequence[_Group], one: Decimal, *, final: bool) -> list[RatedRow]:
    if matrix.tiers is Ladder.SHARED:
        return _rate_shared(groups, one)
    return [line for group in groups for line in _rate_group(group, one, final=final)]


def _rate_group(group: _Group, one: Decimal, *, final: bool) -> list[RatedRow]:
    price = group.price
    if price is None:
        return [_unpriced(span) for span in group.spans]
    matrix = matrix_of(price.model)
    if matrix is not None:
        nested = _rate_matrix(price, matrix, group.spans, one, final=final)
        return [replace(line, dimensions={**group.when, **line.dimensions}) for line in nested]
    assert not isinstance(price.model, Matrix | TimeOfUse)
    by_row = not isinstance(price.model, EventFormula) and price.model.proportional
    if by_row and price.modifiers.keep_proportion:
        return [_rate_together(price, [span], span.dimensions, one, final=final) for span in group.spans]
    return [_rate_together(price, group.spans, group.when, one, final=final)]


def _rate_shared(groups: Sequence[_Group], one: Decimal) -> list[RatedRow]:
    """The lines of cells that stand on one ladder, each where the one before it ends."""
    floor_start = floor_end = ZERO
    lines: list[RatedRow] = []
    for group in groups:
        price = group.price
        if price is None:
            lines += _rate_group(group, one, final=False)
            continue
        assert isinstance(price.model, Graduated | GraduatedPercentage | PerUnit)
        start = floor_start + max(sum((span.start.quantity for span in group.spans), ZERO), ZERO)
        end = floor_end + max(sum((span.end.quantity for span in group.spans), ZERO), ZERO)
        charges = shared_charges_between(price.model, (floor_start, start), (floor_end, end), one)
        quantity = sum((span.quantity for span in group.spans), ZERO)
        net = sum((span.net for span in group.spans), ZERO)
        line = RatedRow(group.when, quantity, owed(charges), tuple(charges), -net if net < 0 else ZERO)
        lines.append(_in_money(price, line))
        floor_start, floor_end = start, end
    return lines


def _unpriced(span: Span) -> RatedRow:
    charges = (charge(span.quantity, ZERO, UNPRICED),) if span.quantity else ()
    return RatedRow(span.dimensions, span.quantity, ZERO, charges, unpriced=True, quantities=span.quantities)


def _amount_of(lines: Iterable[RatedRow]) -> Decimal:
    return sum((line.amount for line in lines), ZERO)


def _sum_of(lines: Sequence[RatedRow]) -> Rated:
    charges = tuple(charge for line in lines for charge in line.charges)
    with exact():
        return Rated(owed(charges), charges, sum((line.shortfall for line in lines), ZERO))


def _too_many_digits() -> LimitExceeded:
    return LimitExceeded("too_many_digits", "the price multiplies to more digits than are computed with")
