"""Money at gateways: where it is, and what only one side knows of. Pure.

    held          movements that no payout sums yet
    in transit    movements of payouts that have not come to the bank
    failed        movements of payouts that failed, less what came back of them
    not told      what our books say and no movement of the gateway does
    unknown here  movements that nothing in our books is: they are at the gateway, and not on the account
    differs       what both say, over different amounts
    not listed    payouts that came to the bank and whose movements the gateway did not tell

The rows of a currency add up to its `provider_clearing`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from farthing.finance.model import Cell, CellKind, Report, ReportColumn, ReportName, Tie
from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.chart import Code

KINDS = ("held", "in transit", "failed", "not told", "unknown here", "differs", "not listed")

_COLUMNS = (
    ReportColumn("gateway", "Gateway"),
    ReportColumn("what", "What"),
    ReportColumn("movements", "Movements"),
    ReportColumn("currency", "Currency"),
    ReportColumn("amount", "Amount", CellKind.AMOUNT),
)


def clearing_report(
    found: Sequence[tuple[str, str, int, str, Decimal]],
    kept: Mapping[tuple[str, str], Decimal],
    end: datetime,
) -> Report:
    """found: (gateway, what, how many, currency, amount). kept: balances by (code, currency)."""
    order = {what: place for place, what in enumerate(KINDS)}
    rows: list[tuple[Cell, ...]] = []
    sums: dict[str, Decimal] = {}
    for gateway, what, count, currency, amount in sorted(
        found, key=lambda row: (row[0], row[3], order[row[1]])
    ):
        rows.append((gateway, what, str(count), currency, amount))
        with exact():
            sums[currency] = sums.get(currency, ZERO) + amount
    balances = {currency: amount for (_, currency), amount in kept.items() if amount}
    ties = tuple(
        Tie(Code.PROVIDER_CLEARING, currency, sums.get(currency, ZERO), balances.get(currency, ZERO))
        for currency in sorted({*sums, *balances})
    )
    return Report(ReportName.CLEARING, "Money at gateways", None, end, _COLUMNS, tuple(rows), ties)
