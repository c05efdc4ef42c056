"""Authorise and settle over HTTP from 64 connections: many uneven wallets, then one, against UPDATEs by hand."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from random import Random

import psycopg

from benchmarks import baseline_wallets, postgres
from benchmarks.bench import Bench
from benchmarks.funding import fund
from benchmarks.http_client import request
from benchmarks.ingest_http import SEALED_SECONDS_MAX, baseline_server
from benchmarks.measuring import Stretch, Wrong, percentile, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from benchmarks.serving import serve
from benchmarks.single_client import Answered, Load, sent_in_pairs
from farthing.api.keys import create_key
from farthing.app import wall_clock
from farthing.cli.demo_traffic import SEED, customer_key
from farthing.customers.apply import apply
from farthing.db.secret import load_secret
from farthing.db.tenants import create_tenant
from farthing.kernel.quantity import exact
from farthing.wallets.holds.checks import check_holds

ABOUT = (
    "Authorisations: a pair is one request that prices a call and holds the money, and one that settles it with its "
    "event, which is counted and drawn; 64 connections. The baseline is one conditional UPDATE a request over HTTP "
    "by hand, which keeps no hold, no event and no price."
)
CONNECTIONS = 64
UNIT_PRICE = Decimal("0.0000025")
BOUND_TOKENS = 1_000
FUNDS = Decimal(1_000_000)
_POLL_SECONDS = 0.05
_numbers = count()


@dataclass(slots=True)
class _Calls:
    """So many calls: of which wallet, and how many tokens each came to."""

    wallets: list[int]
    tokens: list[int]


@dataclass(slots=True)
class _Run:
    answered: Answered
    work: Stretch
    pairs: int

    @property
    def per_second(self) -> float:
        return self.pairs / self.answered.seconds

    @property
    def slowest_ms(self) -> float:
        return percentile(self.answered.request_seconds, 0.99) * 1000

    @property
    def cpu_us(self) -> float:
        return self.work.cpu_seconds * 1e6 / self.pairs


def run(bench: Bench) -> list[Row]:
    """Both servers stand the whole time; repetitions alternate."""
    sizes = bench.sizes
    many: list[tuple[list[_Run], list[_Run]]] = [([], []), ([], [])]
    conninfo = postgres.connection_text(bench.app.settings.data_dir)
    with (
        serve(bench.app.settings.data_dir) as serving,
        baseline_server(conninfo, "benchmarks.baseline_wallets:app") as (baseline, baseline_port),
    ):
        for number in range(sizes.long_repetitions):
            for wallets, (ours, theirs) in zip((sizes.wallets, 1), many, strict=True):
                calls, few = _calls(sizes.pairs, wallets), _calls(sizes.pairs_baseline, wallets)
                said = f"{wallets:,} wallets, {number + 1} of {sizes.long_repetitions}"
                with bench.saying(f"authorisations: Farthing, {said}"):
                    ours.append(_to_farthing(bench, serving.pid, serving.port, wallets, calls))
                with bench.saying(f"authorisations: PostgreSQL, {said}"):
                    theirs.append(_to_baseline(bench, baseline, baseline_port, conninfo, wallets, few))
    rows: list[Row] = []
    for what, (ours, theirs) in zip(
        (f"Authorise, settle: {sizes.wallets:,} wallets", "  one hot wallet"), many, strict=True
    ):
        detail = "  " if rows else ""
        rows += [
            Row(
                what,
                "pairs/s",
                series(one.per_second for one in ours),
                series(one.per_second for one in theirs),
            ),
            Row(
                f"{detail}  99th percentile of a request",
                "ms",
                series(one.slowest_ms for one in ours),
                series(one.slowest_ms for one in theirs),
                less_is_better=True,
            ),
            Row(
                f"{detail}  CPU per pair, all processes",
                "us",
                series(one.cpu_us for one in ours),
                series(one.cpu_us for one in theirs),
                less_is_better=True,
            ),
        ]
    return rows


def _calls(pairs: int, wallets: int) -> _Calls:
    """Some wallets are much busier than others."""
    random = Random(SEED)
    return _Calls(
        [min(int(random.paretovariate(0.7)) - 1, wallets - 1) for _ in range(pairs)],
        [random.randint(0, BOUND_TOKENS) for _ in range(pairs)],
    )


def _to_farthing(bench: Bench, server: int, port: int, wallets: int, calls: _Calls) -> _Run:
    app = bench.app
    name = f"authorisations-{next(_numbers)}"
    tenant_id = create_tenant(app.books, name, name, wall_clock())
    _furnish(bench, tenant_id, wallets)
    key = create_key(app.books, load_secret(app.settings.data_dir), tenant_id, "bench", wall_clock())
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    pairs = list(_pairs(calls, headers))
    with stretch(server, postmaster(app.settings.data_dir)) as work:
        answered = sent_in_pairs(Load(port, iter(()), b"HTTP/1.1 20"), iter(pairs), CONNECTIONS)
        _wait_until_counted(bench, tenant_id, len(pairs))
    _check(bench, tenant_id, calls)
    return _Run(answered, work, len(pairs))


def _furnish(bench: Bench, tenant_id: int, wallets: int) -> None:
    now = wall_clock()
    keys = [customer_key(number) for number in range(wallets)]
    price = {"model": "per_unit", "unit_price": str(UNIT_PRICE)}
    document = {
        "meters": [{"key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "data.tokens"}],
        "plans": [{
            "key": "payg", "name": "Payg", "currency": "USD", "interval": "month",
            "rate_cards": [{"key": "tokens", "name": "Tokens", "meter": "tokens", "price": price}],
        }],
        "customers": [{"key": key, "name": key, "currency": "USD"} for key in keys],
        "subscriptions": [
            {"key": f"{key}-payg", "customer": key, "plan": "payg", "start": "2024-01-01T00:00:00Z"} for key in keys
        ],
    }  # fmt: skip
    apply(bench.app.books, tenant_id, document, now)
    fund(bench.app, tenant_id, FUNDS)


def _pairs(calls: _Calls, headers: dict[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for number, (wallet, tokens) in enumerate(zip(calls.wallets, calls.tokens, strict=True)):
        customer = customer_key(wallet)
        usage = [{"meter": "tokens", "quantity": str(BOUND_TOKENS)}]
        held = {"key": f"call-{number}", "customer": customer, "usage": usage}
        event = {
            "specversion": "1.0", "id": str(number), "source": "bench", "type": "llm", "subject": customer,
            "data": {"tokens": tokens},
        }  # fmt: skip
        yield (
            request("/v1/authorizations", json.dumps(held).encode(), headers),
            request(
                f"/v1/authorizations/call-{number}/settle", json.dumps({"event": event}).encode(), headers
            ),
        )


def _wait_until_counted(bench: Bench, tenant_id: int, pairs: int) -> None:
    deadline = time.monotonic() + SEALED_SECONDS_MAX
    while True:
        with bench.app.books.read_only(tenant_id) as conn:
            row = conn.execute("SELECT count(*) AS n FROM holds WHERE status = 'counted'").fetchone()
        assert row is not None
        if row["n"] >= pairs:
            require_equal("counted authorisations", row["n"], pairs)
            return
        if time.monotonic() > deadline:
            raise Wrong(f"only {row['n']} of {pairs} were counted in {SEALED_SECONDS_MAX:.0f} s")
        time.sleep(_POLL_SECONDS)


def _check(bench: Bench, tenant_id: int, calls: _Calls) -> None:
    """Each call is drawn once, to the last digit, and nothing else is held or settled."""
    require_equal("what is off", check_holds(bench.app.books, tenant_id).findings, ())
    with bench.app.books.read_only(tenant_id) as conn:
        row = conn.execute(
            "SELECT sum(drawn) AS drawn, sum(held) AS held, sum(settled) AS settled FROM grants"
        ).fetchone()
    assert row is not None
    with exact():
        expected = {"drawn": UNIT_PRICE * sum(calls.tokens), "held": 0, "settled": 0}
    require_equal("drawn, held and settled", dict(row), expected)


def _to_baseline(bench: Bench, server: int, port: int, conninfo: str, wallets: int, calls: _Calls) -> _Run:
    with psycopg.connect(conninfo) as conn:
        conn.execute(baseline_wallets.TABLE)  # type: ignore[arg-type]
        conn.execute(
            "INSERT INTO baseline_wallets (wallet, funded) SELECT n, %s FROM generate_series(0, %s) AS g (n)",
            [FUNDS, wallets - 1],
        )
        conn.execute("ANALYZE baseline_wallets")
    held = UNIT_PRICE * BOUND_TOKENS
    pairs = []
    for wallet, tokens in zip(calls.wallets, calls.tokens, strict=True):
        hold = json.dumps({"wallet": wallet, "amount": str(held)}).encode()
        settle = json.dumps(
            {"wallet": wallet, "amount": str(held), "spent": str(UNIT_PRICE * tokens)}
        ).encode()
        json_headers = {"Content-Type": "application/json"}
        pairs.append((request("/hold", hold, json_headers), request("/settle", settle, json_headers)))
    with stretch(server, postmaster(bench.app.settings.data_dir)) as work:
        answered = sent_in_pairs(Load(port, iter(()), b"HTTP/1.1 200"), iter(pairs), CONNECTIONS)
    with psycopg.connect(conninfo) as conn:
        found = conn.execute("SELECT sum(held), sum(spent) FROM baseline_wallets").fetchone()
    require_equal("the baseline's held and spent", found, (0, UNIT_PRICE * sum(calls.tokens)))
    return _Run(answered, work, len(pairs))
