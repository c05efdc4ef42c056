"""`POST /v1/authorizations` and what ends one: from a request to the desk, with nothing in between.

Plain ASGI, ahead of the framework, because every call that is authorised comes here twice while its client waits.

    POST /v1/authorizations                   set money aside for a call
    POST /v1/authorizations:check             what that would be; nothing is held
    POST /v1/authorizations/{key}/settle      the call has happened; its event counts
    POST /v1/authorizations/{key}/release     it has not

An authorisation has a key of its own: in its body, else the Idempotency-Key, else one is made. Asking again with the
same key and input is answered as the first time. Settling and releasing are safe to repeat by themselves.
"""

import os
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec

from farthing.api.body import Intake, Receive
from farthing.api.events_route import Answer, Send, answer_of, send_answer
from farthing.api.front import AUTHORIZATIONS_PATH
from farthing.api.idempotency import read_idempotency_key
from farthing.api.json_body import check_media_type
from farthing.api.problems import problem
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.kernel.instant import unix_microseconds
from farthing.kernel.quantity import trimmed
from farthing.wallets.holds.content import (
    hold_json,
    insufficient_json,
    parse_authorize,
    parse_hold_key,
    parse_release,
    parse_settle,
    priced_json,
    reached_json,
)
from farthing.wallets.holds.desk import Desk
from farthing.wallets.holds.model import (
    Asked,
    Authorize,
    Done,
    Insufficient,
    LimitReached,
    Outcome,
    Priced,
    Release,
)

CHECK_PATH = "/v1/authorizations:check"
BODY_BYTES_MAX = 512 * 1024
"""An event of the largest size, and what stands around it."""
INSUFFICIENT_FUNDS = "insufficient_funds"
LIMIT_REACHED = "spending_limit_reached"

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_REPLAYED = (*_HEADERS, (b"idempotent-replayed", b"true"))
_encode = msgspec.json.Encoder().encode


class AuthorizationsRoute:
    """The desk of one worker, over HTTP."""

    def __init__(self, desk: Desk, intake: Intake, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._intake = intake
        self._now = now

    @staticmethod
    def takes(path: str, method: str) -> bool:
        """Whether a request is for the desk; the list of authorisations and one of them are resources."""
        if not path.startswith(AUTHORIZATIONS_PATH):
            return False
        if path == AUTHORIZATIONS_PATH:
            return method not in ("GET", "HEAD")
        return method == "POST" or path == CHECK_PATH or path.endswith(("/settle", "/release"))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        target = scope["raw_path"].decode("ascii", "replace")
        if scope["method"] != "POST":
            error = InvalidInput("method_not_allowed", "this address takes POST")
            allowed = "GET, POST" if target == AUTHORIZATIONS_PATH else "POST"
            await send_answer(send, answer_of(problem(error, headers={"allow": allowed})))
            return
        with self._intake.place() as place:
            body = await place.read(receive, headers, BODY_BYTES_MAX)
            asked = self._read(target, headers, body)
            outcome = await self._desk.decide(scope["state"]["tenant_id"], asked)
        await send_answer(send, _answered(asked, outcome))

    def take_whole(
        self,
        tenant_id: int,
        target: str,
        headers: Mapping[bytes, bytes],
        body: bytes,
        answer: Callable[[Answer], None],
    ) -> None:
        """The same for a request that has arrived whole: without a task, `answer` is called instead."""
        try:
            asked = self._read(target, headers, body)
            self._desk.ask(tenant_id, asked, partial(_answer_with, answer, asked))
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a problem and the log has the rest
            answer(answer_of(problem(error)))

    def _read(self, target: str, headers: Mapping[bytes, bytes], body: bytes) -> Asked:
        """What a request asks for. `target`: its path as it was sent."""
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise InvalidInput("unsupported_encoding", "only /v1/events takes a body that is compressed")
        if not target.endswith("/release"):
            check_media_type(headers.get(b"content-type", b"").decode("latin-1"))
        if target in (AUTHORIZATIONS_PATH, CHECK_PATH):
            sent = headers.get(b"idempotency-key")
            key = None if sent is None else read_idempotency_key(sent.decode("latin-1"))
            return parse_authorize(body, key or self._new_key, check=target == CHECK_PATH)
        key, _, ending = target[len(AUTHORIZATIONS_PATH) + 1 :].partition("/")
        if target[len(AUTHORIZATIONS_PATH)] == "/" and key and ending in ("settle", "release"):
            key = parse_hold_key(unquote(key), "key")
            if ending == "settle":
                return parse_settle(key, body)
            parse_release(body)
            return Release(key)
        raise NotFound("not_found", "there is nothing at this address")

    def _new_key(self) -> str:
        return time_ordered_id("auth", unix_microseconds(self._now()) // 1000, os.urandom(ENTROPY_BYTES))


def _answer_with(answer: Callable[[Answer], None], asked: Asked, outcome: Outcome | BaseException) -> None:
    answer(_answered(asked, outcome))


def _answered(asked: Asked, outcome: Outcome | BaseException) -> Answer:
    """An outcome as a response."""
    if isinstance(outcome, Done):
        if outcome.again:
            return Answer(200, _REPLAYED, _encode(hold_json(outcome.hold)))
        status = 201 if isinstance(asked, Authorize) else 200
        return Answer(status, _HEADERS, _encode(hold_json(outcome.hold)))
    if isinstance(outcome, Priced):
        return Answer(200, _HEADERS, _encode(priced_json(outcome)))
    if isinstance(outcome, Insufficient):
        said = f"{trimmed(outcome.required)} {outcome.currency} are needed, {trimmed(outcome.available)} available"
        return answer_of(problem(Conflict(INSUFFICIENT_FUNDS, said), **insufficient_json(outcome)))
    if isinstance(outcome, LimitReached):
        limit = outcome.limit
        whose = f"{limit.level.value} {limit.name}".strip().replace("_", " ")
        said = (
            f"the limit of {trimmed(limit.amount)} {outcome.currency} a {limit.interval.value} of the {whose} "
            f"has {trimmed(outcome.left)} left, and {trimmed(outcome.required)} are needed"
        )
        return answer_of(problem(Conflict(LIMIT_REACHED, said), limit=reached_json(outcome)))
    return answer_of(problem(outcome))
