"""Exchanges as event lines, and ids that are made once."""

import itertools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from farthing.middleware.exchange import Exchange

TYPE = "http.request"
DROPPED_TYPE = "farthing.middleware.dropped"
TEXT_LENGTH_MAX = 256
"""Of a subject, as everywhere in Farthing."""
LINE_BYTES_MAX = 250_000
"""An event may have 256 KiB at the server; its own attributes need some of them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Noted:
    """An exchange that is over, with all that its event says; nothing of it changes any more."""

    event_id: str
    type: str
    subject: str | None
    time_ns: int
    data: Mapping[str, object]


class Ids:
    """Ids of one process: a time, eight random bytes, and a count."""

    def __init__(self) -> None:
        self._prefix = f"{time.time_ns() // 1_000_000:012x}-{os.urandom(8).hex()}"
        self._count = itertools.count(1)

    def next(self) -> str:
        """One that no other process makes."""
        return f"{self._prefix}-{next(self._count)}"


def noted(event_id: str, exchange: Exchange, duration_ns: int, subject: str | None) -> Noted:
    """What there is to say of an exchange."""
    data: dict[str, object] = {
        "method": exchange.method,
        "path": _clean(exchange.path),
        "status": exchange.status,
        "bytes_received": exchange.bytes_received,
        "bytes_sent": exchange.bytes_sent,
        "duration_seconds": Decimal(duration_ns // 1000).scaleb(-6),
        **exchange.usage,
    }
    if exchange.route is not None:
        data.setdefault("route", exchange.route)
    named = _clean(subject[:TEXT_LENGTH_MAX]) if subject else None
    return Noted(event_id, TYPE, named, exchange.began_ns, data)


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which stand for bytes that were no text."""
    return text.encode("utf-8", "replace").decode()


def line_of(source: str, event: Noted) -> bytes:
    """The event as a line. Raises ValueError or TypeError for what JSON has no form for."""
    moment = _EPOCH + timedelta(microseconds=event.time_ns // 1000)
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": source,
        "type": event.type,
        "time": moment.isoformat().replace("+00:00", "Z"),
        "data": event.data,
    }
    if event.subject is not None:
        document["subject"] = event.subject
    line = json.dumps(document, default=_written, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise ValueError("the event is too large")
    return line


def _written(value: object) -> str:
    """What JSON does not know: a Decimal keeps its digits, as text; anything else says what it is."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
