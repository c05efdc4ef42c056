"""The nouns of the room. Pure values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

MANUAL = "manual"
"""The gateway of money that came by itself: cash, a transfer, a cheque. Nobody is called."""
BANK = "bank"
"""The gateway of transfers that a bank statement told of."""
SEPA = "sepa"
"""The gateway of direct debits: files for the bank, and its statements."""


BY_HAND = frozenset({MANUAL, BANK, SEPA})
"""Gateways whose money is at the bank at once: nobody holds it, and nobody can be asked to give it back."""


class State(StrEnum):
    """Where a payment stands."""

    REQUESTED = "requested"
    """Written; no call is under way. It is sent at `next_attempt_at`."""
    SENT = "sent"
    """A gateway was called, and what it did is not known here yet."""
    PROCESSING = "processing"
    """The gateway took it on; the money is on its way."""
    ACTION_REQUIRED = "action_required"
    """The payer has to do something: to prove who it is."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Declined, and it is not tried again."""
    CANCELLED = "cancelled"
    """Called off: its invoice was paid otherwise before any call was under way, or the payer of a top-up did not
    prove in time who it is."""


EDGES: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.SENT, State.CANCELLED, State.SUCCEEDED}),
    State.SENT: frozenset(
        {State.PROCESSING, State.ACTION_REQUIRED, State.REQUESTED, State.FAILED, State.SUCCEEDED}
    ),
    State.PROCESSING: frozenset({State.ACTION_REQUIRED, State.REQUESTED, State.FAILED, State.SUCCEEDED}),
    State.ACTION_REQUIRED: frozenset(
        {State.PROCESSING, State.REQUESTED, State.FAILED, State.CANCELLED, State.SUCCEEDED}
    ),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.SUCCEEDED}),
    State.CANCELLED: frozenset({State.SUCCEEDED}),
}
"""How payments move. Whatever was thought before, money that came in has come in; and it never un-comes:
what a bank takes back later is a dispute."""


class Purpose(StrEnum):
    """What a payment is for."""

    INVOICE = "invoice"
    ACCOUNT = "account"
    """For whatever the customer owes, oldest first; the rest stands to its credit."""
    TOP_UP = "top_up"
    """For a grant in a wallet."""
    WON_DISPUTE = "won_dispute"
    """A bank gave back what it had taken."""


class RefundState(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DisputeKind(StrEnum):
    """How a payer's bank took money back."""

    CHARGEBACK = "chargeback"
    """The payer contests a payment; evidence may win it back."""
    RETURN = "return"
    """A direct debit came back: no funds, no mandate, the payer's right within eight weeks. There is no contest."""


class DisputeState(StrEnum):
    """Where a dispute stands."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"


class PaymentStatus(StrEnum):
    """How far an invoice is paid. Told from its balance and the clock; the invoice itself never changes."""

    OPEN = "open"
    PARTLY_PAID = "partly_paid"
    OVERDUE = "overdue"
    """Something is open, and it was due before now."""
    PAID = "paid"
    WRITTEN_OFF = "written_off"
    """Nothing is open, and part of it was given up."""
    CREDITED = "credited"
    """Nothing is open and nothing was paid: all of it was given back, by credit notes or by a void."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What is still to be paid of an invoice: payable = paid + credited + written_off + open.

    from_credit: the part of `paid` that credit paid which no payment had brought (`credit.py`).
    """

    currency: str
    payable: Decimal
    paid: Decimal
    credited: Decimal
    written_off: Decimal
    open: Decimal
    due_at: datetime
    from_credit: Decimal = Decimal(0)


def status_of(balance: Balance, now: datetime) -> PaymentStatus:
    """How far it is paid at this moment."""
    if not balance.open:
        if balance.written_off:
            return PaymentStatus.WRITTEN_OFF
        return PaymentStatus.CREDITED if balance.credited and not balance.paid else PaymentStatus.PAID
    if balance.due_at < now:
        return PaymentStatus.OVERDUE
    return PaymentStatus.PARTLY_PAID if balance.paid or balance.credited else PaymentStatus.OPEN


@dataclass(frozen=True, slots=True)
class Mandate:
    """The payer's word that money may be drawn from its account."""

    iban: str
    bic: str | None
    holder: str
    mandate_id: str
    signed_on: str


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """How a customer pays by itself. `reference` is the gateway's own name for it, never a card number."""

    key: str
    customer: str
    gateway: str
    kind: str
    label: str
    reference: str
    mandate: Mandate | None
    is_default: bool
    created_at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it stands. allocated, refunded and charged_back say where its amount went."""

    payment_id: int
    key: str
    customer: str
    gateway: str
    method: str | None
    purpose: Purpose
    invoice: str | None
    top_up: str | None
    currency: str
    amount: Decimal
    reference: str
    requested_at: datetime
    state: State
    moved_at: datetime
    provider_id: str | None
    failure: str | None
    attempts: int
    next_attempt_at: datetime | None
    paid_at: datetime | None
    fee: Decimal
    allocated: Decimal
    refunded: Decimal
    charged_back: Decimal

    @property
    def credit(self) -> Decimal:
        """What of it stands to the customer's credit; of a top-up nothing does, it is in the wallet."""
        if self.state is not State.SUCCEEDED or self.purpose is Purpose.TOP_UP:
            return Decimal(0)
        return self.amount - self.allocated - self.refunded - self.charged_back


@dataclass(frozen=True, slots=True)
class PaymentDetail:
    """A payment with all that happened to it, in order."""

    payment: Payment
    moves: tuple[dict[str, Any], ...]
    attempts: tuple[dict[str, Any], ...]
    allocations: tuple[dict[str, Any], ...]
    grants: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back, or back."""

    key: str
    payment: str
    currency: str
    amount: Decimal
    reason: str
    state: RefundState
    requested_at: datetime
    moved_at: datetime
    provider_id: str | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """Money that a payer's bank took back."""

    key: str
    payment: str
    customer: str
    kind: DisputeKind
    reason: str
    currency: str
    amount: Decimal
    fee: Decimal
    state: DisputeState
    opened_at: datetime
    moved_at: datetime
    respond_by: datetime | None
