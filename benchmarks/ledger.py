"""The ledger: draws from wallets in batches of a thousand, against one transaction of plain statements for each."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from statistics import median
from time import perf_counter

import psycopg

from benchmarks.bench import Bench
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.postgres import connection_text
from benchmarks.report import Row
from farthing.app import App, wall_clock
from farthing.cli.demo_traffic import SEED, customer_key
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.ledger.chart import Code
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.facts import WalletDrawn
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import wallet_drawn
from farthing.ledger.service import list_accounts, post, trial_balance

ABOUT = (
    "Ledger: two sessions; every transfer credits the same revenue account. The baseline is one transaction for each "
    "transfer: three INSERTs of single rows, two UPDATEs of balances, with keys and indexes, without checks."
)
BATCH = 1_000
SESSIONS = 2
UNIT = Decimal("0.0000001")

_BASELINE_TABLES = """
    DROP TABLE IF EXISTS baseline_entries, baseline_transfers, baseline_balances;
    CREATE TABLE baseline_balances (account bigint PRIMARY KEY, balance numeric NOT NULL);
    CREATE TABLE baseline_transfers (
        transfer bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL UNIQUE,
        booked_at timestamptz NOT NULL);
    CREATE TABLE baseline_entries (
        transfer bigint NOT NULL REFERENCES baseline_transfers,
        account bigint NOT NULL REFERENCES baseline_balances,
        amount numeric NOT NULL);
    CREATE INDEX ON baseline_entries (account, transfer);
"""


@dataclass(frozen=True, slots=True)
class _Draw:
    """So many ten-millionths of a dollar from the wallet of a customer, by its place among them."""

    key: str
    customer: int
    units: int


def run(bench: Bench) -> list[Row]:
    """Ours and the baseline take turns; both start each repetition with draws that were never booked."""
    app, sizes = bench.app, bench.sizes
    with bench.saying(f"making {sizes.customers:,} customers"):
        tenant_id = create_tenant(app.books, "ledger-benchmark", "Ledger", wall_clock())
        ids = _customers(app, tenant_id, sizes.customers)
        _baseline_accounts(app, sizes.customers)
    ours: list[Stretch] = []
    theirs: list[Stretch] = []
    units = their_units = 0
    for number in range(sizes.repetitions):
        with bench.saying(f"posting {sizes.transfers:,} transfers, {number + 1} of {sizes.repetitions}"):
            draws = _draws(number, sizes.transfers, sizes.customers)
            units += sum(draw.units for draw in draws)
            ours.append(_post(app, tenant_id, ids, draws))
        _check(app, tenant_id, units, (number + 1) * sizes.transfers)
        with bench.saying(f"the same by hand, {sizes.transfers_baseline:,} of them"):
            draws = _draws(number, sizes.transfers_baseline, sizes.customers)
            their_units += sum(draw.units for draw in draws)
            theirs.append(_by_hand(app, draws))
        _check_baseline(app, their_units)
    reports = _reports(bench, tenant_id, units, sizes.repetitions)
    return [
        Row(
            f"Ledger transfers, batches of {BATCH:,}",
            "per second",
            series(sizes.transfers / one.seconds for one in ours),
            series(sizes.transfers_baseline / one.seconds for one in theirs),
        ),
        Row(
            "  CPU per thousand transfers",
            "ms",
            series(one.cpu_seconds * 1e6 / sizes.transfers for one in ours),
            series(one.cpu_seconds * 1e6 / sizes.transfers_baseline for one in theirs),
            less_is_better=True,
        ),
        *reports,
    ]


def _reports(bench: Bench, tenant_id: int, units: int, repetitions: int) -> list[Row]:
    """Every finance report over all that was posted; each must tie, and the drawn funds be those that were drawn."""
    app = bench.app
    entries = (
        sum(account.entries for account in list_accounts(app.books, tenant_id, 0, 1, code=Code.REVENUE)) * 2
    )
    times: dict[ReportName, list[float]] = {name: [] for name in ReportName}
    with bench.saying(f"reports over {entries:,} entries"):
        for _ in range(repetitions):
            for name in ReportName:
                began = perf_counter()
                report = make_report(app.books, tenant_id, name, None, None, wall_clock())
                times[name].append(perf_counter() - began)
                require_equal(f"{name.value} ties", all(tie.holds for tie in report.ties), True)
                if name is ReportName.WALLETS:
                    drawn = sum(tie.report for tie in report.ties)
                    require_equal("drawn from wallets", -drawn, units * UNIT)
    slowest = max(times, key=lambda name: median(times[name]))
    shown = {
        "Reports: trial balance": ReportName.TRIAL_BALANCE,
        "  revenue by product and customer": ReportName.REVENUE,
        "  the slowest of all reports": slowest,
    }
    return [
        Row(title, "ms", series(seconds * 1e3 for seconds in times[name]), less_is_better=True)
        for title, name in shown.items()
    ]


def _draws(number: int, count: int, customers: int) -> list[_Draw]:
    """Draws of very uneven customers: a tenth of them make more than half."""
    random = Random(SEED + number)
    return [
        _Draw(
            f"{number}-{place:09}",
            int(customers * random.random() ** 4),
            int(random.paretovariate(1.2) * 100),
        )
        for place in range(count)
    ]


def _customers(app: App, tenant_id: int, count: int) -> list[int]:
    """The customers' ids, by their places."""
    keys = [customer_key(place) for place in range(count)]
    documents = [{"key": key, "name": key, "currency": "USD"} for key in keys]
    apply(app.books, tenant_id, {"customers": documents}, wall_clock())
    with app.books.read_only(tenant_id) as conn:
        ids = {
            row["key"]: row["customer_id"] for row in conn.execute("SELECT key, customer_id FROM customers")
        }
    return [ids[key] for key in keys]


