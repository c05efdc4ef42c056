"""The nouns of the catalog. Values, frozen: a definition that changes is another definition."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from farthing.catalog.collection import AT_PERIOD_END, Collection
from farthing.catalog.expression import Expression
from farthing.kernel.period import Interval
from farthing.kernel.quantity import ZERO
from farthing.kernel.rounding import Rounding
from farthing.rating import Needs, Price, needs_of


class Outcome(StrEnum):
    """What a write did to the thing it names."""

    CREATED = "created"
    CHANGED = "changed"
    NEW_VERSION = "new_version"
    UNCHANGED = "unchanged"


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE = "unique"
    LATEST = "latest"


class Operator(StrEnum):
    """How a condition compares. Up to NOT_IN as text, then as numbers; EXISTS asks only for presence."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EXISTS = "exists"


ConditionValue: TypeAlias = str | tuple[str, ...] | Decimal | bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that an event must satisfy to count for a meter.

    The value is a text for eq and ne, texts for in and not_in, a Decimal for gt, gte, lt and lte,
    and a bool for exists. An event without the field satisfies ne, not_in and `exists: false` only.
    """

    field: str
    op: Operator
    value: ConditionValue


@dataclass(frozen=True, slots=True)
class Meter:
    """How events become a quantity: which ones count, what is taken from each, and how it is put together.

    dimensions: name and path pairs by which usage can be told apart, in order of name.
    filter: all conditions must hold.
    """

    key: str
    event_type: str
    aggregation: Aggregation
    value: Expression | None
    dimensions: tuple[tuple[str, str], ...] = ()
    filter: tuple[Condition, ...] = ()


class Timing(StrEnum):
    """When a period's charge is billed: once it is over, or when it begins."""

    ARREARS = "arrears"
    ADVANCE = "advance"


class RoundingScope(StrEnum):
    """What is rounded to the currency's minor unit: the invoice total (lines share it), or each line."""

    INVOICE = "invoice"
    LINE = "line"


class Proration(StrEnum):
    """How a fixed fee is shared out in a part of its period: by the second, or by whole local days."""

    SECOND = "second"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class RateCard:
    """One thing that a plan charges for: the usage of a meter, or of several, or a fixed fee where there is none."""

    key: str
    name: str
    meters: tuple[str, ...]
    timing: Timing
    price: Price
    # What the price must be told of usage: looked up for every bill, and a price may have many cells.
    needs: Needs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", needs_of(self.price))

    @property
    def meter(self) -> str | None:
        """The meter, where there is one; None for a fixed fee and for several meters."""
        return self.meters[0] if len(self.meters) == 1 else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a subscription to it is charged, and how often.

    minimum: what a full period comes to at least, in the plan's currency.
    collection: when its money is asked for, unless a subscription has terms of its own.
    """

    key: str
    name: str
    currency: str
    interval: Interval
    interval_count: int
    rounding: RoundingScope
    rounding_mode: Rounding
    rate_cards: tuple[RateCard, ...]
    proration: Proration = Proration.SECOND
    minimum: Decimal = ZERO
    collection: Collection = AT_PERIOD_END


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """A published plan. Subscriptions point to a version, so a later one never changes what they pay.

    outcome: what the call that returned this did (created, new_version or unchanged).
    """

    plan_version_id: int
    version: int
    plan: Plan
    published_at: datetime
    outcome: Outcome = Outcome.UNCHANGED


@dataclass(frozen=True, slots=True)
class PlanRef:
    """What a subscription needs to know of a plan version, which may be one that is about to be published."""

    key: str
    version: int
    currency: str
    plan_version_id: int | None = None
    rate_cards: tuple[str, ...] = ()
