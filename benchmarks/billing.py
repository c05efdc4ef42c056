"""The billing run: from the month's events to issued invoices, each checked to the last digit."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from benchmarks.workload import (
    END,
    LINES_PER_INVOICE,
    START,
    UNITS_PER_DOLLAR,
    Expected,
    customers_and_subscriptions,
    meters,
    owed,
    plan,
)
from farthing.app import App, wall_clock
from farthing.catalog.service import all_meters, plan_versions_by_id
from farthing.cli.demo_traffic import customer_key
from farthing.customers.apply import apply
from farthing.customers.service import get_customer, subscriptions_begun
from farthing.invoicing.adjusting.adjustments import Carried
from farthing.invoicing.drafting.usage_lines import UsageOfBills
from farthing.invoicing.due import due_bills, parted
from farthing.invoicing.model import Bill, Draft
from farthing.invoicing.run import drafted, usage_needed
from farthing.invoicing.service import invoice_documents, put_seller, run_billing
from farthing.invoicing.store import select_issued
from farthing.ledger.chart import Code
from farthing.ledger.service import list_accounts
from farthing.tax.service import import_rates
from farthing.usage.model import NO_DETAIL, Span
from farthing.usage.service import billable_usage

ABOUT = (
    "Invoices: one by one is the usage alone, asked of our own store customer by customer and meter by meter, on a "
    "sample, without rating and issuing. The whole run taxes each invoice and books it, and the books are asked. It "
    "drafts invoices while it inserts others: the rest is what it takes beyond usage and drafts made by themselves."
)

SELLER = {"name": "Seller GmbH", "address": {"country": "DE"}}
RATE = {"country": "DE", "rate": "19", "name": "VAT"}
"""Customers without a country are taxed where the seller is."""


@dataclass(slots=True)
class _Run:
    """One billing run, and two of its parts done once more by themselves."""

    invoices: int
    whole: Stretch
    usage_seconds: float
    rating_seconds: float

    @property
    def rest_seconds(self) -> float:
        return max(0.0, self.whole.seconds - self.usage_seconds - self.rating_seconds)


def run(bench: Bench) -> list[Row]:
    """A billing run for each repetition, over subscriptions of its own to the same plan and events."""

    expected, app = bench.month.expected, bench.app
    amounts = owed(expected)
    apply(app.books, app.tenant_id, {"meters": meters(), "plans": [plan()]}, wall_clock())
    put_seller(app.books, app.tenant_id, SELLER)
    import_rates(app.books, app.tenant_id, {"rates": [RATE]}, wall_clock())
    runs: list[_Run] = []
    one_by_one: list[float] = []
    for number in range(bench.sizes.long_repetitions):
        with bench.saying(f"subscribing {expected.customers:,} customers"):
            document = customers_and_subscriptions(expected.customers, number)
            apply(app.books, app.tenant_id, document, wall_clock())
        with bench.saying(f"billing, {number + 1} of {bench.sizes.long_repetitions}"):
            runs.append(_bill(app, expected, amounts))
        with bench.saying("asking for usage one by one"):
            one_by_one.append(_one_by_one(app, expected.customers, bench.sizes.customers_one_by_one))
    return [
        Row(
            f"Invoices of {LINES_PER_INVOICE} lines, tax, ledger",
            "invoices/s",
            series(one.invoices / one.whole.seconds for one in runs),
        ),
        Row(
            f"  {expected.customers:,} invoices: the whole run",
            "s",
            series(one.whole.seconds for one in runs),
            less_is_better=True,
        ),
        Row("    usage queries", "s", series(one.usage_seconds for one in runs), less_is_better=True),
        Row(
            "    lines, rating, totals", "s", series(one.rating_seconds for one in runs), less_is_better=True
        ),
        Row(
            "    documents, inserts, the rest",
            "s",
            series(one.rest_seconds for one in runs),
            less_is_better=True,
        ),
        Row("    usage asked one by one instead", "invoices/s", series(one_by_one)),
        Row(
            "  CPU per thousand invoices",
            "s",
            series(one.whole.cpu_seconds * 1000 / one.invoices for one in runs),
            less_is_better=True,
        ),
    ]


def _bill(app: App, expected: Expected, amounts: dict[str, int]) -> _Run:

    owed_before = _owed(app)
    usage_seconds, rating_seconds = _parts_alone(app)
    with stretch(postmaster(app.settings.data_dir)) as whole:
        result = run_billing(app.books, app.store, app.tenant_id, END, wall_clock())
    require_equal("invoices issued", len(result.issued), expected.customers)
    billed: dict[str, Any] = {}
    lines = 0
    taxed = Decimal(0)
    for document in invoice_documents(app.books, app.tenant_id, result.issued):
        tax = Decimal(document["tax"])
        billed[document["customer"]] = (Fraction(document["total_exact"]) - Fraction(tax)) * UNITS_PER_DOLLAR
        off = abs(tax * 100 - Decimal(document["subtotal"]) * int(RATE["rate"]))
        require_equal("tax that is more than half a cent off", off > Decimal("0.5"), False)
        taxed += tax
        lines += len(document["lines"])
    require_equal("lines", lines, expected.customers * LINES_PER_INVOICE)
    require_equal("the sum of the exact totals", sum(billed.values()), sum(amounts.values()))
    wrong = [key for key, units in amounts.items() if billed.get(key) != units]
    require_equal("customers with another exact total", wrong, [])
    require_equal("tax in the ledger", _owed(app) - owed_before, taxed)
    return _Run(len(result.issued), whole, usage_seconds, rating_seconds)


def _owed(app: App) -> Decimal:
    """What the ledger owes the authorities."""
    accounts = list_accounts(app.books, app.tenant_id, 0, 1, code=Code.TAX_PAYABLE)
    return -sum((account.balance for account in accounts), Decimal(0))


def _parts_alone(app: App) -> tuple[float, float]:
    """What is about to be billed: its usage, then its drafts, by the functions that the run will call."""

    bills = _bills(app)
    known = {meter.key: meter for meter in all_meters(app.books, app.tenant_id)}
    started = time.perf_counter()
    with app.books.read_only(app.tenant_id) as conn:
        answers = {
            (meter, detail): list(billable_usage(app.store, conn, app.tenant_id, known[meter], detail, spans))
            for (meter, detail), spans in usage_needed(bills).items()
        }
    asked = time.perf_counter()
    usage = UsageOfBills({query: iter(rows) for query, rows in answers.items()})
    carried = Carried({}, {})
    drafts = [drafted(bill, usage.of(place), (), carried) for place, bill in enumerate(bills)]
    finished = time.perf_counter()
    require_equal(
        "bills that could be drafted", sum(isinstance(draft, Draft) for draft in drafts), len(bills)
    )
    return asked - started, finished - asked


def _bills(app: App) -> Sequence[Bill]:

    subscriptions, customers = subscriptions_begun(app.books, app.tenant_id, END)
    versions = {subscription.plan_version_id for subscription in subscriptions}
    plans = plan_versions_by_id(app.books, app.tenant_id, versions)
    with app.books.read_only(app.tenant_id) as conn:
        issued = select_issued(conn, app.tenant_id)
    return parted(due_bills(subscriptions, customers, plans, END), issued)[0]


def _one_by_one(app: App, customers: int, wanted: int) -> float:
    """Customers a second when each one's usage is asked for by itself, meter by meter.

    The sample stands at equal distances from the largest customer to the smallest.
    """

    known = all_meters(app.books, app.tenant_id)
    places = range(customers // wanted // 2, customers, customers // wanted)
    sample = [get_customer(app.books, app.tenant_id, customer_key(place)) for place in places]
    started = time.perf_counter()
    for customer in sample:
        for meter in known:
            with app.books.read_only(app.tenant_id) as conn:
                spans = [Span(0, customer.customer_id, START, END)]
                list(billable_usage(app.store, conn, app.tenant_id, meter, NO_DETAIL, spans))
    return len(sample) / (time.perf_counter() - started)
