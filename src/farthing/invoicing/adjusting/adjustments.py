"""Lines that are made of other lines, in their order. Pure.

    usage and fixed fees    what rate cards charge                          lines.py
    coupons                 in order of redemption, each of what is left    coupons.py
    commitments             in order of term, each of what is left          commitments.py
    the plan's minimum      what is missing to it                           minimum.py

What interim invoices of the period billed is taken off after all of these (`interim.py`).

What earlier invoices did is a `Basis`: sums over issued lines, and over what late usage corrected of them, on whichever
invoice or credit note that stands. In a run that bills several periods of a
subscription at once, `Carried` adds what the earlier ones of the same run are about to issue, so that
twelve months billed together come out as twelve months billed one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, DecimalException

from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.invoicing.adjusting.commitments import commitment_lines
from farthing.invoicing.adjusting.coupons import coupon_lines
from farthing.invoicing.adjusting.minimum import has_minimum, minimum_lines
from farthing.invoicing.carrying.forward import CarryForward
from farthing.invoicing.drafting.remainder import Remainder, counted_by_minimum
from farthing.invoicing.model import (
    NO_BASIS,
    NOTHING_REACHED,
    Basis,
    Bill,
    BilledBefore,
    Draft,
    Line,
    LineKind,
    Reached,
    Reason,
)
from farthing.kernel.errors import LimitExceeded
from farthing.kernel.quantity import ZERO, exact

NOT_REACHED = (LineKind.CARRIED_FORWARD, LineKind.BROUGHT_FORWARD)
"""Adjustments that no coupon and no commitment is used up by: they move what is owed to another invoice."""
NONE_BILLED: Mapping[tuple[int, datetime], tuple[BilledBefore, ...]] = {}


def adjusted(bill: Bill, lines: tuple[Line, ...], basis: Basis) -> tuple[Line, ...]:
    """The lines of a bill with its adjustments behind them.

    Raises LimitExceeded `too_many_digits`.
    """
    if not looks_back(bill, basis.terms):
        return lines
    try:
        with exact():
            remainder = Remainder.of(lines)
            made = [*lines, *coupon_lines(bill, remainder, basis)]
            made += commitment_lines(bill, remainder, basis)
            made += minimum_lines(bill, made, basis)
    except DecimalException:
        said = "coupons and commitments multiply to more digits than are computed with"
        raise LimitExceeded("too_many_digits", said) from None
    return tuple(made)


def looks_back(bill: Bill, terms: Terms | None) -> bool:
    """Whether the invoice of a bill with these terms depends on earlier ones, or later ones depend on it.

    Interim invoices are apart: what they billed is taken off the others of their period, and nothing else.
    """
    return bill.reason is not Reason.INTERIM and (bool(terms) or has_minimum(bill))


def is_ahead(bill: Bill, line: Line) -> bool:
    """Whether a line is charged before the invoice of the period that it is for."""
    return counted_by_minimum(line.kind) and (
        bill.reason in (Reason.START, Reason.CHANGE) or line.service_period.start >= bill.period.end
    )


@dataclass(slots=True)
class History:
    """What the invoices of one subscription did so far: sums over their lines.

    reached: by kind of adjustment and key.
    ahead: what was charged in advance, by the start of the service.
    """

    reached: dict[tuple[LineKind, str], Reached] = field(default_factory=dict)
    ahead: dict[datetime, Decimal] = field(default_factory=dict)

    def basis(self, bill: Bill, terms: Terms) -> Basis:
        """What a bill that comes next is computed from."""
        ahead = ZERO
        if has_minimum(bill):
            with exact():
                ahead = sum((sum_ for at, sum_ in self.ahead.items() if at in bill.period), ZERO)
        return Basis(terms, dict(self.reached) if terms else {}, ahead)

    def corrected_by(self, lines: Sequence[Line]) -> "History":
        """What they did with these corrections of them."""
        history = History(dict(self.reached), dict(self.ahead))
        for line in lines:
            history._correct(line)
        return history

    def _correct(self, line: Line) -> None:
        """A correction is of the invoice that it corrects: what it is of did so much more or less there."""
        corrected = None if line.adjustment is None else line.adjustment.corrected
        if corrected is None:
            return
        with exact():
            key = (corrected.kind, corrected.key)
            before = self.reached.get(key, NOTHING_REACHED)
            self.reached[key] = Reached(
                before.quantity + line.quantity,
                before.amount + line.amount_exact,
                before.invoices + corrected.invoices,
            )
            if corrected.ahead:
                start = line.service_period.start
                self.ahead[start] = self.ahead.get(start, ZERO) + line.amount_exact

    def add(self, bill: Bill, lines: Sequence[Line]) -> None:
        """Count the lines of an invoice that follows."""
        with exact():
            here: set[tuple[LineKind, str]] = set()
            for line in lines:
                if line.kind is LineKind.CORRECTION:
                    self._correct(line)
                    continue
                if line.adjustment is not None and line.kind not in NOT_REACHED:
                    key = (line.kind, line.adjustment.key)
                    before = self.reached.get(key, NOTHING_REACHED)
                    self.reached[key] = Reached(
                        before.quantity + line.quantity,
                        before.amount + line.amount_exact,
                        before.invoices + (key not in here),
                    )
                    here.add(key)
                if is_ahead(bill, line):
                    start = line.service_period.start
                    self.ahead[start] = self.ahead.get(start, ZERO) + line.amount_exact


class Carried:
    """The histories of many subscriptions in a run, carried from bill to bill.

    billed: the interim invoices that were issued, by subscription and start of their period.
    forward: what bills too small for an invoice leave to the next ones.
    """

    def __init__(
        self,
        terms: Mapping[int, Terms],
        histories: Mapping[int, History],
        billed: Mapping[tuple[int, datetime], tuple[BilledBefore, ...]] = NONE_BILLED,
        forward: CarryForward | None = None,
    ) -> None:
        self._terms = terms
        self._billed = billed
        self._histories = dict(histories)
        self._forward = CarryForward() if forward is None else forward
        self._missing: set[int] = set()
        self._left_over: dict[int, tuple[Line, ...]] = {}

    def basis(self, bill: Bill) -> Basis | None:
        """What the bill is computed from; None where an earlier bill that it depends on could not be drafted."""
        subscription_id = bill.subscription.subscription_id
        terms = self._terms.get(subscription_id, NO_TERMS)
        basis = NO_BASIS
        if looks_back(bill, terms):
            if subscription_id in self._missing:
                return None
            history = self._history(subscription_id)
            basis = (history.corrected_by(bill.corrections) if bill.corrections else history).basis(
                bill, terms
            )
        billed = self._billed.get((subscription_id, bill.period.start), ()) if bill.bills_usage else ()
        return self._forward.on(bill, replace(basis, billed=billed) if billed else basis)

    def add(self, draft: Draft) -> None:
        """A bill is drafted."""
        self._forward.add(draft)
        bill, lines = draft.bill, draft.lines
        subscription_id = bill.subscription.subscription_id
        if looks_back(bill, self._terms.get(subscription_id)):
            self._history(subscription_id).add(bill, lines)

    def gathered(self, bills: Sequence[Bill]) -> list[Bill]:
        """These bills, in the order of issue, each with its part in a collective invoice."""
        return self._forward.gathered(bills)

    def miss(self, bill: Bill) -> None:
        """The bill could not be drafted: what comes after it cannot be known."""
        self._missing.add(bill.subscription.subscription_id)

    def leave_over(self, bill: Bill) -> None:
        """The bill has no invoice: its corrections wait for the next one of its subscription."""
        if bill.corrections:
            self._left_over[bill.subscription.subscription_id] = bill.corrections

    def with_left_over(self, bill: Bill) -> Bill:
        """The bill, with the corrections that wait for it."""
        if not self._left_over or bill.reason is not Reason.PERIOD:
            return bill
        waiting = self._left_over.pop(bill.subscription.subscription_id, ())
        return replace(bill, corrections=(*waiting, *bill.corrections)) if waiting else bill

    def _history(self, subscription_id: int) -> History:
        return self._histories.setdefault(subscription_id, History())
