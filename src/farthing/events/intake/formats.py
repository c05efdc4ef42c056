"""From the bytes of a request or a file to canonical event lines.

Every door ends here: a body becomes canonical NDJSON (one event a line, attributes in one order,
`data` last and untouched), and each event that cannot be taken is named with its place, without
holding up the others.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import zstandard
from isal import isal_zlib

from farthing.events.intake.compression import ChunkStream, GzipError, unzstd
from farthing.events.intake.scanned import scanned_lines
from farthing.events.model import DATA_DEPTH_MAX, EVENT_BYTES_MAX, Event, ParsedBatch, Rejected
from farthing.events.scanning.loading import scanning_of
from farthing.kernel.errors import InvalidInput, LimitExceeded

BODY_BYTES_MAX = 32 * 1024 * 1024
"""After decompression."""
EVENTS_PER_REQUEST_MAX = 50_000
LINES_AT_ONCE_BYTES = 384 * 1024
REJECTED_RAW_BYTES_MAX = 4096
"""How much of a refused event is kept to show."""

_NDJSON_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"}
)
JSON_TYPES = frozenset(
    {"application/json", "application/cloudevents+json", "application/cloudevents-batch+json", ""}
)

ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
TABLE_TYPES = frozenset({ARROW_STREAM, ARROW_FILE, PARQUET})
"""Tables: `table_bodies.py` reads them."""

_decoder = msgspec.json.Decoder(Event)
_batch_decoder = msgspec.json.Decoder(list[Event])
_raw_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()

_NEWLINE = ord("\n")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"{}[]\n")
_NOT_OPENING = bytes(byte for byte in range(256) if byte not in b"{[\n")
_BRACKET_AS_BRACE = bytes.maketrans(b"[", b"{")
_TOO_MANY_OPENINGS = b"{" * (DATA_DEPTH_MAX + 1)
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
# Possessive, so that a quotation mark without its fellow costs one pass and not a pass from each mark.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]+)`")


def decompress(body: bytes, content_encoding: str) -> bytes:
    """The body as the client wrote it. Raises `broken_compression`, `unsupported_encoding`, `body_too_large`."""
    match content_encoding.strip().lower():
        case "" | "identity":
            plain = body
        case "gzip":
            plain = _gunzip(body)
        case "zstd":
            try:
                plain = ChunkStream(unzstd([body])).read(BODY_BYTES_MAX + 1)
            except zstandard.ZstdError as error:
                raise InvalidInput("broken_compression", f"the body is not valid zstd: {error}") from None
        case other:
            raise InvalidInput(
                "unsupported_encoding", f"content-encoding {other[:40]!r} is not gzip, zstd or identity"
            )
    if len(plain) > BODY_BYTES_MAX:
        raise LimitExceeded(
            "body_too_large", f"the body is larger than {BODY_BYTES_MAX} bytes after decompression"
        )
    return plain


def _gunzip(body: bytes) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while body:
            stream = isal_zlib.decompressobj(wbits=31)
            part = stream.decompress(body, BODY_BYTES_MAX + 1 - size)
            size += len(part)
            parts.append(part)
            if size > BODY_BYTES_MAX:
                break
            if not stream.eof:
                raise InvalidInput("broken_compression", "the gzip body ends before its end marker")
            body = stream.unused_data
    except GzipError as error:
        raise InvalidInput("broken_compression", f"the body is not valid gzip: {error}") from None
    return b"".join(parts)


def media_type_of(content_type: str) -> str:
    """The media type without its parameters."""
    return content_type.split(";", 1)[0].strip().lower()


def parse_events(body: bytes, content_type: str, content_encoding: str) -> ParsedBatch:
    """A request body as canonical events: a single CloudEvent, a JSON array of them, or NDJSON.

    Raises:
        InvalidInput: the body as a whole cannot be read (encoding, media type, broken JSON array).
        LimitExceeded: too many bytes or events.
    """
    media_type = media_type_of(content_type)
    if media_type not in JSON_TYPES and media_type not in _NDJSON_TYPES:
        raise InvalidInput("unsupported_media_type", f"{media_type[:80]!r} is not a media type for events")
    plain = decompress(body, content_encoding)
    if media_type in _NDJSON_TYPES:
        if count_lines(plain) + (not plain.endswith(b"\n")) > EVENTS_PER_REQUEST_MAX:
            raise LimitExceeded("too_many_events", f"more than {EVENTS_PER_REQUEST_MAX} lines in one request")
        return parse_lines(plain)
    if plain.lstrip()[:1] == b"[":
        return _parse_array(plain)
    return parse_single(plain)


def parse_single(plain: bytes) -> ParsedBatch:
    """One event, a JSON object. Never raises: it is accepted or rejected."""
    try:
        batch = _canonical([_decoder.decode(plain)]) if _is_utf8(plain) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        batch = None
    return batch or parse_each([plain])


def parse_lines(chunk: bytes) -> ParsedBatch:
    """NDJSON: one event a line; blank lines are skipped. Never raises for a bad line."""
    if (scanning := scanning_of(len(chunk))) is not None:
        return scanned_lines(scanning, chunk, _parse_lines)
    return _parse_lines(chunk)


def _parse_lines(chunk: bytes) -> ParsedBatch:
    """The general way."""
    if len(chunk) <= LINES_AT_ONCE_BYTES:
        return _parse_lines_at_once(chunk)
    # What fits into the processor's cache is decoded and written twice as fast as the whole.
    lines: list[bytes] = []
    rejected: list[Rejected] = []
    accepted = start = 0
    while start < len(chunk):
        end = chunk.rfind(b"\n", start, start + LINES_AT_ONCE_BYTES) + 1
        end = end or (chunk.find(b"\n", start) + 1) or len(chunk)
        batch = _parse_lines_at_once(chunk[start:end])
        before = accepted + len(rejected)
        rejected += [replace(line, index=before + line.index) for line in batch.rejected]
        lines.append(batch.lines)
        accepted += batch.accepted
        start = end
    return ParsedBatch(b"".join(lines), accepted, tuple(rejected))


def _parse_lines_at_once(chunk: bytes) -> ParsedBatch:
    # What is not kept, names and attributes, is held to the same bounds as what is: nobody's neighbours matter.
    if _is_utf8(chunk) and not _any_too_long(chunk) and not _any_too_deep(chunk):
        try:
            events = _decoder.decode_lines(chunk)
            if _is_one_a_line(chunk, len(events)) and (batch := _canonical(events, bounded=True)):
                return batch
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # One of them is off: each is looked at by itself.
    return parse_each(chunk.split(b"\n"), skip_blank=True)


def _is_one_a_line(chunk: bytes, events: int) -> bool:
    """Whether each of so many events, which the lines of this text hold, stands on a line of its own.

    The decoder takes two on a line, and one on several. A line that begins with a brace and ends with one is whole
    if the text is JSON: behind a brace that closes what stands in an event none can follow that opens.
    """
    if len(chunk) > COUNTED_AT_ONCE_BYTES:
        text = np.frombuffer(chunk, dtype=np.uint8)
        ends = np.flatnonzero(text == _NEWLINE)
        if not chunk.endswith(b"\n"):
            ends = np.append(ends, len(chunk))
        begins = np.concatenate(([0], ends[:-1] + 1))
        if len(ends) == events and np.all(text[begins] == ord("{")) and np.all(text[ends - 1] == ord("}")):
            return True
    lines = [line for line in map(bytes.strip, chunk.split(b"\n")) if line]
    return len(lines) == events and all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)


def parse_made(events: list[Event]) -> ParsedBatch:
    """Events that another system's words were put into. Each is held to the same bounds as one that was sent."""
    try:
        lines = _encoder.encode_lines(events)
        if (batch := _canonical(_decoder.decode_lines(lines))) is not None and batch.accepted == len(events):
            return batch
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # One of them is off: each is looked at by itself.
    return parse_each([_encoder.encode(event) for event in events])


