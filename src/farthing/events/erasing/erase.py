"""Taking an erased customer out of the segments.

Each segment that holds its events is replaced by one in which they are what is left of them (`erased.py`): the same
number of events, with the same quantities and times. Like every other rewriting it is one transaction, so whoever asks
finds the old file or the new one, and a merge that had begun with the old one finds it gone and has done nothing.
What corrections say of these events is renamed in that transaction.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import msgspec
import numpy as np

from farthing.catalog.event_data import at_path, read_data, text_of
from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters
from farthing.db import Books
from farthing.db.erasing import erasing_transaction
from farthing.events.erasing.erased import ERASED_SOURCE, Words, data_left, fingerprint_id
from farthing.events.full_disk import full_disk_named
from farthing.events.ids.filter import id_filter
from farthing.events.ids.index import IdRun, find, open_run
from farthing.events.log.blanking import blank_lines
from farthing.events.log.files import Block, RefusedLine
from farthing.events.model import VOID_TYPE, Event
from farthing.events.sealing.seal import segment_path
from farthing.events.sealing.typed_columns import TypedColumns, text_column, wanted_columns
from farthing.events.segments.damage import check_segments
from farthing.events.segments.removal import nothing_removed
from farthing.events.segments.rewrite import new_id, refuse_loss, replace_segments
from farthing.events.store import books as rows
from farthing.events.store import erased as store_rows
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.erased import HeldEvent, Identity, LeftEvent
from farthing.events.store.identities import row_identities

SEGMENTS_AT_ONCE = 100
"""How many are searched together."""
NO_TENANT = 0
"""How far the log is sealed is no tenant's."""


@dataclass(frozen=True, slots=True)
class Erased:
    """Who is erased: what its events called it, and what it is called from now on."""

    subjects: tuple[str, ...]
    pseudonym: str
    words: Words


def words_of_others(books: Books, store: EventStore, tenant_id: int, subjects: Sequence[str]) -> set[str]:
    """What events of these subjects say and others' do, too; and what meters speak of. It names nobody."""
    meters = all_meters(books, tenant_id)
    texts = wanted_columns(meters).texts
    with books.read_only(tenant_id) as conn:
        segments = rows.segments(conn, tenant_id, with_voids=False)
    check_segments(store, tenant_id, segments)
    cursor = store.cursor()
    try:
        files = [(store.data_dir / one.path, one.columns.keys()) for one in segments]
        shared = store_rows.shared_words(cursor, files, texts, subjects)
    finally:
        cursor.close()
    return shared | {VOID_TYPE} | {word for meter in meters for word in _words_of(meter)}


def _words_of(meter: Meter) -> Iterator[str]:
    yield meter.event_type
    for condition in meter.filter:
        value = condition.value
        yield from map(str, value if isinstance(value, list | tuple) else [value])


def erase_from_segments(
    books: Books, store: EventStore, tenant_id: int, erased: Erased, now: datetime
) -> tuple[int, int]:
    """Replace every segment that holds the customer. How many segments, and how many events of it they had.

    Begun again after it was cut short, it goes on with what is left.
    Raises Corrupt `segment_damaged`; Unavailable `disk_full`.
    """
    done_segments = done_events = 0
    while found := _holding(books, store, tenant_id, erased):
        for segment, also in found:
            events = _replaced(books, store, tenant_id, segment, erased, also, now)
            done_events += events
            done_segments += events > 0
    return done_segments, done_events


def _holding(
    books: Books, store: EventStore, tenant_id: int, erased: Erased
) -> list[tuple[Segment, set[Identity]]]:
    with books.read_only(tenant_id) as conn:
        segments = rows.segments(conn, tenant_id, with_voids=False)
        also = store_rows.corrections_touching(conn, tenant_id, [*erased.subjects, erased.pseudonym])
    found = []
    cursor = store.cursor()
    try:
        for first in range(0, len(segments), SEGMENTS_AT_ONCE):
            some = segments[first : first + SEGMENTS_AT_ONCE]
            check_segments(store, tenant_id, some)
            files = [store.data_dir / segment.path for segment in some]
            holding = store_rows.files_holding(cursor, files, erased.subjects, also)
            found += [(one, also) for one in some if str(store.data_dir / one.path) in holding]
    finally:
        cursor.close()
    return found


