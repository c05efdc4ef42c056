"""The journal for other tools: beancount, hledger, CSV. Pure: entries in, lines of text out.

Each tool reads the same entries with the digits they have, and each file ends with the balances that our books
keep, as assertions: `bean-check` and `hledger check` fail where their sums and ours differ in the last digit.
(beancount computes with 28 digits. Where a currency needs more, its balances may differ by a billionth there.)

Dates are those of `effective_at` in UTC; the exact moments stand beside them. A customer is a part of the name of
its accounts, `Assets:Receivable:C-acme`, with whatever is no letter or digit of ASCII as its number between two
dashes (`C-a-2e-b` is the customer `a.b`): such a name is allowed everywhere, and no two customers share one.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from farthing.kernel.instant import format_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.ledger.chart import KIND_OF, Code, Kind
from farthing.ledger.model import AccountBalance, BookedEntry

OPENED = date(1900, 1, 1)
"""Accounts are open from here on in the exported journal; no instant lies before it."""
CSV_COLUMNS = (
    "transfer", "kind", "date", "effective_at", "booked_at", "reference", "corrects", "account", "account_kind",
    "customer", "currency", "debit", "credit",
)  # fmt: skip

_ROOTS = {
    Kind.ASSET: "Assets",
    Kind.LIABILITY: "Liabilities",
    Kind.INCOME: "Income",
    Kind.EXPENSE: "Expenses",
    Kind.EQUITY: "Equity",
}
_BEANCOUNT_DIGITS = 28
_BEANCOUNT_TOLERANCE = "0.000000001"
_OUTSIDE = re.compile(r"[^A-Za-z0-9]")
_DAY = timedelta(days=1)

Transfers = Iterable[Sequence[BookedEntry]]


class Format(StrEnum):
    """What a journal can be written as."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    CSV = "csv"


def account_name(code: Code, customer: str | None) -> str:
    """`Income:Revenue`, `Liabilities:Deferred-Revenue:C-acme`."""
    name = f"{_ROOTS[KIND_OF[code]]}:{code.value.replace('_', '-').title()}"
    if customer is None:
        return name
    return f"{name}:C-{_OUTSIDE.sub(lambda found: f'-{ord(found[0]):x}-', customer)}"


def journal_lines(
    form: Format, accounts: Sequence[AccountBalance], transfers: Transfers, *, whole: bool
) -> Iterator[str]:
    """The journal in one of the formats. whole: nothing before its end was left out, so balances are asserted."""
    match form:
        case Format.BEANCOUNT:
            return _beancount_lines(accounts, transfers, whole=whole)
        case Format.HLEDGER:
            return _hledger_lines(accounts, transfers, whole=whole)
        case Format.CSV:
            return _csv_lines(transfers)
        case _:
            assert_never(form)


def _beancount_lines(
    accounts: Sequence[AccountBalance], transfers: Transfers, *, whole: bool
) -> Iterator[str]:
    yield 'option "title" "Farthing"\n'
    currencies: dict[str, list[str]] = {}
    customer_of: dict[str, str | None] = {}
    for account in accounts:
        name = account_name(account.code, account.customer)
        currencies.setdefault(name, []).append(account.currency)
        customer_of[name] = account.customer
    for name, some in currencies.items():
        yield f"{OPENED} open {name} {','.join(sorted(some))}\n"
        if customer := customer_of[name]:
            yield f"  customer: {_quoted(customer)}\n"
    last, digits = OPENED, _Digits()
    for entries in transfers:
        first = entries[0]
        day = _day(first)
        last = max(last, day)
        digits.count(entries)
        yield f"\n{day} * {_quoted(_payee(entries))} {_quoted(_narration(first))}\n"
        yield f"  transfer: {_quoted(first.transfer)}\n"
        yield f'  effective_at: "{format_instant(first.effective_at)}"\n'
        yield f'  booked_at: "{format_instant(first.booked_at)}"\n'
        if first.corrects:
            yield f"  corrects: {_quoted(first.corrects)}\n"
        for entry in entries:
            yield f"  {account_name(entry.code, entry.customer)}  {_plain(entry.amount)} {entry.currency}\n"
    if whole:
        yield "\n"
        for account in accounts:
            name = account_name(account.code, account.customer)
            # Without a tolerance of its own beancount would let the last digit differ.
            tolerance = "0" if digits.needed(account.currency) <= _BEANCOUNT_DIGITS else _BEANCOUNT_TOLERANCE
            balance = f"{_plain(account.balance)} ~ {tolerance} {account.currency}"
            yield f"{last + _DAY} balance {name}  {balance}\n"


