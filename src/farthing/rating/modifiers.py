"""Modifiers: what stands around a formula, on any model, always in this order.

    on the quantity     convert             divided or multiplied by a factor, and rounded if so wished
                        free_units          the first so many units cost nothing
                        (the formula)
    on the amount       discount_percent    so many percent off
                        discount_amount     so much off, never below zero
                        maximum             the running total is never more
                        minimum             the running total is never less once the period has ended

    "convert": {"operation": "divide", "factor": "1000", "round": "up", "scale": 0}
    operation: divide | multiply; round: up | down | half_up | half_even | none, at `scale`
    digits after the point; none is also written exact, as in a package

Law: each is a function of the running total, and a part owes the difference between its two ends.
That is why every modifier keeps a price additive: rounding in `convert` happens to the running
quantity, a free unit is free once, a maximum caps the sum of the parts. `minimum` is a true-up: only
the last part of a period (`final`) is charged what is missing, even if nothing was used.

Example, 0.01 a unit, 100 free units, 10 percent off, at least 5 and at most 20:
    rate(quantity=1100)                      9       100 x 0 free units, 1000 x 0.01 usage, -1 discount
    rate(quantity=300)                       5       ... 2 usage, -0.2 discount, 3.2 minimum
    rate(before=1100, quantity=5000)        11       ... 50 usage, -5 discount, -34 maximum
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.reading import Fields, parse_choice
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating.charge import Charge, charge
from farthing.rating.sheet import INVALID_PRICE, Sheet, parse_amount, parse_positive, parse_whole, refused

HUNDRED = Decimal(100)
SCALE_MAX = 18
"""Most digits after the point that a converted quantity can be rounded to."""

NOT_ROUNDED = ("none", "exact")


class Operation(StrEnum):
    """What `convert` does with its factor."""

    DIVIDE = "divide"
    MULTIPLY = "multiply"


@dataclass(frozen=True, slots=True)
class Convert:
    """The metered unit becomes the priced unit: tokens become thousands of tokens."""

    operation: Operation
    factor: Decimal
    round: Direction | None = None
    scale: int = 0

    def applied(self, quantity: Decimal, one: Decimal) -> Decimal:
        """The converted running quantity, in parts of `finer(one)`."""
        if self.operation is Operation.MULTIPLY:
            quantity *= self.factor
            divisor = one
        else:
            divisor = one * self.factor
        return quantity if self.round is None else divide_rounded(quantity, divisor, self.scale, self.round)

    def finer(self, one: Decimal) -> Decimal:
        """How many parts make one converted unit: a division that is not rounded is left for the end."""
        if self.round is not None:
            return ONE
        return one * self.factor if self.operation is Operation.DIVIDE else one


@dataclass(frozen=True, slots=True)
class Modifiers:
    """What a price does beside its formula: all of it optional, none of it by default."""

    convert: Convert | None = None
    free_units: Decimal = ZERO
    discount_percent: Decimal = ZERO
    discount_amount: Decimal = ZERO
    maximum: Decimal | None = None
    minimum: Decimal = ZERO

    @property
    def change_amount(self) -> bool:
        return bool(self.discount_percent or self.discount_amount or self.minimum) or self.maximum is not None

    @property
    def keep_proportion(self) -> bool:
        """Whether an amount that was in proportion to the quantity still is."""
        return not (
            self.free_units
            or self.discount_amount
            or self.minimum
            or self.maximum is not None
            or (self.convert is not None and self.convert.round is not None)
        )


UNMODIFIED = Modifiers()


def free_of(modifiers: Modifiers, quantity: Decimal, one: Decimal) -> Decimal:
    """How much of a running quantity is free."""
    return min(quantity, modifiers.free_units * one)


def free_charges(freed: Decimal) -> list[Charge]:
    """The line that says what was given away."""
    return [charge(freed, ZERO, "free units")] if freed else []


def totals(modifiers: Modifiers, total: Decimal, one: Decimal, *, final: bool) -> list[tuple[str, Decimal]]:
    """The running total after each modifier of the amount in turn."""
    floored = max(ZERO, total)
    reduced = floored * (HUNDRED - modifiers.discount_percent).scaleb(-2)
    discounted = max(ZERO, reduced - modifiers.discount_amount * one)
    capped = discounted if modifiers.maximum is None else min(discounted, modifiers.maximum * one)
    trued_up = max(capped, modifiers.minimum * one) if final else capped
    return [
        ("", total),
        ("never below zero", floored),
        ("discount", reduced),
        ("discount", discounted),
        ("maximum", capped),
        ("minimum", trued_up),
    ]


def read_modifiers(fields: Fields, sheet: Sheet) -> Modifiers:
    """The modifiers among the fields of a price."""
    modifiers = Modifiers(
        convert=fields.optional("convert", lambda raw, path: _read_convert(raw, path, sheet), None),
        free_units=fields.optional("free_units", parse_amount, ZERO),
        discount_percent=fields.optional("discount_percent", _parse_percent, ZERO),
        discount_amount=fields.optional("discount_amount", parse_amount, ZERO),
        maximum=fields.optional("maximum", parse_amount, None),
        minimum=fields.optional("minimum", parse_amount, ZERO),
    )
    least, most = modifiers.minimum, modifiers.maximum
    if least is not None and most is not None and least > most:
        sheet.faults.add(fields.at("minimum"), "must not be greater than maximum")
    return modifiers


def _read_convert(raw: object, path: str, sheet: Sheet) -> Convert:
    fields = sheet.fields(raw, path)
    convert = Convert(
        operation=fields.required("operation", _parse_operation),
        factor=fields.required("factor", parse_positive),
        round=fields.optional("round", _parse_rounding, None),
        scale=fields.optional("scale", _parse_scale, 0),
    )
    fields.refuse_unknown()
    return convert


def _parse_operation(raw: object, path: str) -> Operation:
    return Operation(parse_choice(raw, path, tuple(Operation), code=INVALID_PRICE))


def _parse_rounding(raw: object, path: str) -> Direction | None:
    choice = parse_choice(raw, path, (*Direction, *NOT_ROUNDED), code=INVALID_PRICE)
    return None if choice in NOT_ROUNDED else Direction(choice)


def _parse_percent(raw: object, path: str) -> Decimal:
    percent = parse_amount(raw, path)
    if percent > HUNDRED:
        raise refused(path, "must not be greater than 100")
    return percent


def _parse_scale(raw: object, path: str) -> int:
    return parse_whole(raw, path, most=SCALE_MAX)