def _replaced(
    books: Books,
    store: EventStore,
    tenant_id: int,
    segment: Segment,
    erased: Erased,
    also: Collection[Identity],
    now: datetime,
) -> int:
    """How many events of the customer it had; 0 where somebody else replaced it meanwhile: it is looked at again."""
    wanted = wanted_columns(all_meters(books, tenant_id))
    path = store.data_dir / segment.path
    segment_id = new_id("seg", now)
    target = store.data_dir / segment_path(tenant_id, segment_id)
    renamed: dict[Identity, tuple[str, str]] = {}
    count = 0
    reading, writing = store.cursor(), store.cursor()
    try:
        with full_disk_named(), nothing_removed(store.data_dir):
            with books.read_only(tenant_id) as conn:
                named = store_rows.corrected_or_correcting(conn, tenant_id)
                in_force = rows.id_runs(conn, tenant_id)
            runs = [open_run(store.data_dir / run.path, run.run_id, run.ids) for run in in_force]

            def left() -> Iterator[list[LeftEvent]]:
                nonlocal count
                for held in store_rows.held_events(reading, path, erased.subjects, also):
                    count += len(held)
                    some = _left_of(held, runs, segment, wanted, erased.words)
                    for old, new in zip(held, some, strict=True):
                        if old.identity in named:
                            renamed[old.identity] = new.event_id, new.event_type
                    yield some

            file = store_rows.write_without(
                writing, path, target, segment.columns, wanted, erased.pseudonym, left()
            )
            ids = row_identities(writing, "read_parquet($1)", [str(target)])
            file = replace(file, id_filter=id_filter(ids.keys, ids.checks))
    except duckdb.IOException:
        if path.exists():
            raise
        return 0
    finally:
        reading.close()
        writing.close()
    refuse_loss([segment], file.events)
    done = replace_segments(
        erasing_transaction(books.endpoint, tenant_id),
        store,
        tenant_id,
        [segment],
        [(segment_id, file)],
        segment.merge_id or new_id("merge", now),
        now,
        lambda conn: store_rows.rename_in_corrections(conn, tenant_id, erased.pseudonym, renamed),
    )
    return count if done else 0


def _left_of(
    held: Sequence[HeldEvent], runs: Sequence[IdRun], segment: Segment, wanted: TypedColumns, words: Words
) -> list[LeftEvent]:
    """What is left of events. Their contents are as the id index has them, which knows what a correction said."""
    texts = [path for path in wanted.texts if text_column(path) in segment.columns]
    keys = np.array([event.key for event in held], dtype=np.uint64)
    checks = np.array([event.check for event in held], dtype=np.uint64)
    _, contents = find(runs, keys, checks)
    found = []
    for event, content in zip(held, contents, strict=True):
        data = data_left(event.data, wanted.numbers, wanted.texts, words)
        said = read_data(data)
        found.append(
            LeftEvent(
                event.row,
                fingerprint_id(event.key, event.check, int(content)),
                event.event_type if event.event_type in words.kept else ERASED_SOURCE,
                data,
                [text_of(at_path(said, path)) for path in texts],
            )
        )
    return found


def erase_from_log(books: Books, store: EventStore, tenant_id: int, subjects: Collection[str]) -> int:
    """Blank the sealed lines of these subjects, and those that correct their events. How many log files had any.

    Once the events are erased from the segments. Raises as `blank_lines` does.
    """
    with books.read_only(NO_TENANT) as conn:
        sealed_to = rows.cursors(conn)
    with books.read_only(tenant_id) as conn:
        corrected = store_rows.erased_targets(conn, tenant_id)
    quoted = [_encoder.encode(subject) for subject in subjects]

    def of_erased(event: Event) -> bool:
        if event.subject in subjects:
            return True
        if event.corrects is msgspec.UNSET or not corrected:
            return False
        source = event.source if event.correctssource is msgspec.UNSET else event.correctssource
        return store_rows.fingerprint(store, (source, event.corrects)) in corrected

    def kept_lines(block: Block) -> bytes:
        payload = block.payload
        if block.header.tenant != tenant_id or not (
            any(text in payload for text in quoted) or (corrected and b'"corrects":' in payload)
        ):
            return payload
        if block.header.kind == "events":
            return b"".join(line for line in _lines(payload) if not of_erased(_event(line)))
        return b"".join(
            line for line in _lines(payload) if not any(text in _refused(line) for text in quoted)
        )

    return blank_lines(store.data_dir, sealed_to, kept_lines)


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(Event)
_refused_decoder = msgspec.json.Decoder(RefusedLine)
_NO_EVENT = Event(id="-", source="-", type="-")


def _lines(payload: bytes) -> list[bytes]:
    return payload.splitlines(keepends=True)


def _event(line: bytes) -> Event:
    try:
        return _event_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NO_EVENT  # blank, or what only the door took for an event: it names no subject


def _refused(line: bytes) -> bytes:
    try:
        return _refused_decoder.decode(line).raw
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
