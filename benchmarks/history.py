"""A year of events, asked for a month of it: of one customer, and of all of them at once.

The segments are written as the sealer writes them, in the order of arrival, and then put in order by the merges that
a running server does beside. What is not measured here, the way in through the log, `ingest_file` measures.

A hundred million events take some minutes to write. `--keep DIR` leaves them in DIR, and asks them again where they
are there already; `farthing --data DIR --tenant history` sees them as any other data.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import numpy as np
import pyarrow as pa

from benchmarks.bench import Bench
from benchmarks.measuring import Series, Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from farthing.app import App, open_app, read_settings, wall_clock
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant, tenant_id
from farthing.events.sealing.seal import segment_path
from farthing.events.sealing.typed_columns import TypedColumns
from farthing.events.segments.rewrite import compact
from farthing.events.store import books as segment_rows
from farthing.events.store import duckdb as columns
from farthing.kernel.errors import NotFound
from farthing.usage.model import UsageGroup, UsageQuery
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
REPETITIONS = 25
EVERYBODY_REPETITIONS = 5
TENANT = "history"
WRITTEN_FILE = "history.json"
"""In a directory that is kept: what was written there, once all of it is in order."""

_METER = {"key": "tokens", "event_type": "call", "aggregation": "sum", "value": "data.tokens"}
_WANTED = TypedColumns(numbers=("data.tokens",), texts=())

Right = dict[int, tuple[int, int]]
"""The tokens and the events of each customer in the month."""
_Check = Callable[[Sequence[UsageGroup]], None]
_Question = Callable[[int], tuple[UsageQuery, _Check]]
"""The question of each repetition, and what looks at its answer."""


@dataclass(slots=True)
class _Written:
    """The year, as it was written and put in order. Files are counted after that."""

    events: int
    in_arrival_ms: list[float] = field(default_factory=list)
    in_order_seconds: float = 0.0
    in_order_cpu_seconds: float = 0.0
    files: int = 0


def run(bench: Bench) -> list[Row]:
    """Write the year, ask, put it in order, ask again. Every answer is compared with the generator's."""
    events = bench.sizes.history_events
    right = _right(events)
    with ExitStack() as leaving:
        app = bench.app
        if bench.keep is not None:
            settings = read_settings({}, {"data_dir": str(bench.keep)})
            app = leaving.enter_context(open_app(settings, wall_clock))
        written = _written(bench, app, events, right)
        history = tenant_id(app.books, TENANT)
        after = _repeated(app, history, REPETITIONS, _one_customer(right))
        everybody = _repeated(app, history, EVERYBODY_REPETITIONS, _everybody(right))
    month_events = sum(count for _, count in right.values())
    return [
        Row(f"A customer's month of {events:,}", "ms", _milliseconds(after), less_is_better=True),
        Row(
            "  CPU, all processes",
            "ms",
            series([1000 * one.cpu_seconds for one in after]),
            less_is_better=True,
        ),
        Row("  in the order of arrival", "ms", series(written.in_arrival_ms), less_is_better=True),
        Row(
            f"All customers' month of {events:,}",
            "M events/s",
            series([month_events / one.seconds / 1e6 for one in everybody]),
        ),
        Row(
            "  CPU per million events",
            "s",
            series([one.cpu_seconds * 1e6 / month_events for one in everybody]),
            less_is_better=True,
        ),
        Row(
            f"  putting it in order, {written.files} files",
            "M events/s",
            series([events / written.in_order_seconds / 1e6]),
        ),
        Row(
            "    CPU per million events",
            "s",
            series([written.in_order_cpu_seconds * 1e6 / events]),
            less_is_better=True,
        ),
    ]


