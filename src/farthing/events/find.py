"""Finding events: one by its id with its whole way through the door, the log and the seals; many by what they say.

    counted      it stands in a segment and counts in usage
    voided       it stands in a segment, and a correction says that it no longer counts
    quarantined  it was accepted and is not counted; the reason stands beside it
    waiting      it stands in the log, acknowledged, and is counted in a moment

By (source, id) only the segments whose filter may hold it are read (`id_filter.py`), by id alone the same for
every source there is. By customer, type and time the segments of that time are read, from the latest on. What
waits in the log is found as well. A segment that is damaged is named, never passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from farthing.db import Books
from farthing.events.log.search import ATTEMPTS_MAX, LoggedEvent, sent_in, waiting
from farthing.events.model import Event
from farthing.events.segments.damage import check_segments, damaged_segments
from farthing.events.store import books as rows
from farthing.events.store import corrections as correction_rows
from farthing.events.store import finding
from farthing.events.store.books import Connection, Segment
from farthing.events.store.duckdb import EventStore
from farthing.kernel.errors import LimitExceeded
from farthing.kernel.instant import from_unix_microseconds, unix_microseconds

QUARANTINED_SHOWN_MAX = 100
SOURCES_TRIED_MAX = 1_000
"""With more sources than this, an id without its source is looked for in every segment."""

_decoder = msgspec.json.Decoder(Event)

COUNTED, VOIDED, QUARANTINED, WAITING = "counted", "voided", "quarantined", "waiting"
Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that was found, as it was sent; `data` is the bytes of its JSON.

    time: when it happened; `own_time` says whether it said so itself, or has the moment of its receipt.
    """

    source: str
    id: str
    type: str
    subject: str | None
    time: datetime
    own_time: bool
    received_at: datetime
    state: str
    data: str

    @property
    def place(self) -> tuple[int, str, str]:
        """Its place in the order of (time, source, id), behind which a page goes on."""
        return unix_microseconds(self.time), self.source, self.id


