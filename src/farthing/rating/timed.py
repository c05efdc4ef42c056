"""Timed: calls by their length, as telephony and streams are priced.

    {"model": "timed", "connect_fee": "0.10",
     "steps": [{"from": "0", "price": "0.60", "per": "60", "increment": "60"},
               {"from": "60", "price": "0.30", "per": "60", "increment": "1"}]}

All times are in seconds. The first step begins at 0, each lasts until the next begins and the last is
open. `price` buys `per` seconds (1 unless given); `increment` (1 unless given) is the least that is counted.

Law: for each call

    connect_fee + for each step: price x seconds of the call in the step, rounded up to a whole
                                 number of its increments, / per

and total(calls) = the sum over the calls. A call of no length was not connected and owes nothing. Each
step is rounded by itself, and only up. Seconds bought are counted in parts of 1/per, so a price for
every 7 seconds is divided once, at the very end (`rating/between.py`). A part of a period owes the
calls in it, so parts sum to the whole. Equal calls in a row are computed together.

`convert` and `free_units` work on the length of each call, before all of this: `free_units` takes the
included seconds off the calls in their order, and a call that is free in whole owes no connect fee.

Example, as above:
    rate(seconds=90)                         0.85     1 x 0.10, connect fee
                                                      1 x 0.60, step 1
                                                      0.5 x 0.30, step 2
    rate(seconds=5)                          0.70     a first minute begun is a minute
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import EXPONENT_MIN, ONE, ZERO, exact
from farthing.kernel.reading import Fields
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating.charge import Charge, charge
from farthing.rating.price import EventFormula, LooksAt, Measure
from farthing.rating.runs import Stretch
from farthing.rating.sheet import Sheet, parse_amount, parse_positive

STEPS_MAX = 100
GRAIN_DIGITS_MAX = 20
"""Most digits of the least number that all `per` of a price divide."""


@dataclass(frozen=True, slots=True)
class TimedStep:
    """What a call costs from a second on."""

    start: Decimal = field(metadata={"json": "from"})
    price: Decimal
    per: Decimal = ONE
    increment: Decimal = ONE


@dataclass(frozen=True, slots=True)
class Timed(EventFormula):
    """A fee for each call and prices for its seconds."""

    steps: tuple[TimedStep, ...]
    connect_fee: Decimal = ZERO
    _grain: Decimal = field(init=False, repr=False, compare=False)

    measure: ClassVar[Measure] = Measure.SECONDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "_grain", _common_multiple(self.steps))

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        faults_before = len(sheet.faults)
        connect_fee = fields.optional("connect_fee", parse_amount, ZERO)
        steps = sheet.parts(fields, "steps", lambda raw, path: _read_step(raw, path, sheet), most=STEPS_MAX)
        if len(sheet.faults) > faults_before:
            return cls((), connect_fee)  # never used: the faults refuse the whole price
        for index, step in enumerate(steps):
            at = f"{fields.at('steps')}[{index}].from"
            if not index and step.start:
                sheet.faults.add(at, "must be 0: the first step begins with the call")
            if index and step.start <= steps[index - 1].start:
                sheet.faults.add(at, f"must be greater than steps[{index - 1}].from")
        if len(_common_multiple(steps).as_tuple().digits) > GRAIN_DIGITS_MAX:
            complaint = f"have no common multiple of their per with at most {GRAIN_DIGITS_MAX} digits"
            sheet.faults.add(fields.at("steps"), complaint)
        return cls(steps, connect_fee)

    @property
    def grain(self) -> Decimal:
        return self._grain

    @property
    def looks_at(self) -> LooksAt:
        return LooksAt(every=True)

    def total(self, events: Sequence[Stretch], one: Decimal) -> list[Charge]:
        connected = 0
        billed = [ZERO] * len(self.steps)
        for stretch in events:
            if stretch.total <= 0:
                continue
            connected += stretch.count
            seconds = stretch.value
            for index, step in enumerate(self.steps):
                begins = step.start * one
                if seconds <= begins:
                    break
                ends = self.steps[index + 1].start * one if index + 1 < len(self.steps) else seconds
                increment = step.increment * one
                increments = divide_rounded(min(seconds, ends) - begins, increment, 0, Direction.UP)
                billed[index] += increments * increment * stretch.count
        return [
            *([charge(connected * one, self.connect_fee, "connect fee")] if self.connect_fee else []),
            *(
                charge(seconds / step.per, step.price, f"step {number}")
                for number, (step, seconds) in enumerate(zip(self.steps, billed, strict=True), start=1)
            ),
        ]


def _common_multiple(steps: Sequence[TimedStep]) -> Decimal:
    """The least number that every `per` divides."""
    with exact():
        multiple = math.lcm(*(int(step.per.scaleb(-EXPONENT_MIN)) for step in steps))
        return Decimal(multiple).scaleb(EXPONENT_MIN).normalize()


def _read_step(raw: object, path: str, sheet: Sheet) -> TimedStep:
    fields = sheet.fields(raw, path)
    step = TimedStep(
        fields.optional("from", parse_amount, ZERO),
        fields.required("price", parse_amount),
        fields.optional("per", parse_positive, ONE),
        fields.optional("increment", parse_positive, ONE),
    )
    fields.refuse_unknown()
    return step
