"""The tax that is to be filed: by place, category, treatment and rate, from the documents that bear it. Pure.

What invoices bear is owed; credit notes, voids and write-offs take it back. A write-off gives up part of a whole
invoice: it falls upon the invoice's taxes by what is left of each, and upon what they are on alike, by largest
remainder. So the rows of a currency add up to what its tax account moved by, but for what was remitted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from farthing.finance.model import (
    Cell,
    CellKind,
    Report,
    ReportColumn,
    ReportName,
    TaxRow,
    Tie,
    WrittenOffTax,
)
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import Direction, apportion, divide_rounded
from farthing.ledger.chart import Code

WRITE_OFFS = "write-offs"
SOURCES = ("invoices", "credit notes", "voids", WRITE_OFFS)
"""The documents that bear tax, in the order in which they are shown."""

_COLUMNS = (
    ReportColumn("country", "Country"),
    ReportColumn("region", "Region"),
    ReportColumn("tax", "Tax"),
    ReportColumn("category", "Category"),
    ReportColumn("treatment", "Treatment"),
    ReportColumn("rate", "%"),
    ReportColumn("prices", "Prices"),
    ReportColumn("source", "Of"),
    ReportColumn("documents", "Count"),
    ReportColumn("currency", "Currency"),
    ReportColumn("taxable", "Taxable", CellKind.AMOUNT),
    ReportColumn("amount", "Amount", CellKind.AMOUNT),
)


def tax_report(
    found: Iterable[TaxRow],
    written_off: Sequence[WrittenOffTax],
    owed: Mapping[str, Decimal],
    start: datetime,
    end: datetime,
) -> Report:
    """owed: by currency, how much more tax the ledger owes at the end than at the start, what was remitted included."""
    rows: list[tuple[Cell, ...]] = []
    sums: dict[str, Decimal] = {}
    for row in sorted([*found, *written_off_rows(written_off)], key=_order):
        rows.append(
            (
                row.country,
                row.region,
                row.name,
                row.category,
                row.treatment,
                row.rate,
                row.prices,
                row.source,
                str(row.documents),
                row.currency,
                row.net,
                row.tax,
            )
        )
        with exact():
            sums[row.currency] = sums.get(row.currency, ZERO) + row.tax
    moved = {currency for currency, amount in owed.items() if amount}
    ties = tuple(
        Tie(Code.TAX_PAYABLE, currency, sums.get(currency, ZERO), owed.get(currency, ZERO))
        for currency in sorted({*sums, *moved})
    )
    return Report(ReportName.TAX, "Tax by rate", start, end, _COLUMNS, tuple(rows), ties)


def written_off_rows(taxes: Sequence[WrittenOffTax]) -> list[TaxRow]:
    """What write-offs give up of each tax: below zero."""
    of_invoice: dict[int, list[WrittenOffTax]] = defaultdict(list)
    for one in taxes:
        of_invoice[one.invoice_id].append(one)
    sums: dict[tuple[str | int, ...], TaxRow] = {}
    for some in of_invoice.values():
        for row in _given_up(some):
            key = _order(row)
            before = sums.get(key)
            if before is not None:
                with exact():
                    net, tax = before.net + row.net, before.tax + row.tax
                row = replace(row, documents=before.documents + 1, net=net, tax=tax)
            sums[key] = row
    return list(sums.values())


def _given_up(taxes: Sequence[WrittenOffTax]) -> Iterator[TaxRow]:
    """What the write-off of one invoice gives up of each of its taxes."""
    first = taxes[0]
    digits = MINOR_UNITS[first.currency]
    bases = {_base(one): _left_of_base(one) for one in taxes}
    nets = dict(zip(bases, _spread(first.written_net, list(bases.values()), digits), strict=True))
    with exact():
        left = [max(one.tax - one.credited, ZERO) for one in taxes]
    amounts = _spread(first.written_tax, left, digits)
    for one, amount in zip(taxes, amounts, strict=True):
        if not nets[_base(one)] and not amount:
            continue
        yield TaxRow(
            one.country,
            one.region,
            one.name,
            one.category,
            one.treatment,
            one.rate,
            one.prices,
            one.currency,
            WRITE_OFFS,
            1,
            nets[_base(one)].copy_negate(),
            amount.copy_negate(),
        )


def _base(tax: WrittenOffTax) -> tuple[str | None, ...]:
    """Taxes of one treatment (of a country and of its region) are on the same amount."""
    return tax.country, tax.category, tax.treatment


def _left_of_base(tax: WrittenOffTax) -> Decimal:
    """What credit notes left of the amount that a tax is on, in the ratio of what they left of the tax."""
    net = max(tax.net, ZERO)
    if tax.tax <= 0:
        return net
    with exact():
        dividend = net * (tax.tax - tax.credited)
    return divide_rounded(dividend, tax.tax, MINOR_UNITS[tax.currency], Direction.HALF_UP)


def _spread(total: Decimal, weights: Sequence[Decimal], digits: int) -> list[Decimal]:
    """By largest remainder; where there is nothing to go by, on all alike."""
    if not total or any(weights):
        return apportion(total, weights, digits)
    return apportion(total, [ONE for _ in weights], digits)


def _order(row: TaxRow) -> tuple[str | int, ...]:
    """Place by place, the taxes of one place together, and of each what corrects it behind it."""
    return (
        row.currency,
        row.country or "",
        row.region or "",
        row.category,
        row.name,
        row.treatment,
        row.rate,
        row.prices,
        SOURCES.index(row.source),
    )
