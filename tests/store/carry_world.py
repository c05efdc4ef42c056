"""What bills that wait look like: for the tests of what is carried forward and of collective invoices."""

from decimal import Decimal as D
from typing import Any

from billing_world import World, instant

from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.invoicing.checks import (
    check_booked,
    check_carried,
    check_documents,
    check_numbers,
    check_sums,
)
from farthing.invoicing.service import invoice_documents, list_invoices
from farthing.ledger.service import trial_balance

CHECKS = (check_sums, check_numbers, check_documents, check_booked, check_carried)


def tokens(unit_price: str = "0.333", **more: Any) -> dict[str, Any]:
    price = {"model": "per_unit", "unit_price": unit_price}
    return {"key": "tokens", "name": "Tokens", "meter": "tokens", "price": price} | more


def invoices(world: World) -> list[dict[str, Any]]:
    numbers = [one["number"] for one in list_invoices(world.books, world.tenant_id, None, 100)]
    return list(invoice_documents(world.books, world.tenant_id, numbers))


def told(world: World) -> list[tuple[str, list[tuple[str, str, str]], str]]:
    """Each invoice: its subscription, its lines as (kind, exact, shown), its total."""
    return [
        (
            one["subscription"],
            [(line["kind"], line["amount_exact"], line["amount"]) for line in one["lines"]],
            one["total"],
        )
        for one in invoices(world)
    ]


def booked(world: World) -> dict[str, D]:
    rows = trial_balance(world.books, world.tenant_id).rows
    return {row.code.value: row.debit - row.credit for row in rows if row.debit != row.credit}


def assert_well(world: World) -> None:
    for check in CHECKS:
        assert check(world.books, world.tenant_id).findings == ()
    for name in (ReportName.REVENUE, ReportName.RECEIVABLES, ReportName.TRIAL_BALANCE, ReportName.INCOME):
        start = instant("2026-01-01") if name in (ReportName.REVENUE, ReportName.INCOME) else None
        report = make_report(
            world.books, world.tenant_id, name, start, instant("2027-01-01"), instant("2027-01-02")
        )
        assert all(tie.holds for tie in report.ties), (name, report.ties)
