"""The shapes of payouts, for the OpenAPI description (see `shapes.py`)."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Exact, Instant
from farthing.payments.gateway import MovementKind


class PayoutDocument(BaseModel):
    """A transfer from a gateway to the seller's bank; below zero it goes the other way."""

    gateway: str = Field(examples=["stripe"])
    payout: str = Field(description="The gateway's name for it.", examples=["po_1Nx"])
    amount: Exact
    listed: Exact = Field(description="What the movements that are known to be in it add up to.")
    currency: str
    state: Literal["in_transit", "paid", "arrived", "failed"] = Field(
        description="`paid` is the gateway's word, `arrived` the bank's."
    )
    made_at: Instant
    arrives_on: date
    arrived_at: Instant | None
    bank_entry: int | None = Field(description="The entry of a statement that brought it.")
    reference: str = Field(
        description="What the bank's statement says of it, as the gateway knows; may be empty."
    )


class PayoutPage(BaseModel):
    """A page of payouts, in the order in which they were learnt of."""

    items: list[PayoutDocument]
    next_cursor: str | None


class MovementDocument(BaseModel):
    """How money moved at a gateway, by the gateway's books."""

    movement: str = Field(description="The gateway's name for it.")
    kind: MovementKind
    provider_id: str = Field(description="The gateway's name for what moved.")
    key: str | None = Field(
        description="The payment, refund or dispute that it is here; null: nothing here is it."
    )
    amount: Exact = Field(description="Below zero: it left the gateway's balance.")
    currency: str
    moved_at: Instant


class MovementPage(BaseModel):
    """A page of movements, in the order of kind and name."""

    items: list[MovementDocument]
    next_cursor: str | None


class ArrivalBody(Body):
    """When a payout was at the bank."""

    arrived_at: Instant
