"""The nouns of the room. Amounts are in the wallet's currency, exact; of a wallet of units they are quantities."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from farthing.kernel.period import Interval
from farthing.kernel.quantity import ZERO


class BalanceState(StrEnum):
    """What was last said of a wallet's balance: it is announced when it becomes worse."""

    FUNDED = "funded"
    LOW = "low"
    EXHAUSTED = "exhausted"


class Cause(StrEnum):
    """Why a draw was made: a batch was sealed, usage was reckoned up in between, its period was invoiced."""

    SEALED = "sealed"
    ACCRUED = "accrued"
    INVOICED = "invoiced"


class Ending(StrEnum):
    """Why a part of a grant can no longer be drawn."""

    EXPIRED = "expired"
    VOIDED = "voided"
    ROLLED_OVER = "rolled_over"


class CollectedBy(StrEnum):
    """Who collects the money of a top-up."""

    PAYMENT = "payment"
    """A payment by the method that the customer left; without one, whoever settles it by hand."""
    HAND = "hand"
    """Somebody else, who says what came of it."""


@dataclass(frozen=True, slots=True)
class AutoTopUp:
    """When a wallet asks for more by itself: its balance is below `below`.

    cooldown_seconds: how long after one request no other is made.
    monthly_maximum: what it asks for at most in a calendar month (UTC); None: no such limit.
    """

    below: Decimal
    amount: Decimal
    cooldown_seconds: int
    monthly_maximum: Decimal | None
    collected_by: CollectedBy = CollectedBy.PAYMENT


@dataclass(frozen=True, slots=True)
class WalletContent:
    """What a wallet is to be. Currency or unit: one of the two."""

    key: str
    customer: str
    name: str
    currency: str | None
    unit: str | None
    priority: int
    low_balance: Decimal | None
    top_up: AutoTopUp | None


