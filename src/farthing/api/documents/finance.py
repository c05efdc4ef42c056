"""The shapes of reports and closings, for the OpenAPI description (see `shapes.py`)."""

from typing import Any

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Count, Exact, Instant
from farthing.finance.model import ReportName


class TieDocument(BaseModel):
    """What the report adds up to, and the same from the balances that the ledger keeps."""

    what: str = Field(examples=["receivable"])
    currency: str
    report: Exact
    ledger: Exact
    holds: bool


class ReportDocument(BaseModel):
    """A report. Which keys a row has depends on the report; amounts are decimal strings."""

    report: ReportName
    title: str
    from_: Instant | None = Field(alias="from", description="Null: from the beginning, or as of `to`.")
    to: Instant | None = Field(description="Null: everything that is booked.")
    rows: list[dict[str, Any]]
    ties: list[TieDocument]


class ClosingBody(Body):
    """Up to when the books are closed, and why."""

    until: Instant | None = Field(
        description="Nothing takes effect before it any more. Earlier than last time, or null: they are reopened."
    )
    reason: str = Field(min_length=1, max_length=500, examples=["January is filed"])


class ClosingDocument(BaseModel):
    """A closing, or reopening, of the books. The last one holds."""

    closing_id: int
    closed_until: Instant | None
    reason: str
    closed_at: Instant


class ClosingPage(BaseModel):
    """A page of closings, the last one first."""

    items: list[ClosingDocument]
    next_cursor: str | None


class RecognitionBody(Body):
    """Up to when."""

    until: Instant = Field(description="What was rendered by then is earned.")


class RecognitionDocument(BaseModel):
    """What was recognised."""

    until: Instant
    booked: Count = Field(description="Transfers that were booked now.")
