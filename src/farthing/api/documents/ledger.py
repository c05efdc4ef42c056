"""The shapes of the ledger, for the OpenAPI description (see `shapes.py`)."""

from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Count, Exact, Instant
from farthing.ledger.chart import Code, Kind
from farthing.ledger.model import TransferKind


class LedgerAccountDocument(BaseModel):
    """An account. The balance is in the account's own sense: above zero for what it usually holds."""

    account_id: int
    code: Code
    kind: Kind
    customer: str | None = Field(description="Whose; null for the seller's own accounts.")
    currency: str
    balance: Exact
    entries: Count = Field(description="The balance is the sum of so many entries.")


class LedgerAccountPage(BaseModel):
    """A page of accounts, in the order of their making."""

    items: list[LedgerAccountDocument]
    next_cursor: str | None


class LedgerEntryDocument(BaseModel):
    """One side of a transfer, with the transfer."""

    entry: str = Field(examples=["1041.2"], description="Transfer and place in it.")
    account_id: int
    code: Code
    customer: str | None
    side: Literal["debit", "credit"]
    amount: Exact
    currency: str
    transfer: str = Field(examples=["invoice:INV-000001"], description="The key of the transfer.")
    kind: TransferKind
    reference: str
    corrects: str | None = Field(description="The key of an earlier transfer that this one corrects.")
    effective_at: Instant = Field(description="When it happened.")
    booked_at: Instant = Field(description="When the ledger learnt of it.")


class LedgerEntryPage(BaseModel):
    """A page of entries, in the order of booking."""

    items: list[LedgerEntryDocument]
    next_cursor: str | None


class TrialBalanceRowDocument(BaseModel):
    """All accounts of one code and currency; one of the two amounts is zero."""

    code: Code
    kind: Kind
    currency: str
    debit: Exact
    credit: Exact


class TrialBalanceTotalDocument(BaseModel):
    """Both sides of one currency, which are equal."""

    currency: str
    debit: Exact
    credit: Exact


class TrialBalanceDocument(BaseModel):
    """Everything the ledger holds, up to a moment where one was asked for."""

    as_of: Instant | None
    booked_by: Instant | None
    rows: list[TrialBalanceRowDocument]
    totals: list[TrialBalanceTotalDocument]
