"""A year of events, asked for a month of it: of one customer, and of all of them at once.

The segments are written as the sealer writes them, in the order of arrival, and then put in order by the merges that
a running server does beside. What is not measured here, the way in through the log, `ingest_file` measures.
"""

import time
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from farthing.app import App, wall_clock
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant
from farthing.events.rewrite import compact
from farthing.events.seal import segment_path
from farthing.events.store import books as segment_rows
from farthing.events.store import duckdb as columns
from farthing.events.typed_columns import TypedColumns
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

ABOUT = (
    "History: a year of events of one type, 10,000 customers, all month in equal parts; the month asked for is the "
    "seventh. In the page cache. In the order of arrival: the same question before the segments were put in order."
)

EVENTS_PER_SEGMENT = 400_000
CUSTOMERS = 10_000
START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
ASKED = datetime(2025, 7, 1, tzinfo=UTC), datetime(2025, 8, 1, tzinfo=UTC)
REPETITIONS = 9

_METER = {"key": "tokens", "event_type": "call", "aggregation": "sum", "value": "data.tokens"}
_WANTED = TypedColumns(numbers=("data.tokens",), texts=())


def run(bench: Bench) -> list[Row]:
    """Write the year, ask, put it in order, ask again. Every answer is compared with the generator's."""
    events = bench.sizes.history_events
    app = bench.app
    tenant_id = create_tenant(app.books, "history", "History", wall_clock())
    customers = [
        {"key": _key(place), "name": f"Customer {place}", "currency": "USD", "timezone": "UTC"}
        for place in range(CUSTOMERS)
    ]
    apply(app.books, tenant_id, {"meters": [_METER], "customers": customers}, wall_clock())
    with bench.saying(f"writing a year of {events:,} events"):
        for first in range(0, events, EVENTS_PER_SEGMENT):
            _write_segment(app, tenant_id, first, min(EVENTS_PER_SEGMENT, events - first), events)
    right = _right(events)
    before = _customer_month(app, tenant_id, right, 3)
    started = time.perf_counter()
    with bench.saying("putting it in order"):
        while compact(app.books, app.store, tenant_id, wall_clock()):
            pass
    in_order = time.perf_counter() - started
    with app.books.read_only(tenant_id) as conn:
        files = len(segment_rows.segments(conn, tenant_id))
    after = _customer_month(app, tenant_id, right, REPETITIONS)
    everybody = _everybody(app, tenant_id, right)
    month_events = sum(count for _, count in right.values())
    return [
        Row(f"A customer's month of {events:,}", "ms", series(after), less_is_better=True),
        Row("  in the order of arrival", "ms", series(before), less_is_better=True),
        Row(
            f"All customers' month of {events:,}",
            "M events/s",
            series([month_events / seconds / 1e6 for seconds in everybody]),
        ),
        Row(f"  putting it in order, {files} files", "M events/s", series([events / in_order / 1e6])),
    ]


def _key(place: int) -> str:
    return f"customer-{place:05d}"


def _numbers(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The customer and the tokens of each event from `first` on."""
    place = np.arange(first, first + count, dtype=np.uint64)
    mixed = place * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return (mixed % np.uint64(CUSTOMERS)).astype(np.int64), (mixed >> np.uint64(40)).astype(np.int64) % 5000


def _times_us(first: int, count: int, events: int) -> np.ndarray:
    start_us = int(START.timestamp()) * 1_000_000
    return start_us + np.arange(first, first + count, dtype=np.int64) * (DAYS * 86_400_000_000 // events)


def _write_segment(app: App, tenant_id: int, first: int, count: int, events: int) -> None:
    customers, tokens = _numbers(first, count)
    cursor = app.store.cursor()
    try:
        cursor.register(
            "made",
            pa.table({"number": np.arange(first, first + count), "customer": customers, "tokens": tokens,
                      "us": _times_us(first, count, events)}),
        )  # fmt: skip
        cursor.execute(
            """
            CREATE OR REPLACE TEMP TABLE segment_rows AS
            SELECT 'gateway' AS source, 'request-' || number AS id, 'call' AS type,
                   format('customer-{:05d}', customer) AS subject, make_timestamp(us) AS time, TRUE AS own_time,
                   make_timestamp(us) AS received_at,
                   format('{{"tokens":{},"model":"m","status":200}}', tokens) AS data,
                   tokens::DECIMAL(18,0) AS "whole:data.tokens", tokens::DECIMAL(38,12) AS "num:data.tokens",
                   tokens::VARCHAR AS "raw:data.tokens"
              FROM made
            """
        )
        segment_id = f"seg_history_{first:012d}"
        path = segment_path(tenant_id, segment_id)
        file = columns.write_segment(cursor, app.store.data_dir / path, _WANTED, order="")
    finally:
        cursor.close()
    with app.books.transaction(tenant_id) as conn:
        segment_rows.insert_segment(conn, tenant_id, segment_id, path, file, wall_clock())


def _right(events: int) -> dict[int, tuple[int, int]]:
    """The tokens and the events of each customer in the month, by the generator."""
    start_us, end_us = (int(moment.timestamp()) * 1_000_000 for moment in ASKED)
    sums, counts = np.zeros(CUSTOMERS, np.int64), np.zeros(CUSTOMERS, np.int64)
    for first in range(0, events, EVENTS_PER_SEGMENT):
        count = min(EVENTS_PER_SEGMENT, events - first)
        customers, tokens = _numbers(first, count)
        times = _times_us(first, count, events)
        asked = (times >= start_us) & (times < end_us)
        np.add.at(sums, customers[asked], tokens[asked])
        np.add.at(counts, customers[asked], 1)
    return {place: (int(sums[place]), int(counts[place])) for place in range(CUSTOMERS) if counts[place]}


def _customer_month(
    app: App, tenant_id: int, right: dict[int, tuple[int, int]], repetitions: int
) -> list[float]:
    """Milliseconds of the question, each about another customer."""
    took = []
    places = list(right)
    for number in range(repetitions + 1):
        place = places[number * 997 % len(places)]
        query = UsageQuery("tokens", *ASKED, customer=_key(place))
        started = time.perf_counter()
        (group,) = query_usage(app.books, app.store, tenant_id, query, wall_clock())
        took.append(1000 * (time.perf_counter() - started))
        require_equal(f"tokens of {_key(place)}", (int(group.quantity), group.events), right[place])
    return took[1:]  # the first one warms up


def _everybody(app: App, tenant_id: int, right: dict[int, tuple[int, int]]) -> list[float]:
    """Seconds of the question about all customers."""
    took = []
    for _ in range(4):
        query = UsageQuery("tokens", *ASKED, group_by=("customer",))
        started = time.perf_counter()
        groups = query_usage(app.books, app.store, tenant_id, query, wall_clock())
        took.append(time.perf_counter() - started)
        found = {group.group["customer"]: (int(group.quantity), group.events) for group in groups}
        require_equal("tokens of all", found, {_key(place): answer for place, answer in right.items()})
    return took[1:]
