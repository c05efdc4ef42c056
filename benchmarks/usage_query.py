"""Questions about the month's usage, answered exactly from its events; beside PostgreSQL and plain DuckDB."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from benchmarks import postgres
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
    "Usage: baseline is PostgreSQL with the same events in a table of typed columns, with an index on (subject, "
    "time). By hand in DuckDB: our own files, without customers and aliases. All in the page cache."
)

_Answer = dict[tuple[Any, ...], int]


@dataclass(frozen=True, slots=True)
class _Question:
    """A question, the same in the SQL of both, and the right answer to all three.

    groups: what it is grouped by, with the names of PostgreSQL's columns. subject: only this one's usage.
    """

    title: str
    query: UsageQuery
    groups: tuple[str, ...]
    subject: str | None
    key: Callable[[UsageGroup], tuple[Any, ...]]
    answer: _Answer

    def postgres(self) -> str:
        return (
            f"SELECT {', '.join((*self.groups, 'sum(input_tokens)'))} FROM baseline_usage "
            f"WHERE time >= '2024-06-01Z' AND time < '2024-07-01Z' {self._only('subject')} "
            f"GROUP BY {', '.join(self.groups)}"
        )

    def duckdb(self) -> str:
        groups = [group.replace("model", '"dim:data.model"') for group in self.groups]
        return (
            f"SELECT {', '.join(groups)}, " + 'sum("num:data.input_tokens") FROM read_parquet(?) '
            "WHERE type = 'llm.completion' AND \"dim:data.status\" = 'ok' AND time >= TIMESTAMP '2024-06-01' "
            f"AND time < TIMESTAMP '2024-07-01' {self._only('subject')} GROUP BY {', '.join(groups)}"
        )

    def _only(self, column: str) -> str:
        return f"AND {column} = '{self.subject}'" if self.subject else ""


def _questions(expected: Expected) -> list[_Question]:
    requests = expected.requests.sum(axis=1)
    return [
        _by_model("Usage: largest customer, by model", expected, int(requests.argmax())),
        _by_model("Usage: a small customer, by model", expected, int(requests.argmin())),
        _Question(
            f"Usage: all {expected.customers:,} customers",
            UsageQuery("input_tokens", START, END, group_by=("customer",)),
            ("subject",),
            None,
            lambda row: (row.group["customer"],),
            {(customer_key(place),): int(sum(tokens)) for place, tokens in enumerate(expected.input_tokens)},
        ),
        _Question(
            "Usage: everybody by day and model",
            UsageQuery("input_tokens", START, END, group_by=("model",), window=Window.DAY),
            ("model", "date_trunc('day', time)"),
            None,
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


def _by_model(title: str, expected: Expected, customer: int) -> _Question:
    key = customer_key(customer)
    return _Question(
        title,
        UsageQuery("input_tokens", START, END, customer=key, group_by=("model",)),
        ("model",),
        key,
        lambda row: (row.group["model"],),
        {(name,): int(expected.input_tokens[customer, place]) for place, name in enumerate(MODELS)},
    )


def run(bench: Bench) -> list[Row]:
    """Each question once, which warms everything up, then the three in turn."""
    expected, app = bench.month.expected, bench.app
    customers = [
        {"key": customer_key(place), "name": f"Customer {place + 1}", "currency": "USD", "timezone": "UTC"}
        for place in range(expected.customers)
    ]
    apply(app.books, app.tenant_id, {"customers": customers}, wall_clock())
    files = _files(app)
    conninfo = postgres.connection_text(app.settings.data_dir)
    with bench.saying("copying the month to PostgreSQL"):
        postgres.make_usage_table(conninfo, app.store, files, bench.directory / "usage.csv")
    rows: list[Row] = []
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for question in _questions(expected):
            with bench.saying(question.title):
                _round(app, conn, files, question)
                rounds = [_round(app, conn, files, question) for _ in range(bench.sizes.repetitions)]
            ours, theirs, by_hand = (series(1000 * one for one in part) for part in zip(*rounds, strict=True))
            rows += [
                Row(question.title, "ms", ours, theirs, less_is_better=True),
                Row("  by hand in DuckDB", "ms", by_hand, less_is_better=True),
            ]
        conn.execute("DROP TABLE baseline_usage")
    return rows


def _round(
    app: App, conn: psycopg.Connection[Any], files: list[str], question: _Question
) -> tuple[float, float, float]:
    """The seconds of ours, of PostgreSQL and of DuckDB by hand; all three must give the right answer."""
    started = time.perf_counter()
    groups = query_usage(app.books, app.store, app.tenant_id, question.query, wall_clock())
    ours = time.perf_counter() - started
    _check(question, "", {question.key(group): int(group.quantity) for group in groups})
    started = time.perf_counter()
    rows = conn.execute(question.postgres()).fetchall()
    theirs = time.perf_counter() - started
    _check(question, " in PostgreSQL", _answer(rows))
    cursor = app.store.cursor()
    started = time.perf_counter()
    rows = cursor.execute(question.duckdb(), [files]).fetchall()
    by_hand = time.perf_counter() - started
    cursor.close()
    _check(question, " in DuckDB", _answer(rows))
    return ours, theirs, by_hand


def _answer(rows: Iterable[tuple[Any, ...]]) -> _Answer:
    """Rows of (group..., sum); times without their zone, which is UTC."""
    return {
        tuple(value if isinstance(value, str) else value.replace(tzinfo=None) for value in row[:-1]): int(
            row[-1]
        )
        for row in rows
    }


def _check(question: _Question, where: str, found: _Answer) -> None:
    right = {key: quantity for key, quantity in question.answer.items() if quantity}
    require_equal(question.title + where, found, right)


def _files(app: App) -> list[str]:
    with app.books.read_only(app.tenant_id) as conn:
        return [str(app.settings.data_dir / segment.path) for segment in segments(conn, app.tenant_id)]
