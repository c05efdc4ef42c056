"""Usage that units of wallets pay is not priced, and stands on its line with what paid it. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from farthing.invoicing.drafting.parts import UsagePart
from farthing.invoicing.model import Bill, Line
from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Charge, Row

PREPAID_UNITS = "prepaid units"


class UnitsLeft:
    """What units pay of a bill, while its lines are made."""

    def __init__(self, bill: Bill) -> None:
        with exact():
            self._left = {one.rate_card: one.quantity for one in bill.units if one.parts}
        self._wallets = {one.rate_card: one.wallets for one in bill.units}

    def priced(self, part: UsagePart, rows: Sequence[Row]) -> tuple[list[Row], Decimal]:
        """What of a part's usage is left to be priced, and how many units paid for the rest."""
        left = self._left.get(part.card.key, ZERO)
        if not left or len(rows) != 1 or part.unbilled is not None:
            return list(rows), ZERO
        (row,) = rows
        with exact():
            paid = min(left, max(row.quantity, ZERO))
            self._left[part.card.key] = left - paid
            return [replace(row, quantity=row.quantity - paid)], paid

    def shown(self, lines: Sequence[Line], paid: Decimal) -> list[Line]:
        """The lines of a part with the units that paid for it, on the line of its usage."""
        if not paid:
            return list(lines)
        place = next(place for place, line in enumerate(lines) if not line.adjusts)
        line = lines[place]
        assert line.rate_card is not None
        charge = self.charge(line.rate_card, paid)
        with exact():
            whole = line.quantity + paid
        return [
            *lines[:place],
            replace(line, quantity=whole, charges=(charge, *line.charges)),
            *lines[place + 1 :],
        ]

    def charge(self, rate_card: str, paid: Decimal) -> Charge:
        """So much usage that units pay, as a charge of nothing that says whose they are."""
        wallets = ", ".join(self._wallets[rate_card])
        return Charge(paid, ZERO, ZERO, f"{PREPAID_UNITS} of {wallets}")
