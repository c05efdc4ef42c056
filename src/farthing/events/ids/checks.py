"""Laws 2 and 4 on live data, event by event: the id index and what the books say of segments, against the segments.

What is replaced by a server at work stays where it is while a check reads it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from farthing.db import Books
from farthing.events.ids.index import IdRun, find, open_run
from farthing.events.segments.removal import nothing_removed
from farthing.events.store import books as rows
from farthing.events.store import checks as columns
from farthing.events.store import corrections as correction_rows
from farthing.events.store.books import Segment
from farthing.events.store.checks import SegmentClaim
from farthing.events.store.duckdb import EventStore
from farthing.events.store.identities import segment_identities
from farthing.kernel.checked import Checked, checked

EVENTS_AT_ONCE = 1_000_000

Progress = Callable[[int, int], None]


def check_index(books: Books, store: EventStore, tenant_id: int, progress: Progress) -> Checked:
    """Law 2: every counted event is in the id index, with what it said. One that is not would count again."""
    findings: list[str] = []
    with nothing_removed(store.data_dir):
        with books.read_only(tenant_id) as conn:
            segments = rows.segments(conn, tenant_id, with_voids=False)
            in_force = rows.id_runs(conn, tenant_id)
            corrections = correction_rows.correction_identities(conn, tenant_id)
        runs = [open_run(store.data_dir / run.path, run.run_id, run.ids) for run in in_force]
        there = [segment for segment in segments if (store.data_dir / segment.path).exists()]
        events, total = 0, sum(segment.events for segment in there)
        for piece in _pieces(there):
            findings += _piece_findings(store, piece, runs, corrections)
            events += sum(segment.events for segment in piece)
            progress(events, total)
    return checked(total, "event", findings)


def _pieces(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    piece: list[Segment] = []
    for segment in segments:
        if piece and sum(one.events for one in piece) + segment.events > EVENTS_AT_ONCE:
            yield piece
            piece = []
        piece.append(segment)
    if piece:
        yield piece


def _piece_findings(
    store: EventStore, piece: Sequence[Segment], runs: Sequence[IdRun], corrections: pa.Table
) -> list[str]:
    cursor = store.cursor()
    try:
        entries = segment_identities(
            cursor, [store.data_dir / segment.path for segment in piece], corrections
        )
    finally:
        cursor.close()
    found, contents = find(runs, entries.keys, entries.checks)
    missing = int(np.count_nonzero(~found))
    other = int(np.count_nonzero(found & (contents != entries.contents)))
    where = f"{piece[0].path} and {len(piece) - 1} more" if len(piece) > 1 else piece[0].path
    findings = []
    if missing:
        findings.append(f"{missing} events of {where} are not in the id index: a repeat would count again")
    if other:
        findings.append(f"of {other} events of {where} the id index knows another content")
    return findings


def check_segments_hold(books: Books, store: EventStore, tenant_id: int, progress: Progress) -> Checked:
    """Law 4: what the books say is in a segment is what questions pass over others for, so it must be so."""
    findings = []
    with nothing_removed(store.data_dir):
        with books.read_only(tenant_id) as conn:
            claims = columns.segment_claims(conn, tenant_id)
        for place, (path, claim) in enumerate(claims.items()):
            progress(place, len(claims))
            if (store.data_dir / path).exists() and not _holds(store, store.data_dir / path, claim):
                findings.append(f"{path} has other types, times or subjects than the books say")
    return checked(len(claims), "segment", findings)


def _holds(store: EventStore, path: Path, claim: SegmentClaim) -> bool:
    """Whether everything in a file lies within what is said of it."""
    found = columns.segment_contents(store, path)
    if sum(events for _, events, *_ in found) != claim.events:
        return False
    count = len(claim.event_types)
    ranges = zip(
        claim.event_types,
        claim.first_subjects or (None,) * count,
        claim.last_subjects or (None,) * count,
        strict=True,
    )
    known = {event_type: (first, last) for event_type, first, last in ranges}
    for event_type, _, lowest, highest, earliest, latest in found:
        # PostgreSQL cannot hold NUL, so neither can what it says of a type or a subject (store/books.py).
        if event_type.replace("\0", "\ufffd") not in known:
            return False
        if earliest < claim.min_time or latest > claim.max_time:
            return False
        first, last = known[event_type.replace("\0", "\ufffd")]
        if claim.first_subjects is None or lowest is None or highest is None:
            continue
        if (
            first is None
            or last is None
            or lowest.encode() < first.encode()
            or highest.encode() > last.encode()
        ):
            return False
    return True
