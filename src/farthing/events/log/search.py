"""Finding events in the log: every time that one was sent in, as far back as the log is kept, and what waits.

The log knows what a segment does not: by which door an event came, and how often. An event is found by the
bytes that begin its line, so the files are searched as they lie and nothing is decoded but what was found.
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from farthing.events.log.files import HEADER_BYTES_MAX, Block, BlockHeader, list_log_files, read_blocks
from farthing.events.model import Event

ATTEMPTS_MAX = 100
"""At most so many times that an event was sent in are told."""
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""How much of what waits to be sealed is read for a question that does not name an event."""
PIECE_BYTES = 8 * 1024 * 1024

_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(BlockHeader)
_event_decoder = msgspec.json.Decoder(Event)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it stands in the log: in which file, behind which byte, and how it came there."""

    log_file: str
    offset: int
    origin: str
    received_us: int
    sealed: bool
    event: Event
    line: bytes


def sent_in(
    log_dir: Path, tenant_id: int, event_id: str, source: str | None, sealed_to: Mapping[str, int]
) -> Iterator[LoggedEvent]:
    """Every time that events with this id (and source) were sent in, file by file, as far as they are kept."""
    first_bytes = b'{"id":' + _encoder.encode(event_id) + b',"source":'
    if source is not None:
        first_bytes += _encoder.encode(source) + b","
    for log_file in list_log_files(log_dir):
        found = _lines(log_dir / log_file, first_bytes)
        for header, offset, line in found:
            if header.tenant != tenant_id or header.kind != "events":
                continue
            event = _decoded(line)
            if event is not None and event.id == event_id and source in (None, event.source):
                sealed = offset < sealed_to.get(log_file, 0)
                yield LoggedEvent(log_file, offset, header.origin, header.received_us, sealed, event, line)


def _lines(path: Path, first_bytes: bytes) -> list[tuple[BlockHeader, int, bytes]]:
    """Lines that begin so, each with its offset and the header of its block."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            places, at = list[int](), text.find(first_bytes)
            while at >= 0 and len(places) < ATTEMPTS_MAX:
                places.append(at)
                at = text.find(first_bytes, at + 1)
            return list(_with_headers(text, places)) if places else []
    except (FileNotFoundError, ValueError):  # sealed and removed meanwhile, or empty
        return []


def _with_headers(text: mmap.mmap, places: list[int]) -> Iterator[tuple[BlockHeader, int, bytes]]:
    """Walk from header to header: payloads are skipped."""
    at, waiting = 0, list(places)
    while waiting and at < len(text):
        line_end = text.find(b"\n", at, at + HEADER_BYTES_MAX) + 1
        try:
            header = _header_decoder.decode(text[at:line_end])
        except msgspec.DecodeError:
            return  # Damage, or a write that was cut off: sealing says so.
        end = line_end + header.bytes
        while waiting and waiting[0] < end:
            place = waiting.pop(0)
            if place >= line_end and text[place - 1] == ord("\n"):
                yield header, place, text[place : text.find(b"\n", place, end) + 1]
        at = end


def unsealed_blocks(log_dir: Path, sealed_to: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
    """The blocks behind the places up to which the log was sealed, each with its file, a few of them in memory.

    What has been sealed and removed since those places were read is passed over. Raises Corrupt `log_damaged`.
    """
    for log_file in list_log_files(log_dir):
        offset = sealed_to.get(log_file, 0)
        path = log_dir / log_file
        try:
            while path.stat().st_size > offset and (blocks := read_blocks(path, offset, PIECE_BYTES)):
                for block in blocks:
                    yield log_file, block
                offset = blocks[-1].end
        except FileNotFoundError:
            continue


def waiting(log_dir: Path, tenant_id: int, sealed_to: Mapping[str, int]) -> Iterator[LoggedEvent | None]:
    """What stands in the log and is not sealed; None at the end where there is more than is read at once."""
    left = WAITING_BYTES_MAX
    for log_file, block in unsealed_blocks(log_dir, sealed_to):
        if left <= 0:
            yield None
            return
        left -= len(block.payload)
        if block.header.tenant == tenant_id and block.header.kind == "events":
            yield from _of_payload(log_file, block.end - len(block.payload), block.header, block.payload)


def _of_payload(log_file: str, start: int, header: BlockHeader, payload: bytes) -> Iterator[LoggedEvent]:
    for line in payload.split(b"\n"):
        event = _decoded(line)
        if event is not None:
            yield LoggedEvent(log_file, start, header.origin, header.received_us, False, event, line)
        start += len(line) + 1


def _decoded(line: bytes) -> Event | None:
    try:
        return _event_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
