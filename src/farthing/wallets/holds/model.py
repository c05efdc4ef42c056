"""The nouns of authorisations. Amounts are exact, in the currency of the plan that the usage is charged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from farthing.kernel.errors import FarthingError
from farthing.kernel.period import Interval


class Status(StrEnum):
    """What has become of an authorisation. Counted: it was settled, and its event is counted."""

    HELD = "held"
    SETTLED = "settled"
    COUNTED = "counted"
    RELEASED = "released"
    EXPIRED = "expired"


class Level(StrEnum):
    """Whose spending a limit bounds: a customer's in all, in one of its projects, with one of its API keys."""

    CUSTOMER = "customer"
    PROJECT = "project"
    API_KEY = "api_key"


class Part(NamedTuple):
    """So much of a grant, for the usage of a subscription's period by one rate card.

    unit: the meter that it is a quantity of; None: it is money.
    """

    subscription_id: int
    period_start: datetime
    rate_card: str
    grant_id: int
    amount: Decimal
    unit: str | None = None


class Place(NamedTuple):
    """Where authorised usage will be counted: up to so much on one ladder of a price, within `end`.

    ladder: which of the price's ladders the usage climbs (`ladders.py`).
    end: the furthest running quantity that it may begin at, as far as was known when it was authorised.
    """

    subscription_id: int
    period_start: datetime
    rate_card: str
    ladder: str
    quantity: Decimal
    end: Decimal


class Counted(NamedTuple):
    """The period of a limit that an authorisation counts against."""

    limit_id: int
    period_start: datetime


@dataclass(frozen=True, slots=True)
class Bound:
    """Usage that may happen at most: so much of a meter with these dimensions, `count` times."""

    meter: str
    quantity: Decimal
    dimensions: Mapping[str, str]
    count: int = 1


@dataclass(frozen=True, slots=True)
class WouldBe:
    """The event that the call would send, as far as it is known; its numbers are upper bounds."""

    type: str
    data: object


@dataclass(frozen=True, slots=True)
class Authorize:
    """A wish to set money aside. `check`: only to know what it would be.

    subscription: the only one of the customer's to look at; None: all that are charged for the usage.
    limits: the project and the API key that it is for.
    """

    key: str
    input_hash: bytes
    customer: str
    subscription: str | None
    usage: tuple[Bound, ...]
    event: WouldBe | None
    ttl_seconds: int
    limits: Mapping[Level, str] = field(default_factory=dict)
    check: bool = False


@dataclass(frozen=True, slots=True)
class HappenedEvent:
    """The event of a call that happened. `line`: as the event log holds it; `time` None: that of receipt."""

    line: bytes
    hash: bytes
    source: str
    id: str
    type: str
    subject: str | None
    time: datetime | None
    data: object


@dataclass(frozen=True, slots=True)
class Settle:
    """The call of an authorisation happened."""

    key: str
    event: HappenedEvent


@dataclass(frozen=True, slots=True)
class Release:
    """The call of an authorisation did not happen."""

    key: str


Asked: TypeAlias = Authorize | Settle | Release


class Hold(NamedTuple):
    """An authorisation as it stands in the books. Amount, cost and covered are money, beside what units pay."""

    key: str
    customer_id: int
    customer: str
    currency: str
    input_hash: bytes
    amount: Decimal
    held_parts: tuple[Part, ...]
    places: tuple[Place, ...]
    limits: tuple[Counted, ...]
    created_at: datetime
    expires_at: datetime
    status: Status = Status.HELD
    ended_at: datetime | None = None
    cost: Decimal | None = None
    covered: Decimal | None = None
    settled_parts: tuple[Part, ...] = ()
    event_source: str | None = None
    event_id: str | None = None
    event_hash: bytes | None = None
    counted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UnitsWanted:
    """Usage of a meter that the customer holds units of: `required` at most, `available` to pay for it.

    What units do not pay for is priced.
    """

    unit: str
    required: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class Insufficient:
    """Not enough money is available for what units do not pay: `required` in all, `available` of it there."""

    required: Decimal
    available: Decimal
    currency: str
    units: tuple[UnitsWanted, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The budget of a period would be exceeded."""

    limit: "SpendingLimit"
    required: Decimal
    left: Decimal
    currency: str
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Priced:
    """What a wish would hold, and what is available for it; nothing was held."""

    customer: str
    amount: Decimal
    available: Decimal
    currency: str
    reached: LimitReached | None = None
    units: tuple[UnitsWanted, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """An authorisation as a request left it. `again`: it was so before, by the same request."""

    hold: Hold
    again: bool = False


Outcome: TypeAlias = Done | Priced | Insufficient | LimitReached | FarthingError


@dataclass(frozen=True, slots=True)
class SpendingLimit:
    """How much may be authorised in each period. `name`: of the project or API key; empty for the customer."""

    limit_id: int
    customer_id: int
    customer: str
    level: Level
    name: str
    interval: Interval
    amount: Decimal
    currency: str
    timezone: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LimitContent:
    """What a limit is to be."""

    customer: str
    level: Level
    name: str
    interval: Interval
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts against a limit in a period: open authorisations, and what settled ones came to."""

    held: Decimal
    spent: Decimal


Document: TypeAlias = dict[str, Any]
