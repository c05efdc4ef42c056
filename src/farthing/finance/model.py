"""The nouns of the room."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from farthing.ledger.chart import Code

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
"""Before anything: the start of a report that has none."""
FOREVER = datetime(2200, 12, 31, tzinfo=UTC)
"""After everything: the end of a report that has none."""


class ReportName(StrEnum):
    """Every report there is, under the name that it is asked for by."""

    TRIAL_BALANCE = "trial-balance"
    INCOME = "income"
    RECEIVABLES = "receivables"
    CUSTOMER_CREDIT = "customer-credit"
    REVENUE = "revenue"
    DEFERRED_REVENUE = "deferred-revenue"
    RECOGNITION_SCHEDULE = "recognition-schedule"
    TAX = "tax"
    TAX_PAYABLE = "tax-payable"
    CASH = "cash"
    CLEARING = "clearing"
    WALLETS = "wallets"


class CellKind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    AMOUNT = "amount"


Cell = str | Decimal | None


@dataclass(frozen=True, slots=True)
class ReportColumn:
    """A column of a report: `key` names it in JSON and in the head of a CSV file, `title` on a page."""

    key: str
    title: str
    kind: CellKind = CellKind.TEXT


@dataclass(frozen=True, slots=True)
class Tie:
    """What the report adds up to, and what the ledger says of the same, found in another way."""

    what: str
    currency: str
    report: Decimal
    ledger: Decimal

    @property
    def holds(self) -> bool:
        return self.report == self.ledger


@dataclass(frozen=True, slots=True)
class Report:
    """A report over [start, end), or as of `end` where it has no start. One of the columns is `currency`."""

    name: ReportName
    title: str
    start: datetime | None
    end: datetime | None
    columns: tuple[ReportColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    ties: tuple[Tie, ...]


@dataclass(frozen=True, slots=True)
class Movement:
    """Entries of one kind of transfer on the accounts of one code, currency and customer, added up.

    before: those that took effect before the period; within: those in it. Debits are above zero.
    """

    code: Code
    currency: str
    customer: str | None
    kind: str
    before: Decimal
    within: Decimal


@dataclass(frozen=True, slots=True)
class OpenItem:
    """What stands on a customer's receivable under one document: above zero it is owed, below zero to its credit."""

    customer: str
    currency: str
    reference: str
    amount: Decimal
    since: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class TaxRow:
    """A tax of documents of one kind, added up: what it was on, and how much it was. Below zero: given back.

    source: `invoices`, `credit notes`, `voids` or `write-offs`; documents: how many of them bear it.
    treatment: as the documents say it. rate: in percent of the net amount, as text. prices: `gross` where they contain
    the tax, else `net`. net, tax: what documents show, so in the currency's minor unit.
    """

    country: str | None
    region: str | None
    name: str
    category: str
    treatment: str
    rate: str
    prices: str
    currency: str
    source: str
    documents: int
    net: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class WrittenOffTax:
    """A tax of an invoice that was written off. place: on the invoice; credited: what credit notes gave back of it.

    written_net, written_tax: what was given up of the whole invoice.
    """

    invoice_id: int
    place: int
    country: str | None
    region: str | None
    name: str
    category: str
    treatment: str
    rate: str
    prices: str
    currency: str
    net: Decimal
    tax: Decimal
    credited: Decimal
    written_net: Decimal
    written_tax: Decimal


@dataclass(frozen=True, slots=True)
class DeferredLine:
    """A line that was invoiced before its service was rendered, all of it or in part.

    document: the number of the invoice or credit note; amount: as the document shows it, below zero if it gives back.
    """

    document: str
    line: int
    customer_id: int
    currency: str
    amount: Decimal
    service_start: datetime
    service_end: datetime
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a run did: up to when, and how many transfers it booked."""

    until: datetime
    booked: int
