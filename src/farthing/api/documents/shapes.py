"""The shapes of bodies and answers, for the OpenAPI description and the clients made from it.

These describe and decide nothing: what a body may hold is decided by the room that reads it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from farthing.catalog.collection import CHARGE_WITHIN_DAYS_MAX, CollectionMode
from farthing.catalog.model import Aggregation, Operator, Outcome, Proration, RoundingScope, Timing
from farthing.customers.terms.billing import GRACE_HOURS_MAX
from farthing.kernel.period import Interval
from farthing.kernel.rounding import Rounding
from farthing.rating.models import MODELS

Key = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")]
Subject = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=256)]
Exact = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="A decimal number, exactly.")]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]


class Body(BaseModel):
    """What a client sends; a field that is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


# ---- Problems


class FaultDocument(BaseModel):
    """One thing that is wrong, and where."""

    path: str = Field(examples=["rate_cards[2].price.tiers[1].up_to"])
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457 problem details. `code` is stable; `detail` is for people."""

    type: str = Field(examples=["urn:farthing:problem:invalid_price"])
    title: str
    status: int
    code: str = Field(examples=["invalid_price"])
    detail: str
    path: str | None = Field(None, description="Where in the input, if it is known.")
    faults: list[FaultDocument] = Field([], description="Everything that is wrong with the input.")


# ---- Events


class EventBody(BaseModel):
    """A CloudEvent. (source, id) is its identity: however often it is sent, it counts once."""

    id: Text
    source: Text
    type: Text
    specversion: Literal["1.0"] = "1.0"
    subject: Text | None = Field(None, description="The key of a customer, or an alias.")
    time: Instant | None = Field(None, description="When it happened; absent means when it was received.")
    corrects: Text | None = Field(
        None,
        description="The id of an event that this one takes the place of; of type `farthing.void`, that it voids.",
    )
    correctssource: Text | None = Field(None, description="Its source; absent: the same as this event's.")
    correctsreason: str | None = Field(None, max_length=256, description="Why.")
    data: Any = Field(None, description="Whatever meters read.")


class EventOutcome(BaseModel):
    """What became of one event of the request."""

    status: Literal["accepted", "rejected"]
    index: Count | None = Field(None, description="Its place in the request, from zero.")
    code: str | None = None
    message: str | None = None
    path: str | None = None


class EventsAccepted(BaseModel):
    """The accepted events are on disk. Outcomes stand in the order of the request."""

    accepted: Count
    rejected: Count
    outcomes: list[EventOutcome]


class QuarantinedEvent(BaseModel):
    """An event that was accepted and is not counted, and why."""

    quarantine_id: int
    reason: str = Field(examples=["conflict"])
    detail: str
    origin: str = Field(description="Where it came from: `http`, or a file and its line.")
    received_at: Instant
    resolution: Literal["retried", "dropped"] | None = Field(description="None: it is open.")
    resolved_at: Instant | None
    raw: str = Field(description="Its bytes as they were received, in UTF-8 with replacements.")


class QuarantineResolved(BaseModel):
    """What was done about a quarantined event. Accepted: on disk once more, and sealed in a moment."""

    quarantine_id: int
    status: Literal["accepted", "dropped"]


class QuarantinePage(BaseModel):
    """A page of quarantined events, oldest first."""

    items: list[QuarantinedEvent]
    next_cursor: str | None


class FactDocument(BaseModel):
    """Something that happened, told once, in the order of its position."""

    position: int = Field(description="Its place among the tenant's facts, without gaps.", examples=[17])
    kind: str = Field(examples=["wallet.low_balance"])
    subject: str = Field(description="To what it happened: a key or a number.", examples=["acme"])
    occurred_at: Instant
    body: dict[str, Any] = Field(description="What else there is to say; amounts are decimal strings.")


class FactPage(BaseModel):
    """A page of facts, oldest first."""

    items: list[FactDocument]
    next_cursor: str | None = Field(description="None: nothing more has happened yet.")


class AccountDocument(BaseModel):
    """Law 3: accepted = counted + duplicate + quarantined + waiting, at every moment."""

    accepted: Count
    counted: Count
    duplicate: Count
    quarantined: Count
    waiting: Count = Field(description="On disk and not sealed yet.")
    voided: Count = Field(description="Those of the counted ones that a correction took out of usage.")
    quarantined_by_reason: dict[str, int]
    quarantined_by_state: dict[str, int] = Field(
        description="`open`, `retried` (accepted once more, so part of `accepted` again) and `dropped`."
    )


# ---- Catalog


class ConditionBody(Body):
    """One thing that an event must satisfy to count for a meter."""

    field: str = Field(examples=["data.status"])
    op: Operator
    value: Any = None


class MeterBody(Body):
    """How events become a quantity."""

    key: Key
    event_type: Text = Field(examples=["llm.completion"])
    aggregation: Aggregation
    value: str | None = Field(
        None,
        description="A path, or arithmetic over paths.",
        examples=["data.input_tokens + 4 * data.output_tokens"],
    )
    dimensions: dict[str, str] = Field({}, examples=[{"model": "data.model"}])
    filter: list[ConditionBody] = []


class MeterDocument(MeterBody):
    """A meter as it stands; it never changes."""


class MeterPage(BaseModel):
    """A page of meters, in order of key."""

    items: list[MeterDocument]
    next_cursor: str | None


class PriceBody(BaseModel):
    """What a quantity costs. Which further fields there are depends on `model`; amounts are decimal text."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"model": "per_unit", "unit_price": "0.0000025"},
                {
                    "model": "graduated",
                    "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}],
                },
            ]
        },
    )

    model: str = Field(json_schema_extra={"enum": list(MODELS)})


