"""Usage for billing, in columns: one query over the segments for any number of spans. Only SQL (DuckDB).

However many events there are, no more than a row of usage is in memory at a time: DuckDB sorts on disk
where it must, and what it found is taken from it a piece at a time.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

import duckdb
import pyarrow as pa

from farthing.catalog.model import Aggregation, Meter
from farthing.events.sealing.typed_columns import text_column
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import EXACT_NUMBER, Bound, identifier
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating import Events, Run
from farthing.usage.model import Detail, Span, Until, UsageRow
from farthing.usage.store import aggregate_sql, events_sql, exact_quantity, labelled_sql, spans_table

ROWS_PER_PIECE = 20_000
NUMBER_SCALE = 12
"""Digits after the point that an event's value has at most (ADR 0005)."""


def usage_by_span(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    meter: Meter,
    detail: Detail,
    spans: Sequence[Span],
    until: Until | None = None,
) -> Iterator[UsageRow]:
    """The usage of every span in as much detail as asked for, in one query, in the order of the span ids.

    until: only of the events up to this place.

    The segments are read before this returns; the rows are put together as they are taken.
    """
    if not segments or not spans:
        return iter(())
    single = detail.events is not Events.NONE
    assert not single or meter.aggregation is Aggregation.SUM, "only events that are summed have a value each"
    bound = Bound()
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    statement = _spans_sql(store, segments, meter, detail, start, end, bound, until)
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("spans", spans_table(spans))
        cursor.execute(statement, bound.values)
    except BaseException:
        cursor.close()
        raise
    return _event_rows(cursor, detail) if single else _quantity_rows(cursor, meter, detail)


def usage_columns(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    meter: Meter,
    detail: Detail,
    spans: pa.Table,
    start: datetime,
    end: datetime,
    *,
    covering: bool = False,
) -> pa.Table:
    """The same as columns, of quantities that are counted or summed: span_id, the names of the detail, quantity and
    events, in the order of the span ids. The quantity is a whole number or a decimal, exact.

    spans: see `spans_table`; all of them lie in [start, end).
    covering: every span holds all events of the segments, so subjects are summed up before it is asked whose they are.
    """
    assert detail.events is Events.NONE
    assert meter.aggregation in (Aggregation.COUNT, Aggregation.SUM)
    bound = Bound()
    if covering:
        statement = _covering_sql(store, segments, meter, detail, start, end, bound)
    else:
        statement = _spans_sql(store, segments, meter, detail, start, end, bound, None)
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("spans", spans)
        found = cursor.sql(statement, params=bound.values).to_arrow_table()
    finally:
        cursor.close()
    return found.rename_columns(["span_id", *detail.names, "quantity", "events"])


def _covering_sql(
    store: EventStore,
    segments: Sequence[Segment],
    meter: Meter,
    detail: Detail,
    start: datetime,
    end: datetime,
    bound: Bound,
) -> str:
    events = labelled_sql(
        events_sql(store, segments, meter, start, end, bound), detail.clocks, start, end, bound
    )
    groups = _groups(meter, detail)
    named = "".join(f", {group}" for group in groups)
    return f"""
        SELECT span_id{named}, sum(quantity), sum(events)::BIGINT
          FROM (SELECT subject{named}, {aggregate_sql(meter)} AS quantity, count(*) AS events
                  FROM ({events}) GROUP BY subject{named})
          JOIN known_subjects USING (subject)
          JOIN spans USING (customer_id)
         GROUP BY span_id{named} ORDER BY span_id
    """


def _groups(meter: Meter, detail: Detail) -> list[str]:
    """The columns that usage is told apart by."""
    paths = dict(meter.dimensions)
    groups = [identifier(text_column(paths[name])) for name in detail.dimensions]
    return groups + [identifier(clock.dimension) for clock in detail.clocks]


