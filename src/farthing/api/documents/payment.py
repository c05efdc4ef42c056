"""The shapes of payments and of what is around them, for the OpenAPI description (see `shapes.py`)."""

from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Count, Exact, Instant, Subject, Text
from farthing.payments.answering.content import EVENTS_DEFAULT, EVENTS_MAX, NOTE_CHARACTERS_MAX
from farthing.payments.model import (
    DisputeKind,
    DisputeState,
    PaymentStatus,
    Purpose,
    RefundState,
    State,
)

PaymentKey = Text


class MandateBody(Body):
    """The payer's word that money may be drawn from its account."""

    iban: str
    bic: str | None = None
    holder: Text
    mandate_id: str = Field(max_length=35)
    signed_on: str = Field(json_schema_extra={"format": "date"})


class PaymentMethodBody(Body):
    """How a customer pays by itself. No card number is ever sent here: `reference` is the gateway's name for it."""

    key: PaymentKey
    customer: Subject
    gateway: Text = Field(examples=["stripe"])
    reference: Text | None = None
    mandate: MandateBody | None = Field(None, description="Of the gateway `sepa`.")
    default: bool = Field(True, description="Whether it is the one that is used from now on.")


class MandateDocument(BaseModel):
    """Which mandate, and since when."""

    mandate_id: str
    signed_on: str


class PaymentMethodDocument(BaseModel):
    """A payment method as it stands."""

    key: PaymentKey
    customer: Subject
    gateway: str
    kind: Literal["card", "sepa_debit", "other"]
    label: str
    default: bool
    created_at: Instant
    removed_at: Instant | None
    mandate: MandateDocument | None = None


class PaymentMethodPage(BaseModel):
    """A page of payment methods, in the order of their keys."""

    items: list[PaymentMethodDocument]
    next_cursor: str | None


class PaymentBody(Body):
    """Money that came in (`customer`, `amount`, `currency`, `paid_at`), or, with `method`, a charge to be made."""

    key: PaymentKey
    customer: Subject | None = None
    amount: Exact | None = Field(None, description="Of a charge: what is open of the invoice, if left out.")
    currency: str | None = None
    paid_at: Instant | None = None
    invoice: str | None = Field(None, examples=["INV-000001"], description="Absent: what is oldest.")
    reference: Text | None = Field(None, description="For people: the bank's line, a cheque's number.")
    method: Text | None = Field(None, description="Charge this payment method. The engine sends it.")


class PaymentDocument(BaseModel):
    """A payment as it stands: once it succeeded, amount = allocated + refunded + charged_back + credit.

    Of a top-up nothing is allocated or stands to the customer's credit: it is in a grant.
    """

    key: PaymentKey
    customer: Subject
    state: State
    amount: Exact
    currency: str
    purpose: Purpose
    invoice: str | None
    top_up: str | None = Field(description="The key of the top-up that it is for.")
    gateway: str
    method: str | None
    reference: str
    provider_id: str | None
    failure: str | None = Field(description="Why it was declined last.")
    attempts: Count
    requested_at: Instant
    next_attempt_at: Instant | None
    paid_at: Instant | None
    fee: Exact
    allocated: Exact
    refunded: Exact
    charged_back: Exact
    credit: Exact


class PaymentMove(BaseModel):
    """One move of a payment."""

    from_state: State | None = Field(alias="from")
    to_state: State = Field(alias="to")
    cause: str
    at: Instant


class PaymentTry(BaseModel):
    """One attempt to take the money."""

    attempt: Count
    sent_at: Instant
    outcome: Literal["open", "succeeded", "failed"]
    code: str | None


class PaymentAllocation(BaseModel):
    """What a payment paid of an invoice; below zero: what was taken back."""

    invoice: str
    amount: Exact
    cause: str
    at: Instant


class PaymentGrant(BaseModel):
    """What a payment of a top-up put into a grant; below zero: what was taken out again."""

    grant: Subject
    wallet: Subject
    amount: Exact
    cause: str
    at: Instant


class PaymentDetailDocument(PaymentDocument):
    """A payment with all that happened to it, in order."""

    history: list[PaymentMove]
    tries: list[PaymentTry]
    allocations: list[PaymentAllocation]
    grants: list[PaymentGrant]


class PaymentPage(BaseModel):
    """A page of payments, in the order of their making."""

    items: list[PaymentDocument]
    next_cursor: str | None


