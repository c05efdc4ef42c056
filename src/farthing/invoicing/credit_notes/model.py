"""The nouns of credit notes and voids."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class LineWanted:
    """A line to give back: a quantity of it, an amount as the line shows it, or (neither) what is left of it."""

    line: int
    quantity: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CreditWanted:
    """What a client asks for. amount: with tax. lines: some lines. Neither: all that is left of the invoice.

    key: of the client, so that asking again gives nothing more back. refund: whether it is to be paid back;
    else it stands to the customer's credit.
    """

    key: str
    invoice: str
    reason: str
    amount: Decimal | None = None
    lines: tuple[LineWanted, ...] = ()
    refund: bool = False


@dataclass(frozen=True, slots=True)
class CreditableLine:
    """A line as it can be given back. number: on the invoice; place of its bundle, from zero.

    billed: what it shows, less what coupons and prepaid commitments took off it. left: of that, what is not given back.
    """

    number: int
    bundle: int
    quantity: Decimal
    billed: Decimal
    left: Decimal
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Lines that bear the same taxes. taxes: their places on the invoice, from zero.

    billed: the sum of the lines. tax: what of each tax there is, and what of it is left.
    """

    taxes: tuple[int, ...]
    billed: Decimal
    left: Decimal
    tax_billed: tuple[Decimal, ...]
    tax_left: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Creditable:
    """What of an invoice can be given back. left: in all, with tax.

    whole: whether that is all that is left of its lines; not where some of it was written off.
    """

    lines: tuple[CreditableLine, ...]
    bundles: tuple[Bundle, ...]
    left: Decimal
    inclusive: bool
    currency: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What is given back of a line: the amount as the line shows it, and the tax that is on it or in it."""

    line: CreditableLine
    amount: Decimal
    tax: Decimal
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class CreditedTax:
    """What is given back of a tax of the invoice. place: from zero. net: what it is on."""

    place: int
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Credit:
    """A credit note that lacks only its number: lines, taxes and sums, all above zero as a document says them."""

    lines: tuple[CreditedLine, ...]
    taxes: tuple[CreditedTax, ...]
    subtotal: Decimal
    tax: Decimal
    total: Decimal
