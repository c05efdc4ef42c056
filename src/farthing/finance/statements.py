"""The reports, each made of what the books say. Pure.

Every report has its ties: what its rows add up to in each currency, and the same from the balances that the ledger
keeps. They are found in different ways, so that a report that leaves something out cannot agree by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from farthing.finance.ageing import BUCKETS, CREDIT, aged
from farthing.finance.model import (
    Cell,
    CellKind,
    DeferredLine,
    Movement,
    OpenItem,
    Report,
    ReportColumn,
    ReportName,
    Tie,
)
from farthing.finance.recognition import still_to_come
from farthing.finance.roll_forward import rolled_forward
from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.chart import DEBIT_KINDS, KIND_OF, Code, Kind
from farthing.ledger.model import TransferKind

Balances = Mapping[tuple[str, str], Decimal]
"""By (code, currency), debits less credits."""

CUSTOMER = ReportColumn("customer", "Customer")
CURRENCY = ReportColumn("currency", "Currency")
OTHER = "other"

_MOVED_AS: dict[Code, dict[str, tuple[TransferKind, ...]]] = {
    Code.DEFERRED_REVENUE: {
        "invoiced": (TransferKind.INVOICE_ISSUED,),
        "credited": (TransferKind.CREDIT_NOTE_ISSUED, TransferKind.INVOICE_VOIDED),
        "recognised": (TransferKind.REVENUE_RECOGNISED,),
    },
    Code.TAX_PAYABLE: {
        "invoiced": (TransferKind.INVOICE_ISSUED,),
        "credited": (TransferKind.CREDIT_NOTE_ISSUED, TransferKind.INVOICE_VOIDED),
        "written_off": (TransferKind.WRITE_OFF,),
        "remitted": (TransferKind.TAX_REMITTED,),
    },
    Code.CASH: {
        "payments": (TransferKind.PAYMENT_RECEIVED,),
        "fees": (TransferKind.PAYMENT_FEE,),
        "refunds": (TransferKind.REFUND_PAID,),
        "chargebacks": (TransferKind.CHARGEBACK,),
        "payouts": (TransferKind.PAYOUT_ARRIVED, TransferKind.CLEARING_OPENED),
        "tax_remitted": (TransferKind.TAX_REMITTED,),
    },
    Code.PREPAID: {
        "funded": (TransferKind.GRANT_FUNDED,),
        "drawn": (TransferKind.WALLET_DRAW,),
        "expired": (TransferKind.GRANT_EXPIRED,),
        "refunded": (TransferKind.REFUND_PAID,),
    },
}
"""The columns of a roll-forward, and which kinds of transfers each is made of; what is left goes to `other`."""
_LIKE = {Code.PROMOTIONAL_CREDIT: Code.PREPAID, Code.PROVIDER_CLEARING: Code.CASH}


def trial_balance_report(balances: Balances, kept: Balances, end: datetime | None) -> Report:
    """Both sides of the chart; equal in every currency."""
    order = {code: place for place, code in enumerate(Code)}
    rows: list[tuple[Cell, ...]] = []
    for (code, currency), balance in sorted(
        balances.items(), key=lambda one: (one[0][1], order[Code(one[0][0])])
    ):
        kind = KIND_OF[Code(code)]
        debit, credit = (balance, None) if balance > 0 else (None, balance.copy_negate())
        rows.append((kind.value, code, currency, debit, credit if balance else ZERO))
    ties = [
        Tie(code, currency, balance, kept.get((code, currency), ZERO))
        for (code, currency), balance in sorted(balances.items(), key=lambda one: (one[0][1], one[0][0]))
    ]
    columns = (
        ReportColumn("kind", "Kind"),
        ReportColumn("account", "Account"),
        CURRENCY,
        ReportColumn("debit", "Debit", CellKind.AMOUNT),
        ReportColumn("credit", "Credit", CellKind.AMOUNT),
    )
    return Report(ReportName.TRIAL_BALANCE, "Trial balance", None, end, columns, tuple(rows), tuple(ties))


def income_report(
    movements: Iterable[Movement], kept: Mapping[tuple[str, str], Decimal], start: datetime, end: datetime
) -> Report:
    """What was earned and spent in a period, by account; the last row of a currency is what remains."""
    found: dict[tuple[str, str], Decimal] = {}
    with exact():
        for movement in movements:
            key = (movement.currency, movement.code.value)
            found[key] = found.get(key, ZERO) - movement.within
    order = {code.value: place for place, code in enumerate(Code)}
    rows: list[tuple[Cell, ...]] = []
    ties = []
    for currency in sorted({currency for currency, _ in found}):
        remains = ZERO
        for (_, code), amount in sorted(
            ((key, amount) for key, amount in found.items() if key[0] == currency),
            key=lambda one: order[one[0][1]],
        ):
            kind = KIND_OF[Code(code)]
            rows.append((kind.value, code, currency, amount if kind is Kind.INCOME else amount.copy_negate()))
            with exact():
                remains += amount
        rows.append(("", "result", currency, remains))
        ties.append(Tie("result", currency, remains, kept.get(("result", currency), ZERO)))
    columns = (
        ReportColumn("kind", "Kind"),
        ReportColumn("account", "Account"),
        CURRENCY,
        ReportColumn("amount", "Amount", CellKind.AMOUNT),
    )
    return Report(ReportName.INCOME, "Income and expenses", start, end, columns, tuple(rows), tuple(ties))


def receivables_report(items: Sequence[OpenItem], kept: Balances, end: datetime, aged_to: datetime) -> Report:
    """Who owes how much before `end`, and how long it was overdue at `aged_to`."""
    rows: list[tuple[Cell, ...]] = []
    sums: dict[str, Decimal] = {}
    with exact():
        for (customer, currency), buckets in aged(items, aged_to).items():
            total = sum(buckets.values(), ZERO)
            if not any(buckets.values()):
                continue
            rows.append((customer, currency, *(buckets[name] for name in (*BUCKETS, CREDIT)), total))
            sums[currency] = sums.get(currency, ZERO) + total
    columns = (
        CUSTOMER,
        CURRENCY,
        *(
            ReportColumn(name.replace(" ", "_"), name.capitalize(), CellKind.AMOUNT)
            for name in (*BUCKETS, CREDIT)
        ),
        ReportColumn("total", "Total", CellKind.AMOUNT),
    )
    ties = _ties(Code.RECEIVABLE, sums, kept, 1)
    return Report(ReportName.RECEIVABLES, "Receivables by age", None, end, columns, tuple(rows), ties)


def revenue_report(
    found: Sequence[tuple[str, str | None, str, Decimal]],
    kept: Mapping[str, Decimal],
    start: datetime,
    end: datetime,
) -> Report:
    """What was earned in a period, by product and customer. kept: the movement of the revenue account by currency."""
    sums: dict[str, Decimal] = {}
    with exact():
        for _, _, currency, amount in found:
            sums[currency] = sums.get(currency, ZERO) + amount
    rows = tuple((product, customer, currency, amount) for product, customer, currency, amount in found)
    ties = tuple(
        Tie("revenue", currency, sums.get(currency, ZERO), kept.get(currency, ZERO))
        for currency in sorted({*sums, *(currency for currency, amount in kept.items() if amount)})
    )
    columns = (
        ReportColumn("product", "Product"),
        CUSTOMER,
        CURRENCY,
        ReportColumn("amount", "Amount", CellKind.AMOUNT),
    )
    return Report(ReportName.REVENUE, "Revenue by product and customer", start, end, columns, rows, ties)


def roll_forward_report(
    name: ReportName,
    title: str,
    movements: Sequence[Movement],
    kept: Balances,
    start: datetime,
    end: datetime,
    *,
    by_customer: bool,
    several: bool,
) -> Report:
    """From opening to closing balance of one account or several, by what moved it; a row for each, by currency."""
    code = movements[0].code if movements else Code.CASH
    groups = _MOVED_AS[_LIKE.get(code, code)]
    sign = 1 if KIND_OF[code] in DEBIT_KINDS else -1
    group_of = {kind.value: group for group, kinds in groups.items() for kind in kinds}
    grouped = [
        Movement(m.code, m.currency, m.customer, group_of.get(m.kind, OTHER), m.before, m.within)
        for m in movements
    ]
    rows: list[tuple[Cell, ...]] = []
    sums: dict[tuple[str, str], Decimal] = {}
    names = (*groups, OTHER)
    for (currency, account, customer), row in sorted(rolled_forward(grouped, _place, sign).items()):
        with exact():
            sums[account, currency] = sums.get((account, currency), ZERO) + row.closing
        if row.opening or row.closing or any(row.moved.values()):
            rows.append(
                (
                    *((account,) if several else ()),
                    *((customer,) if by_customer else ()),
                    currency,
                    row.opening,
                    *(row.moved.get(name, ZERO) for name in names),
                    row.closing,
                )
            )
    columns = (
        *((ReportColumn("account", "Account"),) if several else ()),
        *((CUSTOMER,) if by_customer else ()),
        CURRENCY,
        *(
            ReportColumn(name, name.replace("_", " ").capitalize(), CellKind.AMOUNT)
            for name in ("opening", *names, "closing")
        ),
    )
    ties = tuple(
        Tie(account, currency, amount, kept.get((account, currency), ZERO) * sign)
        for (account, currency), amount in sorted(sums.items())
    )
    return Report(name, title, start, end, columns, tuple(rows), ties)


def schedule_report(
    lines: Sequence[DeferredLine], kept: Balances, recognised_until: datetime, end: datetime
) -> Report:
    """What was deferred before `end`, by the month that it is earned in."""
    found = still_to_come(lines, recognised_until)
    sums: dict[str, Decimal] = {}
    with exact():
        for (currency, _), amount in found.items():
            sums[currency] = sums.get(currency, ZERO) + amount
    rows = tuple((month, currency, amount) for (currency, month), amount in found.items())
    columns = (ReportColumn("month", "Month"), CURRENCY, ReportColumn("amount", "Amount", CellKind.AMOUNT))
    ties = _ties(Code.DEFERRED_REVENUE, sums, kept, -1)
    return Report(
        ReportName.RECOGNITION_SCHEDULE, "Deferred revenue by month", None, end, columns, rows, ties
    )


def _place(movement: Movement) -> tuple[str, str, str]:
    return movement.currency, movement.code.value, movement.customer or ""


def _ties(code: Code, sums: Mapping[str, Decimal], kept: Balances, sign: int) -> tuple[Tie, ...]:
    """What rows add up to beside the balance of an account, in every currency that either knows."""
    of_code = {
        currency: balance for (name, currency), balance in kept.items() if name == code.value and balance
    }
    return tuple(
        Tie(code.value, currency, sums.get(currency, ZERO), of_code.get(currency, ZERO) * sign)
        for currency in sorted({*sums, *of_code})
    )