def _hledger_lines(accounts: Sequence[AccountBalance], transfers: Transfers, *, whole: bool) -> Iterator[str]:
    yield "; Farthing\ndecimal-mark .\n"
    for name in dict.fromkeys(account_name(account.code, account.customer) for account in accounts):
        yield f"account {name}\n"
    for currency in sorted({account.currency for account in accounts}):
        yield f"commodity 1.{'0' * MINOR_UNITS[currency]} {currency}\n"
    last = OPENED
    for entries in transfers:
        first = entries[0]
        day = _day(first)
        last = max(last, day)
        yield f"\n{day} * {_narration(first, _plain_text)}\n"
        yield f"    ; transfer: {_plain_text(first.transfer)}\n"
        if payee := _payee(entries):
            yield f"    ; customer: {_plain_text(payee)}\n"
        yield f"    ; effective_at: {format_instant(first.effective_at)}\n"
        yield f"    ; booked_at: {format_instant(first.booked_at)}\n"
        if first.corrects:
            yield f"    ; corrects: {_plain_text(first.corrects)}\n"
        for entry in entries:
            yield f"    {account_name(entry.code, entry.customer)}  {_plain(entry.amount)} {entry.currency}\n"
    if whole and accounts:
        yield f"\n{last + _DAY} * balances\n"
        for account in accounts:
            name = account_name(account.code, account.customer)
            yield f"    {name}  0 {account.currency} = {_plain(account.balance)} {account.currency}\n"


def _csv_lines(transfers: Transfers) -> Iterator[str]:
    # A row for each entry; of debit and credit one cell is empty.
    yield _csv_row(CSV_COLUMNS)
    for entries in transfers:
        for entry in entries:
            debit, credit = ("", _plain(-entry.amount)) if entry.amount < 0 else (_plain(entry.amount), "")
            yield _csv_row(
                (
                    entry.transfer,
                    entry.kind,
                    str(_day(entry)),
                    format_instant(entry.effective_at),
                    format_instant(entry.booked_at),
                    entry.reference,
                    entry.corrects or "",
                    entry.code.value,
                    KIND_OF[entry.code].value,
                    entry.customer or "",
                    entry.currency,
                    debit,
                    credit,
                )
            )


class _Digits:
    """How many digits sums of each currency need at most, whatever their order."""

    def __init__(self) -> None:
        self._turnover: dict[str, Decimal] = {}
        self._scale: dict[str, int] = {}

    def count(self, entries: Sequence[BookedEntry]) -> None:
        currency = entries[0].currency
        with exact():
            turnover = sum((entry.amount.copy_abs() for entry in entries), ZERO)
            self._turnover[currency] = self._turnover.get(currency, ZERO) + turnover
        scales = [len(_plain(entry.amount).partition(".")[2]) for entry in entries]
        self._scale[currency] = max(self._scale.get(currency, 0), *scales)

    def needed(self, currency: str) -> int:
        turnover = self._turnover.get(currency, ZERO)
        return max(0, turnover.adjusted() + 1) + self._scale.get(currency, 0)


def _csv_row(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _day(entry: BookedEntry) -> date:
    return entry.effective_at.astimezone(UTC).date()


def _plain(amount: Decimal) -> str:
    return trimmed(amount)


def _payee(entries: Sequence[BookedEntry]) -> str:
    return next((entry.customer for entry in entries if entry.customer), "")


def _narration(entry: BookedEntry, write: Callable[[str], str] = str) -> str:
    what = entry.kind.replace("_", " ")
    return f"{what} {write(entry.reference)}".rstrip()


def _quoted(text: str) -> str:
    """A string of beancount: only quotes and backslashes mean anything in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain_text(text: str) -> str:
    """Text in which hledger reads nothing: a semicolon would begin a comment, a bar would end a payee."""
    return json.dumps(text, ensure_ascii=True)[1:-1].replace(";", "\\u003b").replace("|", "\\u007c")
