"""Use cases: a report as of any date, recognising revenue, closing a month."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.finance import statements
from farthing.finance import store as rows
from farthing.finance import tax_store as tax_rows
from farthing.finance.clearing import clearing_report
from farthing.finance.clearing_store import select_clearing
from farthing.finance.customer_credit import customer_credit_report
from farthing.finance.model import (
    BEGINNING,
    FOREVER,
    DeferredLine,
    Movement,
    OpenItem,
    Recognised,
    Report,
    ReportName,
    TaxRow,
    WrittenOffTax,
)
from farthing.finance.recognition import recognitions
from farthing.finance.tax_by_rate import tax_report
from farthing.kernel.errors import InvalidInput
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.reading import Faults
from farthing.ledger.chart import KIND_OF, Code, Kind
from farthing.ledger.model import PeriodClosing
from farthing.ledger.recipes import revenue_recognised
from farthing.ledger.service import close_period, post
from farthing.payments.credit import standing_of
from farthing.payments.credit_store import select_standing

TRANSFERS_PER_TRANSACTION = 5_000
MARGIN = timedelta(days=1)
"""An invoice may be committed that long after the moment of issue that it states; its lines are looked at again."""

_RESULT = tuple(code for code in Code if KIND_OF[code] in (Kind.INCOME, Kind.EXPENSE))
_ROLLED_FORWARD = {
    ReportName.DEFERRED_REVENUE: ("Deferred revenue", (Code.DEFERRED_REVENUE,)),
    ReportName.TAX_PAYABLE: ("Tax payable", (Code.TAX_PAYABLE,)),
    ReportName.CASH: ("Cash", (Code.CASH, Code.PROVIDER_CLEARING)),
    ReportName.WALLETS: ("Prepaid funds", (Code.PREPAID, Code.PROMOTIONAL_CREDIT)),
}
OVER_A_PERIOD = frozenset({ReportName.INCOME, ReportName.REVENUE, ReportName.TAX, *_ROLLED_FORWARD})
"""Reports over what happened between two moments; the others say how things stand at one."""


def make_report(
    books: Books,
    tenant_id: int,
    name: ReportName,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
) -> Report:
    """A report over [start, end), or as of `end`; without an end over everything that is booked, debts aged to now.

    Raises InvalidInput `invalid_report_period` for a start that is not before the end, or where the report has none.
    """
    faults = Faults("invalid_report_period")
    if start is not None and name not in OVER_A_PERIOD:
        faults.add("from", f"{name.value} says how things stand at one moment: give `as_of` alone")
    if start is not None and end is not None and start >= end:
        faults.add("from", "must be before the end")
    faults.refuse()
    with books.read_only(tenant_id) as conn:
        rows.expect_whole_sets(conn)
        return _made(conn, tenant_id, name, start or BEGINNING, end or FOREVER, end or now)


def _made(
    conn: BooksConnection, tenant_id: int, name: ReportName, start: datetime, end: datetime, aged_to: datetime
) -> Report:
    match name:
        case ReportName.TRIAL_BALANCE:
            movements = _movements_within(conn, tenant_id, tuple(Code), BEGINNING, end)
            return statements.trial_balance_report(
                _balances(movements), _kept_at(conn, tenant_id, tuple(Code), end), end
            )
        case ReportName.INCOME:
            movements = _movements_within(conn, tenant_id, _RESULT, start, end)
            kept = {
                ("result", currency): amount
                for currency, amount in _movement_kept(conn, tenant_id, _RESULT, start, end).items()
            }
            return statements.income_report(movements, kept, start, end)
        case ReportName.REVENUE:
            return statements.revenue_report(
                rows.select_revenue(conn, tenant_id, start, end),
                _movement_kept(conn, tenant_id, (Code.REVENUE,), start, end),
                start,
                end,
            )
        case ReportName.RECEIVABLES:
            items = [OpenItem(**row) for row in rows.select_open_items(conn, tenant_id, end)]
            kept = _kept_at(conn, tenant_id, (Code.RECEIVABLE,), end)
            return statements.receivables_report(items, kept, end, aged_to)
        case ReportName.CUSTOMER_CREDIT:
            standing = [standing_of(row) for row in select_standing(conn, tenant_id, end)]
            kept = _kept_at(conn, tenant_id, (Code.RECEIVABLE,), end)
            return customer_credit_report(standing, kept, end)
        case ReportName.TAX:
            return tax_report(
                [TaxRow(**row) for row in tax_rows.select_taxes(conn, tenant_id, start, end)],
                [
                    WrittenOffTax(**row)
                    for row in tax_rows.select_written_off_taxes(conn, tenant_id, start, end)
                ],
                _tax_owed(conn, tenant_id, start, end),
                start,
                end,
            )
        case ReportName.CLEARING:
            kept = _kept_at(conn, tenant_id, (Code.PROVIDER_CLEARING,), end)
            return clearing_report(select_clearing(conn, tenant_id, end), kept, end)
        case ReportName.RECOGNITION_SCHEDULE:
            # What was not recognised yet at that moment is still to come, however late it is.
            until = rows.select_recognised_until(conn, tenant_id) or BEGINNING
            lines = _deferred_lines(conn, tenant_id, end, min(until, end))
            kept = _kept_at(conn, tenant_id, (Code.DEFERRED_REVENUE,), end)
            return statements.schedule_report(lines, kept, min(until, end), end)
        case _:
            title, codes = _ROLLED_FORWARD[name]
            by_customer = name in (ReportName.DEFERRED_REVENUE, ReportName.WALLETS)
            return statements.roll_forward_report(
                name,
                title,
                _movements(conn, tenant_id, codes, start, end, by_customer=by_customer),
                _kept_at(conn, tenant_id, codes, end),
                start,
                end,
                by_customer=by_customer,
                several=len(codes) > 1,
            )


def recognise_revenue(books: Books, tenant_id: int, until: datetime, now: datetime) -> Recognised:
    """Book what was rendered up to a moment of what was invoiced in advance.

    Safe to run again and to kill: a line's revenue up to a date is one fact. Raises InvalidInput `invalid_until` for a
    moment in the future; Conflict `period_closed` if a month is closed whose revenue was never recognised.
    """
    if until > now:
        raise InvalidInput(
            "invalid_until", "lies in the future: what is to come is not earned yet", path="until"
        )
    with books.read_only(tenant_id) as conn:
        before = rows.select_recognised_until(conn, tenant_id) or BEGINNING
        lines = _deferred_lines(conn, tenant_id, until, before)
    # Lines of invoices that came since are looked at from their beginning: they may say what is past already.
    facts = [
        fact
        for line in lines
        for fact in recognitions(line, before if line.issued_at <= before - MARGIN else None, until)
    ]
    booked = 0
    for first in range(0, len(facts), TRANSFERS_PER_TRANSACTION):
        transfers = [revenue_recognised(fact) for fact in facts[first : first + TRANSFERS_PER_TRANSACTION]]
        with books.transaction(tenant_id) as conn:
            booked += post(conn, tenant_id, transfers, now).booked
    if until > before:
        with books.transaction(tenant_id) as conn:
            rows.insert_recognition_run(conn, tenant_id, until, booked, now)
    return Recognised(until, booked)


def close_books(books: Books, tenant_id: int, until: datetime, reason: str, now: datetime) -> PeriodClosing:
    """Recognise what was rendered, then let nothing take effect before `until` any more. See `close_period`."""
    if until <= now:
        recognise_revenue(books, tenant_id, until, now)
    return close_period(books, tenant_id, until, reason, now)


def _deferred_lines(
    conn: BooksConnection, tenant_id: int, until: datetime, before: datetime
) -> list[DeferredLine]:
    found = rows.select_deferred_lines(conn, tenant_id, until, before, before - MARGIN)
    return [DeferredLine(**row) for row in found]


def _movements(
    conn: BooksConnection,
    tenant_id: int,
    codes: Sequence[Code],
    start: datetime,
    end: datetime,
    *,
    by_customer: bool,
) -> list[Movement]:
    found = rows.select_movements(conn, tenant_id, codes, start, end, by_customer=by_customer)
    return [Movement(**{**row, "code": Code(row["code"])}) for row in found]


def _movements_within(
    conn: BooksConnection, tenant_id: int, codes: Sequence[Code], start: datetime, end: datetime
) -> list[Movement]:
    found = rows.select_movements_within(conn, tenant_id, codes, start, end)
    return [Movement(**{**row, "code": Code(row["code"])}) for row in found]


def _balances(movements: Sequence[Movement]) -> dict[tuple[str, str], Decimal]:
    found: dict[tuple[str, str], Decimal] = {}
    with exact():
        for movement in movements:
            key = (movement.code.value, movement.currency)
            found[key] = found.get(key, ZERO) + movement.before + movement.within
    return found


def _tax_owed(conn: BooksConnection, tenant_id: int, start: datetime, end: datetime) -> dict[str, Decimal]:
    """By currency, how much tax came to be owed in a period: what was remitted meanwhile was owed, too."""
    owed = _movement_kept(conn, tenant_id, (Code.TAX_PAYABLE,), start, end)
    with exact():
        for currency, amount in tax_rows.select_remitted(conn, tenant_id, start, end).items():
            owed[currency] = owed.get(currency, ZERO) + amount
    return owed


def _movement_kept(
    conn: BooksConnection, tenant_id: int, codes: Sequence[Code], start: datetime, end: datetime
) -> dict[str, Decimal]:
    """By how much the kept balances of these accounts moved in a period: what was earned is above zero."""
    found: dict[str, Decimal] = {}
    balances = rows.select_balances_at(conn, tenant_id, codes, start, end)
    with exact():
        for (_, currency), (at_start, at_end) in balances.items():
            found[currency] = found.get(currency, ZERO) + at_start - at_end
    return found


def _kept_at(
    conn: BooksConnection, tenant_id: int, codes: Sequence[Code], end: datetime
) -> dict[tuple[str, str], Decimal]:
    """The kept balance of each (code, currency) before `end`."""
    balances = rows.select_balances_at(conn, tenant_id, codes, end, end)
    return {account: at_end for account, (_, at_end) in balances.items()}
