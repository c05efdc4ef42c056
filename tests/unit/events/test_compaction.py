"""Which segments are put together next: a few merges for every event, and rows that end up long."""

from datetime import UTC, datetime
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.events.segments.compaction import (
    ARRIVED_EVENTS_MERGED_MAX,
    FILE_EVENTS,
    ROW_EVENTS_MAX,
    ROWS_MERGED_AT_ONCE,
    SMALL_SEGMENT_EVENTS,
    SMALL_SEGMENTS_MAX,
    segments_to_merge,
    small_segments_to_merge,
)
from farthing.events.store.books import Segment

AT = datetime(2026, 1, 1, tzinfo=UTC)


def segment(number: int, events: int, merge_id: str | None = None) -> Segment:
    path = f"segments/1/{number}"
    return Segment(f"seg_{number:06d}", path, events, 0, b"", ("call",), {}, AT, AT, merge_id=merge_id)


def test_a_few_small_segments_are_left_to_grow() -> None:
    few = [segment(number, 10) for number in range(SMALL_SEGMENTS_MAX)]
    assert segments_to_merge(few) == []
    many = [*few, segment(99, 10)]
    assert segments_to_merge(many) == many == small_segments_to_merge(many)


def test_what_arrived_in_large_segments_is_sorted_at_once() -> None:
    arrived = [segment(number, 400_000) for number in range(20)]
    chosen = segments_to_merge(arrived)
    assert chosen == arrived[:10]
    assert sum(one.events for one in chosen) == ARRIVED_EVENTS_MERGED_MAX
    assert segments_to_merge([segment(1, 10**9)]) == [segment(1, 10**9)]
    assert small_segments_to_merge(arrived) == []


def test_rows_of_one_size_become_one_until_they_are_long() -> None:
    row = [segment(number, 300_000, f"merge_{number}") for number in range(ROWS_MERGED_AT_ONCE)]
    assert segments_to_merge(row[:-1]) == []
    assert segments_to_merge(row) == row
    long = [segment(number, ROW_EVENTS_MAX + 1, f"merge_{number}") for number in range(99)]
    assert segments_to_merge(long) == []


@settings(max_examples=50)
@given(st.lists(st.integers(1, 600_000), min_size=1, max_size=150))
def test_merging_ends_with_few_rows_and_writes_each_event_a_few_times(sizes: list[int]) -> None:
    numbers = count()
    segments: list[Segment] = []
    written = 0
    for size in sizes:
        segments.append(segment(next(numbers), size))
        while chosen := segments_to_merge(segments):
            events = sum(one.events for one in chosen)
            written += events
            files = -(-events // FILE_EVENTS)
            merge_id = f"merge_{next(numbers):06d}"
            segments = [one for one in segments if one not in chosen]
            parts = [events // files] * (files - 1) + [events - events // files * (files - 1)]
            segments += [segment(next(numbers), part, merge_id) for part in parts]
    assert sum(one.events for one in segments) == sum(sizes)
    assert all(one.merge_id for one in segments if one.events >= SMALL_SEGMENT_EVENTS)
    rows = {one.merge_id for one in segments if one.events >= SMALL_SEGMENT_EVENTS}
    assert len(rows) <= 3 * (ROWS_MERGED_AT_ONCE - 1) + sum(sizes) // ROW_EVENTS_MAX + 1
    assert written <= 8 * sum(sizes)
