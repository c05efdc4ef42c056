"""`POST /v1/events`: from a request to the event log, with nothing in between.

Plain ASGI, ahead of the framework. 202 means that the accepted events are on disk. Repeating a
request is always safe: events are counted once by (source, id), so no Idempotency-Key is needed.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any

import msgspec

from farthing.api.body import Intake, Receive
from farthing.api.problems import Problem, problem
from farthing.events.door import Accepted, Door
from farthing.events.model import Rejected
from farthing.kernel.errors import InvalidInput

EVENTS_PATH = "/v1/events"
EVENTS_BYTES_MAX = 8 * 1024 * 1024
"""The body as it is sent; the parser limits what it unpacks to."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ACCEPTED = b'{"status":"accepted"}'


class EventsRoute:
    """The ingest door of one worker."""

    def __init__(self, door: Door, intake: Intake, now: Callable[[], datetime]) -> None:
        self._door = door
        self._intake = intake
        self._now = now

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            error = InvalidInput("method_not_allowed", f"{EVENTS_PATH} takes POST")
            await send_problem(send, problem(error, headers={"allow": "POST"}))
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        with self._intake.place() as place:
            body = await place.read(receive, headers, EVENTS_BYTES_MAX)
            outcome = await self._door.accept(
                scope["state"]["tenant_id"],
                body,
                headers.get(b"content-type", b"").decode("latin-1"),
                headers.get(b"content-encoding", b"").decode("latin-1"),
                self._now(),
            )
        if not outcome.accepted:
            await send_problem(send, _nothing_accepted(outcome))
            return
        minimal = b"return=minimal" in headers.get(b"prefer", b"")
        applied = [(b"preference-applied", b"return=minimal")] if minimal else []
        await send_bytes(send, 202, _summary(outcome, minimal=minimal), [*_JSON, *applied])


_JSON = [(b"content-type", b"application/json")]


def _summary(outcome: Accepted, *, minimal: bool) -> bytes:
    """What became of every event, in the order of the request; `minimal` leaves out the accepted ones."""
    if minimal:
        outcomes = [_rejected(rejected) for rejected in outcome.rejected]
    else:
        outcomes = [_ACCEPTED] * (outcome.accepted + len(outcome.rejected))
        for rejected in outcome.rejected:
            outcomes[rejected.index] = _rejected(rejected)
    head = b'{"accepted":%d,"rejected":%d,"outcomes":[' % (outcome.accepted, len(outcome.rejected))
    return b"".join((head, b",".join(outcomes), b"]}"))


def _rejected(rejected: Rejected) -> bytes:
    return msgspec.json.encode(
        {
            "status": "rejected",
            "index": rejected.index,
            "code": rejected.code,
            "message": rejected.message,
            "path": rejected.path,
        }
    )


def _nothing_accepted(outcome: Accepted) -> Problem:
    count = len(outcome.rejected)
    if not count:
        return problem(InvalidInput("no_event_accepted", "the body holds no event"))
    first = outcome.rejected[0]
    detail = (
        first.message if count == 1 else f"none of {count} events was accepted; the first: {first.message}"
    )
    return problem(
        InvalidInput("no_event_accepted", detail, path=first.path),
        outcomes=[msgspec.Raw(_rejected(rejected)) for rejected in outcome.rejected],
    )


async def send_problem(send: Send, answer: Problem) -> None:
    """Answer with a problem."""
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    await send_bytes(send, answer.status, answer.body, headers)


async def send_bytes(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole response at once."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
