"""The shapes of customers' credit and of corrections given back at once, for the OpenAPI description."""

from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.event import LaterEvent
from farthing.api.documents.shapes import Body, Exact, Instant, Subject

CreditSource = Literal["payment", "invoice", "credit_note", "grant"]


class CreditLeft(BaseModel):
    """What is left of one thing that stands to the customer's credit."""

    source: CreditSource
    reference: str = Field(
        description="The payment's key, the document's number, or the grant that was called off."
    )
    amount: Exact
    left: Exact
    since: Instant


class CustomerBalance(BaseModel):
    """How a customer stands in one currency: balance = open - credit - refunds_under_way + owed_for_grants."""

    customer: Subject
    currency: str
    open: Exact = Field(description="Of its invoices.")
    credit: Exact
    refunds_under_way: Exact
    owed_for_grants: Exact = Field(description="Paid grants, less the top-ups that paid for some.")
    balance: Exact = Field(
        description="What it owes in all, as the ledger has it; below zero: what it is owed."
    )
    credits: list[CreditLeft] = Field(description="In the order that they pay in; the first hundred.")


class CustomerBalanceDocument(BaseModel):
    """How a customer stands, in each currency."""

    customer: Subject
    balances: list[CustomerBalance]


class CreditPaid(BaseModel):
    """How much a credit paid of an invoice."""

    invoice: str
    amount: Exact


class CreditDocument(BaseModel):
    """Credit that no payment brought, and what it paid."""

    customer: Subject
    currency: str
    source: CreditSource
    reference: str
    amount: Exact
    left: Exact
    taken_back: Exact = Field(description="Its invoice was voided.")
    since: Instant
    paid: list[CreditPaid]


class CreditPage(BaseModel):
    """A page of credits, in the order that they arose."""

    items: list[CreditDocument]
    next_cursor: str | None


class CorrectionPolicyBody(Body):
    """What becomes of a correction below zero."""

    below_zero: Literal["next_invoice", "credit_note"]


class CorrectionPolicyDocument(BaseModel):
    """What becomes of a correction below zero: it lowers the next invoice, or a credit note gives it back at once."""

    below_zero: Literal["next_invoice", "credit_note"]


class CorrectedDocument(BaseModel):
    """The credit notes that give back what is below zero of the corrections of an invoice."""

    invoice: str
    credit_notes: list[str] = Field(description="None where nothing is to be given back.")


class CorrectionEventsDocument(BaseModel):
    """The events behind a credit note that corrects an invoice."""

    credit_note: str
    invoice: str
    since: Instant = Field(description="From when on events are late.")
    events: list[LaterEvent]
    more: bool
