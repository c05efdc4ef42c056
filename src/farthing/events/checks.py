"""Laws 1 to 4 on live data: what was acknowledged, sealed, stored and indexed agrees.

Each check reads what the books say first and the files after it, so that a server at work meanwhile
is no finding: what it adds is not looked for, and what it replaces is asked for again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from farthing.db import Books
from farthing.events.log.files import is_finished, list_log_files, read_blocks
from farthing.events.segments.damage import missing_complaint
from farthing.events.segments.verified import CHANGED
from farthing.events.store import books as rows
from farthing.events.store import checks as columns
from farthing.events.store import corrections as correction_rows
from farthing.events.store import finding
from farthing.events.store import quarantine as quarantine_rows
from farthing.events.store import removed as removed_rows
from farthing.events.store.duckdb import EventStore
from farthing.kernel.checked import Checked, checked
from farthing.kernel.errors import Corrupt
from farthing.kernel.instant import unix_microseconds

PIECE_BYTES = 8 * 1024 * 1024
DEBRIS_SECONDS = 3600
"""A younger file may belong to a batch that is about to be committed."""
CORRECTIONS_CHECKED_MAX = 1_000_000
NO_TENANT = 0
"""How far the log is sealed is no tenant's."""

Progress = Callable[[int, int], None]


def check_conservation(books: Books, tenant_id: int) -> Checked:
    """Law 3: accepted = counted + duplicate + quarantined, and the rows and files say the same of each."""
    with books.read_only(tenant_id) as conn:
        sealed = rows.tally(conn, tenant_id)
        quarantined = sum(rows.quarantine_reasons(conn, tenant_id).values())
        stored = sum(segment.events for segment in rows.segments(conn, tenant_id, with_voids=False))
        removed = removed_rows.removed_events(conn, tenant_id)
        indexed = sum(run.ids for run in rows.id_runs(conn, tenant_id))
        overdrawn = quarantine_rows.overdrawn_seals(conn, tenant_id)
    findings = [
        f"the seal {seal['seal_id']} closes {seal['retried']} quarantined events as retried, "
        f"and accepted {seal['accepted']}"
        for seal in overdrawn
    ]
    parts = sealed["counted"] + sealed["duplicate"] + sealed["quarantined"]
    if sealed["accepted"] != parts:
        findings.append(f"{sealed['accepted']} events were accepted, and {parts} are accounted for")
    for what, count, by_seals in (
        (
            "events in segments or removed after their time" if removed else "events in segments",
            stored + removed,
            sealed["counted"],
        ),
        ("ids in the index", indexed, sealed["counted"]),
        ("events in quarantine", quarantined, sealed["quarantined"]),
    ):
        if count != by_seals:
            findings.append(f"there are {count} {what}; by the seals it should be {by_seals}")
    return checked(sealed["accepted"], "accepted event", findings)


def check_sealed_log(
    books: Books, log_dir: Path, tenant_ids: Sequence[int], progress: Progress | None = None
) -> Checked:
    """Law 1: every block of the log that was sealed is whole, and its events stand in the seals."""
    with books.read_only(NO_TENANT) as conn:
        sealed_to = rows.cursors(conn)
    in_seals: Counter[tuple[int, str]] = Counter()
    for tenant_id in tenant_ids:
        with books.read_only(tenant_id) as conn:
            for log_file, accepted in columns.accepted_by_log_file(conn, tenant_id, sealed_to).items():
                in_seals[tenant_id, log_file] = accepted
    findings: list[str] = []
    log_files = [log_file for log_file in list_log_files(log_dir) if sealed_to.get(log_file)]
    for place, log_file in enumerate(log_files):
        if progress:
            progress(place, len(log_files))
        findings += _log_file_findings(
            log_dir / log_file, log_file, sealed_to[log_file], tenant_ids, in_seals
        )
    return checked(len(log_files), "log file", findings)


def _log_file_findings(
    path: Path, log_file: str, end: int, tenant_ids: Sequence[int], in_seals: Counter[tuple[int, str]]
) -> list[str]:
    in_log: Counter[int] = Counter()
    offset = 0
    try:
        if path.stat().st_size < end:
            return [f"{log_file} was sealed up to byte {end} and has only {path.stat().st_size}"]
        while offset < end:
            blocks = [block for block in read_blocks(path, offset, PIECE_BYTES) if block.end <= end]
            if not blocks:
                return [f"{log_file} has no whole block at byte {offset}, which was sealed"]
            for block in blocks:
                in_log[block.header.tenant] += block.header.events
            offset = blocks[-1].end
    except FileNotFoundError:  # sealed and old enough: the engine removed it meanwhile
        return []
    except Corrupt as error:
        return [error.message]
    return [
        f"{log_file} holds {in_log[tenant_id]} sealed events of tenant {tenant_id}, "
        f"and its seals account for {in_seals[tenant_id, log_file]}"
        for tenant_id in tenant_ids
        if in_log[tenant_id] != in_seals[tenant_id, log_file]
    ]


def check_waiting_log(books: Books, log_dir: Path) -> Checked:
    """Law 1: what stands in the log and is not sealed yet is whole."""
    with books.read_only(NO_TENANT) as conn:
        sealed_to = rows.cursors(conn)
    findings = []
    waiting = 0
    for log_file in list_log_files(log_dir):
        start = sealed_to.get(log_file, 0)
        try:
            waiting += end_of_blocks(log_dir / log_file, start) > start
        except Corrupt as error:
            findings.append(error.message)
    return checked(waiting + len(findings), "log file", findings)