def _parse_array(plain: bytes) -> ParsedBatch:
    try:
        events = _batch_decoder.decode(plain)
        if len(events) <= EVENTS_PER_REQUEST_MAX and _is_utf8(plain) and (batch := _canonical(events)):
            return batch
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # One of them is off: take the array apart and name it.
    try:
        raws = _raw_batch_decoder.decode(plain)
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the body is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise InvalidInput("too_deep", f"the body nests deeper than {DATA_DEPTH_MAX} levels") from None
    except msgspec.DecodeError as error:
        raise InvalidInput("malformed_json", f"the body is not a JSON array: {error}") from None
    if len(raws) > EVENTS_PER_REQUEST_MAX:
        raise LimitExceeded("too_many_events", f"more than {EVENTS_PER_REQUEST_MAX} events in one request")
    return parse_each([bytes(raw) for raw in raws])


def _canonical(events: list[Event], *, bounded: bool = False) -> ParsedBatch | None:
    """Canonical lines for events that all decoded, or None where one of them breaks a bound.

    bounded: their depth and length as they were sent have been looked at.
    """
    lines = _encoder.encode_lines(events)
    if count_lines(lines) != len(events):  # `data` was written over several lines.
        return None
    if not _is_utf8(lines) or (not bounded and (_any_too_deep(lines) or _any_too_long(lines))):
        return None
    return ParsedBatch(lines=lines, accepted=len(events), rejected=())


