"""The shapes of coupons, commitments, previews and estimates, for the OpenAPI description (see `shapes.py`)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from farthing.api.documents.invoice import ChargeDocument, InvoiceDocument, PeriodDocument, SkippedBill
from farthing.api.documents.shapes import (
    BillingTermsBody,
    Body,
    Count,
    Exact,
    Instant,
    Key,
    Subject,
    Text,
)
from farthing.catalog.coupon import Duration
from farthing.customers.terms.model import CommitmentKind
from farthing.invoicing.model import LineKind
from farthing.kernel.period import Interval

# ---- Billing terms


class BillingTermsDocument(BaseModel):
    """How invoices come about, for the tenant (no customer) or for a customer."""

    customer: Subject | None
    own: BillingTermsBody | None = Field(description="What the customer says itself, if anything.")
    billing_terms: BillingTermsBody = Field(description="What holds.")


# ---- Coupons


class CouponBody(Body):
    """So much off: either `percent`, or an `amount` with its `currency`."""

    key: Key
    name: Text = Field(description="As invoices call it.")
    percent: Exact | None = Field(None, examples=["20"])
    amount: Exact | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    duration: Duration = Field(description="Counted in invoices that it reduced.")
    periods: int | None = Field(None, ge=1, le=1000, description="For `repeating`: how many.")
    rate_cards: list[Key] | None = Field(None, description="What it takes off from; everything, if absent.")
    redeem_by: Instant | None = None
    max_redemptions: int | None = Field(None, ge=1)


class CouponDocument(CouponBody):
    """A coupon as it stands; it never changes."""

    redeemed: Count


class CouponPage(BaseModel):
    """A page of coupons, in order of key."""

    items: list[CouponDocument]
    next_cursor: str | None


class RedemptionBody(Body):
    """Which coupon, and from when on."""

    coupon: Key
    start: Instant | None = Field(
        None, description="Invoices that fall due at or after it are reduced; now, if absent."
    )


class RedemptionDocument(BaseModel):
    """A redeemed coupon, and what it took off issued invoices so far."""

    coupon: Key
    start: Instant
    invoices_reduced: Count
    invoices_left: int | None = Field(description="None: no end.")
    taken_off: Exact


class RedemptionPage(BaseModel):
    """A page of the coupons of a subscription, in the order in which they apply."""

    items: list[RedemptionDocument]
    next_cursor: str | None


# ---- Commitments


class CommitmentBody(Body):
    """An amount to be used in a term: it ends at `end`, or after an interval."""

    key: Key
    name: Text | None = Field(None, description="As invoices call it.")
    kind: CommitmentKind = Field(description="Owed at the end as far as it was not used, or paid up front.")
    amount: Exact
    start: Instant | None = Field(None, description="That of the subscription, if absent.")
    end: Instant | None = None
    interval: Interval | None = None
    interval_count: int = Field(1, ge=1)
    overage_percent: Exact | None = Field(
        None, description="What usage beyond the amount costs, in percent of its ordinary price."
    )
    rollover: bool = Field(False, description="What is left of a prepaid amount goes on being drawn.")
    rate_cards: list[Key] | None = Field(
        None, description="What counts; every rate card with a meter, if absent."
    )


class CommitmentDocument(BaseModel):
    """A commitment as it stands, and how far issued invoices used it."""

    key: Key
    name: Text
    kind: CommitmentKind
    amount: Exact
    start: Instant
    end: Instant
    overage_percent: Exact | None = None
    rollover: bool = False
    rate_cards: list[Key] | None = None
    used: Exact = Field(description="What counted, or was drawn.")
    left: Exact
    overage: Exact = Field(description="What usage beyond it cost more than usual.")
    true_up: Exact | None = None
    lapsed: Exact | None = None


class CommitmentPage(BaseModel):
    """A page of the commitments of a subscription, in order of their terms."""

    items: list[CommitmentDocument]
    next_cursor: str | None


# ---- Looking ahead


class UpcomingInvoice(InvoiceDocument):
    """An invoice as it would be issued."""

    number: None  # type: ignore[assignment]
    status: Literal["due", "draft", "open"]  # type: ignore[assignment]
    issued_at: None  # type: ignore[assignment]
    due_at: None  # type: ignore[assignment]
    issue_at: Instant | None = Field(None, description="Of a draft: when its grace is over.")


class UpcomingInvoices(BaseModel):
    """The next invoices of a customer, and the periods that would have none."""

    items: list[UpcomingInvoice]
    skipped: list[SkippedBill]


class AddedUsage(Body):
    """Usage that has not happened."""

    meter: Key
    quantity: Exact
    dimensions: dict[str, str] = Field({}, description="Of the meter.")
    count: int = Field(1, ge=1, le=10**12, description="How many times: so many events of this quantity.")


class EstimateBody(Body):
    """Usage, and whose price is asked for: a customer's, a subscription's or that of a plan."""

    customer: Subject | None = None
    subscription: Subject | None = None
    plan: Key | None = None
    version: int | None = Field(None, ge=1, description="Of the plan; the latest, if absent.")
    usage: list[AddedUsage] = Field(min_length=1, max_length=1000)


class EstimatedLine(BaseModel):
    """What one line of the next invoice would have more."""

    model_config = ConfigDict(extra="allow")

    subscription: Subject | None
    plan: Key
    kind: LineKind
    rate_card: Key | None
    meter: Key | None
    key: Key | None = Field(None, description="Of the coupon or commitment that the line is of.")
    description: str
    dimensions: dict[str, str]
    service_period: PeriodDocument
    quantity: Exact
    amount_exact: Exact
    charges: list[ChargeDocument]


class EstimateDocument(BaseModel):
    """What the usage adds. `amount` is rounded, `amount_exact` is not."""

    at: Instant
    currency: str
    lines: list[EstimatedLine]
    amount_exact: Exact
    amount: Exact
