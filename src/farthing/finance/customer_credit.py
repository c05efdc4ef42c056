"""The report of what customers have to their credit, and from where. Pure.

A row for each customer and currency: what is open of its invoices, less its credit by source, less what is about to be
refunded, plus what it owes for paid grants. The sum is its receivable, which the ledger says in another way.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from farthing.finance.model import Cell, CellKind, Report, ReportColumn, ReportName, Tie
from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.chart import Code
from farthing.payments.credit import Standing

_PARTS = (
    ("open", "Open"),
    ("payments", "Of payments"),
    ("invoices", "Of invoices"),
    ("credit_notes", "Of credit notes"),
    ("grants", "Of grants"),
    ("refunds_under_way", "Refunds under way"),
    ("owed_for_grants", "Owed for grants"),
    ("balance", "Balance"),
)


def customer_credit_report(
    standing: Sequence[Standing], kept: dict[tuple[str, str], Decimal], end: datetime
) -> Report:
    """How customers stand before `end`. kept: the balance of receivables by (code, currency)."""
    rows: list[tuple[Cell, ...]] = []
    sums: dict[str, Decimal] = {}
    for one in standing:
        parts: list[Decimal] = [getattr(one, name) for name, _ in _PARTS]
        if any(parts):
            rows.append((one.customer, one.currency, *parts))
        with exact():
            sums[one.currency] = sums.get(one.currency, ZERO) + one.balance
    booked = {currency: balance for (_, currency), balance in kept.items()}
    columns = (
        ReportColumn("customer", "Customer"),
        ReportColumn("currency", "Currency"),
        *(ReportColumn(name, title, CellKind.AMOUNT) for name, title in _PARTS),
    )
    ties = tuple(
        Tie(Code.RECEIVABLE.value, currency, sums.get(currency, ZERO), booked.get(currency, ZERO))
        for currency in sorted({*sums, *booked})
    )
    return Report(ReportName.CUSTOMER_CREDIT, "Customers' credit", None, end, columns, tuple(rows), ties)
