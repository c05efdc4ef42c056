"""The shapes of events that are found, of their ways, and of corrections."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Count, Exact, Instant, Text


class FoundEventDocument(BaseModel):
    """An event as it was sent, and where it stands."""

    source: str
    id: str
    type: str
    subject: str | None
    customer: str | None = Field(description="The customer that the subject means now.")
    time: Instant
    time_is_receipt: bool = Field(description="Whether it said no time, and has that of its receipt.")
    received_at: Instant
    state: Literal["counted", "voided", "quarantined", "waiting"]
    data: Any = Field(description="Exactly as it was sent.")


class EventPage(BaseModel):
    """A page of events, the newest first."""

    items: list[FoundEventDocument]
    next_cursor: str | None


class AttemptDocument(BaseModel):
    """A time that the event was sent in, as far back as the log is kept."""

    outcome: Literal["counted", "duplicate", "quarantined", "waiting"]
    origin: str = Field(description="By which door: `http`, a file, `correction`, a retry.")
    received_at: Instant
    sealed_at: Instant | None
    log_file: str
    offset: Count


class SetAsideDocument(BaseModel):
    """What stands in quarantine under the same identity, and why."""

    quarantine_id: int
    reason: str
    detail: str
    origin: str
    received_at: Instant
    resolution: Literal["retried", "dropped"] | None


class EventIdentity(BaseModel):
    """Which event: (source, id)."""

    source: str
    id: str


class CorrectionDocument(BaseModel):
    """An event that corrects another one."""

    correction_id: int
    kind: Literal["void", "replace"]
    by: EventIdentity = Field(description="The correcting event: a void, or the replacement.")
    corrects: EventIdentity
    reason: str
    customer: str | None = Field(description="The customer of the event that was corrected.")
    event_type: str | None
    event_time: Instant | None
    received_at: Instant
    in_effect_since: Instant | None = Field(description="None: the event that it corrects has not come.")


class CorrectionPage(BaseModel):
    """A page of corrections, oldest first."""

    items: list[CorrectionDocument]
    next_cursor: str | None


class MeteredDocument(BaseModel):
    """A meter that counts the event, and what it takes from it."""

    meter: str
    value: str = Field(description="A decimal number, or the text that distinct values are counted by.")


class CostDocument(BaseModel):
    """What the event costs by one rate card."""

    rate_card: str
    name: str
    meters: list[str]
    amount_exact: Exact | None = Field(
        description="The difference that it makes in the order of time; none of a price of the total."
    )
    whole_amount_exact: Exact = Field(description="What the card charges for all usage of the period so far.")
    prices_whole_total: bool = Field(
        description="The price is of the total, and an event has none of its own."
    )
    not_billed: str | None = Field(description="Why it costs nothing: paused, or trial.")


class EventInvoice(BaseModel):
    """The invoice of the period."""

    number: str
    issued_at: Instant
    came_later: bool = Field(description="The event was received after the invoice was issued.")


class EventBill(BaseModel):
    """A bill that the event is on, issued or not."""

    subscription: str
    plan: dict[str, Any]
    period: dict[str, Instant]
    status: Literal["issued", "due", "open"]
    invoice: EventInvoice | None
    currency: str
    rate_cards: list[CostDocument]


class EventTrace(FoundEventDocument):
    """The whole way of an event."""

    received: list[AttemptDocument]
    quarantined: list[SetAsideDocument]
    corrections: list[CorrectionDocument]
    meters: list[MeteredDocument]
    bills: list[EventBill]
    unbilled: str | None = Field(description="Why nobody is billed for it, if nobody is.")
    segments_read: Count


class CorrectionBody(Body):
    """An event that shall not count, or another one in its place."""

    source: Text
    id: Text
    reason: str = Field("", max_length=256)
    replacement: dict[str, Any] | None = Field(
        None,
        description="The event that counts in its place; type, subject and time are as they were unless it says them. "
        "Absent: nothing counts in its place.",
    )


class CorrectionAccepted(BaseModel):
    """The correction is on disk, and takes effect when it is sealed, in a moment."""

    status: Literal["accepted"]
    kind: Literal["void", "replace"]
    by: EventIdentity
    corrects: EventIdentity


Cause = Literal["unknown_subject", "unknown_type", "filtered_out", "no_subscription", "no_rate_card"]


class UnbilledGroup(BaseModel):
    """Unbilled events of one type and subject, and what keeps them off a bill."""

    cause: Cause
    type: str
    subject: str | None
    customer: str | None
    events: Count
    first: Instant
    last: Instant
    samples: list[EventIdentity]


class WouldMake(BaseModel):
    """What a customer's events from times without a subscription would make."""

    customer: str
    plan: dict[str, Any] = Field(description="The plan that it has now, or had last.")
    currency: str
    amount_exact: Exact


class UnbilledDocument(BaseModel):
    """Accepted events that nobody is billed for. They are kept."""

    events: Count
    by_cause: dict[str, int]
    groups: list[UnbilledGroup] = Field(description="The largest.")
    groups_total: Count
    would_make: list[WouldMake]


class LaterEvent(BaseModel):
    """An event that makes a difference to a period after it was billed."""

    effect: Literal["came", "voided"]
    source: str
    id: str
    type: str
    subject: str
    time: Instant
    known_at: Instant = Field(description="When it was received, or voided.")


class LaterEventsDocument(BaseModel):
    """What came to the period of an invoice after it was issued. The invoice stands as it was issued."""

    invoice: str
    customer: str
    period: dict[str, Instant]
    issued_at: Instant
    events: list[LaterEvent]
    more: bool
