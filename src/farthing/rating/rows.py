"""Rating: one quantity, or rows of usage by dimensions.

Which rows share a line. A price that is no matrix rates the sum of its rows: one line, no dimensions.
In a matrix the rows that match the same cell share that cell's price, so its tiers, packages and free
units count their sum:

- where the cell's price is in proportion to the quantity (per unit, exact packages; percentage
  discounts and unrounded conversions keep it so), each combination of dimensions is a line by itself;
- otherwise the cell is one line, under the dimensions that the cell names (none for the default).

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
from typing import Final

from farthing.kernel.errors import LimitExceeded
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.rating.between import adjustments, charges_between, divided, owed
from farthing.rating.charge import Rated, RatedRow, Row, charge
from farthing.rating.matrix import Matrix
from farthing.rating.modifiers import Modifiers, free_charges
from farthing.rating.price import Price

UNPRICED: Final = "unpriced"


def rate(price: Price, *, quantity: Decimal, before: Decimal = ZERO, final: bool = True) -> Rated:
    """What `quantity` more units cost after `before` units of the same period.

    Law: for every price rate(quantity=b, final=False) and rate(before=b, quantity=q) sum to
    rate(quantity=b + q). `final` says that the period ends here: a minimum, and what is owed for
    nothing used, are due then and not earlier. A matrix takes the quantity as usage without dimensions.

    Raises:
        LimitExceeded: `too_many_digits`, if conversions and discounts of nested matrices multiply to
            more than 200 digits. A price that is no matrix never gets there.
    """
    model = price.model
    if isinstance(model, Matrix):
        return _sum_of(rate_rows(price, [Row({}, quantity, before)], final=final))
    try:
        with exact():
            end = before + quantity
            charges = charges_between(model, price.modifiers, before, end, ONE, final=final)
            return Rated(owed(charges), tuple(charges), -end if end < 0 else ZERO)
    except DecimalException:
        raise _too_many_digits() from None


def rate_rows(price: Price, rows: Sequence[Row], *, final: bool = True) -> tuple[RatedRow, ...]:
    """The lines that a price owes for rows of usage; see the module on which rows share a line."""
    try:
        with exact():
            return tuple(_rate_spans(price, _spans_of(rows), ONE, final=final))
    except DecimalException:
        raise _too_many_digits() from None


def dimensions_of(price: Price) -> tuple[str, ...]:
    """The dimensions that usage must be grouped by for this price, those of nested prices included."""
    model = price.model
    if not isinstance(model, Matrix):
        return ()
    nested = [cell.price for cell in model.cells] + ([model.default] if model.default else [])
    names = [*model.dimensions, *(name for inner in nested for name in dimensions_of(inner))]
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class _Span:
    """A row on its way: its quantity as given, and the running quantities that are to be priced, in parts."""

    dimensions: Mapping[str, str]
    quantity: Decimal
    net: Decimal
    start: Decimal
    end: Decimal


def _spans_of(rows: Iterable[Row]) -> list[_Span]:
    """One span for each combination of dimensions, in the order of their names and values."""
    found: dict[tuple[tuple[str, str], ...], tuple[Decimal, Decimal]] = {}
    for row in rows:
        key = tuple(sorted(row.dimensions.items()))
        before, quantity = found.get(key, (ZERO, ZERO))
        found[key] = (before + row.before, quantity + row.quantity)
    return [
        _Span(dict(key), quantity, before + quantity, before, before + quantity)
        for key, (before, quantity) in sorted(found.items())
    ]


@dataclass(frozen=True, slots=True)
class _Group:
    """The spans that one cell prices. The default names no dimension; unpriced usage has no price."""

    when: Mapping[str, str]
    price: Price | None
    spans: Sequence[_Span]


def _rate_spans(price: Price, spans: Sequence[_Span], one: Decimal, *, final: bool) -> list[RatedRow]:
    if isinstance(price.model, Matrix):
        return _rate_matrix(price.model, price.modifiers, spans, one, final=final)
    return [_rate_together(price, spans, {}, one, final=final)]


def _rate_together(
    price: Price, spans: Sequence[_Span], dimensions: Mapping[str, str], one: Decimal, *, final: bool
) -> RatedRow:
    """One line for the sum of the spans."""
    assert not isinstance(price.model, Matrix)
    start = sum((span.start for span in spans), ZERO)
    end = sum((span.end for span in spans), ZERO)
    net = sum((span.net for span in spans), ZERO)
    quantity = sum((span.quantity for span in spans), ZERO)
    charges = charges_between(price.model, price.modifiers, start, end, one, final=final)
    return RatedRow(dimensions, quantity, owed(charges), tuple(charges), -net if net < 0 else ZERO)


def _rate_matrix(
    matrix: Matrix, modifiers: Modifiers, spans: Sequence[_Span], one: Decimal, *, final: bool
) -> list[RatedRow]:
    convert = modifiers.convert
    if convert:
        spans = [
            replace(span, start=convert.applied(span.start, one), end=convert.applied(span.end, one))
            for span in spans
        ]
        one = convert.finer(one)
    groups, freed = _groups_of(matrix, spans), ZERO
    if modifiers.free_units:
        groups, freed = _without_free_units(groups, modifiers.free_units * one)
    lines = _rate_groups(groups, one, final=final)
    charges = free_charges(divided(freed, one))
    if modifiers.change_amount:
        earlier = _amount_of(_rate_groups([_before(group) for group in groups], one, final=False))
        for reason, step in adjustments(modifiers, earlier, _amount_of(lines), ONE, final=final):
            charges.append(charge(ONE, step, reason))
    if charges:
        lines.append(RatedRow({}, ZERO, owed(charges), tuple(charges)))
    return lines


def _groups_of(matrix: Matrix, spans: Sequence[_Span]) -> list[_Group]:
    """The spans by the cell that prices them: cells in their order, the default, unpriced usage."""
    by_cell: dict[int, list[_Span]] = {}
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
        spans: list[_Span] = []
        for span in group.spans:
            free_start = min(max(span.start, ZERO), left_start)
            free_end = min(max(span.end, ZERO), left_end)
            left_start, left_end = left_start - free_start, left_end - free_end
            spans.append(replace(span, start=span.start - free_start, end=span.end - free_end))
        charged.append(replace(group, spans=spans))
    return charged, left_start - left_end


def _rate_groups(groups: Sequence[_Group], one: Decimal, *, final: bool) -> list[RatedRow]:
    return [line for group in groups for line in _rate_group(group, one, final=final)]


def _rate_group(group: _Group, one: Decimal, *, final: bool) -> list[RatedRow]:
    price = group.price
    if price is None:
        return [_unpriced(span) for span in group.spans]
    if isinstance(price.model, Matrix):
        nested = _rate_matrix(price.model, price.modifiers, group.spans, one, final=final)
        return [replace(line, dimensions={**group.when, **line.dimensions}) for line in nested]
    if price.model.proportional and price.modifiers.keep_proportion:
        return [_rate_together(price, [span], span.dimensions, one, final=final) for span in group.spans]
    return [_rate_together(price, group.spans, group.when, one, final=final)]


def _unpriced(span: _Span) -> RatedRow:
    charges = (charge(span.quantity, ZERO, UNPRICED),) if span.quantity else ()
    return RatedRow(span.dimensions, span.quantity, ZERO, charges, unpriced=True)


def _before(group: _Group) -> _Group:
    """The same usage up to where this part begins."""
    return replace(group, spans=[replace(span, start=ZERO, end=span.start) for span in group.spans])


def _amount_of(lines: Iterable[RatedRow]) -> Decimal:
    return sum((line.amount for line in lines), ZERO)


def _sum_of(lines: Sequence[RatedRow]) -> Rated:
    charges = tuple(charge for line in lines for charge in line.charges)
    with exact():
        return Rated(owed(charges), charges, sum((line.shortfall for line in lines), ZERO))


def _too_many_digits() -> LimitExceeded:
    return LimitExceeded("too_many_digits", "the price multiplies to more digits than are computed with")