class RateCardBody(Body):
    """One thing that a plan charges for: the usage of a meter, or without one a fixed fee."""

    key: Key
    name: Text
    meter: Key | None = None
    meters: list[Key] | None = Field(None, description="In place of meter, where the price counts several.")
    timing: Timing = Timing.ARREARS
    price: PriceBody
    tax_category: Key = Field("standard", description="Which of a place's tax rates it bears.")


class ComputedTerms(Body):
    """What a computed threshold follows from, beside the customer's own spend."""

    fee_per_charge: Exact = Field(description="What a payment costs, however large it is.")
    cost_percent_per_day: Exact = Field(description="What it costs a day to be owed money, in percent of it.")


class ComputedBody(Body):
    """A threshold that follows the customer's spend: sqrt(2 x fee x spend a day / cost a day)."""

    computed: ComputedTerms


class CollectionBody(Body):
    """When the money of a period is asked for: at its end, or as soon as enough has accrued."""

    mode: CollectionMode
    threshold: Exact | ComputedBody | None = Field(
        None, description="What may accrue before it is charged.", examples=["50"]
    )
    least: Exact | None = Field(None, description="A computed threshold is never below it.")
    most: Exact | None = Field(None, description="A computed threshold is never above it.")
    charge_within_days: int | None = Field(
        None, ge=1, le=CHARGE_WITHIN_DAYS_MAX, description="How long accrued spend waits at most."
    )


class BillingTermsBody(Body):
    """How invoices come about."""

    smallest_invoice: dict[str, Exact] | None = Field(
        None,
        description="By currency: what a bill below it comes to is carried forward to the next one. 0: nothing is.",
        examples=[{"USD": "5.00"}],
    )
    grace_hours: int | None = Field(
        None,
        ge=0,
        le=GRACE_HOURS_MAX,
        description="How long the bill of a period stands as a draft, so that late events land in it.",
    )
    collective: bool | None = Field(
        None,
        description="Whether what several subscriptions come to on the same day is asked for by one invoice.",
    )


