"""What a price owes for going from one running quantity to another.

Every price is a function of the running total, total(q). A part of a period that takes the running
quantity from b to b + q owes total(b + q) - total(b), so parts sum to the whole by construction.
Only the last part of a period can be final: total(b) is always taken as not yet final.

Where a price divides (exact packages, a conversion that is not rounded), everything is computed in
parts so fine that nothing is left over, and running totals are divided once, at the end. If that
quotient does not end it is kept at 18 digits, half up (`kernel.rounding.quotient`). A charge is the
difference of the divided totals before and after it, so the charges still sum to the amount, the
parts to the whole, and no amount is off by more than the last digit.

Example, 0.30 a unit, convert divide by 3:  1 unit is 0.1, not 0.0999...
Example, 1 a unit, convert divide by 3:     0..1 is 0.333333333333333333, 1..2 is 0.333333333333333334,
                                            2..3 is 0.333333333333333333, and 0..3 is 1
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, Inexact

from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.rounding import quotient
from farthing.rating.charge import Charge, differences, repriced, reversed_charge
from farthing.rating.modifiers import UNMODIFIED, Modifiers, free_charges, free_of, totals
from farthing.rating.price import EventFormula, Formula, MetersFormula
from farthing.rating.runs import Stretch, converted_each, scaled_each, without_free_each


def charges_between(
    formula: Formula, modifiers: Modifiers, start: Decimal, end: Decimal, one: Decimal, *, final: bool
) -> list[Charge]:
    """The charges of going from `start` to `end`, both in parts of 1/`one` of a unit; below zero is zero.

    `exact()` is in force.
    """
    if start < ZERO:
        start = ZERO
    if end < ZERO:
        end = ZERO
    if modifiers is UNMODIFIED and one is ONE and formula.grain is ONE:  # most prices, and nothing to do
        charges = formula.charges(start, end, one) if end >= start else _moved(formula, start, end, one)
        return charges + formula.charges_at_zero(one) if final and not end else charges
    if modifiers.convert:
        start = modifiers.convert.applied(start, one)
        end = modifiers.convert.applied(end, one)
        one = modifiers.convert.finer(one)
    if formula.grain != 1:
        grain = formula.grain
        start, end, one = start * grain, end * grain, one * grain
    charges = []
    if modifiers.free_units:
        free_start, free_end = free_of(modifiers, start, one), free_of(modifiers, end, one)
        start, end = start - free_start, end - free_end
        charges += free_charges(free_end - free_start)
    charges += _moved(formula, start, end, one)
    if final and not end:
        charges += formula.charges_at_zero(one)
    if one == 1 and not modifiers.change_amount:
        return charges
    earlier = sum((charge.amount for charge in _moved(formula, ZERO, start, one)), ZERO)
    return _settled(charges, modifiers, earlier, one, final=final)


def event_charges_between(
    formula: EventFormula,
    modifiers: Modifiers,
    start: Sequence[Stretch],
    end: Sequence[Stretch],
    one: Decimal,
    *,
    final: bool,
) -> list[Charge]:
    """The charges of going from the events before to all events so far. `exact()` is in force."""
    freed = [ZERO, ZERO]
    sides = [start, end]
    if modifiers.convert:
        sides = [converted_each(events, modifiers.convert, one) for events in sides]
        one = modifiers.convert.finer(one)
    if formula.grain != 1:
        sides = [scaled_each(events, formula.grain) for events in sides]
        one *= formula.grain
    if modifiers.free_units:
        free = modifiers.free_units * one
        for side, events in enumerate(sides):
            sides[side], freed[side] = without_free_each(events, free)
    before, after = (formula.total(events, one) for events in sides)
    charges = free_charges(freed[1] - freed[0]) + differences(before, after)
    return _settled(charges, modifiers, owed(before), one, final=final)


def meters_charges_between(
    formula: MetersFormula,
    modifiers: Modifiers,
    start: Mapping[str, Decimal],
    end: Mapping[str, Decimal],
    *,
    final: bool,
) -> list[Charge]:
    """The charges of going from one set of running quantities to another; below zero is zero."""
    start, end = _never_below_zero(start), _never_below_zero(end)
    charges = formula.moved(start, end, ONE)
    if final and not any(end.get(meter) for meter in formula.meters):
        charges += formula.charges_at_zero(ONE)
    if not modifiers.change_amount:
        return charges
    return _settled(charges, modifiers, owed(formula.total(start, ONE)), ONE, final=final)


def shared_charges_between(
    formula: Formula, start: tuple[Decimal, Decimal], end: tuple[Decimal, Decimal], one: Decimal
) -> list[Charge]:
    """The charges of a cell on a shared ladder that lay between two places on it and lies between two others."""
    if start[0] == end[0]:
        charges = _moved(formula, start[1], end[1], one)
    else:
        charges = repriced(formula.charges(*start, one), formula.charges(*end, one))
    if one == 1:
        return charges
    return _settled(charges, UNMODIFIED, owed(formula.charges(*start, one)), one, final=False)


def owed(charges: list[Charge] | tuple[Charge, ...]) -> Decimal:
    """What the charges sum to."""
    amount = ZERO
    for charge in charges:
        amount += charge.amount
    return amount


def adjustments(
    modifiers: Modifiers, earlier: Decimal, amount: Decimal, one: Decimal, *, final: bool
) -> list[tuple[str, Decimal]]:
    """What the modifiers of the amount add to a part that owes `amount` after `earlier`, and why."""
    before = totals(modifiers, earlier, one, final=False)
    after = totals(modifiers, earlier + amount, one, final=final)
    steps: list[tuple[str, Decimal]] = []
    for index in range(1, len(after)):
        reason, total = after[index]
        step = (total - after[index - 1][1]) - (before[index][1] - before[index - 1][1])
        if step:
            steps.append((reason, step))
    return steps


def divided(total: Decimal, one: Decimal) -> Decimal:
    """A running total turned from parts into units: exact if the quotient ends, else at 18 digits."""
    if one == 1:
        return total
    try:
        return total / one
    except Inexact:
        return quotient(total, one)


def _never_below_zero(quantities: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {meter: max(quantity, ZERO) for meter, quantity in quantities.items()}


def _moved(formula: Formula, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
    """The formula's charges; going down takes back what going up was charged."""
    if end >= start:
        return formula.charges(start, end, one)
    return [reversed_charge(charge) for charge in formula.charges(end, start, one)]


def _settled(
    charges: list[Charge], modifiers: Modifiers, earlier: Decimal, one: Decimal, *, final: bool
) -> list[Charge]:
    """The charges and adjustments turned from parts into units, as differences of divided running totals."""
    settled: list[Charge] = []
    running = totals(modifiers, earlier, one, final=False)[-1][1]
    charged = divided(running, one)
    for charge in charges:
        running += charge.amount
        reached = divided(running, one)
        quantity = divided(charge.quantity, one)
        settled.append(Charge(quantity, charge.unit_price, reached - charged, charge.reason))
        charged = reached
    for reason, step in adjustments(modifiers, earlier, owed(charges), one, final=final):
        running += step
        reached = divided(running, one)
        settled.append(Charge(ONE, reached - charged, reached - charged, reason))
        charged = reached
    return settled
