"""The shapes of credit notes and voids, for the OpenAPI description (see `shapes.py`)."""

from pydantic import BaseModel, ConfigDict, Field

from farthing.api.documents.shapes import Body, Exact, Instant, Subject, Text
from farthing.api.documents.tax import TaxDocument


class CreditLineBody(Body):
    """A line to give back: a quantity, an amount as the line shows it, or (neither) what is left of it."""

    line: int = Field(ge=1, description="Its number on the invoice.")
    quantity: Exact | None = None
    amount: Exact | None = None


class CreditNoteBody(Body):
    """What to give back of an invoice: an amount with tax, some lines, or (neither) all that is left."""

    key: Subject = Field(description="Yours: the same credit note asked for twice is one.")
    invoice: Text = Field(examples=["INV-000001"])
    reason: Text = Field(description="It stands on the credit note.")
    amount: Exact | None = None
    lines: list[CreditLineBody] | None = None
    refund: bool = Field(False, description="To be paid back; else it stands to the customer's credit.")


class CreditNoteSummary(BaseModel):
    """A credit note without its lines."""

    model_config = ConfigDict(extra="allow")

    number: str = Field(examples=["CN-000001"])
    invoice: str
    customer: Subject
    reason: str
    currency: str
    subtotal: Exact
    tax: Exact
    total: Exact
    refund: bool
    issued_at: Instant


class CreditedLineDocument(BaseModel):
    """What is given back of a line of the invoice (`of`)."""

    model_config = ConfigDict(extra="allow")

    line: int
    of: int
    description: str
    quantity: Exact | None = Field(description="None where it is given back by amount.")
    amount: Exact
    tax: Exact = Field(description="On the amount, or in it where prices include tax.")


class CreditNoteDocument(CreditNoteSummary):
    """A credit note as it was issued. It never changes."""

    lines: list[CreditedLineDocument]
    to_wallets: Exact | None = Field(
        None, description="What of it goes back to wallets, as grants of its own."
    )
    taxes: list[TaxDocument] | None = Field(None, description="At the invoice's own rates.")


class CreditNotePage(BaseModel):
    """A page of credit notes, in order of number."""

    items: list[CreditNoteSummary]
    next_cursor: str | None


class InvoiceVoidBody(Body):
    """Why an invoice is taken back."""

    reason: Text


class VoidDocument(BaseModel):
    """An invoice that no longer holds."""

    invoice: str
    status: str = Field(examples=["void"])
    void_reason: str
    voided_at: Instant
