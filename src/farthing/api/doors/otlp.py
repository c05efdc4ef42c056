"""As an OTLP receiver answers: 200 with what was not taken as `partial_success`, or a Status with a message.

Metrics may hold counters as running totals; those go through the books first (`events/doors/service.py`).
"""

import asyncio
from functools import partial

import msgspec

from farthing.api.doors.manners import AsIs, Refusal, Sent
from farthing.api.events_route import Answer
from farthing.db import Books
from farthing.events.door import Door
from farthing.events.doors import service
from farthing.events.doors.otlp import JSON, PROTOBUF, is_json, logs_answer, metrics_answer, told_of
from farthing.events.doors.otlp_logs import read_logs
from farthing.events.doors.otlp_metrics import read_metrics
from farthing.events.doors.otlp_streams import Reading
from farthing.events.doors.translated import as_batch

LOGS_PATH = "/otlp/v1/logs"
METRICS_PATH = "/otlp/v1/metrics"
_TOLD_MAX = 10
"""How many different complaints an answer lists."""


class _Otlp(AsIs):
    def refused(self, _path: str, content_type: str, refusal: Refusal) -> Answer:
        """A google.rpc.Status; its code is not used over HTTP."""
        # What is not valid must not be sent again; a client that gets 4xx drops it.
        status = 400 if refusal.status in (413, 415) else refusal.status
        if is_json(content_type):
            body = msgspec.json.encode({"message": refusal.detail})
        else:
            text = refusal.detail.encode()
            body = b"\x12" + _varint(len(text)) + text
        return Answer(status, (_media_type(content_type), *refusal.headers), body)


class OtlpLogs(_Otlp):
    """Log records."""

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """The records that are events; the others are counted and told."""
        found = await door.read(sent.body, partial(read_logs, content_type=sent.content_type))
        await door.keep(tenant_id, found.batch, sent.now)
        body = logs_answer(len(found.batch.rejected), _told(found.told), sent.content_type)
        return Answer(200, (_media_type(sent.content_type),), body)


class OtlpMetrics(_Otlp):
    """Metric points."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """The points that are events; the others are counted and told."""
        found = await door.read(sent.body, partial(read_metrics, content_type=sent.content_type))
        readings = [one for one in found if isinstance(one, Reading)]
        batch = as_batch([one for one in found if not isinstance(one, Reading)], {})
        await door.keep(tenant_id, batch, sent.now)
        rejected = [*batch.rejected]
        if readings:
            moved = await asyncio.to_thread(service.move_on, self._books, tenant_id, readings)
            await door.keep(tenant_id, moved.batch, sent.now)
            await asyncio.to_thread(service.confirm, self._books, tenant_id, moved)
            rejected += moved.batch.rejected
        told = _told(told_of(one.message for one in rejected))
        return Answer(
            200, (_media_type(sent.content_type),), metrics_answer(len(rejected), told, sent.content_type)
        )


def _told(complaints: tuple[str, ...]) -> str:
    more = len(complaints) - _TOLD_MAX
    return "; ".join(complaints[:_TOLD_MAX]) + (f"; and {more} more" if more > 0 else "")


def _media_type(content_type: str) -> tuple[bytes, bytes]:
    return (b"content-type", (JSON if is_json(content_type) else PROTOBUF).encode())


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