def cut_off(books: Books, log_dir: Path) -> dict[str, int]:
    """Log files that nobody writes any more and that end in the beginning of a block, and how many bytes of it.

    A process that is killed while it writes leaves that, and had not acknowledged it. Of a file that somebody
    cut short it looks the same.
    """
    with books.read_only(NO_TENANT) as conn:
        sealed_to = rows.cursors(conn)
    found = {}
    for log_file in list_log_files(log_dir):
        path = log_dir / log_file
        with suppress(Corrupt, FileNotFoundError):
            if is_finished(path):
                left = path.stat().st_size - end_of_blocks(path, sealed_to.get(log_file, 0))
                if left > 0:
                    found[log_file] = left
    return found


def end_of_blocks(path: Path, offset: int) -> int:
    """Where the last whole block ends; `offset` where none follows it."""
    try:
        while blocks := read_blocks(path, offset, PIECE_BYTES):
            offset = blocks[-1].end
    except FileNotFoundError:  # sealed and old enough: the engine removed it meanwhile
        pass
    return offset


def check_files(books: Books, data_dir: Path, tenant_id: int, progress: Progress | None = None) -> Checked:
    """Law 4: every segment and id run in force is there, byte for byte as it was written."""
    expected = _files_in_force(books, tenant_id)
    off: dict[str, str] = {}
    for place, (path, checksum) in enumerate(expected.items()):
        if progress:
            progress(place, len(expected))
        if complaint := _file_complaint(data_dir, path, checksum):
            off[path] = complaint
    still = _files_in_force(books, tenant_id) if off else {}
    return checked(
        len(expected),
        "file",
        [f"{path} {complaint}" for path, complaint in off.items() if path in still],
    )


def _files_in_force(books: Books, tenant_id: int) -> dict[str, bytes]:
    with books.read_only(tenant_id) as conn:
        segments = {
            segment.path: segment.checksum for segment in rows.segments(conn, tenant_id, with_voids=False)
        }
        runs = {run.path: run.checksum for run in rows.id_runs(conn, tenant_id)}
    return {path: bytes(checksum) for path, checksum in (segments | runs).items()}


def _file_complaint(data_dir: Path, path: str, checksum: bytes) -> str:
    try:
        with open(data_dir / path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except FileNotFoundError:
        return missing_complaint(data_dir, path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if digest == checksum else CHANGED


def check_counted_once(books: Books, store: EventStore, tenant_id: int) -> Checked:
    """Law 2: no two events in the segments have the same source and id."""
    with books.read_only(tenant_id) as conn:
        paths = [
            store.data_dir / segment.path for segment in rows.segments(conn, tenant_id, with_voids=False)
        ]
    events, repeated = columns.repeated_events(store, [path for path in paths if path.exists()])
    findings = [
        f"the event {event_id!r} of {source!r} was counted {times} times"
        for source, event_id, times in repeated
    ]
    return checked(events, "event", findings)


def check_corrections(books: Books, store: EventStore, tenant_id: int) -> Checked:
    """Every correction is in effect: its event, once it is counted, is void; and nothing else is."""
    with books.read_only(tenant_id) as conn:
        corrections = correction_rows.select_corrections_after(
            conn, tenant_id, 0, CORRECTIONS_CHECKED_MAX, None
        )
        targets = {(row["target_source"], row["target_id"]): row for row in corrections}
        segments = [
            segment
            for segment in finding.segments_holding(conn, store, tenant_id, list(targets))
            if (store.data_dir / segment.path).exists()
        ]
        removed = removed_rows.removed_spans(conn, tenant_id)
    held = {(row["source"], row["id"]): row for row in finding.events_of(store, segments, list(targets))}
    findings = []
    for target, row in targets.items():
        event = held.get(target)
        if row["target_unreadable"]:
            continue  # In effect wherever its event may be: no segment is read without it.
        if event is None and row["voided_at"] is not None and _was_removed(row, removed):
            continue  # It was void before its segment was removed.
        if (event is None) != (row["voided_at"] is None):
            said = "is counted and was never voided" if event else "is void and was never counted"
            findings.append(
                f"the event {target[1]!r} of {target[0]!r}, corrected by {row['event_id']!r}, {said}"
            )
        elif event and (unix_microseconds(row["event_time"]), row["subject"]) != _told(event):
            findings.append(
                f"the void of {target[1]!r} of {target[0]!r} tells another time or subject than the event"
            )
    return checked(len(corrections), "correction", findings)


def _was_removed(voided: dict[str, Any], removed: Sequence[removed_rows.RemovedSpan]) -> bool:
    return any(
        voided["event_type"] in span.event_types and span.min_time <= voided["event_time"] <= span.max_time
        for span in removed
    )


def _told(event: dict[str, Any]) -> tuple[int, str | None]:
    subject = event["subject"]  # PostgreSQL text cannot hold NUL
    return event["time_us"], None if subject is None else subject.replace("\0", "\ufffd")


def debris(books: Books, data_dir: Path, tenant_ids: Sequence[int], now: datetime) -> list[Path]:
    """Segment and id files that no row names, older than an hour: from a crash, or replaced. They do no harm."""
    named: set[str] = set()
    for tenant_id in tenant_ids:
        named |= _files_in_force(books, tenant_id).keys()
    return [
        path
        for kind in ("segments", "ids")
        for path in sorted((data_dir / kind).glob("*/*"))
        if str(path.relative_to(data_dir)) not in named and _age_seconds(path, now) >= DEBRIS_SECONDS
    ]


def _age_seconds(path: Path, now: datetime) -> float:
    try:
        return unix_microseconds(now) / 1_000_000 - path.stat().st_mtime
    except FileNotFoundError:
        return 0