class PlanBody(Body):
    """What a subscription is charged, and how often."""

    key: Key
    name: Text
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["USD"])
    interval: Interval
    interval_count: int = Field(1, ge=1)
    rounding: RoundingScope = RoundingScope.INVOICE
    rounding_mode: Rounding = Rounding.HALF_UP
    proration: Proration = Field(
        Proration.SECOND, description="How fixed fees are shared out: by the second, or by whole local days."
    )
    minimum: Exact = Field("0", description="What a full period comes to at least.")
    collection: CollectionBody | None = Field(None, description="Absent: at the end of the period.")
    net_days: int = Field(30, ge=0, le=366, description="When invoices are due, in days after their issue.")
    prices_include_tax: bool = Field(False, description="Whether prices are what customers pay, tax and all.")
    rate_cards: list[RateCardBody] = Field(min_length=1)


class PlanDocument(PlanBody):
    """A published version of a plan. It never changes; another definition is another version."""

    version: int = Field(ge=1)
    published_at: Instant
    outcome: Outcome | None = Field(
        None, description="What publishing did; absent where nothing was asked to be."
    )


class PlanPage(BaseModel):
    """A page of plans, each in its latest version, in order of key."""

    items: list[PlanDocument]
    next_cursor: str | None


# ---- Customers


class AddressBody(Body):
    """Where invoices are addressed to."""

    line1: Text | None = None
    line2: Text | None = None
    city: Text | None = None
    postcode: Text | None = None
    region: Text | None = None
    country: str | None = Field(None, pattern="^[A-Z]{2}$", description="ISO 3166, two letters.")


class CustomerBody(Body):
    """Who is billed."""

    key: Subject
    name: Text
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["USD"])
    timezone: str = Field("UTC", description="IANA; periods begin and end in it.", examples=["Europe/Berlin"])
    email: str | None = Field(None, max_length=254)
    address: AddressBody | None = None
    aliases: list[Subject] | None = Field(
        None, description="Further subjects of events that mean this customer."
    )


class CustomerPatch(Body):
    """The fields to change."""

    name: Text | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    timezone: str | None = None
    email: str | None = Field(None, max_length=254)
    address: AddressBody | None = None
    aliases: list[Subject] | None = None


class AliasBody(Body):
    """Another subject that means the customer."""

    alias: Subject


class CustomerDocument(CustomerBody):
    """A customer as it stands."""


class CustomerPage(BaseModel):
    """A page of customers, in order of key."""

    items: list[CustomerDocument]
    next_cursor: str | None


# ---- Usage


class UsageGroupDocument(BaseModel):
    """One row: the group, the start of its window, how much and from how many events."""

    group: dict[str, str | None]
    window_start: Instant | None
    quantity: Exact
    events: Count


class UsageDocument(BaseModel):
    """How much of a meter was used in [from, to), from every event that is sealed."""

    model_config = ConfigDict(populate_by_name=True)

    meter: Key
    from_: Instant = Field(alias="from")
    to: Instant
    rows: list[UsageGroupDocument]


# ---- API keys


class ApiKeyBody(Body):
    """What a new API key is called."""

    name: Text = Field(description="Whose key it is, for the list.")


class ApiKeyDocument(BaseModel):
    """A key as it can be seen after it was made: not the key itself."""

    api_key_id: str
    name: str
    created_at: Instant
    revoked_at: Instant | None


class NewApiKeyDocument(ApiKeyDocument):
    """The one answer in which the key can be read. Repeated with its Idempotency-Key, it is null."""

    key: str | None


class ApiKeyPage(BaseModel):
    """A page of API keys, without their secrets."""

    items: list[ApiKeyDocument]
    next_cursor: str | None


# ---- Health


class HealthDocument(BaseModel):
    """Whether this installation can do its work, part by part."""

    status: Literal["ok", "failing"]
    checks: dict[str, str] = Field({}, description="`ok`, or what is wrong, for each thing that was checked.")
