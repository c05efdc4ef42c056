"""The business facts that the ledger books. Pure values; `recipes.py` says what each one does to the accounts.

Amounts are exact and greater than zero unless the fact says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.kernel.value import value
from farthing.ledger.chart import Code


@value
class InvoiceIssued:
    """A customer owes for service.

    earned: net of lines whose service was rendered by the day of issue. deferred: net of lines whose service is
    still to come. Either may be below zero (a line may be a credit), and so may their sum; tax likewise.
    unbilled: how much of these is not asked for yet but carried forward; below zero, what was brought forward.
    """

    number: str
    customer_id: int
    currency: str
    earned: Decimal
    deferred: Decimal
    tax: Decimal
    issued_at: datetime
    unbilled: Decimal = ZERO

    @property
    def books_nothing(self) -> bool:
        """An invoice over nothing at all, such as one that was rounded to zero, has no transfer."""
        return not (self.earned or self.deferred or self.tax or self.unbilled)


@dataclass(frozen=True, slots=True)
class InvoiceVoided:
    """An issued invoice is taken back whole, as if it had never been owed."""

    issued: InvoiceIssued
    voided_at: datetime


@dataclass(frozen=True, slots=True)
class CreditNoteIssued:
    """Part of an invoice, or all of it, is given back; by what kind of lines, as on the invoice."""

    number: str
    invoice: str
    customer_id: int
    currency: str
    earned: Decimal
    deferred: Decimal
    tax: Decimal
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class WrittenOff:
    """An invoice, or what is left of it, will not be paid. tax: what the tax office gives back of it; may be zero."""

    write_off: str
    invoice: str
    customer_id: int
    currency: str
    net: Decimal
    tax: Decimal
    written_off_at: datetime


@dataclass(frozen=True, slots=True)
class RevenueRecognised:
    """Service that was invoiced in advance has been rendered. line: which line of the invoice, and until when.

    The amount is below zero for a line that gives back.
    """

    invoice: str
    line: str
    customer_id: int
    currency: str
    amount: Decimal
    rendered_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentReceived:
    """A customer paid: an invoice, a top-up, or more than it owes. at_gateway: the money is there, not at the bank."""

    payment: str
    customer_id: int
    currency: str
    amount: Decimal
    received_at: datetime
    reference: str = ""
    at_gateway: bool = False


@dataclass(frozen=True, slots=True)
class PaymentFee:
    """What a gateway or a bank kept of a payment, or asks for otherwise."""

    payment: str
    currency: str
    amount: Decimal
    charged_at: datetime
    at_gateway: bool = False


@dataclass(frozen=True, slots=True)
class RefundPaid:
    """Money that stood to a customer's credit went back to it."""

    refund: str
    customer_id: int
    currency: str
    amount: Decimal
    paid_at: datetime
    at_gateway: bool = False


@dataclass(frozen=True, slots=True)
class Chargeback:
    """A customer's bank took a payment back. fee: what the gateway asks for that; may be zero."""

    chargeback: str
    payment: str
    customer_id: int
    currency: str
    amount: Decimal
    fee: Decimal
    taken_at: datetime
    at_gateway: bool = False


@dataclass(frozen=True, slots=True)
class PayoutArrived:
    """A gateway's transfer came to the bank. An amount below zero went from the bank to the gateway."""

    payout: str
    currency: str
    amount: Decimal
    arrived_at: datetime


@dataclass(frozen=True, slots=True)
class ClearingOpened:
    """What gateways held had been booked as cash; from now on it stands by itself. The amount may be below zero."""

    currency: str
    amount: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class TaxRemitted:
    """Tax went to the authorities. remittance: names the return, such as `DE:2026-01`."""

    remittance: str
    currency: str
    amount: Decimal
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class GrantFunded:
    """A customer may draw this much. paid: it paid for that; else it is given away.

    returned: a credit note gives back to the wallet what a grant of that kind had paid.
    """

    grant: str
    customer_id: int
    currency: str
    amount: Decimal
    paid: bool
    funded_at: datetime
    returned: bool = False


@dataclass(frozen=True, slots=True)
class WalletDrawn:
    """Usage was paid from a wallet. The amounts are exact, far below a cent; one of them may be zero.

    Below zero: went back to the wallet. They must not sum to zero unless both are something.
    """

    draw: str
    customer_id: int
    currency: str
    paid: Decimal
    promotional: Decimal
    drawn_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class DrawnTogether:
    """Usage of many customers was paid from their wallets at one moment: as so many `WalletDrawn`, in columns.

    draws: names them. codes: which funds each customer's are, prepaid or promotional credit; amounts are above zero.
    A customer stands there once. account_ids: the accounts of those funds, where they are known.
    """

    draws: str
    currency: str
    customer_ids: Sequence[int]
    codes: Sequence[Code]
    amounts: Sequence[Decimal]
    account_ids: Sequence[int | None]
    drawn_at: datetime


@dataclass(frozen=True, slots=True)
class GrantExpired:
    """What was left of a grant can no longer be drawn."""

    grant: str
    customer_id: int
    currency: str
    amount: Decimal
    paid: bool
    expired_at: datetime


@dataclass(frozen=True, slots=True)
class GrantVoided:
    """What was left of a paid grant was called off. credited: in whole minor units; rest: what is below one."""

    grant: str
    customer_id: int
    currency: str
    credited: Decimal
    rest: Decimal
    voided_at: datetime


@dataclass(frozen=True, slots=True)
class OpeningBalance:
    """What a customer owed, and what it had prepaid, when Farthing began to keep the books. One may be zero."""

    customer_id: int
    currency: str
    owed: Decimal
    prepaid: Decimal
    at: datetime
