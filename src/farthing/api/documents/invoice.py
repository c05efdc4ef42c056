"""The shapes of invoices and of what is around them, for the OpenAPI description (see `shapes.py`)."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from farthing.api.documents.shapes import (
    AddressBody,
    Body,
    Count,
    Exact,
    Instant,
    Key,
    MeterDocument,
    PriceBody,
    Subject,
    Text,
)
from farthing.api.documents.tax import LineTaxDocument, TaxDocument
from farthing.invoicing.model import Because, LineKind
from farthing.payments.model import PaymentStatus


class BillingRunBody(Body):
    """Up to when periods are billed."""

    until: Instant = Field(description="Periods that end by then are billed.")


class SkippedBill(BaseModel):
    """A period that has no new invoice, and why."""

    model_config = ConfigDict(extra="allow")

    customer: str
    subscription: str
    reason: str


class BillingRunDocument(BaseModel):
    """What a billing run did. The lists are cut at a thousand; all invoices stand in `/v1/invoices`."""

    until: Instant
    issued_count: Count
    issued: list[str]
    skipped_count: Count
    skipped: list[SkippedBill]


class PeriodDocument(BaseModel):
    """Half-open: start is in, end is not."""

    start: Instant
    end: Instant


class ChargeInUnit(BaseModel):
    """The same step in the unit that its price is written in: credits."""

    unit: str
    unit_price: Exact
    amount: Exact


class ChargeDocument(BaseModel):
    """One step of the price: quantity x unit_price = amount."""

    quantity: Exact
    unit_price: Exact
    amount: Exact
    reason: str
    in_unit: ChargeInUnit | None = None


class ShareDocument(BaseModel):
    """How much of another line a line was made of."""

    line: int
    amount: Exact


class CorrectedKind(BaseModel):
    """What a correction is of, where that is not what a rate card charges."""

    kind: str = Field(examples=["coupon"])
    key: Key


class AdjustmentDocument(BaseModel):
    """Of which coupon, commitment, plan or interim invoice a line is, and of which lines it was made."""

    key: Key
    of: list[ShareDocument]
    term: PeriodDocument | None = Field(None, description="Of a commitment.")
    committed: Exact | None = None
    before: Exact | None = Field(None, description="How much of it was used on earlier invoices.")
    since: Instant | None = Field(None, description="Of a correction: from when on events are late.")
    corrected: CorrectedKind | None = Field(
        None, description="Of a correction of what a coupon, commitment or minimum did."
    )


class PlanVersionName(BaseModel):
    """A published version of a plan, by name."""

    key: Key
    name: str
    version: int


class LineDocument(BaseModel):
    """One line. `amount` is rounded, `amount_exact` is not.

    A line of usage or a fee has a rate card; every other kind has an adjustment that says what it is of.
    """

    model_config = ConfigDict(extra="allow")

    line: int
    kind: LineKind | None = Field(None, description="Absent on invoices that were issued before it existed.")
    rate_card: Key | None
    meter: Key | None
    description: str
    dimensions: dict[str, str]
    service_period: PeriodDocument
    quantity: Exact
    amount_exact: Exact
    amount: Exact
    charges: list[ChargeDocument]
    plan: PlanVersionName | None = Field(None, description="Where it is not the invoice's.")
    price: PriceBody | None = Field(None, description="Where it is the customer's own, or an add-on's.")
    fee_period: PeriodDocument | None = Field(None, description="The full period that the fee is a share of.")
    parts: list[PeriodDocument] | None = Field(
        None, description="The times of its usage, where there are gaps."
    )
    unbilled: Literal["paused", "trial"] | None = Field(None, description="Why its usage costs nothing.")
    one_off: str | None = Field(None, description="The key of the one-off charge that it bills.")
    measure: Literal["amount", "seconds"] | None = Field(
        None, description="What the quantity is counted in, if not in things."
    )
    quantities: dict[str, Exact] | None = Field(
        None, description="By meter, where the price counts several; `quantity` is then 1 for the period."
    )
    adjusts: bool | None = Field(
        None, description="Whether the line is what a price adds to all its usage: a minimum, a discount."
    )
    adjustment: AdjustmentDocument | None = None
    subscription: Subject | None = Field(None, description="Whose it is, where that is not the invoice's.")
    taxes: list[LineTaxDocument] | None = Field(
        None, description="Absent where no table of rates was loaded."
    )


class InvoiceSummary(BaseModel):
    """An invoice without its lines."""

    model_config = ConfigDict(extra="allow")

    number: str = Field(examples=["INV-000001"])
    customer: Subject
    subscription: Subject
    status: Literal["issued", "void"]
    reason: Literal["start", "period", "change", "settlement", "interim"]
    currency: str
    period: PeriodDocument
    subtotal: Exact
    tax: Exact
    total_exact: Exact
    total: Exact
    issued_at: Instant


class InterimDocument(BaseModel):
    """Which of its period's interim invoices one is, and why it was issued."""

    sequence: int = Field(ge=1)
    because: Because
    threshold: Exact | None = Field(None, description="What could accrue, where that was reached.")


