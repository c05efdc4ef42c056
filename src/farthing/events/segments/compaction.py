"""Which segments to put together next. Pure.

Sealing writes segments in the order of arrival, as fast as events come. A merge makes of some of them a row of
sorted ones; of four rows of about one size a longer row is made, up to a size beyond which rows stay as they are.
So every event is written anew a few times at most, and a question about one customer finds a few rows with one
file to open in each.
"""

from collections.abc import Sequence

from farthing.events.store.books import Segment

SMALL_SEGMENT_EVENTS = 100_000
SMALL_SEGMENTS_MAX = 32
"""More small segments than this are put together."""
SMALL_EVENTS_MERGED_MAX = 1_000_000
ARRIVED_EVENTS_MERGED_MAX = 4_000_000
"""Events in the order of arrival that are sorted at once."""
ROWS_MERGED_AT_ONCE = 4
ROW_EVENTS_MAX = 4_000_000
"""Longer rows are not merged again, which bounds the time and the disk of a merge."""
FILE_EVENTS = 1_000_000
"""Events of one sorted segment, about."""


def segments_to_merge(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to put together now, oldest first, or none."""
    if small := small_segments_to_merge(segments):
        return small
    arrived = [one for one in segments if one.merge_id is None and one.events >= SMALL_SEGMENT_EVENTS]
    if arrived:
        return _first(arrived, ARRIVED_EVENTS_MERGED_MAX)
    return _rows_of_one_size(segments)


def small_segments_to_merge(segments: Sequence[Segment]) -> list[Segment]:
    """The oldest of the small segments where there are many of them, or none."""
    small = [one for one in segments if one.events < SMALL_SEGMENT_EVENTS]
    return _first(small, SMALL_EVENTS_MERGED_MAX) if len(small) > SMALL_SEGMENTS_MAX else []


def _first(segments: Sequence[Segment], events_max: int) -> list[Segment]:
    chosen: list[Segment] = []
    events = 0
    for segment in segments:
        if chosen and events + segment.events > events_max:
            break
        chosen.append(segment)
        events += segment.events
    return chosen


def _rows_of_one_size(segments: Sequence[Segment]) -> list[Segment]:
    rows: dict[str, list[Segment]] = {}
    for segment in segments:
        if segment.merge_id is not None:
            rows.setdefault(segment.merge_id, []).append(segment)
    sizes: dict[int, list[list[Segment]]] = {}
    for _, row in sorted(rows.items()):
        events = sum(segment.events for segment in row)
        if SMALL_SEGMENT_EVENTS <= events <= ROW_EVENTS_MAX:
            sizes.setdefault((events // SMALL_SEGMENT_EVENTS).bit_length() // 2, []).append(row)
    for _, alike in sorted(sizes.items()):
        if len(alike) >= ROWS_MERGED_AT_ONCE:
            return [segment for row in alike[:ROWS_MERGED_AT_ONCE] for segment in row]
    return []
