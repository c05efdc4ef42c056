"""Accepted events that nobody is billed for, by cause: one query for each metered type. Only SQL (DuckDB).

    unknown_subject   the subject is no customer and no alias of one (or there is none)
    unknown_type      no meter is for the type
    filtered_out      every meter of the type leaves the event out
    no_subscription   the customer has no subscription at that time
    no_rate_card      it has, and no rate card of it counts one of the meters that count the event

An event that lacks several of these is told under the one that stands first in the order type, filter, subject,
subscription, rate card: what is to be put right first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from farthing.catalog.model import Meter
from farthing.events.model import VOID_TYPE
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import Bound, filter_sql
from farthing.kernel.instant import unix_microseconds
from farthing.usage.store import scanned_value_sql, standing_sql

UNKNOWN_TYPE, FILTERED_OUT, UNKNOWN_SUBJECT = "unknown_type", "filtered_out", "unknown_subject"
NO_SUBSCRIPTION, NO_RATE_CARD = "no_subscription", "no_rate_card"
CAUSES = (UNKNOWN_SUBJECT, UNKNOWN_TYPE, FILTERED_OUT, NO_SUBSCRIPTION, NO_RATE_CARD)

Row = tuple[str, str, str | None, int | None, int, datetime, datetime]
"""(cause, type, subject, customer id, events, first, last)"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A time in which a customer has subscriptions, and the meters that their rate cards count then.

    Those of one customer do not overlap.
    """

    customer_id: int
    start: datetime
    end: datetime | None
    meters: frozenset[str]


def unbilled_of_type(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    event_type: str,
    meters: Sequence[Meter],
    claims: Sequence[Claim],
    start: datetime,
    end: datetime,
) -> list[Row]:
    """The unbilled events of one type in [start, end), by subject and cause."""
    if not segments or event_type == VOID_TYPE:
        return []
    bound = Bound()
    counts = [f"({_counts_sql(meter, bound)}) AS counts_{place}" for place, meter in enumerate(meters)]
    any_counts = " OR ".join(f"counts_{place}" for place in range(len(meters)))
    claimed = " OR ".join(f"(counts_{place} AND claims_{place})" for place in range(len(meters)))
    files = bound.bind([str(store.data_dir / segment.path) for segment in segments])
    scanned = f"""
        SELECT subject, time, {", ".join(counts)} FROM read_parquet({files}, union_by_name = true)
         WHERE type = {bound.bind(event_type)} AND time >= make_timestamp({bound.bind(unix_microseconds(start))})
           AND time < make_timestamp({bound.bind(unix_microseconds(end))}){standing_sql(segments, bound)}
    """
    caused = f"""
        SELECT subject, customer_id, time,
               CASE WHEN NOT ({any_counts}) THEN '{FILTERED_OUT}'
                    WHEN customer_id IS NULL THEN '{UNKNOWN_SUBJECT}'
                    WHEN claims_0 IS NULL THEN '{NO_SUBSCRIPTION}'
                    WHEN NOT ({claimed}) THEN '{NO_RATE_CARD}' END AS cause
          FROM ({scanned}) AS events LEFT JOIN known_subjects USING (subject)
          LEFT JOIN claims USING (customer_id)
         WHERE claims.customer_id IS NULL OR (time >= claim_start AND time < claim_end)
    """
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("claims", _claims_table(claims, meters))
        return _grouped(cursor, event_type, caused, bound)
    finally:
        cursor.close()


def _grouped(cursor: Any, event_type: str, caused: str, bound: Bound) -> list[Row]:
    found = cursor.execute(
        f"""
        SELECT cause, subject, customer_id, count(*), min(time), max(time) FROM ({caused})
         WHERE cause IS NOT NULL GROUP BY ALL
        """,
        bound.values,
    ).fetchall()
    return [(cause, event_type, *rest) for cause, *rest in found]


def _counts_sql(meter: Meter, bound: Bound) -> str:
    counts = filter_sql(meter, bound)
    return counts if meter.value is None else f"{counts} AND ({scanned_value_sql(meter, bound)}) IS NOT NULL"


def _claims_table(claims: Sequence[Claim], meters: Sequence[Meter]) -> pa.Table:
    """Every customer's time in pieces without gaps: those without a subscription have no claims (NULL)."""
    pieces = list(_pieces(claims))
    columns: dict[str, pa.Array] = {
        "customer_id": pa.array([piece[0] for piece in pieces], pa.int64()),
        "claim_start": pa.array([piece[1] for piece in pieces], pa.timestamp("us")),
        "claim_end": pa.array([piece[2] for piece in pieces], pa.timestamp("us")),
    }
    for place, meter in enumerate(meters):
        told = [None if piece[3] is None else meter.key in piece[3] for piece in pieces]
        columns[f"claims_{place}"] = pa.array(told, pa.bool_())
    return pa.table(columns)


