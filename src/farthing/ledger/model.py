"""The nouns of the room."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.value import value
from farthing.ledger.chart import Code, Kind


class TransferKind(StrEnum):
    """What happened: one for each recipe."""

    INVOICE_ISSUED = "invoice_issued"
    INVOICE_VOIDED = "invoice_voided"
    CREDIT_NOTE_ISSUED = "credit_note_issued"
    PAYMENT_RECEIVED = "payment_received"
    PAYMENT_FEE = "payment_fee"
    REFUND_PAID = "refund_paid"
    CHARGEBACK = "chargeback"
    PAYOUT_ARRIVED = "payout_arrived"
    CLEARING_OPENED = "clearing_opened"
    WRITE_OFF = "write_off"
    GRANT_FUNDED = "grant_funded"
    WALLET_DRAW = "wallet_draw"
    GRANT_EXPIRED = "grant_expired"
    GRANT_VOIDED = "grant_voided"
    REVENUE_RECOGNISED = "revenue_recognised"
    TAX_REMITTED = "tax_remitted"
    OPENING_BALANCE = "opening_balance"


class Side(StrEnum):
    """The two sides of an entry."""

    DEBIT = "debit"
    CREDIT = "credit"


@value
class Account:
    """An account by what it is: `Account(Code.RECEIVABLE, "USD", customer_id=7)`."""

    code: Code
    currency: str
    customer_id: int | None = None

    def __hash__(self) -> int:
        # A batch asks for it thousands of times, and an enum's hash is slow.
        return hash((self.customer_id, self.currency))

    @property
    def name(self) -> str:
        """What no other account of the tenant is called: `receivable USD 7`, `revenue USD`."""
        return f"{self.code} {self.currency} {self.customer_id or ''}".rstrip()


@value
class Entry:
    """One side of a transfer. The amount is greater than zero and exact: it may be far below a cent."""

    account: Account
    side: Side
    amount: Decimal


@value
class Transfer:
    """A business fact in terms of accounts: its debits and its credits are the same amount of one currency.

    key: names the fact, for ever; the same fact is booked once however often it is posted.
    effective_at: when it happened. When it was booked is said by the ledger.
    reference: the document it comes from, for people.
    corrects: the key of an earlier transfer that this one takes back or alters.
    """

    key: str
    kind: TransferKind
    effective_at: datetime
    entries: tuple[Entry, ...]
    reference: str = ""
    corrects: str | None = None

    @property
    def currency(self) -> str:
        return self.entries[0].account.currency


@dataclass(frozen=True, slots=True)
class Posted:
    """What posting did: transfers booked now, and transfers that had been booked before."""

    booked: int
    repeated: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """An account, with its balance (debits less credits) and how many entries that is the sum of."""

    account_id: int
    code: Code
    kind: Kind
    customer: str | None
    currency: str
    balance: Decimal
    entries: int


@dataclass(frozen=True, slots=True)
class BookedEntry:
    """An entry as it stands in the journal, with its transfer. The amount is above zero for a debit."""

    transfer_id: int
    place: int
    account_id: int
    code: Code
    customer: str | None
    currency: str
    amount: Decimal
    transfer: str
    kind: str
    reference: str
    corrects: str | None
    effective_at: datetime
    booked_at: datetime


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """All accounts of one code and currency together. One of the two amounts is zero."""

    code: Code
    kind: Kind
    currency: str
    debit: Decimal
    credit: Decimal


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """What stands on each side of the chart. In every currency debits and credits are equal."""

    rows: tuple[TrialBalanceRow, ...]
    totals: dict[str, tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True)
class PeriodClosing:
    """The books were closed: nothing takes effect before `closed_until` (none: they were opened whole)."""

    closing_id: int
    closed_until: datetime | None
    reason: str
    closed_at: datetime
