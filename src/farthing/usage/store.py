"""Usage in columns: what events count for a meter, and the answers to people's questions. Only SQL (DuckDB).

Segments differ in how they type a number (whole or with decimals) and in what the books know of their events; those
of one shape are read by one scan, and the scans are put together.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
from psycopg import Connection as PsycopgConnection
from psycopg.rows import tuple_row

from farthing.catalog.expression import Path
from farthing.catalog.model import Aggregation, Meter
from farthing.events.model import VOID_TYPE
from farthing.events.sealing.typed_columns import number_column, text_column, value_paths, wanted_columns
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import WHOLE_NUMBER, Bound, filter_sql, identifier, value_sql
from farthing.kernel.instant import microseconds, offset_changes, unix_microseconds
from farthing.kernel.quantity import trimmed
from farthing.kernel.rounding import quotient
from farthing.rating import Clock
from farthing.rating.clock import WEEK_SECONDS
from farthing.usage.model import ROWS_MAX, Span, Until, UsageQuery, Window

Connection = PsycopgConnection[dict[str, Any]]

_MICRO = 1_000_000
_FIRST_THURSDAY_SECONDS = 3 * 86_400
"""1970 began on a Thursday; a week begins on Monday."""


def subjects(conn: Connection, tenant_id: int, customer_ids: Collection[int] | None = None) -> pa.Table:
    """Every subject that means a customer, or one of these, as columns (subject, customer_id)."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(
            """
            SELECT subject, customer_id FROM customer_subjects
             WHERE tenant_id = %(tenant)s
               AND (%(customers)s::bigint[] IS NULL OR customer_id = ANY(%(customers)s))
            """,
            {"tenant": tenant_id, "customers": None if customer_ids is None else list(customer_ids)},
        ).fetchall()
    names, ids = zip(*found, strict=True) if found else ((), ())
    return pa.table({"subject": pa.array(names, pa.string()), "customer_id": pa.array(ids, pa.int64())})


