"""What wallets add to sealing: the same log sealed for customers with and without wallets."""

from decimal import Decimal

from benchmarks.bench import Bench
from benchmarks.funding import fund
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from benchmarks.workload import START, Expected, batches, expected_of, meters, traffic_of
from farthing.app import App, wall_clock
from farthing.cli.demo_traffic import MODELS, Traffic, customer_key
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant
from farthing.events.intake.formats import parse_lines
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.kernel.instant import format_instant, unix_microseconds
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.draw_store import fund_charges

ABOUT = (
    "Wallets: one paid grant for each customer, one rate card by model; every sealed piece of the log draws from the "
    "wallets of all customers in it, in the transaction that makes it count. The baseline has no wallets."
)
EVENTS_PER_BLOCK = 1_000
FUNDS = Decimal(100_000)
PRICES = {model: Decimal(place + 1) / 10**7 for place, model in enumerate(MODELS)}


def run(bench: Bench) -> list[Row]:
    """Both seal the same events, in turn; every grant is checked to the last digit."""
    app, sizes = bench.app, bench.sizes
    traffic = traffic_of(sizes.file_events, min(sizes.customers, sizes.file_events // 2))
    expected = expected_of(traffic)
    with_wallets: list[Stretch] = []
    without: list[Stretch] = []
    for number in range(sizes.long_repetitions):
        for took, wallets in ((without, False), (with_wallets, True)):
            name = f"{'with' if wallets else 'without'}-wallets-{number}"
            with bench.saying(f"furnishing {traffic.customers:,} customers {name}"):
                tenant_id = _furnished(app, name, traffic.customers, wallets=wallets)
                _append(app, tenant_id, traffic)
            with bench.saying(f"sealing {sizes.file_events:,} events {name}"):
                took.append(_seal(app, tenant_id))
            if wallets:
                _check(app, tenant_id, expected)
    return [
        Row(
            f"Sealing for {traffic.customers:,} wallets",
            "events/s",
            series(sizes.file_events / one.seconds for one in with_wallets),
            series(sizes.file_events / one.seconds for one in without),
        ),
        Row(
            "  CPU per million events",
            "s",
            series(one.cpu_seconds * 1e6 / sizes.file_events for one in with_wallets),
            series(one.cpu_seconds * 1e6 / sizes.file_events for one in without),
            less_is_better=True,
        ),
        Row(
            "  CPU that wallets add to sealing",
            "%",
            series(
                100 * (ours.cpu_seconds / theirs.cpu_seconds - 1)
                for ours, theirs in zip(with_wallets, without, strict=True)
            ),
            less_is_better=True,
        ),
    ]


def _furnished(app: App, name: str, customers: int, *, wallets: bool) -> int:
    tenant_id = create_tenant(app.books, name, name, wall_clock())
    start = format_instant(START)
    cells = [
        {"when": {"model": model}, "price": {"model": "per_unit", "unit_price": str(price)}}
        for model, price in PRICES.items()
    ]
    card = {
        "key": "input",
        "name": "Input",
        "meter": "input_tokens",
        "price": {"model": "matrix", "dimensions": ["model"], "cells": cells},
    }
    plan = {"key": "payg", "name": "Payg", "currency": "USD", "interval": "month", "rate_cards": [card]}
    keys = [customer_key(place) for place in range(customers)]
    document = {
        "meters": meters(),
        "plans": [plan],
        "customers": [{"key": key, "name": key, "currency": "USD"} for key in keys],
        "subscriptions": [{"key": key, "customer": key, "plan": "payg", "start": start} for key in keys],
    }
    apply(app.books, tenant_id, document, wall_clock())
    if wallets:
        fund(app, tenant_id, FUNDS)
    return tenant_id


def _append(app: App, tenant_id: int, traffic: Traffic) -> None:
    writer = LogWriter(app.log_dir, f"wallets-{tenant_id}")
    waiting = None
    for number, (lines, events) in enumerate(batches(traffic, EVENTS_PER_BLOCK), start=1):
        batch = parse_lines(lines)
        header = BlockHeader(
            block=number,
            tenant=tenant_id,
            kind="events",
            received_us=unix_microseconds(wall_clock()),
            events=events,
            bytes=len(batch.lines),
            origin="benchmark",
        )
        waiting = writer.append(encode_block(header, batch.lines))
    assert waiting is not None
    waiting.result()
    writer.close()


def _seal(app: App, tenant_id: int) -> Stretch:
    """Seal all of it. What sealing leaves to be summed up every half minute is summed up once, within the measure."""
    with only_sealer(app.settings.data_dir) as alone:
        assert alone
        sealer = Sealer(app.books, app.store, app.log_dir, app.settings.lateness)
        with stretch(postmaster(app.settings.data_dir)) as measured:
            for _ in sealer.seal_standing(wall_clock):
                pass
            with app.books.transaction(tenant_id) as conn:
                fund_charges(conn)
    return measured


def _check(app: App, tenant_id: int, expected: Expected) -> None:
    with app.books.read_only(tenant_id) as conn:
        found = {row["key"]: row["drawn"] for row in conn.execute("SELECT key, drawn FROM grants")}
    prices = list(PRICES.values())
    drawn = {
        f"grant-{customer_key(place)}": sum(
            (int(tokens) * price for tokens, price in zip(row, prices, strict=True)), Decimal(0)
        )
        for place, row in enumerate(expected.input_tokens)
    }
    require_equal("what was drawn", found, drawn)
    for check in (check_overspent, check_counters, check_prepaid):
        require_equal("what is off in the wallets", check(app.books, tenant_id).findings, ())