@dataclass(frozen=True, slots=True)
class Attempt:
    """A time that an event was sent in, as far back as the log is kept.

    outcome: counted, duplicate, quarantined (the reason stands among the quarantined), or waiting.
    origin: by which door: `http`, or a file. log_file, offset: where its line begins in the log.
    """

    outcome: str
    origin: str
    received_at: datetime
    sealed_at: datetime | None
    log_file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Way:
    """One event's way: the event as it stands, every attempt that is still in the log, and what was set aside."""

    event: FoundEvent | None
    attempts: tuple[Attempt, ...]
    quarantined: tuple[dict[str, Any], ...]
    corrections: tuple[dict[str, Any], ...]
    segments_read: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What events are looked for by. subjects: those that mean the customer asked for; None: any."""

    subjects: tuple[str, ...] | None = None
    event_type: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def holds(self, one: FoundEvent) -> bool:
        """Whether an event is looked for."""
        return (
            (self.subjects is None or one.subject in self.subjects)
            and (self.event_type is None or one.type == self.event_type)
            and (self.start is None or one.time >= self.start)
            and (self.end is None or one.time < self.end)
        )


@dataclass(frozen=True, slots=True)
class SameId:
    """Events of an id: every (source, id), whatever became of it: counted, quarantined or waiting.

    logged: what the log has of each source, for the ways of these events to be told without reading it again; None
        where it has more than is told at once.
    """

    identities: tuple[Identity, ...]
    logged: Mapping[str, Sequence[LoggedEvent]] | None

    def in_log(self, source: str) -> Sequence[LoggedEvent] | None:
        """What the log has of the event of this source, where that is known."""
        return None if self.logged is None else self.logged.get(source, ())


def events_of_id(books: Books, store: EventStore, tenant_id: int, event_id: str) -> SameId:
    """The events that have this id; the log is read once.

    Raises Corrupt `segment_damaged` where a segment that may hold one cannot be read.
    """
    with books.read_only(tenant_id) as conn:
        sealed_to = rows.cursors(conn)
        segments = _maybe_holding_id(conn, store, tenant_id, event_id)
        set_aside = finding.quarantined_with_id(conn, tenant_id, event_id, None, QUARANTINED_SHOWN_MAX)
    check_segments(store, tenant_id, segments)
    found = {row["source"] for row in finding.events_with_id(store, segments, event_id)}
    found |= {row["source"] for row in set_aside if row["source"] is not None}
    logged: dict[str, list[LoggedEvent]] = {}
    for one in sent_in(store.data_dir / "log", tenant_id, event_id, None, sealed_to):
        logged.setdefault(one.event.source, []).append(one)
    all_told = sum(map(len, logged.values())) < ATTEMPTS_MAX
    identities = tuple((source, event_id) for source in sorted(found | logged.keys()))
    return SameId(identities, logged if all_told else None)


def way_of(
    books: Books,
    store: EventStore,
    tenant_id: int,
    identity: Identity,
    in_log: Sequence[LoggedEvent] | None = None,
) -> Way:
    """Everything that is known of one event. `event` is None where nothing with this identity was ever accepted.

    in_log: what the log has of it, where that was read a moment ago.

    Raises Corrupt `segment_damaged` where it is not found and a segment that may hold it cannot be read.
    """
    source, event_id = identity
    log_dir = store.data_dir / "log"
    with books.read_only(tenant_id) as conn:
        sealed_to = rows.cursors(conn)
        segments = finding.segments_holding(conn, store, tenant_id, [identity])
        set_aside = finding.quarantined_with_id(conn, tenant_id, event_id, source, QUARANTINED_SHOWN_MAX)
        corrections = correction_rows.select_corrections_about(conn, tenant_id, identity)
        if in_log is None:
            in_log = list(sent_in(log_dir, tenant_id, event_id, source, sealed_to))
        logged = in_log[:ATTEMPTS_MAX]
        seals = finding.seals_of(conn, tenant_id, [(one.log_file, one.offset) for one in logged])
    damaged = damaged_segments(store, segments)
    readable = [segment for segment in segments if segment.path not in damaged]
    held = finding.events_of(store, readable, [identity])
    if not held and damaged:
        check_segments(store, tenant_id, segments)
    voided = any(
        (row["target_source"], row["target_id"]) == identity
        and (row["voided_at"] or row["target_unreadable"])
        for row in corrections
    )
    event = _stored(held[0], VOIDED if voided else COUNTED) if held else _not_stored(logged, set_aside)
    attempts = _attempts(logged, seals, set_aside, event if held else None)
    return Way(event, attempts, tuple(set_aside), tuple(corrections), len(segments))


def find_events(
    books: Books,
    store: EventStore,
    tenant_id: int,
    wanted: Wanted,
    before: tuple[int, str, str] | None,
    limit: int,
) -> list[FoundEvent]:
    """Events that are counted, voided or waiting, the newest first by (time, source, id), behind a place.

    Raises Corrupt `segment_damaged`; LimitExceeded `too_many_waiting` where more waits in the log than is read.
    """
    with books.read_only(tenant_id) as conn:
        sealed_to = rows.cursors(conn)
        until = wanted.end if before is None else from_unix_microseconds(before[0] + 1)
        segments = rows.segments(conn, tenant_id, event_type=wanted.event_type, start=wanted.start, end=until)
        pending = _waiting(store.data_dir / "log", tenant_id, sealed_to)
    check_segments(store, tenant_id, segments)
    stored = finding.newest(
        store,
        [(segment, segment.max_time) for segment in segments],
        subjects=wanted.subjects,
        event_type=wanted.event_type,
        start=wanted.start,
        end=wanted.end,
        before=before,
        limit=limit,
    )
    with books.read_only(tenant_id) as conn:
        voided = correction_rows.voided_states(
            conn, tenant_id, [(row["source"], row["id"]) for row in stored]
        )
    found = {
        (row["source"], row["id"]): _stored(row, VOIDED if (row["source"], row["id"]) in voided else COUNTED)
        for row in stored
    }
    for one in pending:
        if wanted.holds(one) and (before is None or _order(one.place) < _order(before)):
            found.setdefault((one.source, one.id), one)
    return sorted(found.values(), key=lambda one: _order(one.place), reverse=True)[:limit]


def _order(place: tuple[int, str, str]) -> tuple[int, bytes, bytes]:
    return place[0], place[1].encode(), place[2].encode()


def _maybe_holding_id(conn: Connection, store: EventStore, tenant_id: int, event_id: str) -> list[Segment]:
    sources = finding.known_sources(conn, tenant_id)
    unlisted = finding.segments_of_unlisted_sources(conn, tenant_id)
    if len(sources) > SOURCES_TRIED_MAX:
        return rows.segments(conn, tenant_id, with_voids=False)
    chosen = set(finding.holding(conn, store, tenant_id, [(source, event_id) for source in sources]) or ())
    chosen |= unlisted
    return [
        segment
        for segment in rows.segments(conn, tenant_id, with_voids=False)
        if segment.segment_id in chosen
    ]


def _waiting(log_dir: Path, tenant_id: int, sealed_to: dict[str, int]) -> list[FoundEvent]:
    found = []
    for one in waiting(log_dir, tenant_id, sealed_to):
        if one is None:
            raise LimitExceeded(
                "too_many_waiting", "more events wait in the log than are searched; have them sealed first"
            )
        found.append(_logged(one))
    return found


def _stored(row: dict[str, Any], state: str) -> FoundEvent:
    return FoundEvent(
        row["source"],
        row["id"],
        row["type"],
        row["subject"],
        from_unix_microseconds(row["time_us"]),
        row["own_time"],
        from_unix_microseconds(row["received_us"]),
        state,
        row["data"],
    )


def _logged(one: LoggedEvent) -> FoundEvent:
    return _said(one.event, from_unix_microseconds(one.received_us), WAITING)


def _said(event: Event, received_at: datetime, state: str) -> FoundEvent:
    return FoundEvent(
        event.source,
        event.id,
        event.type,
        event.subject,
        event.time or received_at,
        event.time is not None,
        received_at,
        state,
        bytes(event.data).decode(errors="replace"),
    )


def _not_stored(logged: Sequence[LoggedEvent], set_aside: Sequence[dict[str, Any]]) -> FoundEvent | None:
    """An event that no segment holds: it waits, or it was set aside."""
    for one in logged:
        if not one.sealed:
            return _logged(one)
    if not set_aside:
        return None
    row = set_aside[-1]
    try:
        event = _decoder.decode(bytes(row["raw"]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _said(event, row["received_at"], QUARANTINED)


def _attempts(
    logged: Sequence[LoggedEvent],
    seals: dict[tuple[str, int], dict[str, Any]],
    set_aside: Sequence[dict[str, Any]],
    counted: FoundEvent | None,
) -> tuple[Attempt, ...]:
    """What became of each time: the first receipt of the counted event counted, what quarantine has is set aside."""
    in_quarantine = {(row["seal_id"], bytes(row["raw"])) for row in set_aside}
    attempts: list[Attempt] = []
    seen_counted = False
    for one in sorted(logged, key=lambda one: (one.received_us, one.log_file, one.offset)):
        seal = seals.get((one.log_file, one.offset))
        received_at = from_unix_microseconds(one.received_us)
        if seal is None or not one.sealed:
            outcome = WAITING
        elif (seal["seal_id"], one.line.rstrip(b"\n")) in in_quarantine:
            outcome = QUARANTINED
        elif counted is not None and not seen_counted and received_at == counted.received_at:
            outcome, seen_counted = COUNTED, True
        else:
            outcome = "duplicate"
        attempts.append(
            Attempt(
                outcome,
                one.origin,
                received_at,
                seal["sealed_at"] if seal else None,
                one.log_file,
                one.offset,
            )
        )
    return tuple(attempts)