def customer_keys(conn: Connection, tenant_id: int) -> dict[int, str]:
    """The key of each customer."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return dict(
            cursor.execute(
                "SELECT customer_id, key FROM customers WHERE tenant_id = %s", [tenant_id]
            ).fetchall()
        )


def customer_id_of(conn: Connection, tenant_id: int, key: str) -> int | None:
    """The customer with this key."""
    found = conn.execute(
        "SELECT customer_id FROM customers WHERE tenant_id = %s AND key = %s", [tenant_id, key]
    ).fetchone()
    return None if found is None else int(found["customer_id"])


SUBJECTS_NAMED_MAX = 1000
"""More subjects of a customer than this are not named in the question, only joined."""


def subject_names(known_subjects: pa.Table) -> list[str] | None:
    """The subjects by name, for the files and pages of a segment that cannot have any of them to be passed over.

    None where there are too many of them.
    """
    if len(known_subjects) > SUBJECTS_NAMED_MAX:
        return None
    return [str(name) for name in known_subjects.column("subject").to_pylist()]


def usage_groups(
    store: EventStore, segments: Sequence[Segment], known_subjects: pa.Table, meter: Meter, query: UsageQuery
) -> list[tuple[Any, ...]]:
    """Rows of (group values..., window start in local time or nothing, quantity, events), in order.

    The group "customer" is given as a customer id, NULL for events of unknown subjects.
    """
    if not segments:
        return []
    bound = Bound()
    only = None if query.customer is None else subject_names(known_subjects)
    events = events_sql(store, segments, meter, query.start, query.end, bound, only)
    columns = {"customer": "customer_id", "subject": "subject", "source": "source"} | {
        name: identifier(text_column(path)) for name, path in meter.dimensions
    }
    quantity, count = aggregate_sql(meter), "count(*)"
    if only is None:
        joined = "LEFT JOIN" if query.customer is None else "JOIN"
        if query.group_by == ("customer",) and not query.filter and not query.window and adds_up(meter):
            # Looking up a subject takes as long as adding up: once for each, and not for each event.
            quantity, count = f"sum({_PART})", "sum(events)::BIGINT"
            events = (
                f"SELECT subject, {aggregate_sql(meter)} AS {_PART}, count(*) AS events "
                f"FROM ({events}) GROUP BY subject"
            )
        source = f"({events}) AS events {joined} known_subjects USING (subject)"
    else:  # All of them are the one customer's, so there is nobody to look up.
        customer_id = known_subjects.column("customer_id")[0].as_py() if only else None
        source = f"(SELECT *, {bound.bind(customer_id)}::BIGINT AS customer_id FROM ({events})) AS events"
    conditions = [
        f"{columns[name]} = {bound.bind(value)}" for name, value in sorted((query.filter or {}).items())
    ]
    groups = [columns[name] for name in query.group_by]
    window = _window_sql(query, bound)
    shown = [*groups, *([f"{window} AS window_start"] if window else [])]
    order = ", ".join(str(place) for place in range(len(shown), 0, -1))
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"""
        SELECT {"".join(f"{column}, " for column in shown)}{_read_fast_sql(quantity, segments, meter)}, {count}
          FROM {source} {where}
         {"GROUP BY ALL ORDER BY " + order if shown else ""} LIMIT {ROWS_MAX + 1}
    """
    cursor = store.cursor()
    try:
        if only is None:
            cursor.register("known_subjects", known_subjects)
        return cursor.execute(statement, bound.values).fetchall()
    finally:
        cursor.close()


_PART = "part"


def adds_up(meter: Meter) -> bool:
    """Whether the quantity of some events is the sum of the quantities of its parts."""
    return meter.aggregation in (Aggregation.COUNT, Aggregation.SUM)


def _read_fast_sql(quantity: str, segments: Sequence[Segment], meter: Meter) -> str:
    """The quantity, as a whole number where it cannot be another: those are read several times as fast as decimals."""
    columns = {
        segment.columns.get(number_column(path)) for segment in segments for path in value_paths(meter)
    }
    whole = isinstance(meter.value, Path) and columns == {WHOLE_NUMBER}
    return f"({quantity})::HUGEINT" if adds_up(meter) and (whole or meter.value is None) else quantity


def event_rows(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    meter: Meter,
    start: datetime,
    end: datetime,
    dimensions: Mapping[str, str | None],
    limit: int,
    clocks: Sequence[Clock] = (),
) -> tuple[int, list[dict[str, Any]]]:
    """The events behind a quantity: how many, and the first of them by time."""
    if not segments:
        return 0, []
    bound = Bound()
    events = events_sql(store, segments, meter, start, end, bound, subject_names(known_subjects))
    events = labelled_sql(events, clocks, start, end, bound)
    columns = {name: identifier(text_column(path)) for name, path in meter.dimensions}
    columns |= {clock.dimension: identifier(clock.dimension) for clock in clocks}
    conditions = [
        f"{columns[name]} IS NOT DISTINCT FROM {bound.bind(value)}"
        for name, value in sorted(dimensions.items())
    ]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        rows = cursor.execute(
            f"""
            SELECT count(*) OVER (), source, id, subject, time, {_event_value_sql(meter)}
              FROM ({events}) AS events JOIN known_subjects USING (subject) {where}
             ORDER BY time, source, id LIMIT {bound.bind(limit)}
            """,
            bound.values,
        ).fetchall()
    finally:
        cursor.close()
    behind = [
        {"source": source, "id": event_id, "subject": subject, "time": time, "value": value}
        for _, source, event_id, subject, time, value in rows
    ]
    return (rows[0][0] if rows else 0), behind


_REPLACED = "\ufffd"


class _Shape(NamedTuple):
    """Segments that are read alike by one scan.

    within_time, of_type_alone: the books know that every event lies in the time asked for, is of the type. Then
        neither column is read: that takes longer than adding up the values.
    """

    has_voids: bool
    column_types: tuple[str, ...]
    within_time: bool
    of_type_alone: bool


def events_sql(
    store: EventStore,
    segments: Sequence[Segment],
    meter: Meter,
    start: datetime,
    end: datetime,
    bound: Bound,
    subjects: Sequence[str] | None = None,
    until: Until | None = None,
) -> str:
    """The events that count for the meter in [start, end), with `value` and the typed columns.

    subjects: only those of these.
    until: only those up to a place in the order of (time, source, id).
    """
    names = wanted_columns([meter]).names()
    shapes: dict[_Shape, list[Segment]] = {}
    for segment in segments:
        shape = _Shape(
            bool(segment.voids),
            tuple(segment.columns[name] for name in names),
            segment.min_time >= start and segment.max_time < end,
            # The books spell a name that has NUL with the replacement character.
            segment.event_types == (meter.event_type,) and _REPLACED not in meter.event_type,
        )
        shapes.setdefault(shape, []).append(segment)
    typed = "".join(f", {identifier(name)}" for name in names)
    scans = []
    for shape, some in sorted(shapes.items()):
        conditions = [] if shape.of_type_alone else [f"type = {bound.bind(meter.event_type)}"]
        if not shape.within_time:
            conditions.append(f"time >= make_timestamp({bound.bind(unix_microseconds(start))})")
            conditions.append(f"time < make_timestamp({bound.bind(unix_microseconds(end))})")
        if subjects is not None:
            conditions.append(f"subject IN ({', '.join(map(bound.bind, subjects)) or 'NULL'})")
        conditions.append(filter_sql(meter, bound) + standing_sql(some, bound) + _until_sql(until, bound))
        files = [str(store.data_dir / segment.path) for segment in some]
        value = scanned_value_sql(meter, bound)
        scans.append(
            f"SELECT source, id, subject, time, received_at{typed}, {value} AS value "
            f"FROM read_parquet({bound.bind(files)}) WHERE {' AND '.join(conditions)}"
        )
    together = " UNION ALL ".join(scans)
    return together if meter.value is None else f"SELECT * FROM ({together}) WHERE value IS NOT NULL"


def _until_sql(until: Until | None, bound: Bound) -> str:
    if until is None:
        return ""
    at = bound.bind(unix_microseconds(until.time))
    source, event_id = bound.bind(until.source), bound.bind(until.event_id)
    last = "<=" if until.included else "<"
    return (
        f" AND (time < make_timestamp({at}) OR (time = make_timestamp({at}) AND (source < {source} "
        f"OR (source = {source} AND id {last} {event_id}))))"
    )


def standing_sql(segments: Sequence[Segment], bound: Bound) -> str:
    """The condition that leaves out the events of these segments that no longer count; nothing where all do."""
    voids = sorted({identity for segment in segments for identity in segment.voids})
    if not voids:
        return ""
    sources = bound.bind([source for source, _ in voids])
    ids = bound.bind([event_id for _, event_id in voids])
    return (
        f" AND NOT EXISTS (SELECT 1 FROM (SELECT unnest({sources}::VARCHAR[]) AS void_source, "
        f"unnest({ids}::VARCHAR[]) AS void_id) WHERE void_source = source AND void_id = id)"
    )


def scanned_value_sql(meter: Meter, bound: Bound) -> str:
    """What the meter takes from an event, from the typed columns; NULL where it cannot, or counts events."""
    match meter.value:
        case None:
            return "NULL"
        case Path(path) if meter.aggregation is Aggregation.UNIQUE:
            return identifier(text_column(path))
        case Path(path):
            return identifier(number_column(path))  # as the segment types it: whole numbers are summed faster
        case expression:
            assert meter.aggregation is not Aggregation.UNIQUE
            return value_sql(expression, bound)


def aggregate_sql(meter: Meter) -> str:
    """The quantity of a group of events, which `exact_quantity` reads."""
    match meter.aggregation:
        case Aggregation.COUNT:
            return "count(*)"
        case Aggregation.SUM:
            return "sum(value)"
        case Aggregation.MAX:
            return "max(value)"
        case Aggregation.MIN:
            return "min(value)"
        case Aggregation.AVG:
            return "{'total': sum(value), 'values': count(value)}"
        case Aggregation.UNIQUE:
            return "count(DISTINCT value)"
        case Aggregation.LATEST:
            # Events of one moment are told apart by receipt, then by identity, so the answer never varies.
            return "arg_max(value, {'time': time, 'received_at': received_at, 'source': source, 'id': id})"


def exact_quantity(meter: Meter, raw: Any) -> Decimal:
    """What the aggregate says, as the quantity it means; no events are a quantity of zero."""
    if raw is None:
        return Decimal(0)
    if meter.aggregation is Aggregation.AVG:
        if raw["total"] is None:
            return Decimal(0)
        return quotient(Decimal(raw["total"]), Decimal(raw["values"]))
    number = Decimal(raw)
    # Whole numbers have nothing to trim but zeros, and there are as many of them as there are customers.
    whole = number.to_integral_value()
    return whole if whole == number else Decimal(trimmed(number))


def _event_value_sql(meter: Meter) -> str:
    return "1" if meter.value is None else "value"


def _window_sql(query: UsageQuery, bound: Bound) -> str:
    """The start of the local window an event lies in: an instant for minutes and hours, a local day or month else."""
    if query.window is None:
        return ""
    local = _local_time_sql(query, bound)
    if query.window in (Window.DAY, Window.MONTH):
        return f"date_trunc('{query.window.value}', {local})"
    # Truncate in local time, then take the zone's offset off again: two hours of one name stay apart.
    return f"(events.time - ({local} - date_trunc('{query.window.value}', {local})))"


def _local_time_sql(query: UsageQuery, bound: Bound) -> str:
    """The local clock at an event's time: an addition, because all offsets of the range are known beforehand."""
    shift = _shift_sql(query.timezone, query.start, query.end, bound)
    return f"(events.time + to_microseconds({shift}))"


