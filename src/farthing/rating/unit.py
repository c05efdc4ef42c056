"""A unit of its own that a price is written in: credits, tokens, minutes, at a rate to money.

    {"model": "per_unit", "unit_price": "5", "unit": {"name": "credits", "rate": "0.01"}}

Law: the model and all its modifiers compute in the unit, exactly as they would in money; then every
charge is multiplied by the rate, once. The rate says how much of the plan's currency one unit is, so
the amount is money like any other, is rounded with the rest of the invoice and never by itself, and
stays additive. Charges are in money and say beside it what they are in the unit.

The unit belongs to a whole price: fees, minimum, maximum and discounts of that price are in it, and so
are the prices inside it, which must not name one of their own.

Example, 5 credits a call, a credit is 0.01, at least 1000 credits:
    rate(quantity=150)                      10       150 x 0.05 = 7.5, usage (750 credits)
                                                     1 x 2.5 = 2.5, minimum (250 credits)
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from decimal import Decimal

from farthing.kernel.reading import Fields, parse_text
from farthing.rating.charge import Charge, UnitCharge
from farthing.rating.sheet import Sheet, parse_positive


@dataclass(frozen=True, slots=True)
class PricingUnit:
    """What a price is written in, and how much money one of it is."""

    name: str
    rate: Decimal

    def in_money(self, charges: Iterable[Charge]) -> list[Charge]:
        """Charges of the unit as charges of money that remember the unit. `exact()` is in force."""
        return [
            UnitCharge(
                charge.quantity,
                charge.unit_price * self.rate,
                charge.amount * self.rate,
                charge.reason,
                self.name,
                charge.unit_price,
                charge.amount,
            )
            for charge in charges
        ]


def read_unit(raw: object, path: str, sheet: Sheet) -> PricingUnit:
    """The `unit` of a price."""
    fields = sheet.fields(raw, path)
    unit = PricingUnit(fields.required("name", parse_text), fields.required("rate", parse_positive))
    fields.refuse_unknown()
    return unit


def in_unit(sheet: Sheet, fields: Fields) -> AbstractContextManager[None]:
    """While the model of a price is read: a price within one that names a unit must not name another."""
    if "unit" not in fields:
        return nullcontext()
    return sheet.once("unit", fields.at("unit"), "must be left out: the price around it has a unit already")
