"""The shapes of accrued spend and of terms of collection, for the OpenAPI description (see `shapes.py`)."""

from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.invoice import PeriodDocument
from farthing.api.documents.shapes import CollectionBody, Exact, Instant, Key, Subject
from farthing.invoicing.accrued.model import Held


class CollectionDocument(BaseModel):
    """When a subscription is charged, and whether it says so itself or its plan does."""

    subscription: Subject
    source: Literal["subscription", "plan"]
    collection: CollectionBody


class AccruedDocument(BaseModel):
    """What the open period of a subscription comes to by its usage so far."""

    customer: Subject
    subscription: Subject
    plan: Key
    currency: str
    period: PeriodDocument
    at: Instant = Field(description="Usage before it is counted.")
    accrued: Exact = Field(
        description="Exactly; fees, coupons and commitments come at the end of the period."
    )
    billed: Exact = Field(description="By interim invoices of the period.")
    unbilled: Exact
    invoices: list[str] = Field(description="Those interim invoices.")
    collection: CollectionBody
    threshold: Exact | None = Field(description="How much may stand unbilled; none where nothing bounds it.")
    charge_by: Instant | None = Field(description="When what stands unbilled is charged at the latest.")
    held: Held | None = Field(description="Why it is not charged before its period ends.")


class AccruedPage(BaseModel):
    """A page of accrued spend, in order of subscription."""

    items: list[AccruedDocument]
    next_cursor: str | None