class InvoicePaymentDocument(BaseModel):
    """How far an invoice is paid. The invoice itself never changes by being paid."""

    invoice: str
    payment_status: PaymentStatus
    amount_paid: Exact
    amount_from_credit: Exact | None = Field(
        None, description="The part of `amount_paid` that credit paid which no payment had brought."
    )
    amount_open: Exact
    due_at: Instant


class WriteOffBody(Body):
    """Why it will not be paid."""

    reason: Text


class RefundBody(Body):
    """Money to be given back."""

    key: PaymentKey
    payment: PaymentKey
    amount: Exact | None = Field(None, description="All that is left of the payment, if left out.")
    reason: Text | None = None


class RefundDocument(BaseModel):
    """A refund as it stands."""

    key: PaymentKey
    payment: PaymentKey
    amount: Exact
    currency: str
    reason: str
    state: RefundState
    failure: str | None
    requested_at: Instant
    moved_at: Instant


class RefundPage(BaseModel):
    """A page of refunds, in the order of their making."""

    items: list[RefundDocument]
    next_cursor: str | None


class DisputeDocument(BaseModel):
    """Money that a payer's bank took back."""

    key: PaymentKey
    payment: PaymentKey
    customer: Subject
    kind: DisputeKind
    reason: str
    amount: Exact
    fee: Exact
    currency: str
    state: DisputeState
    opened_at: Instant
    respond_by: Instant | None


class DisputePage(BaseModel):
    """A page of disputes, in the order of their opening."""

    items: list[DisputeDocument]
    next_cursor: str | None


class DisputeBody(Body):
    """What became of it."""

    state: Literal["under_review", "won", "lost"]


class EvidenceInvoice(BaseModel):
    """An invoice that the disputed payment paid, its lines, and the first events behind them."""

    number: str
    issued_at: Instant
    total: Exact
    lines: list[dict[str, object]]


class EvidenceDocument(BaseModel):
    """What is known about a disputed payment, for the answer to the bank."""

    dispute: DisputeDocument
    payment: PaymentDetailDocument
    invoices: list[EvidenceInvoice]


class AnswerBody(Body):
    """What is told beside the evidence, and how much of it."""

    note: str | None = Field(None, max_length=NOTE_CHARACTERS_MAX, examples=["They wrote to us on 3 March."])
    events: int = Field(EVENTS_DEFAULT, ge=1, le=EVENTS_MAX, description="Events told of each line, at most.")


class AnswerDocument(BaseModel):
    """An answer to a dispute, and what became of it."""

    dispute: str
    state: Literal["written", "sent", "accepted", "refused"] = Field(
        description="`sent`: what became of it is not known yet. After `refused`, another one may be written."
    )
    content: dict[str, str] = Field(description="What is told, by the fields that payers' banks read.")
    written_at: Instant
    code: str | None = Field(description="Why the gateway refused it.")
    settled_at: Instant | None


class DunningPolicyBody(Body):
    """How those who do not pay are treated. Days count from the day an invoice was due; retries, from the decline."""

    retry_after_days: list[Count] = Field(default_factory=lambda: [1, 3, 5, 7])
    remind_after_days: list[Count] = Field(default_factory=lambda: [1, 7, 14])
    suspend_after_days: Count | None = Field(None, description="Absent: nobody is suspended.")
    write_off_after_days: Count | None = Field(None, description="Absent: people decide.")


class DunningPolicyDocument(DunningPolicyBody):
    """The policy in force."""


class ReconciledTotal(BaseModel):
    """What moved of one kind, by the gateway's books and by ours."""

    kind: Literal["payment", "refund", "dispute", "fee"]
    currency: str
    theirs: Exact
    ours: Exact


class ReconciledDifference(BaseModel):
    """Something that only one side says, or that the two say differently."""

    reason: Literal["unknown_here", "unknown_there", "amount_differs", "moved_twice"]
    kind: Literal["payment", "refund", "dispute", "fee"]
    provider_id: str
    key: str | None
    theirs: Exact | None
    ours: Exact | None
    currency: str


class ReconciliationDocument(BaseModel):
    """The books of a gateway against ours, both ways."""

    gateway: str
    matched: Count
    totals: list[ReconciledTotal]
    differences: list[ReconciledDifference]


class WebhookDocument(BaseModel):
    """How many events of the message had which effect."""

    applied: Count
    nothing_new: Count
    unmatched: Count
    ignored: Count