def _shift_sql(timezone: str, start: datetime, end: datetime, bound: Bound) -> str:
    """How many microseconds the local clock is ahead of UTC at an event's time, which is in [start, end)."""
    changes = offset_changes(timezone, start, end)
    *earlier, (_, last) = changes
    ends = [start for start, _ in changes[1:]]
    shifts = "".join(
        f"WHEN events.time < make_timestamp({bound.bind(unix_microseconds(end))}) "
        f"THEN {bound.bind(microseconds(offset))} "
        for end, (_, offset) in zip(ends, earlier, strict=True)
    )
    shift = (
        f"CASE {shifts}ELSE {bound.bind(microseconds(last))} END"
        if shifts
        else bound.bind(microseconds(last))
    )
    return f"{shift}::BIGINT"


def labelled_sql(events: str, clocks: Sequence[Clock], start: datetime, end: datetime, bound: Bound) -> str:
    """The events, which are in [start, end), with the window of each clock as a column of the clock's name."""
    if not clocks:
        return events
    week, monday = WEEK_SECONDS * _MICRO, _FIRST_THURSDAY_SECONDS * _MICRO
    moments, labels = "", ""
    for place, clock in enumerate(clocks):
        shift = _shift_sql(clock.timezone, start, end, bound)
        # A remainder has the sign of what is divided, so times before 1970 are brought above zero.
        moment = f"((epoch_us(events.time) + {shift} + {monday}) % {week} + {week}) % {week}"
        moments += f", {moment} AS of_week_{place}"
        labels += f", {_label_sql(clock, f'of_week_{place}', bound)} AS {identifier(clock.dimension)}"
    return f"SELECT *{labels} FROM (SELECT *{moments} FROM ({events}) AS events)"


