"""Questions about the month's usage, answered exactly from its events; beside plain DuckDB on the same files."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from benchmarks.workload import DAYS, END, START, Expected
from farthing.app import App, wall_clock
from farthing.cli.demo_traffic import MODELS, customer_key
from farthing.customers.apply import apply
from farthing.events.store.books import segments
from farthing.usage.model import UsageGroup, UsageQuery, Window
from farthing.usage.service import query_usage

ABOUT = (
    "Usage queries: baseline is SQL written by hand for DuckDB on the same Parquet files with the same threads, "
    "without customers and aliases. Files are in the page cache."
)
_SCAN = """
    FROM read_parquet(?) WHERE type = 'llm.completion' AND "dim:data.status" = 'ok'
     AND time >= TIMESTAMP '2024-06-01' AND time < TIMESTAMP '2024-07-01'
"""


@dataclass(frozen=True, slots=True)
class _Question:
    """A question, the same in SQL, and the right answer to both."""

    title: str
    query: UsageQuery
    sql: str
    key: Callable[[UsageGroup], tuple[Any, ...]]
    answer: dict[tuple[Any, ...], int]


def _questions(expected: Expected) -> list[_Question]:
    largest = int(expected.requests.sum(axis=1).argmax())
    inputs = expected.input_tokens
    tokens = 'sum("num:data.input_tokens")'
    return [
        _Question(
            "Usage: largest customer, by model",
            UsageQuery("input_tokens", START, END, customer=customer_key(largest), group_by=("model",)),
            f"""SELECT "dim:data.model", {tokens} {_SCAN} AND subject = '{customer_key(largest)}' GROUP BY 1""",
            lambda row: (row.group["model"],),
            {(name,): int(inputs[largest, place]) for place, name in enumerate(MODELS)},
        ),
        _Question(
            f"Usage: all {expected.customers:,} customers",
            UsageQuery("input_tokens", START, END, group_by=("customer",)),
            f"SELECT subject, {tokens} {_SCAN} GROUP BY 1",
            lambda row: (row.group["customer"],),
            {(customer_key(place),): int(total) for place, total in enumerate(inputs.sum(axis=1))},
        ),
        _Question(
            "Usage: everybody by day and model",
            UsageQuery("input_tokens", START, END, group_by=("model",), window=Window.DAY),
            f"""SELECT "dim:data.model", date_trunc('day', time), {tokens} {_SCAN} GROUP BY 1, 2""",
            lambda row: (row.group["model"], row.window_start and row.window_start.replace(tzinfo=None)),
            {
                (name, START.replace(tzinfo=None) + timedelta(days=day)): int(
                    expected.input_tokens_by_day[day, place]
                )
                for day in range(DAYS)
                for place, name in enumerate(MODELS)
            },
        ),
    ]


def run(bench: Bench) -> list[Row]:
    """Each question once to see that the answer is right, then in turn with the baseline."""
    expected, app = bench.month.expected, bench.app
    customers = [
        {"key": customer_key(place), "name": f"Customer {place + 1}", "currency": "USD", "timezone": "UTC"}
        for place in range(expected.customers)
    ]
    apply(app.books, app.tenant_id, {"customers": customers}, wall_clock())
    files = _files(app)
    rows = []
    for question in _questions(expected):
        right = {key: quantity for key, quantity in question.answer.items() if quantity}

        def ours(question: _Question = question, right: dict[tuple[Any, ...], int] = right) -> float:
            started = time.perf_counter()
            groups = query_usage(app.books, app.store, app.tenant_id, question.query, wall_clock())
            seconds = time.perf_counter() - started
            found = {question.key(group): int(group.quantity) for group in groups}
            require_equal(question.title, found, right)
            return seconds

        def theirs(question: _Question = question, right: dict[tuple[Any, ...], int] = right) -> float:
            cursor = app.store.cursor()
            started = time.perf_counter()
            answered = cursor.execute(question.sql, [files]).fetchall()
            seconds = time.perf_counter() - started
            cursor.close()
            require_equal(f"{question.title}, by hand", {row[:-1]: int(row[-1]) for row in answered}, right)
            return seconds

        with bench.saying(question.title):
            ours(), theirs()
            pairs = [(ours(), theirs()) for _ in range(bench.sizes.repetitions)]
        rows.append(
            Row(
                question.title,
                "ms",
                series(1000 * one for one, _ in pairs),
                series(1000 * other for _, other in pairs),
                less_is_better=True,
            )
        )
    return rows


def _files(app: App) -> list[str]:
    with app.books.read_only(app.tenant_id) as conn:
        return [str(app.settings.data_dir / segment.path) for segment in segments(conn, app.tenant_id)]
