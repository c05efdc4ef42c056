"""The nouns of the room. `...Content` is what one is told to hold; without it, what stands in the books."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from farthing.catalog.model import Outcome
from farthing.customers.terms.model import CommitmentContent

SubscriptionAnchor: TypeAlias = date | Literal["calendar", "anniversary"]
"""Where a subscription's periods are anchored: the calendar, its own start, or midnight of a local day."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class SubscriptionContent:
    """What a subscription is to be: version None is the plan's latest, end None leaves the end as it is.

    coupons, commitments: what it is to have as well; those that it has already and that are not named stay.
    """

    key: str
    customer: str
    plan: str
    version: int | None
    anchor: SubscriptionAnchor
    start: datetime
    end: datetime | None
    coupons: tuple[str, ...] = ()
    commitments: tuple[CommitmentContent, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """A customer on one version of a plan, from `start` until `end` (None: until further notice)."""

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
