"""Access logs of web servers and gateways as events: `farthing ingest --format nginx|apache|envoy|kong`.

Each line is an event of the type `http.request`. Read are the common and combined formats (with the host before
them, and with whatever fields follow them), Envoy's own text format, and lines of JSON, whose fields are found by the
names that are common for them.

| data | |
|---|---|
| method, path, protocol | of the request; the path without its query, which may hold secrets |
| status, bytes_sent, bytes_received | numbers |
| duration_seconds | a number, where the log has it |
| host, route, service | where the log has them |

Addresses, referers and agents of people are left out, unless `--keep` names them. The subject is who was
authenticated (`remote_user`, Kong's consumer), or what `--subject` names.

Identity: a hash of the file's first line, and where in its text the line begins, in bytes. So a file may be read
again when it has grown, moved or been compressed. Files of two servers can begin with the same line only where
they write nothing of their own into it; `--source` tells them apart for certain.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

import msgspec

from farthing.events.doors.translated import Untranslatable, from_unix_seconds
from farthing.events.model import EVENT_BYTES_MAX, ID_LENGTH_MAX, Event
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import parse_instant

ACCESS_FORMATS = ("nginx", "apache", "envoy", "kong")
TYPE = "http.request"
KEPT_MAX = 50
"""How many further fields may be kept."""

Fields = dict[str, object]
"""A line taken apart: text, numbers as they are written (`msgspec.Raw`), and what JSON nests."""

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_COMMON = re.compile(
    r"(?:(?P<host>\S+:\d{1,5}) )?(?P<remote_addr>\S+) \S+ (?P<remote_user>.*?) "
    r'\[(?P<time>[^\]]{1,60})\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r"(?P<status>\d{3}|-) (?P<bytes_sent>\d+|-)(?P<rest>(?: .*)?)"
)
_ENVOY = re.compile(
    r'\[(?P<time>[^\]]{1,60})\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{1,3}) (?P<flags>\S+)'
    r"(?: (?:[a-z_]\S*|-) \S+ (?:\"[^\"]*\"|\S+))?"
    rf" (?P<bytes_received>\d+|-) (?P<bytes_sent>\d+|-) (?P<duration>\d+|-) \S+ {_QUOTED} {_QUOTED} {_QUOTED} {_QUOTED}"
    r"(?P<rest>(?: .*)?)"
)
_ENVOY_QUOTED = ("x_forwarded_for", "user_agent", "request_id", "authority")
_TOKEN = re.compile(rf"{_QUOTED}|(\S+)")
_REQUEST = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,30}) (\S+)(?: (HTTP/[0-9.]{1,5}))?\Z")
_CLF_TIME = re.compile(
    r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})\Z", re.ASCII
)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,12})?\Z", re.ASCII)
_NAME = re.compile(r"[^A-Za-z0-9_]")

# By what names the logs know these, most telling first. A dot leads into an object.
_TIME = ("time_iso8601", "start_time", "started_at", "timestamp", "@timestamp", "time", "time_local", "msec")
_FOUND_BY: Mapping[str, tuple[str, ...]] = {
    "method": ("request_method", "method", "request.method", "verb"),
    "path": ("request_uri", "uri", "path", "request.uri", "url", "request.url"),
    "protocol": ("server_protocol", "protocol"),
    "status": ("status", "response_code", "response.status", "response"),
    "bytes_sent": ("bytes_sent", "body_bytes_sent", "bytes", "response.size"),
    "bytes_received": ("bytes_received", "request_length", "request.size"),
    "host": ("host", "authority", "server_name", "vhost", "request.headers.host"),
    "route": ("route.name", "route_name"),
    "service": ("service.name", "upstream_cluster"),
}
_NUMBERS = ("status", "bytes_sent", "bytes_received")
_SECONDS = ("request_time", "duration_seconds")
_MILLISECONDS = ("duration", "duration_ms", "latencies.request")
_SUBJECT: Mapping[str, tuple[str, ...]] = {
    "nginx": ("remote_user",),
    "apache": ("remote_user",),
    "envoy": ("remote_user", "x_consumer"),
    "kong": ("consumer.custom_id", "consumer.username", "consumer.id", "authenticated_entity.id"),
}


@dataclass(frozen=True, slots=True)
class AccessLog:
    """How the lines of a log are read.

    subject: the field that says whom a line is about, a text in single quotes for all of them, or None for what
    the format has for it. keep: further fields that become members of data, by their own names.
    """

    kind: str
    source: str
    subject: str | None = None
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ACCESS_FORMATS:
            raise InvalidInput.of(
                "unknown_file_format", [Fault("format", f"must be one of {', '.join(ACCESS_FORMATS)}")]
            )
        names = {_NAME.sub("_", name) for name in self.keep}
        if len(self.keep) > KEPT_MAX or "" in self.keep or len(names) < len(self.keep):
            raise InvalidInput.of(
                "invalid_keep", [Fault("keep", f"must name 1 to {KEPT_MAX} fields, each once")]
            )


def fingerprint(first_line: bytes) -> str:
    """What a log file is known by."""
    return blake2b(first_line.rstrip(b"\r\n"), digest_size=12).hexdigest()


def read_line(line: bytes, log: AccessLog, file: str, offset: int) -> Event | Untranslatable:
    """A line as an event. `file` is the fingerprint, `offset` where the line begins."""
    if len(line) > EVENT_BYTES_MAX:
        return Untranslatable(
            "event_too_large", f"the line is longer than {EVENT_BYTES_MAX} bytes", None, line
        )
    fields = _taken_apart(line.decode("utf-8", "backslashreplace").strip(), log.kind)
    if fields is None:
        return Untranslatable("malformed_line", f"the line is not in a format of {log.kind}", None, line)
    moment = _moment(fields)
    if moment is None:
        return Untranslatable("malformed_line", "the line has no time that can be read", "time", line)
    subject = _subject(fields, log)
    if subject is not None and len(subject) > ID_LENGTH_MAX:
        return Untranslatable("invalid_attribute", "the subject is too long", "subject", line)
    data = _data(fields)
    for name in log.keep:
        if (kept := _at(fields, name)) not in (None, "", "-"):
            data[_NAME.sub("_", name)] = kept
    return Event(
        id=f"{file}:{offset}",
        source=log.source,
        type=TYPE,
        subject=subject,
        time=moment,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def _taken_apart(line: str, kind: str) -> Fields | None:
    if line.startswith("{"):
        return _json(line)
    if kind == "kong":  # Its proxy is nginx, and so is the format of its own access.log.
        kind = "nginx"
    if kind == "envoy":
        matched = _ENVOY.fullmatch(line)
        if matched is None:
            return None
        fields = dict(matched.groupdict())
        quoted = zip(_ENVOY_QUOTED, matched.groups()[-5:-1], strict=True)
        fields.update(quoted)
    else:
        matched = _COMMON.fullmatch(line)
        if matched is None:
            return None
        fields = dict(matched.groupdict())
    rest = [_unescaped(found[1] or found[2] or "") for found in _TOKEN.finditer(fields.pop("rest") or "")]
    names = () if kind == "envoy" else ("referer", "user_agent")
    found_fields: Fields = {name: _unescaped(text) for name, text in fields.items() if text is not None}
    found_fields.update(zip(names, rest, strict=False))
    found_fields["extra"] = {str(place): text for place, text in enumerate(rest[len(names) :], 1)}
    return found_fields


def _json(line: str) -> Fields | None:
    def number(text: str) -> msgspec.Raw:
        return msgspec.Raw(text.encode())

    try:
        found = json.loads(line, parse_int=number, parse_float=number, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(fields: Mapping[str, object], name: str) -> object:
    """A field by its name, else by its path through objects: a name may itself hold dots."""
    if (found := fields.get(name)) is not None or "." not in name:
        return found
    head, _, tail = name.partition(".")
    inner = fields.get(head)
    return _at(inner, tail) if tail and isinstance(inner, Mapping) else None


def _text(found: object) -> str | None:
    """What stands there as text; None where the log says that there is nothing."""
    if isinstance(found, msgspec.Raw):
        return bytes(found).decode()
    return found if isinstance(found, str) and found not in ("", "-") else None


def _first(fields: Fields, names: tuple[str, ...]) -> str | None:
    for name in names:
        found = _at(fields, name)
        if found is not None and (text := _text(found)) is not None:
            return text
    return None


def _subject(fields: Fields, log: AccessLog) -> str | None:
    if log.subject is None:
        return _first(fields, _SUBJECT[log.kind])
    if len(log.subject) > 2 and log.subject[0] == log.subject[-1] == "'":
        return log.subject[1:-1]
    return _first(fields, (log.subject,))


def _data(fields: Fields) -> dict[str, object]:
    found: dict[str, object] = {}
    request = _first(fields, ("request",))
    if request is not None and (parts := _REQUEST.match(request)):
        found.update({"method": parts[1], "path": parts[2], "protocol": parts[3]})
    for name, names in _FOUND_BY.items():
        if found.get(name) is None:
            found[name] = _first(fields, names)
    if isinstance(path := found["path"], str):
        found["path"] = path.partition("?")[0]
    for name in _NUMBERS:
        found[name] = _number(found[name])
    found["duration_seconds"] = _duration(fields)
    return {name: value for name, value in found.items() if value is not None}


def _number(text: object, scale: Callable[[Decimal], Decimal] = lambda number: number) -> msgspec.Raw | None:
    if not isinstance(text, str) or not _NUMBER.match(text):
        return None
    return msgspec.Raw(f"{scale(Decimal(text)):f}".encode())


def _duration(fields: Fields) -> msgspec.Raw | None:
    in_seconds = _number(_first(fields, _SECONDS))
    return in_seconds or _number(_first(fields, _MILLISECONDS), lambda number: number.scaleb(-3))


def _moment(fields: Fields) -> datetime | None:
    for name in _TIME:
        text = _text(_at(fields, name))
        if text is None:
            continue
        if _NUMBER.match(text):
            return _of_number(Decimal(text))
        if "/" in text:
            return _of_clf(text)
        try:
            return parse_instant(text, "time")
        except InvalidInput:
            return None
    return None


def _of_number(number: Decimal) -> datetime | None:
    """Seconds; where that would be after the year 5000, milliseconds, and then microseconds."""
    while number >= 10**11:
        number = number.scaleb(-3)
    return from_unix_seconds(number)


@lru_cache(maxsize=256)
def _of_clf(text: str) -> datetime | None:
    """`17/May/2015:10:05:03 +0200`. Many lines of a log are of one second."""
    parts = _CLF_TIME.match(text)
    if parts is None:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = parts.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    numbers = (int(year), _MONTHS.index(month) // 3 + 1 if month in _MONTHS else 0, int(day))
    try:
        local = datetime(*numbers, int(hour), int(minute), int(second), tzinfo=timezone(offset))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _unescaped(text: str) -> str:
    r"""The text that a server wrote with `\"` and `\x22`."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(
        lambda found: bytes.fromhex(found[1].decode()) if found[1] else found[2], text.encode()
    )
    return plain.decode("utf-8", "backslashreplace")
