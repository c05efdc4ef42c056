"""The one port to those who move money.

Every call may be lost on its way there or on its way back, so every call can be repeated: `create` by the key of
the payment, `capture` by the key of the attempt, `refund` by the key of the refund. A gateway that cannot say what it
did raises `OutcomeUnknown`; what became of it is then found out by `status`, and if the gateway has never heard of it,
by the same call under the same key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class OutcomeUnknown(Exception):
    """The call may have done its work or not: no answer, or one that says nothing."""


class Refused(Exception):
    """The gateway will not do it, and says so for certain: nothing has moved. `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Result(StrEnum):
    """What a gateway says about a payment or a refund."""

    SUCCEEDED = "succeeded"
    PROCESSING = "processing"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    NOT_FOUND = "not_found"
    """It has never heard of this attempt."""


FINAL_DECLINES = frozenset(
    {
        "lost_card",
        "stolen_card",
        "pickup_card",
        "fraudulent",
        "expired_card",
        "invalid_account",
        "method_removed",
    }
)
"""Declines that another try does not mend: the customer has to give another method."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt to take money. Amounts are exact, at the currency's minor unit."""

    payment_key: str
    attempt: int
    amount: Decimal
    currency: str
    method: str
    customer: str
    description: str
    provider_id: str | None

    @property
    def attempt_key(self) -> str:
        """What the gateway knows this attempt by: the same call under the same key is one call."""
        return f"{self.payment_key}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. fee: what the gateway keeps, if it says so; code: why it was declined."""

    result: Result
    provider_id: str | None = None
    amount: Decimal | None = None
    fee: Decimal = Decimal(0)
    code: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to be given back of one payment."""

    refund_key: str
    provider_id: str
    amount: Decimal
    currency: str
    refund_id: str | None = None


class EventKind(StrEnum):
    """What gateways tell by themselves, in our words."""

    SUCCEEDED = "payment.succeeded"
    FAILED = "payment.failed"
    PROCESSING = "payment.processing"
    REFUNDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    DISPUTED = "dispute.opened"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One thing that a gateway told, verified.

    subject: its name for the payment; object_id: its name for the refund or the dispute.
    """

    event_id: str
    kind: EventKind
    subject: str
    occurred_at: datetime
    amount: Decimal | None = None
    currency: str | None = None
    fee: Decimal = Decimal(0)
    code: str | None = None
    object_id: str | None = None
    respond_by: datetime | None = None
    payment_key: str | None = None


class MovementKind(StrEnum):
    """How money moved at a gateway."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    FEE = "fee"
    """Of a payment."""
    DISPUTE_FEE = "dispute_fee"
    PROVIDER_FEE = "provider_fee"
    """Of the gateway's service, for no payment of its own."""
    PAYOUT_RETURNED = "payout_returned"
    """A payout failed, and its money is at the gateway again."""
    OTHER_IN = "other_in"
    OTHER_OUT = "other_out"


INCOMING = frozenset({MovementKind.PAYMENT, MovementKind.PAYOUT_RETURNED, MovementKind.OTHER_IN})
"""Kinds that add to what a gateway holds; the others take from it."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of money as the gateway's own books have it: amounts above zero, `kind` says which way."""

    movement_id: str
    kind: MovementKind
    provider_id: str
    amount: Decimal
    currency: str
    at: datetime

    @property
    def signed(self) -> Decimal:
        """What it adds to what the gateway holds."""
        return self.amount if self.kind in INCOMING else self.amount.copy_negate()


class PayoutState(StrEnum):
    """Where a payout stands, by the gateway's word. That it arrived is the bank's to say."""

    IN_TRANSIT = "in_transit"
    PAID = "paid"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProviderPayout:
    """A transfer that sums movements, from the gateway to the seller's bank; below zero from the bank to the gateway.

    arrives_on: the day on which it is expected there. reference: what the bank's statement says of it; may be empty.
    listed: whether the gateway can tell which movements it sums.
    """

    name: str
    amount: Decimal
    currency: str
    state: PayoutState
    made_at: datetime
    arrives_on: date
    reference: str = ""
    listed: bool = True


@dataclass(frozen=True, slots=True)
class EvidenceOrder:
    """An answer to a dispute. evidence_key: names the answer, for ever; content: what is told, by field.

    The fields are those that payers' banks ask for: `customer_name`, `billing_address`, `product_description`,
    `service_date`, `access_activity_log`, `uncategorized_text`.
    """

    evidence_key: str
    dispute: str
    content: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredMethod:
    """A payment method as the gateway has it."""

    reference: str
    kind: str
    label: str


class Gateway(Protocol):
    """Somebody who moves money.

    Every call may raise `OutcomeUnknown`; what a gateway refuses for certain is `Refused`. Anything else that an
    adapter raises is taken for an unknown outcome.
    """

    @property
    def name(self) -> str:
        """`stripe`; what payments and settings call it."""

    def create(self, charge: Charge) -> str:
        """Make the payment known, moving nothing; again under the same payment key: the same. The gateway's name."""

    def capture(self, charge: Charge) -> Outcome:
        """Take the money, once for each attempt key and once for each payment."""

    def status(self, charge: Charge) -> Outcome:
        """What became of this attempt. Moves nothing."""

    def refund(self, order: RefundOrder) -> Outcome:
        """Give money back, once for each refund key."""

    def refund_status(self, order: RefundOrder) -> Outcome:
        """What became of a refund. Moves nothing."""

    def store_method(self, customer: str, reference: str) -> StoredMethod:
        """Look a payment method up that the payer's browser left at the gateway. Raises `InvalidInput`."""

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[ProviderEvent]:
        """What a message says, once it is certain who sent it and that it is fresh. Raises `Unauthorized`."""

    def movements(self, start: datetime, end: datetime) -> Iterator[Movement]:
        """Every movement in [start, end) but the payouts themselves: they add up to what the gateway holds."""

    def payouts(self, start: datetime, end: datetime) -> Iterator[ProviderPayout]:
        """The payouts that were made in [start, end), as they stand now."""

    def paid_out(self, payout: str) -> Iterator[Movement]:
        """The movements that a payout sums."""

    def submit_evidence(self, order: EvidenceOrder) -> Outcome:
        """Answer a dispute, once for each evidence key. Raises `Refused` where it takes no answer any more."""

    def evidence_status(self, order: EvidenceOrder) -> Outcome:
        """Whether this answer is there: `succeeded` or `not_found`. Moves nothing."""