class InvoiceDocument(InvoiceSummary):
    """An invoice as it was issued. It never changes."""

    paid_from_wallets: Exact | None = Field(None, description="What wallets paid of it; absent: nothing.")
    amount_due: Exact | None = Field(None, description="The total less that; absent: the total.")
    lines: list[LineDocument]
    due_at: Instant
    interim: InterimDocument | None = Field(None, description="Of an interim invoice.")
    prices_include_tax: bool | None = Field(None, description="Whether `subtotal` contains the tax.")
    taxes: list[TaxDocument] | None = Field(None, description="Absent where no table of rates was loaded.")
    voided_at: Instant | None = Field(
        None, description="Beside the document as it was issued, where it is void."
    )
    void_reason: str | None = None


class ListedInvoice(InvoiceSummary):
    """An invoice without its lines, and how far it is paid."""

    payment_status: PaymentStatus
    amount_paid: Exact
    amount_open: Exact
    due_at: Instant


class InvoiceState(StrEnum):
    """Where an invoice stands: not issued yet, issued and holding, void, or open beyond the day it was due."""

    DRAFT = "draft"
    ISSUED = "issued"
    VOID = "void"
    OVERDUE = "overdue"


class DraftDocument(BaseModel):
    """A bill that is due and whose grace is not over, as usage is now."""

    number: None
    draft: str = Field(description="What tells it from other drafts.")
    customer: Subject
    subscription: Subject
    status: Literal["draft"]
    currency: str
    period: PeriodDocument
    subtotal: Exact
    tax: Exact
    total_exact: Exact
    total: Exact
    reason: Literal["start", "period", "change", "settlement"]
    issue_at: Instant = Field(description="When it is issued.")


class InvoicePage(BaseModel):
    """A page of invoices, in order of number; of drafts, in the order in which they became due."""

    items: list[ListedInvoice | DraftDocument]
    next_cursor: str | None


class IssueBody(Body):
    """Whose drafts are issued now: those of a customer, or of a subscription."""

    customer: Subject | None = None
    subscription: Subject | None = None


class IssuedDocument(BaseModel):
    """What was issued, and what was passed over and why."""

    issued_count: Count
    issued: list[str]
    skipped_count: Count
    skipped: list[SkippedBill]


class CountedEvent(BaseModel):
    """One event behind a quantity, and what it contributed."""

    source: str
    id: str
    subject: str
    time: Instant
    value: str


class MeterExplanation(BaseModel):
    """What was billed of one of several meters, what is counted now, and the events behind it."""

    meter: MeterDocument
    quantity_billed: Exact
    quantity_now: Exact
    changed_since: bool
    events_total: Count
    events: list[CountedEvent]


class ExplainedShare(BaseModel):
    """A line that another was made of, and how much of it."""

    share: Exact
    line: LineDocument


class ExplanationDocument(BaseModel):
    """Why a line says what it says: its price, its charges, and the events that are counted for it now.

    A line of a fixed fee has no meter, no quantities and no events; one of several meters has them in `meters`.
    A line that is made of others has no rate card, but what it is of (a coupon, a commitment, the plan's
    minimum, an interim invoice) and those lines.
    """

    invoice: str
    customer: Subject
    subscription: Subject
    currency: str
    line: LineDocument
    plan: PlanVersionName
    taxes: list[TaxDocument] | None = Field(None, description="What the line bears: the taxes it names.")
    rate_card: Key | None = None
    price: PriceBody | None = Field(None, description="None of a one-off charge.")
    coupon: dict[str, Any] | None = None
    commitment: dict[str, Any] | None = None
    minimum: Exact | None = None
    billed_on: str | None = Field(None, description="The interim invoice that a line takes off.")
    carried: Exact | None = Field(None, description="What an interim invoice leaves to the next one.")
    corrects: str | None = Field(None, description="The number of the invoice that late events correct.")
    of: list[ExplainedShare] | None = None
    meter: MeterDocument | None = None
    quantity_billed: Exact | None = None
    quantity_now: Exact | None = None
    changed_since: bool | None = Field(None, description="Events arrived or aliases moved after the issue.")
    events_total: Count | None = None
    events: list[CountedEvent] | None = Field(None, description="The first of them.")
    meters: list[MeterExplanation] | None = None


class SellerBody(Body):
    """The party that invoices come from."""

    name: Text
    address: AddressBody | None = None
    email: Text | None = None
    website: Text | None = None
    tax_id: Text | None = None
    note: Text | None = None
    paper: Literal["a4", "us-letter"] | None = None
    logo_svg: str | None = None
    logo_png: str | None = Field(None, description="In base64.")


class SellerDocument(SellerBody):
    """The seller as it stands."""