def _label_sql(clock: Clock, of_week: str, bound: Bound) -> str:
    """The label of a microsecond of the local week: a case over the pieces that its windows cut it into."""
    cases = "".join(
        f"WHEN {of_week} < {bound.bind(later.start * _MICRO)}::BIGINT THEN {bound.bind(piece.label)}::VARCHAR "
        for piece, later in pairwise(clock.week)
    )
    last = f"{bound.bind(clock.week[-1].label)}::VARCHAR"
    return f"CASE {cases}ELSE {last} END" if cases else last


def spans_table(spans: Sequence[Span]) -> pa.Table:
    """The spans as columns (span_id, customer_id, span_start, span_end)."""
    return pa.table(
        {
            "span_id": pa.array([span.span_id for span in spans], pa.int64()),
            "customer_id": pa.array([span.customer_id for span in spans], pa.int64()),
            "span_start": pa.array([unix_microseconds(span.start) for span in spans], pa.timestamp("us")),
            "span_end": pa.array([unix_microseconds(span.end) for span in spans], pa.timestamp("us")),
        }
    )


def subjects_of(store: EventStore, segments: Sequence[Segment]) -> list[str]:
    """The subjects that the events of these segments name."""
    cursor = store.cursor()
    try:
        found = cursor.sql(
            "SELECT DISTINCT subject FROM read_parquet($1) WHERE subject IS NOT NULL",
            params=[[str(store.data_dir / segment.path) for segment in segments]],
        ).to_arrow_table()
    finally:
        cursor.close()
    names: list[str] = found.column("subject").to_pylist()
    return names


def customers_of(store: EventStore, segments: Sequence[Segment], known_subjects: pa.Table) -> list[int]:
    """The customers with an event in these segments, in order of their ids."""
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        rows = cursor.execute(
            "SELECT DISTINCT customer_id FROM known_subjects"
            " WHERE subject IN (SELECT subject FROM read_parquet(?)) ORDER BY customer_id",
            [[str(store.data_dir / segment.path) for segment in segments]],
        ).fetchall()
        return [customer_id for (customer_id,) in rows]
    finally:
        cursor.close()


def unclaimed_groups(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    metered_types: Sequence[str],
    limit: int,
) -> list[tuple[Any, ...]]:
    """Events that nobody is billed for, the largest groups first.

    Rows of (type, subject, events, subject is no customer, type has no meter, events of all groups).
    """
    if not segments:
        return []
    bound = Bound()
    files = bound.bind([str(store.data_dir / segment.path) for segment in segments])
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("metered", pa.table({"type": pa.array(metered_types, pa.string())}))
        return cursor.execute(
            f"""
            SELECT type, subject, sum(events)::BIGINT AS events, no_customer, no_meter,
                   (sum(sum(events)) OVER ())::BIGINT
              FROM (SELECT type, subject, count(*) AS events,
                           subject IS NULL OR subject NOT IN (SELECT subject FROM known_subjects) AS no_customer,
                           type NOT IN (SELECT type FROM metered) AS no_meter
                      FROM read_parquet({files})
                     WHERE type <> {bound.bind(VOID_TYPE)}{standing_sql(segments, bound)}
                     GROUP BY type, subject)
             WHERE no_customer OR no_meter
             GROUP BY ALL ORDER BY events DESC, type, subject LIMIT {bound.bind(limit)}
            """,
            bound.values,
        ).fetchall()
    finally:
        cursor.close()