@dataclass(frozen=True, slots=True)
class Wallet:
    """A container of grants of one customer. The lower its priority, the earlier it is drawn on.

    currency: of a wallet of money. unit: of one of units, the meter whose quantity it holds.
    billed_in: the customer's currency, which units are paid for in.
    """

    wallet_id: int
    key: str
    customer_id: int
    customer: str
    name: str
    currency: str | None
    unit: str | None
    priority: int
    low_balance: Decimal | None
    top_up: AutoTopUp | None
    balance_state: BalanceState
    created_at: datetime
    billed_in: str

    @property
    def counted_in(self) -> str:
        """What its balance is counted in: a currency, or a meter."""
        return self.currency or self.unit or ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant pays for: usage of one of the meters, or of one of the rate cards; both empty: everything."""

    meters: tuple[str, ...] = ()
    rate_cards: tuple[str, ...] = ()

    def covers(self, meters: tuple[str, ...], rate_card: str) -> bool:
        """Whether usage of these meters, charged by this rate card, may be paid with it."""
        if not self.meters and not self.rate_cards:
            return True
        return rate_card in self.rate_cards or any(meter in self.meters for meter in meters)


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class GrantContent:
    """What a grant is to be. paid: the customer pays for it; else it is given away.

    expires_at: from then on it can no longer be drawn or held; None: never.
    reference: the document or reason it comes from, for people.
    unit_price: of a grant of units, what one is paid for in the customer's currency; None: it is money.
    """

    key: str
    paid: bool
    amount: Decimal
    priority: int
    scope: Scope
    effective_at: datetime | None
    expires_at: datetime | None
    reference: str
    unit_price: Decimal | None = None

    @property
    def worth(self) -> Decimal:
        """What it is in money. Call it with exact arithmetic in force."""
        return worth(self.amount, self.unit_price)


@dataclass(frozen=True, slots=True)
class Grant:
    """Funds of one kind in a wallet, and what became of them.

    available = amount - drawn - held - settled - expired; of that nothing can be drawn outside of
    [effective_at, expires_at).
    """

    grant_id: int
    key: str
    wallet_id: int
    wallet: str
    paid: bool
    amount: Decimal
    priority: int
    scope: Scope
    effective_at: datetime
    expires_at: datetime | None
    reference: str
    recurring: str | None
    rolled_from: str | None
    created_at: datetime
    drawn: Decimal = ZERO
    held: Decimal = ZERO
    settled: Decimal = ZERO
    expired: Decimal = ZERO
    closed_at: datetime | None = None
    unit_price: Decimal | None = None

    @property
    def left(self) -> Decimal:
        """What is neither drawn, held, settled nor expired. Call it with exact arithmetic in force."""
        return self.amount - self.drawn - self.held - self.settled - self.expired


@dataclass(frozen=True, slots=True)
class RecurringContent:
    """A promise of a grant in every period.

    expires: whether each grant ends with its period. rollover_percent: how much of what is left of one then
    goes into the next, at most `rollover_maximum`.
    """

    key: str
    paid: bool
    amount: Decimal
    priority: int
    scope: Scope
    interval: Interval
    interval_count: int
    expires: bool
    rollover_percent: Decimal
    rollover_maximum: Decimal | None
    start: datetime | None
    end: datetime | None
    unit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Recurring:
    """Such a promise as it stands; `next_start` is the first period without its grant."""

    recurring_grant_id: int
    wallet_id: int
    wallet: str
    customer_id: int
    timezone: str
    content: RecurringContent
    start: datetime
    next_start: datetime


@dataclass(frozen=True, slots=True)
class OpenGrant:
    """A grant as burning down sees it: what of it can be drawn, and where it stands in the order."""

    grant_id: int
    wallet_id: int
    wallet_priority: int
    paid: bool
    priority: int
    scope: Scope
    effective_at: datetime
    expires_at: datetime | None
    left: Decimal
    currency: str | None = None
    unit: str | None = None


class ChargeKey(NamedTuple):
    """Whose usage, of which period, by which rate card: what is drawn together, and stands in `charge_funding`.

    A tuple, because a sealed batch looks tens of thousands of them up.
    """

    subscription_id: int
    period_start: datetime
    rate_card: str


@dataclass(frozen=True, slots=True)
class SettledHold:
    """So much of a grant was settled for usage that is sealed now."""

    grant_id: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class UsageCharge:
    """What more the usage of a customer in a period comes to by one rate card. Below zero: less than was thought.

    as_of: the moment that the grants it is paid with must be in force at.
    settled: what holds that were settled for this usage had set aside; drawn first, the rest is let go.
    unit: the meter that the amount is a quantity of, which units pay; None: it is money.
    """

    key: ChargeKey
    customer_id: int
    currency: str
    meters: tuple[str, ...]
    amount: Decimal
    as_of: datetime
    settled: tuple[SettledHold, ...] = ()
    unit: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Charges:
    """Many charges, a column each, place by place: a sealed batch has tens of thousands. Some are of nothing."""

    keys: list[ChargeKey] = field(default_factory=list)
    customer_ids: list[int] = field(default_factory=list)
    currencies: list[str] = field(default_factory=list)
    meters: list[tuple[str, ...]] = field(default_factory=list)
    amounts: list[Decimal] = field(default_factory=list)
    as_of: list[datetime] = field(default_factory=list)

    def add(self, charge: UsageCharge) -> None:
        """One more."""
        self.keys.append(charge.key)
        self.customer_ids.append(charge.customer_id)
        self.currencies.append(charge.currency)
        self.meters.append(charge.meters)
        self.amounts.append(charge.amount)
        self.as_of.append(charge.as_of)

    def at(self, place: int) -> UsageCharge:
        """One of them."""
        return UsageCharge(
            self.keys[place],
            self.customer_ids[place],
            self.currencies[place],
            self.meters[place],
            self.amounts[place],
            self.as_of[place],
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoneGrants:
    """The open grants, locked, of customers that have just one, a column each, place by place.

    left: what of it can be drawn. changes_at: the balance at and below which something is to be said of its wallet.
    account_ids: where the ledger has its funds; None where nothing was booked there yet.
    """

    customer_ids: list[int]
    grant_ids: list[int]
    paid: list[bool]
    currencies: list[str]
    left: list[Decimal]
    changes_at: list[Decimal]
    account_ids: list[int | None]


@dataclass(frozen=True, slots=True)
class DrawPart:
    """How much of one charge one grant pays; below zero: gives back. settled: let go of settled holds on it."""

    charge: UsageCharge
    grant_id: int
    amount: Decimal
    settled: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class CardTotal:
    """What the usage of one rate card comes to in a whole period, exactly, after coupons and commitments."""

    rate_card: str
    meters: tuple[str, ...]
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a period's invoice says of usage, to be paid from wallets as far as they go.

    payable: what the invoice asks for it, in whole minor units.
    """

    subscription_id: int
    period_start: datetime
    customer_id: int
    currency: str
    minor_units: int
    totals: tuple[CardTotal, ...]
    payable: Decimal
    as_of: datetime


def worth(amount: Decimal, unit_price: Decimal | None) -> Decimal:
    """So much of a grant in money: itself, or units at what one was paid for. With exact arithmetic in force."""
    return amount if unit_price is None else amount * unit_price


Standing = list[tuple[int, Decimal]]
"""Where the money for a charge came from so far: grants (0: no funds covered it) and amounts, first payers first."""
