"""The shapes of wallets, grants and top-ups, for the OpenAPI description (see `shapes.py`)."""

from typing import Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Count, Exact, Instant, Key, Subject, Text
from farthing.kernel.period import Interval

Priority = Field(100, ge=0, le=1000, description="The lower, the earlier it is drawn on.")


class AutoTopUpBody(Body):
    """When a wallet asks for money by itself."""

    below: Exact = Field(description="As soon as less than this can be drawn.")
    amount: Exact
    cooldown_seconds: int = Field(3600, ge=0, description="How long after one request no other is made.")
    monthly_maximum: Exact | None = Field(None, description="At most so much in a calendar month (UTC).")
    collected_by: Literal["payment", "hand"] = Field(
        "payment", description="By the method that the customer left, or by somebody who settles it."
    )


class WalletBody(Body):
    """A container of grants of one customer."""

    key: Subject
    customer: Subject
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="Of a wallet of money.")
    unit: Key | None = Field(None, description="Of a wallet of units: the meter whose quantity it holds.")
    name: Text | None = None
    priority: int = Priority
    low_balance: Exact | None = Field(None, description="At or below it, the balance is announced as low.")
    top_up: AutoTopUpBody | None = None


class WalletPatch(Body):
    """What may change of a wallet; null clears a field."""

    name: Text | None = None
    priority: int = Priority
    low_balance: Exact | None = None
    top_up: AutoTopUpBody | None = None


class BalanceDocument(BaseModel):
    """What the grants of a wallet hold now."""

    available: Exact = Field(description="Can be drawn or held now.")
    available_paid: Exact = Field(description="Of that, what was paid for.")
    held: Exact = Field(description="Set aside by open authorisations.")
    settled: Exact = Field(description="Of settled authorisations whose events are not sealed yet.")
    scheduled: Exact = Field(description="In grants that take effect later.")


class WalletDocument(WalletBody):
    """A wallet as it stands."""

    name: Text
    balance_state: Literal["funded", "low", "exhausted"]
    balance: BalanceDocument
    created_at: Instant


class WalletPage(BaseModel):
    """A page of wallets, in order of key."""

    items: list[WalletDocument]
    next_cursor: str | None


class EveryBody(Body):
    """That a grant comes again in each period."""

    interval: Interval
    interval_count: int = Field(1, ge=1)
    end: Instant | None = Field(None, description="No grant for periods that begin then or later.")
    expires: bool = Field(True, description="Whether each grant ends with its period.")
    rollover_percent: Exact | None = Field(None, description="How much of what is left goes into the next.")
    rollover_maximum: Exact | None = None


class GrantBody(Body):
    """Funds for a wallet. `key` names the grant for good: sent again, it is the same grant."""

    key: Subject
    kind: Literal["paid", "promotional"]
    amount: Exact
    unit_price: Exact | None = Field(
        None, description="Of units that are paid for: for one, in the customer's currency."
    )
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="The wallet's; another is refused.")
    priority: int = Priority
    meters: list[Key] | None = Field(None, description="It pays for usage of these meters only.")
    rate_cards: list[Key] | None = Field(None, description="Or of these rate cards.")
    effective_at: Instant | None = Field(None, description="Now, if absent.")
    expires_at: Instant | None = None
    reference: Text | None = None
    every: EveryBody | None = None


class GrantDocument(BaseModel):
    """A grant and what became of it: amount = drawn + held + settled + expired + left."""

    key: Subject
    wallet: Subject
    kind: Literal["paid", "promotional"]
    amount: Exact
    unit_price: Exact | None
    priority: Count
    meters: list[Key]
    rate_cards: list[Key]
    effective_at: Instant
    expires_at: Instant | None
    reference: str
    recurring: Subject | None
    rolled_from: Subject | None
    created_at: Instant
    drawn: Exact
    held: Exact
    settled: Exact
    expired: Exact
    left: Exact


class GrantPage(BaseModel):
    """A page of grants, in the order of their making."""

    items: list[GrantDocument]
    next_cursor: str | None


class RecurringGrantDocument(BaseModel):
    """The promise of a grant in each period."""

    key: Subject
    wallet: Subject
    kind: Literal["paid", "promotional"]
    amount: Exact
    unit_price: Exact | None
    priority: Count
    meters: list[Key]
    rate_cards: list[Key]
    effective_at: Instant
    every: EveryBody
    next_start: Instant = Field(description="The first period without its grant.")


class RecurringGrantPage(BaseModel):
    """A page of what is promised to a wallet."""

    items: list[RecurringGrantDocument]
    next_cursor: str | None


class VoidBody(Body):
    """Why, for people."""

    note: str = Field("", max_length=256)


class VoidedDocument(GrantDocument):
    """The grant, and how much of it was called off by this request."""

    voided: Exact


class MovementDocument(BaseModel):
    """Something that moved in a wallet, as the wallet sees it: above zero it has more."""

    at: Instant
    movement: Literal["granted", "drawn", "expired", "voided", "rolled_over"]
    grant: Subject
    amount: Exact
    because: str
    subscription: Subject | None = None
    period_start: Instant | None = None
    rate_card: Key | None = None


class HistoryPage(BaseModel):
    """A page of movements, the latest first."""

    items: list[MovementDocument]
    next_cursor: str | None


class TopUpBody(Body):
    """Money to be collected for a wallet."""

    key: Subject
    amount: Exact
    collected_by: Literal["payment", "hand"] = Field(
        "hand",
        description="payment: the engine charges the method that the customer left, at once and once.",
    )


class TopUpSettlement(Body):
    """What came of the money."""

    status: Literal["funded", "failed"]
    reference: Text | None = Field(None, description="Of the payment, or why there is none.")


class TopUpDocument(BaseModel):
    """A top-up; once it is funded, `grant` is what it became."""

    number: Count
    key: Subject
    wallet: Subject
    customer: Subject
    amount: Exact
    currency: str
    automatic: bool
    collected_by: Literal["payment", "hand"]
    status: Literal["requested", "collecting", "funded", "failed"]
    requested_at: Instant
    settled_at: Instant | None
    grant: Subject | None
    failure: str | None


class TopUpPage(BaseModel):
    """A page of top-ups, in the order of their requests."""

    items: list[TopUpDocument]
    next_cursor: str | None
