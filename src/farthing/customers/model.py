"""The nouns of the room. `...Content` is what one is told to hold; without it, what stands in the books."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

from farthing.catalog.collection import Collection
from farthing.catalog.model import Outcome, RateCard
from farthing.customers.terms.model import CommitmentContent
from farthing.kernel.period import Interval
from farthing.kernel.value import value
from farthing.rating import Price

SubscriptionAnchor: TypeAlias = date | Literal["calendar", "anniversary"]
"""Where a subscription's periods are anchored: the calendar, its own start, or midnight of a local day."""


@value
class Address:
    """Where invoices are addressed to. `country` is an ISO 3166 code of two letters."""

    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    postcode: str | None = None
    region: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerContent:
    """What a customer is to be. `aliases` is None where nothing was said about them: they stay."""

    key: str
    name: str
    currency: str
    timezone: str
    email: str | None
    address: Address
    aliases: tuple[str, ...] | None


@value
class Customer:
    """Who is billed. Events whose subject is the key or one of the aliases are this customer's."""

    customer_id: int
    key: str
    name: str
    currency: str
    timezone: str
    email: str | None
    address: Address
    aliases: tuple[str, ...]


class FactKind(StrEnum):
    """What kind of change to a subscription a fact is."""

    PLAN = "plan"
    QUANTITY = "quantity"
    OVERRIDE = "override"
    ADD_ON = "add_on"
    REMOVE_ADD_ON = "remove_add_on"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    REACTIVATE = "reactivate"
    TRIAL = "trial"
    WITHDRAW = "withdraw"


class Moment(StrEnum):
    """A moment that only the books can name: that of the change, or the end of the period that it lies in."""

    NOW = "now"
    PERIOD_END = "period_end"


@dataclass(frozen=True, slots=True)
class FactContent:
    """What a change to a subscription says; which fields have a meaning depends on the kind.

    plan, version: of the plan that it moves to; version None is the latest.
    quantities: how many of a fixed fee, by rate card.
    overrides: the customer's own price, by rate card; None takes it off.
    rate_card: the add-on that comes; add_on: the key of the one that goes.
    trial_end, usage_charged: until when fees (and usage, unless it is charged) are free.
    refund_unused: whether what was paid for the time after the end is credited.
    invoice_now: whether what it does to fees in advance is invoiced at once, not with the period.
    """

    kind: FactKind
    plan: str | None = None
    version: int | None = None
    quantities: Mapping[str, Decimal] | None = None
    overrides: Mapping[str, Price | None] | None = None
    rate_card: RateCard | None = None
    add_on: str | None = None
    trial_end: datetime | None = None
    usage_charged: bool = False
    refund_unused: bool = True
    invoice_now: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """One change to a subscription, as it was made: it holds from `effective_at` on and never changes itself.

    change_id: rises with each change that is made, so among facts of one moment the later one decides.
    plan_version_id: of the plan version that `content` names.
    withdraws: the fact that this one calls off, as if it had never been.
    """

    change_id: int
    key: str
    effective_at: datetime
    content: FactContent
    made_at: datetime
    plan_version_id: int | None = None
    withdraws: int | None = None


@dataclass(frozen=True, slots=True)
class NewFact:
    """A change that is to be written. `key`: of the client, so that asking again changes nothing."""

    key: str
    effective_at: datetime
    content: FactContent
    withdraws: int | None = None


@dataclass(frozen=True, slots=True)
class Duration:
    """So many days, weeks, months, ... by the customer's calendar."""

    interval: Interval
    count: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A plan with its quantities and overrides, for a time that follows the phase before; `until` None is open."""

    plan: str
    version: int | None
    quantities: Mapping[str, Decimal] | None
    overrides: Mapping[str, Price | None] | None
    until: datetime | Duration | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A beginning for which fees are free, and usage too unless it is charged."""

    until: datetime | Duration
    usage_charged: bool


@dataclass(frozen=True, slots=True)
class SubscriptionContent:
    """What a subscription is to be: version None is the plan's latest, end None leaves the end as it is.

    quantities, overrides, add_ons: None where nothing was said about them: they stay.
    phases: where there are any, the first says the plan that it begins on.
    effective: from when on a plan, quantity, price or add-on that differs from what stands is to hold.
    coupons, commitments: what it is to have as well; those that it has already and that are not named stay.
    collection: terms of collection of its own; those that it has stay where none are named.
    """

    key: str
    customer: str
    plan: str
    version: int | None
    anchor: SubscriptionAnchor
    start: datetime
    end: datetime | None
    quantities: Mapping[str, Decimal] | None = None
    overrides: Mapping[str, Price | None] | None = None
    add_ons: tuple[RateCard, ...] | None = None
    trial: Trial | None = None
    phases: tuple[Phase, ...] = ()
    effective: datetime | Moment = Moment.NOW
    coupons: tuple[str, ...] = ()
    commitments: tuple[CommitmentContent, ...] = ()
    collection: Collection | None = None


@value
class Subscription:
    """A customer on a plan from `start` on: how it began, and every change since, in the order they were made.

    plan_version_id, plan, version: what it began on.
    end: when it ends, by the facts; None: not known yet.
    """

    subscription_id: int
    key: str
    customer_id: int
    customer: str
    plan_version_id: int
    plan: str
    version: int
    anchor: SubscriptionAnchor
    start: datetime
    end: datetime | None
    facts: tuple[Fact, ...] = ()

    @property
    def last_change_id(self) -> int:
        """Of the latest fact; 0 where there is none. It says which facts somebody has seen."""
        return self.facts[-1].change_id if self.facts else 0


@dataclass(frozen=True, slots=True)
class OneOffCharge:
    """An amount that is billed once, with the period that `charged_at` lies in; below zero it is a credit.

    key: of the tenant, among all its one-off charges.
    """

    key: str
    subscription: str
    subscription_id: int
    description: str
    amount: Decimal
    charged_at: datetime
    made_at: datetime


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after, as they stand in JSON."""

    field: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Change:
    """What a write does to one thing. kind: meter, plan, coupon, customer or subscription."""

    kind: str
    key: str
    outcome: Outcome
    fields: tuple[FieldChange, ...] = ()
