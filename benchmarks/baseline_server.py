"""The baseline over HTTP: what one writes by hand in an afternoon, with the same server and decoder as ours.

`python -m uvicorn benchmarks.baseline_server:app`, with the connection string in BASELINE_DATABASE.
A request of NDJSON is decoded with msgspec and inserted by one statement with arrays; it is answered
when its transaction was committed, which is when its events are deduplicated and queryable too.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

CONNECTIONS = 4
_INSERT = """
    INSERT INTO baseline_events (source, id, type, subject, time, data)
    SELECT source, id, type, subject, time, data::jsonb
      FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[])
           AS given (source, id, type, subject, time, data)
     ORDER BY 1, 2
        ON CONFLICT DO NOTHING
"""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Event(msgspec.Struct, gc=False):
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: msgspec.Raw


_decoder = msgspec.json.Decoder(_Event)
_pools: list[AsyncConnectionPool[psycopg.AsyncConnection[Any]]] = []


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """One request, one transaction."""
    events = _decoder.decode_lines(await _body(receive))
    if events:
        pool = await _pool()
        async with pool.connection() as conn:
            await conn.execute(_INSERT, _columns(events))
    answer = b'{"accepted":%d}' % len(events)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _columns(events: list[_Event]) -> list[list[Any]]:
    return [
        [event.source for event in events],
        [event.id for event in events],
        [event.type for event in events],
        [event.subject for event in events],
        [event.time for event in events],
        [bytes(event.data).decode() for event in events],
    ]


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _pool() -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    if not _pools:
        pool = AsyncConnectionPool(
            os.environ["BASELINE_DATABASE"], min_size=1, max_size=CONNECTIONS, open=False
        )
        _pools.append(pool)
        await pool.open(wait=True)
    return _pools[0]