def _spans_sql(
    store: EventStore,
    segments: Sequence[Segment],
    meter: Meter,
    detail: Detail,
    start: datetime,
    end: datetime,
    bound: Bound,
    until: Until | None,
) -> str:
    events = labelled_sql(
        events_sql(store, segments, meter, start, end, bound, until=until), detail.clocks, start, end, bound
    )
    keys = ", ".join(["span_id", *_groups(meter, detail)])
    spanned = f"""
        ({events}) AS events
          JOIN known_subjects USING (subject)
          JOIN spans ON spans.customer_id = known_subjects.customer_id
                    AND events.time >= spans.span_start AND events.time < spans.span_end
    """
    if detail.events is Events.NONE:
        return (
            f"SELECT {keys}, {aggregate_sql(meter)}, count(*) FROM {spanned} GROUP BY {keys} ORDER BY {keys}"
        )
    return _single_events_sql(detail, keys, spanned, bound)


def _single_events_sql(detail: Detail, keys: str, spanned: str, bound: Bound) -> str:
    """Rows of (span, groups..., place, value, events): the first events by their place, then the others.

    The others have no place, and are a sum, or so many of each value.
    """
    every = detail.events is Events.EVERY
    source, place = spanned, "NULL::BIGINT"
    if detail.first_events or detail.first_amount:
        source = f"({_placed_sql(detail, keys, spanned, bound)})"
        place = (
            f"CASE WHEN place <= {bound.bind(detail.first_events)}::BIGINT "
            f"OR above_before < {bound.bind(_first_amount(detail))}::{EXACT_NUMBER} THEN place END"
        )
    value, values = ("value", ", value") if every else ("sum(value)", "")
    return f"""
        SELECT {keys}, told, {value}, count(*)
          FROM (SELECT {keys}, {place} AS told, value FROM {source})
         GROUP BY {keys}, told{values} ORDER BY {keys}, told NULLS LAST{values}
    """


def _placed_sql(detail: Detail, keys: str, spanned: str, bound: Bound) -> str:
    """Each event with its place among those of its row, and what those above zero that are told for their
    amounts sum to before it."""
    first = f"{bound.bind(detail.first_events)}::BIGINT"
    return f"""
        SELECT *, coalesce(sum(CASE WHEN place > {first} AND value > 0 THEN value ELSE 0 END) OVER (
                   PARTITION BY {keys} ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ), 0) AS above_before
          FROM (SELECT {keys}, value,
                       row_number() OVER (PARTITION BY {keys} ORDER BY time, source, id) AS place
                  FROM {spanned})
    """


def _first_amount(detail: Detail) -> Decimal:
    """The amount that the first events must reach: sums of values reach it when they reach it rounded up to
    the digits that values have."""
    return divide_rounded(detail.first_amount, ONE, NUMBER_SCALE, Direction.UP)


def _quantity_rows(cursor: duckdb.DuckDBPyConnection, meter: Meter, detail: Detail) -> Iterator[UsageRow]:
    for row in _fetched(cursor):
        yield UsageRow(row[0], _dimensions(detail, row), exact_quantity(meter, row[-2]), row[-1])


def _event_rows(cursor: duckdb.DuckDBPyConnection, detail: Detail) -> Iterator[UsageRow]:
    """One row of usage for each run of rows with the same span and groups."""
    every = detail.events is Events.EVERY
    for key, found in groupby(_fetched(cursor), key=itemgetter(slice(0, -3))):
        runs: list[Run] = []
        quantity, events = ZERO, 0
        with exact():
            for *_, told, value, count in found:
                number = Decimal(value).normalize()
                quantity += number * count if every else number
                events += count
                if not every and told is None:
                    continue
                if runs and runs[-1].value == number:  # equal ones in a row are one run
                    count += runs.pop().count
                runs.append(Run(number, count))
        yield UsageRow(key[0], _dimensions(detail, key), quantity, events, tuple(runs))


def _fetched(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    try:
        while piece := cursor.fetchmany(ROWS_PER_PIECE):
            yield from piece
    finally:
        cursor.close()


def _dimensions(detail: Detail, row: Sequence[Any]) -> dict[str, str]:
    names = detail.names
    values = zip(names, row[1 : 1 + len(names)], strict=True)
    return {name: value for name, value in values if value is not None}