def parse_each(raws: list[bytes], *, skip_blank: bool = False) -> ParsedBatch:
    """The slow way: every event by itself, so that each bad one is named and the rest are kept."""
    lines: list[bytes] = []
    rejected: list[Rejected] = []
    index = -1
    for raw in raws:
        if skip_blank and not raw.strip():
            continue
        index += 1
        outcome = _parse_one(raw)
        if isinstance(outcome, bytes):
            lines.append(outcome)
        else:
            code, message, path = outcome
            rejected.append(Rejected(index, code, message, path, raw[:REJECTED_RAW_BYTES_MAX]))
    return ParsedBatch(lines=b"".join(lines), accepted=len(lines), rejected=tuple(rejected))


def _parse_one(raw: bytes) -> bytes | tuple[str, str, str | None]:
    if len(raw) > EVENT_BYTES_MAX:
        return "event_too_large", f"the event is larger than {EVENT_BYTES_MAX} bytes", None
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"the event is not UTF-8 at byte {error.start}", None
    if _any_too_deep(raw.replace(b"\n", b" ")):
        return "too_deep", f"the event nests deeper than {DATA_DEPTH_MAX} levels", "data"
    try:
        event = _decoder.decode(raw)
        # JSON written over several lines: outside of strings a newline is only white space.
        return _encoder.encode(event).replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
    except msgspec.ValidationError as error:
        return _explain(str(error))
    except (msgspec.DecodeError, UnicodeError) as error:
        return "malformed_json", f"the event is not valid JSON: {error}", None


def _explain(complaint: str) -> tuple[str, str, str | None]:
    """A decoder's complaint as code, message and the path of the attribute it is about."""
    if missing := _MISSING.search(complaint):
        return "missing_attribute", f"{missing[1]} is missing", missing[1]
    place = _PATH.search(complaint)
    path = place[1] if place and place[1] else None
    said = _PATH.sub("", complaint)
    said = {
        "id": "must be a string of 1 to 256 characters",
        "source": "must be a string of 1 to 256 characters",
        "type": "must be a string of 1 to 256 characters",
        "subject": "must be a string of 1 to 256 characters",
        "specversion": 'must be "1.0"',
        "time": "must be an RFC 3339 time with an offset",
        "corrects": "must be a string of 1 to 256 characters",
        "correctssource": "must be a string of 1 to 256 characters",
        "correctsreason": "must be a string of at most 256 characters",
    }.get(path or "", said)
    return "invalid_attribute", f"{path} {said}" if path else said, path


def _is_utf8(lines: bytes) -> bool:
    """`data` is passed through undecoded, and what the log does not keep is not looked at: so this is checked here."""
    if lines.isascii():  # seen several times as fast
        return True
    try:
        lines.decode()
    except UnicodeDecodeError:
        return False
    return True


def _any_too_long(lines: bytes) -> bool:
    """Whether a line is longer than an event may be: somewhere that many bytes hold no newline."""
    start = 0
    while len(lines) - start > EVENT_BYTES_MAX + 1:
        start = lines.rfind(b"\n", start, start + EVENT_BYTES_MAX + 1) + 1
        if not start:
            return True
    return False


def _any_too_deep(lines: bytes) -> bool:
    """Whether a line nests too deep. Only lines with more opening brackets than levels allowed are looked at."""
    if _TOO_MANY_OPENINGS not in lines.translate(_BRACKET_AS_BRACE, _NOT_OPENING):
        return False
    structure = lines.translate(None, _NOT_STRUCTURE)
    shapes = structure.split(b"\n")
    suspects = {shape for shape in set(shapes) if shape.count(b"{") + shape.count(b"[") > DATA_DEPTH_MAX}
    if not suspects:
        return False
    return any(
        shape in suspects and _depth(line) > DATA_DEPTH_MAX
        for line, shape in zip(lines.split(b"\n"), shapes, strict=True)
    )


def _depth(line: bytes) -> int:
    """The deepest nesting of brackets outside of strings."""
    deepest = depth = 0
    for byte in _STRING.sub(b"", line).translate(None, _NOT_STRUCTURE):
        depth += 1 if byte in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


COUNTED_AT_ONCE_BYTES = 2048


def count_lines(text: bytes) -> int:
    """How many newlines there are: numpy compares many bytes at a time, `bytes.count` one, but begins at once."""
    if len(text) <= COUNTED_AT_ONCE_BYTES:
        return text.count(b"\n")
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == _NEWLINE))


def whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Re-cut a stream of chunks at newlines, so that no line is split; the last may lack its newline."""
    rest = b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(chunk)[:end]))
            rest = chunk[end:]
        else:
            rest += chunk
            if len(rest) > BODY_BYTES_MAX:
                raise LimitExceeded("event_too_large", f"a line is longer than {BODY_BYTES_MAX} bytes")
    if rest:
        yield rest