def _post(app: App, tenant_id: int, ids: Sequence[int], draws: Sequence[_Draw]) -> Stretch:
    now = wall_clock()
    batches = [
        [_transfer(draw, ids, now) for draw in draws[start : start + BATCH]]
        for start in range(0, len(draws), BATCH)
    ]

    def session(mine: Iterator[list[Transfer]]) -> None:
        for batch in mine:
            with app.books.transaction(tenant_id) as conn:
                post(conn, tenant_id, batch, now)

    with stretch(postmaster(app.settings.data_dir)) as measured:
        _at_once([lambda part=part: session(iter(batches[part::SESSIONS])) for part in range(SESSIONS)])
    return measured


def _transfer(draw: _Draw, ids: Sequence[int], now: datetime) -> Transfer:
    return wallet_drawn(WalletDrawn(draw.key, ids[draw.customer], "USD", draw.units * UNIT, Decimal(0), now))


def _check(app: App, tenant_id: int, units: int, transfers: int) -> None:
    for check in (check_transfers_balance, check_balances):
        require_equal("what is off in the ledger", check(app.books, tenant_id).findings, ())
    require_equal(
        "both sides of the ledger", trial_balance(app.books, tenant_id).totals["USD"], (units * UNIT,) * 2
    )
    looked_at = check_transfers_balance(app.books, tenant_id).looked_at
    require_equal("transfers in the ledger", looked_at, f"{transfers:,} transfers")


# ---- By hand: account 0 is the revenue, the others are the customers'


def _baseline_accounts(app: App, customers: int) -> None:
    with psycopg.connect(connection_text(app.settings.data_dir)) as conn:
        conn.execute(_BASELINE_TABLES)
        conn.execute(
            "INSERT INTO baseline_balances SELECT place, 0 FROM generate_series(0, %s) AS place", [customers]
        )


def _by_hand(app: App, draws: Sequence[_Draw]) -> Stretch:
    conninfo, now = connection_text(app.settings.data_dir), wall_clock()

    def session(mine: Iterator[_Draw]) -> None:
        with closing(psycopg.connect(conninfo, autocommit=True)) as conn:
            for draw in mine:
                _book_by_hand(conn, draw, now)

    with stretch(postmaster(app.settings.data_dir)) as measured:
        _at_once([lambda part=part: session(iter(draws[part::SESSIONS])) for part in range(SESSIONS)])
    return measured


def _book_by_hand(conn: psycopg.Connection, draw: _Draw, now: datetime) -> None:
    account, amount = draw.customer + 1, draw.units * UNIT
    with conn.transaction():
        row = conn.execute(
            "INSERT INTO baseline_transfers (key, booked_at) VALUES (%s, %s) RETURNING transfer",
            [draw.key, now],
        ).fetchone()
        for one, signed in ((account, amount), (0, -amount)):
            conn.execute("INSERT INTO baseline_entries VALUES (%s, %s, %s)", [row[0], one, signed])
        # The busy account last, so that it is held for as short as can be.
        for one, signed in ((account, amount), (0, -amount)):
            conn.execute(
                "UPDATE baseline_balances SET balance = balance + %s WHERE account = %s", [signed, one]
            )


def _check_baseline(app: App, units: int) -> None:
    with psycopg.connect(connection_text(app.settings.data_dir)) as conn:
        found = conn.execute(
            "SELECT sum(balance) FILTER (WHERE account > 0), -sum(balance) FILTER (WHERE account = 0),"
            " (SELECT sum(amount) FROM baseline_entries WHERE account > 0) FROM baseline_balances"
        ).fetchone()
    require_equal("the balances by hand", found, (units * UNIT,) * 3)


def _at_once(sessions: Sequence[Callable[[], None]]) -> None:
    """Run them at the same time; the first failure is raised."""
    failures: list[BaseException] = []

    def guarded(session: Callable[[], None]) -> None:
        try:
            session()
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
