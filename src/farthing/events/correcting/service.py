"""Use cases of corrections: void an event, put another one in its place, list what was corrected.

What is asked for becomes an event that names the other (`corrections.py`), goes through the door's parser into the
log, and takes effect when it is sealed. Asked once more the same, it is the same event and a duplicate.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from farthing.db import Books
from farthing.events.find import QUARANTINED, FoundEvent, way_of
from farthing.events.intake.formats import parse_events
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.model import ID_LENGTH_MAX, VOID_TYPE
from farthing.events.store import corrections as rows
from farthing.events.store.duckdb import EventStore
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import format_instant, unix_microseconds
from farthing.kernel.reading import shown

INVALID_CORRECTION = "invalid_correction"
CORRECTIONS_SHOWN_MAX = 1_001

_encoder = msgspec.json.Encoder(decimal_format="number")
_TAKEN_OVER = ("type", "subject", "time")


@dataclass(frozen=True, slots=True)
class Sent:
    """A correction that is on disk: the correcting event, and the event that it corrects.

    again: it was there before, and nothing was sent.
    """

    kind: str
    source: str
    event_id: str
    target_source: str
    target_id: str
    log_file: str | None
    again: bool = False


def void_event(
    books: Books,
    store: EventStore,
    log: LogWriter,
    tenant_id: int,
    source: str,
    event_id: str,
    reason: str,
    now: datetime,
) -> Sent:
    """Let an event no longer count. It stays where it is, with its id, and is shown as voided.

    Raises:
        NotFound: `event_not_found`.
        Conflict: `already_corrected`, `corrects_a_void`, `event_quarantined` (it does not count: drop it).
        InvalidInput: `invalid_correction`.
    """
    said: dict[str, Any] = {"id": _own_id("void", event_id), "type": VOID_TYPE, "data": None}
    return _correct(books, store, log, tenant_id, (source, event_id), reason, said, now)


def replace_event(
    books: Books,
    store: EventStore,
    log: LogWriter,
    tenant_id: int,
    source: str,
    event_id: str,
    reason: str,
    replacement: Mapping[str, Any],
    now: datetime,
) -> Sent:
    """Let another event count in place of one: what it does not say (type, subject, time) is as it was.

    replacement: the members of an event. Its id is its own, `replace:` and the old one where it names none.
    Raises as `void_event` does.
    """
    said = {"id": _own_id("replace", event_id)} | dict(replacement)
    if said.get("type") == VOID_TYPE:
        raise InvalidInput.of(INVALID_CORRECTION, [Fault("replacement.type", "is that of a void")])
    if said["id"] == event_id and said.get("source", source) == source:
        raise InvalidInput.of(
            INVALID_CORRECTION, [Fault("replacement.id", "is that of the event; it needs its own")]
        )
    return _correct(books, store, log, tenant_id, (source, event_id), reason, said, now)


def _correct(
    books: Books,
    store: EventStore,
    log: LogWriter,
    tenant_id: int,
    target: tuple[str, str],
    reason: str,
    said: dict[str, Any],
    now: datetime,
) -> Sent:
    source, event_id = target
    kind = "void" if said.get("type") == VOID_TYPE else "replace"
    if any("\0" in text for text in (*target, reason)):
        raise InvalidInput.of(INVALID_CORRECTION, [Fault("id", "holds a NUL character")])
    event, standing = _standing(books, store, tenant_id, target)
    attributes = {"source": source, **({} if kind == "void" else _taken_over(event)), **said}
    if kind == "void" and event.subject is not None:
        attributes["subject"] = event.subject
    attributes |= {"corrects": event_id, "correctssource": source}
    attributes |= {"correctsreason": reason} if reason else {}
    sent = Sent(kind, attributes["source"], attributes["id"], source, event_id, None)
    if standing is not None:
        by = standing["source"], standing["event_id"]
        if (
            by == (sent.source, sent.event_id)
            and standing["reason"] == reason
            and kind == "void" == standing["kind"]
        ):
            return Sent(kind, *by, source, event_id, None, again=True)
        was = f"by {shown(by[1])} of {shown(by[0])}"
        raise Conflict(
            "already_corrected",
            f"the event was replaced {was}; correct that one"
            if standing["kind"] == "replace"
            else f"the event was voided {was}; if it shall count, send it anew under another id",
        )
    line = _line(attributes)
    return Sent(kind, sent.source, sent.event_id, source, event_id, _append(log, tenant_id, line, now))


def _standing(
    books: Books, store: EventStore, tenant_id: int, target: tuple[str, str]
) -> tuple[FoundEvent, dict[str, Any] | None]:
    """The event, and the correction that it has."""
    way = way_of(books, store, tenant_id, target)
    if way.event is None:
        raise NotFound(
            "event_not_found", f"no event {shown(target[1])} of the source {shown(target[0])} was accepted"
        )
    if way.event.type == VOID_TYPE:
        raise Conflict("corrects_a_void", "a void cannot be corrected; send the event anew under another id")
    if way.event.state == QUARANTINED:
        raise Conflict(
            "event_quarantined", "the event stands in quarantine and does not count; drop it there"
        )
    for row in way.corrections:
        if (row["target_source"], row["target_id"]) == target:
            return way.event, row
    return way.event, None


def _taken_over(event: FoundEvent) -> dict[str, Any]:
    said = {"type": event.type, "subject": event.subject, "time": format_instant(event.time)}
    return {name: said[name] for name in _TAKEN_OVER if said[name] is not None}


def _own_id(prefix: str, event_id: str) -> str:
    """`void:<id>`, the same each time; of a very long id its hash."""
    own = f"{prefix}:{event_id}"
    if len(own) <= ID_LENGTH_MAX:
        return own
    return f"{prefix}:{hashlib.blake2b(event_id.encode(), digest_size=16).hexdigest()}"


def _line(attributes: Mapping[str, Any]) -> bytes:
    """The correction as one canonical event line."""
    batch = parse_events(_encoder.encode(attributes), "application/json", "")
    for refused in batch.rejected:
        raise InvalidInput(refused.code, refused.message, path=refused.path)
    return batch.lines


def _append(log: LogWriter, tenant_id: int, line: bytes, now: datetime) -> str:
    header = BlockHeader(
        block=1,
        tenant=tenant_id,
        kind="events",
        received_us=unix_microseconds(now),
        events=1,
        bytes=len(line),
        origin="correction",
    )
    return log.append(encode_block(header, line)).result().log_file


def list_corrections(
    books: Books, tenant_id: int, after: int, limit: int, customer: str | None = None
) -> list[dict[str, Any]]:
    """Corrections in the order in which they were sealed, behind `after`: of one customer's events, or all."""
    assert 1 <= limit <= CORRECTIONS_SHOWN_MAX
    with books.read_only(tenant_id) as conn:
        return rows.select_corrections_after(conn, tenant_id, after, limit, customer)
