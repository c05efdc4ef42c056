"""The nouns of the room."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from farthing.catalog.model import Plan
from farthing.customers.model import Customer, Subscription
from farthing.kernel.period import Period
from farthing.rating import Charge, Measure


class Reason(StrEnum):
    """Why a subscription is invoiced: it starts with a fee in advance, or a period of it is over."""

    START = "start"
    PERIOD = "period"


@dataclass(frozen=True, slots=True)
class BillKey:
    """What an invoice is for. There is never a second one for the same key."""

    subscription_id: int
    period_start: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice that is due, before anything is known of its lines."""

    subscription: Subscription
    customer: Customer
    plan: Plan
    reason: Reason
    period: Period

    @property
    def key(self) -> BillKey:
        return BillKey(self.subscription.subscription_id, self.period.start, self.reason)

    @property
    def due_since(self) -> datetime:
        """The moment from which on it can be issued."""
        return self.period.start if self.reason is Reason.START else self.period.end


@dataclass(frozen=True, slots=True)
class Line:
    """What one rate card owes for its service period, or one combination of dimensions of it.

    The charges sum to the exact amount, which keeps every digit; what the line shows in the currency's
    minor unit is decided with the invoice's total.

    measure: what the quantity is counted in: things, seconds, or an amount of money.
    quantities: how much of each meter, where the price counts several; `quantity` is then 1 for the period.
    adjusts: whether it is no usage's own, but what a price adds to all its usage: a minimum, a discount.
    """

    rate_card: str
    description: str
    meter: str | None
    dimensions: Mapping[str, str]
    service_period: Period
    quantity: Decimal
    amount_exact: Decimal
    charges: tuple[Charge, ...]
    measure: Measure = Measure.QUANTITY
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    adjusts: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """The amounts of an invoice in the currency's minor unit, and what each line shows. They add up."""

    amounts: tuple[Decimal, ...]
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    total_exact: Decimal


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice that lacks only its number."""

    bill: Bill
    lines: tuple[Line, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class Invoice:
    """A draft with its number, and the document that is kept byte for byte."""

    number: str
    draft: Draft
    document: str


@dataclass(slots=True)
class BillingResult:
    """What a billing run did: numbers issued, in order, and what it passed over and why.

    A skipped entry names the customer, subscription and period of the invoice that was not issued, what
    it would have been for (`invoice`: start or period), and the `reason`: already_issued,
    nothing_to_bill, subscription_changed, or the code of the error that its rating raised.
    """

    issued: list[str] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
