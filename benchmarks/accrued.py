"""Pay as you go: what has accrued of everybody, from the month's events, and a charge for each."""

import time
from datetime import timedelta
from fractions import Fraction
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from benchmarks.workload import END, UNITS_PER_DOLLAR, customers_and_subscriptions, meters, owed, plan
from farthing.app import App, wall_clock
from farthing.customers.apply import apply
from farthing.invoicing.accrued.service import charge_accrued, list_accrued

ABOUT = (
    "Accrued spend: everybody is looked at, as the engine does after a restart; then nobody has news; then all are "
    "due an interim invoice. Exact, and compared with whole numbers."
)
PLAN = "as-it-goes"
NEVER, AT_ONCE = "1000000000", "0.01"
FEE = 5
NOW = END - timedelta(microseconds=1)


def run(bench: Bench) -> list[Row]:
    """Everybody's accrued spend for each repetition, and at the end a charge for each."""
    expected, app = bench.month.expected, bench.app
    amounts = {key: units - FEE * UNITS_PER_DOLLAR for key, units in owed(expected).items()}
    looks: list[Stretch] = []
    again: list[float] = []
    with bench.saying(f"subscribing {expected.customers:,} customers"):
        _subscribe(app, expected.customers, NEVER)
    for number in range(bench.sizes.long_repetitions):
        with bench.saying(f"accrued spend, {number + 1} of {bench.sizes.long_repetitions}"):
            _forget(app)
            with stretch(postmaster(app.settings.data_dir)) as look:
                done = charge_accrued(app.books, app.store, app.tenant_id, NOW)
            looks.append(look)
            require_equal("subscriptions looked at", done.looked_at, expected.customers)
            started = time.perf_counter()
            done = charge_accrued(app.books, app.store, app.tenant_id, NOW)
            again.append(time.perf_counter() - started)
            require_equal("subscriptions looked at without news", done.looked_at, 0)
    _check(app, amounts)
    _subscribe(app, expected.customers, AT_ONCE)
    with bench.saying("an interim invoice for each"), stretch(postmaster(app.settings.data_dir)) as charge:
        done = charge_accrued(app.books, app.store, app.tenant_id, NOW)
    due = sum(units >= UNITS_PER_DOLLAR // 100 for units in amounts.values())
    require_equal("interim invoices", len(done.issued), due)
    return [
        Row(
            f"Accrued spend of {expected.customers:,} customers",
            "s",
            series(one.seconds for one in looks),
            less_is_better=True,
        ),
        Row("  CPU", "s", series(one.cpu_seconds for one in looks), less_is_better=True),
        Row("  nobody with news", "s", series(again), less_is_better=True),
        Row("  and an interim invoice for each", "s", series([charge.seconds]), less_is_better=True),
    ]


def _subscribe(app: App, customers: int, threshold: str) -> None:
    """Everybody to a plan of its own, charged as they go from a threshold on."""
    everybody: dict[str, Any] = customers_and_subscriptions(customers, 0)
    terms = {"mode": "pay_as_you_go", "threshold": threshold}
    subscriptions = [
        one | {"key": f"{one['customer']}-{PLAN}", "plan": PLAN, "collection": terms}
        for one in everybody["subscriptions"]
    ]
    document = everybody | {
        "meters": meters(),
        "plans": [plan() | {"key": PLAN}],
        "subscriptions": subscriptions,
    }
    apply(app.books, app.tenant_id, document, wall_clock())


def _forget(app: App) -> None:
    """What was seen before: it can all be computed again, and now it must be."""
    with app.books.transaction(app.tenant_id) as conn:
        conn.execute("DELETE FROM accrued_spend")
        conn.execute("DELETE FROM accrual_cursors")


def _check(app: App, amounts: dict[str, int]) -> None:
    found = {
        one["customer"]: Fraction(one["accrued"]) * UNITS_PER_DOLLAR
        for one in list_accrued(app.books, app.store, app.tenant_id, NOW)
        if one["plan"] == PLAN
    }
    off = [key for key, units in amounts.items() if found.get(key) != units]
    require_equal("customers with another exact amount", off, [])
