"""The shapes of subscriptions and their changes, for the OpenAPI description (see `shapes.py`)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from farthing.api.documents.shapes import (
    Body,
    CollectionBody,
    Count,
    Exact,
    Instant,
    Key,
    PriceBody,
    RateCardBody,
    Subject,
    Text,
)
from farthing.api.documents.terms import CommitmentBody
from farthing.customers.model import FactKind
from farthing.kernel.period import Interval

Quantities = Annotated[
    dict[str, str], Field(description="How many of a fixed fee, by rate card.", examples=[{"seats": "8"}])
]
Overrides = Annotated[
    dict[str, PriceBody | None],
    Field(description="The customer's own price, by rate card; null takes it off."),
]


class DurationBody(Body):
    """So many days, weeks, months, ... by the customer's calendar."""

    interval: Interval
    count: int = Field(1, ge=1, le=1000)


class PhaseBody(Body):
    """A plan for a time that follows the phase before. Where the last one ends, the subscription ends."""

    plan: Key
    version: int | None = Field(None, ge=1)
    quantities: Quantities | None = None
    overrides: Overrides | None = None
    until: Instant | None = None
    duration: DurationBody | None = None


class TrialBody(Body):
    """A beginning for which fees are free, and usage too unless it is charged. Either `days` or `until`."""

    days: int | None = Field(None, ge=1, le=1000)
    until: Instant | None = None
    usage: Literal["free", "charged"] = "free"


class SubscriptionBody(Body):
    """A customer on a plan, or on the plans of its phases."""

    key: Subject
    customer: Subject
    plan: Key | None = Field(None, description="Needed unless there are phases.")
    version: int | None = Field(None, ge=1, description="Of the plan; the latest, if absent.")
    anchor: str = Field(
        "calendar", description="`calendar`, `anniversary`, or a date.", examples=["2024-01-31"]
    )
    start: Instant
    end: Instant | None = None
    quantities: Quantities | None = None
    overrides: Overrides | None = None
    add_ons: list[RateCardBody] | None = None
    trial: TrialBody | None = None
    phases: list[PhaseBody] | None = None
    coupons: list[Key] = Field([], description="Coupons that it redeems, in this order.")
    commitments: list[CommitmentBody] = Field([], description="Commitments that it makes.")
    collection: CollectionBody | None = Field(
        None, description="When it is charged, in place of what its plan says."
    )
    effective: str | None = Field(
        None, description="For `farthing apply`: since when a difference is to hold."
    )


class StretchDocument(BaseModel):
    """A time over which nothing about a subscription changes; `end` null is open."""

    start: Instant
    end: Instant | None
    plan: Key
    version: int
    status: Literal["active", "paused", "trial"]
    quantities: Quantities | None = None
    overrides: Overrides | None = None
    add_ons: list[RateCardBody] | None = None


class SubscriptionDocument(BaseModel):
    """A subscription as it stands: the plan in force now, and what it was and will be, stretch by stretch."""

    key: Subject
    customer: Subject
    plan: Key
    version: int
    anchor: str
    start: Instant
    end: Instant | None
    status: Literal["scheduled", "trial", "active", "paused", "ended"]
    timeline: list[StretchDocument]


class SubscriptionPage(BaseModel):
    """A page of subscriptions, in order of key."""

    items: list[SubscriptionDocument]
    next_cursor: str | None


class CancelBody(Body):
    """When a subscription ends, and what becomes of what was paid for the time after."""

    end: Instant
    refund: Literal["unused", "none"] = "unused"


class ChangeBody(Body):
    """A change to a subscription. Which fields there are depends on `kind`."""

    kind: FactKind
    key: Subject | None = Field(None, description="Yours for the change: under one key it is made once.")
    at: str = Field("now", description="An instant, `now`, or `period_end`.")
    invoice: Literal["next", "now"] = Field(
        "next", description="`now` bills at once what the change does to fees in advance."
    )
    plan: Key | None = None
    version: int | None = Field(None, ge=1)
    quantities: Quantities | None = None
    overrides: Overrides | None = None
    rate_card: RateCardBody | None = Field(None, description="The add-on that comes.")
    add_on: Key | None = Field(None, description="The key of the add-on that goes.")
    refund: Literal["unused", "none"] | None = Field(None, description="Of a cancellation.")
    until: Instant | None = Field(None, description="Of a trial.")
    usage: Literal["free", "charged"] | None = Field(None, description="In a trial.")


class ChangeDocument(BaseModel):
    """A change as it was made. It never changes; it may be called off by another one."""

    model_config = ConfigDict(extra="allow")

    change_id: int
    key: str
    kind: FactKind
    effective_at: Instant
    made_at: Instant
    withdraws: int | None = Field(None, description="The change that this one calls off.")
    withdrawn_by: int | None = Field(None, description="The change that called this one off.")


class ChangePage(BaseModel):
    """A page of changes, in the order in which they were made."""

    items: list[ChangeDocument]
    next_cursor: str | None


class OneOffBody(Body):
    """An amount that is billed once, with the period that it falls in."""

    key: Subject
    description: Text
    amount: Exact
    at: Instant | None = Field(None, description="Now, if absent.")
    credit: bool = Field(False, description="Whether the amount is below zero, to the customer's favour.")


class OneOffDocument(OneOffBody):
    """A one-off charge, and the number of its invoice once it is billed."""

    subscription: Subject
    invoice: str | None


class OneOffPage(BaseModel):
    """A page of one-off charges, in order of key."""

    items: list[OneOffDocument]
    next_cursor: str | None


class MigrationBody(Body):
    """Which subscriptions of a plan move to another version of it, and from when on."""

    to_version: int = Field(ge=1)
    from_versions: list[int] | None = Field(None, description="All others, if absent.")
    mode: Literal["now", "next_period", "start_of_period"]
    confirm: str | None = Field(None, description="What the dry run answered; without it nothing is done.")


class MoveDocument(BaseModel):
    """One subscription, and the sum of its invoices to come without and with the move."""

    subscription: Subject
    customer: Subject
    from_version: int
    effective_at: Instant
    before: Exact
    after: Exact


class MoveRefused(BaseModel):
    """One subscription that cannot move, and why."""

    subscription: Subject
    code: str
    message: str


class MigrationDocument(BaseModel):
    """What a migration does, or would do. The lists are cut at a thousand; the sums are those of all."""

    plan: Key
    to_version: int
    mode: Literal["now", "next_period", "start_of_period"]
    done: bool
    confirm: str
    currency: str
    count: Count
    before: Exact
    after: Exact
    subscriptions: list[MoveDocument]
    refused_count: Count
    refused: list[MoveRefused]
