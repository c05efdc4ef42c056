"""What is done about quarantined events: they are sent in once more, or dropped.

A retry is an ordinary acceptance: the bytes go through the door's parser into the log, and sealing
decides anew. The block names the quarantined event, and the seal that says what became of it closes
the old entry in the same transaction. So at every moment accepted = counted + duplicate + quarantined:
the entry stays as it was accepted first, and the retry is accepted once more. A crash before the block
is on disk leaves the entry open; after it, the block is sealed like any other. An event that is sent in
twice is a duplicate the second time.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farthing.db import Books
from farthing.events.intake.formats import parse_events
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.store import books as event_rows
from farthing.events.store import quarantine as rows
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.instant import unix_microseconds

RETRIED_AT_ONCE = 500
"""Events that are read and appended together, which bounds the memory of a retry."""
TOO_EARLY = "too_early"


@dataclass(frozen=True, slots=True)
class Refused:
    """A quarantined event whose bytes are no event; it stays open."""

    quarantine_id: int
    message: str


@dataclass(frozen=True, slots=True)
class Resent:
    """What a retry put on disk: `events` of them, in these log files."""

    events: int
    refused: tuple[Refused, ...]
    log_files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of events that were sent in once more: events = counted + duplicate + quarantined."""

    events: int
    counted: int
    duplicate: int
    quarantined: int
    quarantined_by_reason: dict[str, int]


def open_events(books: Books, tenant_id: int, reason: str | None) -> list[int]:
    """The ids of the quarantined events that nothing has been done about: of one reason, or all."""
    with books.read_only(tenant_id) as conn:
        return rows.open_ids(conn, tenant_id, reason)


def resend(
    books: Books,
    tenant_id: int,
    log: LogWriter,
    ids: Sequence[int],
    now: datetime,
    corrected: bytes | None = None,
) -> Resent:
    """Put quarantined events into the log once more, and return when they are on disk.

    corrected: an event to send in place of the bytes that stand in quarantine (for one id).

    Raises:
        NotFound: `quarantined_event_not_found`.
        Conflict: `quarantine_resolved`, one of them was closed before.
        Unavailable: the log takes nothing; what was appended before counts, the rest stays open.
    """
    assert corrected is None or len(ids) == 1, "a correction is of one event"
    events, refused, log_files = 0, list[Refused](), set[str]()
    for entries in _open_entries(books, tenant_id, ids):
        appended = []
        for entry in entries:
            line = _line(corrected if corrected is not None else bytes(entry["raw"]))
            if isinstance(line, bytes):
                appended.append(log.append(_block(tenant_id, entry, line, now)))
            else:
                refused.append(Refused(entry["quarantine_id"], line.message))
        for future in appended:
            log_files.add(future.result().log_file)
        events += len(appended)
    return Resent(events, tuple(refused), frozenset(log_files))


def resend_one(books: Books, tenant_id: int, log: LogWriter, quarantine_id: int, now: datetime) -> None:
    """The same for one event. Raises InvalidInput `not_an_event` where its bytes are none."""
    for refused in resend(books, tenant_id, log, [quarantine_id], now).refused:
        raise InvalidInput("not_an_event", refused.message)


def outcome_of(books: Books, tenant_id: int, log_files: Collection[str]) -> Retried:
    """What became of log files that hold nothing but retried events, once they are sealed."""
    with books.read_only(tenant_id) as conn:
        tally = event_rows.tally(conn, tenant_id, log_files)
        by_reason = event_rows.quarantine_reasons(conn, tenant_id, log_files)
    return Retried(tally["accepted"], tally["counted"], tally["duplicate"], tally["quarantined"], by_reason)


def drop(books: Books, tenant_id: int, ids: Sequence[int], now: datetime) -> int:
    """Close quarantined events for good, not to be counted. They stay to be seen. Returns how many were open.

    Raises:
        NotFound: `quarantined_event_not_found`.
        Conflict: `quarantine_resolved`, one of them was retried before. (Dropping again changes nothing.)
    """
    with books.transaction(tenant_id) as conn:
        entries = rows.quarantined_events(conn, tenant_id, ids)
        _refuse_missing(entries, ids)
        _refuse_resolved(entries, "retried")
        return rows.insert_dropped(conn, tenant_id, ids, now)


def _open_entries(books: Books, tenant_id: int, ids: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(ids), RETRIED_AT_ONCE):
        chosen = ids[first : first + RETRIED_AT_ONCE]
        with books.read_only(tenant_id) as conn:
            entries = rows.quarantined_events(conn, tenant_id, chosen)
        _refuse_missing(entries, chosen)
        _refuse_resolved(entries, "retried", "dropped")
        yield entries


def _refuse_missing(entries: Sequence[dict[str, Any]], ids: Sequence[int]) -> None:
    if missing := set(ids) - {entry["quarantine_id"] for entry in entries}:
        raise NotFound("quarantined_event_not_found", f"there is no quarantined event {min(missing)}")


def _refuse_resolved(entries: Sequence[dict[str, Any]], *resolutions: str) -> None:
    for entry in entries:
        if entry["resolution"] in resolutions:
            raise Conflict(
                "quarantine_resolved", f"quarantined event {entry['quarantine_id']} was {entry['resolution']}"
            )


def _line(raw: bytes) -> bytes | InvalidInput:
    """The bytes as one canonical event line, or why they are none."""
    try:
        batch = parse_events(raw, "application/json", "")
    except InvalidInput as error:
        return error
    if batch.rejected:
        return InvalidInput(batch.rejected[0].code, batch.rejected[0].message)
    if batch.accepted != 1:
        return InvalidInput("not_an_event", f"the bytes hold {batch.accepted} events instead of one")
    return batch.lines


def _block(tenant_id: int, entry: dict[str, Any], line: bytes, now: datetime) -> bytes:
    """The event as a block that names its entry.

    It keeps the moment of its first receipt: an event without a time of its own must not move, and one
    that came in time must not become late. Only what came too early is received anew: time has passed.
    """
    received_at = now if entry["reason"] == TOO_EARLY else entry["received_at"]
    header = BlockHeader(
        block=1,
        tenant=tenant_id,
        kind="events",
        received_us=unix_microseconds(received_at),
        events=1,
        bytes=len(line),
        origin=f"retry of {entry['quarantine_id']}",
        retried=entry["quarantine_id"],
    )
    return encode_block(header, line)
