"""`POST /v1/events`: from a request to the event log, with nothing in between.

Plain ASGI, ahead of the framework. 202 means that the accepted events are on disk. Repeating a
request is always safe: events are counted once by (source, id), so no Idempotency-Key is needed.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from farthing.api.body import Intake, Receive
from farthing.api.problems import Problem, problem
from farthing.events.door import Accepted, Door
from farthing.events.intake.formats import TABLE_TYPES, media_type_of
from farthing.events.model import Rejected
from farthing.kernel.errors import FarthingError, InvalidInput

EVENTS_PATH = "/v1/events"
EVENTS_BYTES_MAX = 8 * 1024 * 1024
"""The body as it is sent; the parser limits what it unpacks to."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ACCEPTED = b'{"status":"accepted"}'


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it goes over the wire, but for the headers that every response has."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


_JSON = (b"content-type", b"application/json")
_MINIMAL = (b"preference-applied", b"return=minimal")

_ONE_ACCEPTED = Answer(202, (_JSON,), b'{"accepted":1,"rejected":0,"outcomes":[' + _ACCEPTED + b"]}")
"""The answer to a single good event, made once."""


class EventsRoute:
    """The ingest door of one worker."""

    def __init__(self, door: Door, intake: Intake, now: Callable[[], datetime]) -> None:
        self._door = door
        self._intake = intake
        self._now = now

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            error = InvalidInput("method_not_allowed", f"{EVENTS_PATH} takes GET and POST")
            await send_problem(send, problem(error, headers={"allow": "GET, POST"}))
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        with self._intake.place() as place:
            body = await place.read(receive, headers, EVENTS_BYTES_MAX)
            outcome = await self._door.accept(
                scope["state"]["tenant_id"], body, *_content(headers), self._now()
            )
        await send_answer(send, _answer(outcome, headers))

    def take_whole(
        self,
        tenant_id: int,
        headers: Mapping[bytes, bytes],
        body: bytes,
        answer: Callable[[Answer], None],
    ) -> None:
        """The same for a small request that has arrived whole: without a task, `answer` is called instead."""

        def answered(outcome: Accepted | FarthingError) -> None:
            answer(
                answer_of(problem(outcome))
                if isinstance(outcome, FarthingError)
                else _answer(outcome, headers)
            )

        try:
            self._door.accept_soon(tenant_id, body, *_content(headers), self._now(), answered)
        except FarthingError as error:
            answered(error)


def is_table(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body is read as a table, which takes its time."""
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return media_type_of(content_type) in TABLE_TYPES


def _content(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Media type and encoding of the body."""
    return (
        headers.get(b"content-type", b"").decode("latin-1"),
        headers.get(b"content-encoding", b"").decode("latin-1"),
    )


def _answer(outcome: Accepted, headers: Mapping[bytes, bytes]) -> Answer:
    if not outcome.accepted:
        return answer_of(_nothing_accepted(outcome))
    minimal = b"prefer" in headers and b"return=minimal" in headers[b"prefer"]
    if minimal:
        return Answer(202, (_JSON, _MINIMAL), _summary(outcome, minimal=True))
    if outcome.accepted == 1 and not outcome.rejected:
        return _ONE_ACCEPTED
    return Answer(202, (_JSON,), _summary(outcome, minimal=False))


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


def answer_of(refusal: Problem) -> Answer:
    """A problem as a response."""
    headers = tuple((name.encode(), value.encode()) for name, value in refusal.headers)
    return Answer(refusal.status, headers, refusal.body)


async def send_problem(send: Send, refusal: Problem) -> None:
    """Answer with a problem."""
    await send_answer(send, answer_of(refusal))


async def send_answer(send: Send, answer: Answer) -> None:
    """A whole response at once."""
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