def _written(bench: Bench, app: App, events: int, right: Right) -> _Written:
    """The year in the store, written now where it is not kept there from before."""
    kept = app.settings.data_dir / WRITTEN_FILE
    if bench.keep is not None and kept.exists():
        there = msgspec.json.decode(kept.read_bytes(), type=_Written)
        require_equal(f"events of the year in {bench.keep}", there.events, events)
        return there
    if (history := _tenant_written(app, events)) is None:
        history = _write_year(bench, app, events)
    written = _Written(events)
    before = _repeated(app, history, 3, _one_customer(right))
    written.in_arrival_ms = [1000 * one.seconds for one in before]
    with bench.saying("putting it in order"), stretch(postmaster(app.settings.data_dir)) as in_order:
        while compact(app.books, app.store, history, wall_clock()):
            # A server removes them an hour later, when nobody reads them any more.
            _remove_replaced(app, history)
    written.in_order_seconds, written.in_order_cpu_seconds = in_order.seconds, in_order.cpu_seconds
    written.files = len(_paths(app, history))
    kept.write_bytes(msgspec.json.encode(written))
    return written


def _tenant_written(app: App, events: int) -> int | None:
    """The tenant that has all of the year already: putting it in order was cut short."""
    try:
        history = tenant_id(app.books, TENANT)
    except NotFound:
        return None
    with app.books.read_only(history) as conn:
        there = sum(one.events for one in segment_rows.segments(conn, history, with_voids=False))
    require_equal("events of a year that was begun", there, events)
    return history


def _write_year(bench: Bench, app: App, events: int) -> int:
    """A tenant with the year in the order of arrival."""
    history = create_tenant(app.books, TENANT, "History", wall_clock())
    customers = [
        {"key": _key(place), "name": f"Customer {place}", "currency": "USD", "timezone": "UTC"}
        for place in range(CUSTOMERS)
    ]
    apply(app.books, history, {"meters": [_METER], "customers": customers}, wall_clock())
    with bench.saying(f"writing a year of {events:,} events"):
        for first in range(0, events, EVENTS_PER_SEGMENT):
            _write_segment(app, history, first, min(EVENTS_PER_SEGMENT, events - first), events)
    return history


def _remove_replaced(app: App, history: int) -> None:
    """Files that a merge replaced would need the disk twice."""
    in_force = _paths(app, history)
    for path in (app.store.data_dir / next(iter(in_force))).parent.iterdir():
        if str(path.relative_to(app.store.data_dir)) not in in_force:
            path.unlink()


def _paths(app: App, history: int) -> set[str]:
    with app.books.read_only(history) as conn:
        return {segment.path for segment in segment_rows.segments(conn, history, with_voids=False)}


def _repeated(app: App, history: int, repetitions: int, question: _Question) -> list[Stretch]:
    """What a question takes, asked over and over; the first time warms up. Answers are checked in between."""
    took = []
    for number in range(repetitions + 1):
        query, check = question(number)
        with stretch(postmaster(app.settings.data_dir)) as one:
            groups = query_usage(app.books, app.store, history, query, wall_clock())
        check(groups)
        took.append(one)
    return took[1:]


def _milliseconds(took: list[Stretch]) -> Series:
    return series([1000 * one.seconds for one in took])


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


def _right(events: int) -> Right:
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


def _one_customer(right: Right) -> _Question:
    """Each time about another customer."""
    places = list(right)

    def asked(number: int) -> tuple[UsageQuery, _Check]:
        place = places[number * 997 % len(places)]

        def check(groups: Sequence[UsageGroup]) -> None:
            (group,) = groups
            require_equal(f"tokens of {_key(place)}", (int(group.quantity), group.events), right[place])

        return UsageQuery("tokens", *ASKED, customer=_key(place)), check

    return asked


def _everybody(right: Right) -> _Question:
    answer = {_key(place): of_customer for place, of_customer in right.items()}

    def check(groups: Sequence[UsageGroup]) -> None:
        found = {group.group["customer"]: (int(group.quantity), group.events) for group in groups}
        require_equal("tokens of all", found, answer)

    return lambda _: (UsageQuery("tokens", *ASKED, group_by=("customer",)), check)