_FIRST, _LAST = -(2**62), 2**62


def _pieces(claims: Sequence[Claim]) -> list[tuple[int, int, int, frozenset[str] | None]]:
    by_customer: dict[int, list[Claim]] = {}
    for claim in claims:
        by_customer.setdefault(claim.customer_id, []).append(claim)
    pieces: list[tuple[int, int, int, frozenset[str] | None]] = []
    for customer_id, some in by_customer.items():
        at = _FIRST
        for claim in sorted(some, key=lambda claim: claim.start):
            start = unix_microseconds(claim.start)
            end = _LAST if claim.end is None else unix_microseconds(claim.end)
            if at < start:
                pieces.append((customer_id, at, start, None))
            pieces.append((customer_id, start, end, claim.meters))
            at = end
        if at < _LAST:
            pieces.append((customer_id, at, _LAST, None))
    return pieces


def unmetered(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    metered_types: Sequence[str],
    start: datetime,
    end: datetime,
) -> list[Row]:
    """The events in [start, end) of types that no meter is for, by type and subject."""
    if not segments:
        return []
    bound = Bound()
    files = bound.bind([str(store.data_dir / segment.path) for segment in segments])
    known = bound.bind([*metered_types, VOID_TYPE])
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        found = cursor.execute(
            f"""
            SELECT type, subject, customer_id, count(*), min(time), max(time)
              FROM (SELECT type, subject, time FROM read_parquet({files})
                     WHERE type NOT IN (SELECT unnest({known}::VARCHAR[]))
                       AND time >= make_timestamp({bound.bind(unix_microseconds(start))})
                       AND time < make_timestamp({bound.bind(unix_microseconds(end))})
                       {standing_sql(segments, bound)}) AS events
              LEFT JOIN known_subjects USING (subject) GROUP BY ALL
            """,
            bound.values,
        ).fetchall()
    finally:
        cursor.close()
    return [(UNKNOWN_TYPE, event_type, *rest) for event_type, *rest in found]


def samples(
    store: EventStore, segments: Sequence[Segment], groups: Sequence[Row], most: int
) -> list[list[tuple[str, str]]]:
    """For each group the first events (source, id) by time of its type and subject, between its first and its last.

    One scan for all of them, of the segments of their types.
    """
    types = sorted({event_type for _, event_type, *_ in groups})
    holding = [segment for segment in segments if not set(types).isdisjoint(segment.event_types)]
    if not holding:
        return [[] for _ in groups]
    _, event_types, subjects, _, _, firsts, lasts = zip(*groups, strict=True)
    wanted = {
        "number": pa.array(range(len(groups)), pa.int64()),
        "wanted_type": pa.array(event_types, pa.string()),
        "wanted_subject": pa.array(subjects, pa.string()),
        "first": pa.array(firsts, pa.timestamp("us")),
        "last": pa.array(lasts, pa.timestamp("us")),
    }
    bound = Bound()
    files = bound.bind([str(store.data_dir / segment.path) for segment in holding])
    cursor = store.cursor()
    try:
        cursor.register("wanted", pa.table(wanted))
        found = cursor.execute(
            f"""
            SELECT number, min({{'time': time, 'source': source, 'id': id}}, {bound.bind(most)})
              FROM (SELECT source, id, type, subject, time FROM read_parquet({files})
                     WHERE list_contains({bound.bind(types)}::VARCHAR[], type)
                       AND time >= {bound.bind(min(firsts))}::TIMESTAMP
                       AND time <= {bound.bind(max(lasts))}::TIMESTAMP{standing_sql(holding, bound)}) AS events
              JOIN wanted ON type = wanted_type AND subject IS NOT DISTINCT FROM wanted_subject
                         AND time >= first AND time <= last
             GROUP BY number
            """,
            bound.values,
        ).fetchall()
    finally:
        cursor.close()
    by_number = {number: [(one["source"], one["id"]) for one in some] for number, some in found}
    return [by_number.get(number, []) for number in range(len(groups))]
