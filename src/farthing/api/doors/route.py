"""Requests of other systems' clients: identified, received, translated, in the log, answered as they expect."""

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from farthing.api.authenticator import Authenticator
from farthing.api.body import ClientGone, Intake, Receive
from farthing.api.doors.manners import Manners, Refusal, Sent
from farthing.api.events_route import EVENTS_BYTES_MAX, Answer, Send, send_answer
from farthing.api.problems import problem
from farthing.events.door import Door
from farthing.events.intake.formats import decompress
from farthing.kernel.errors import InvalidInput

Told = Callable[[bytes], Manners]
"""Tells from a body which of several systems, that share a path, it was written for."""


class OtherDoors:
    """The doors of one worker for other systems' clients, by path."""

    def __init__(
        self,
        authenticator: Authenticator,
        door: Door,
        intake: Intake,
        now: Callable[[], datetime],
        manners: Mapping[str, Manners],
        told: Mapping[str, Told],
    ) -> None:
        self._authenticator = authenticator
        self._door = door
        self._intake = intake
        self._now = now
        self._manners = manners
        self._told = told

    def __contains__(self, path: str) -> bool:
        return path in self._manners

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        with suppress(ClientGone):
            await send_answer(send, await self._answer(scope, receive))

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        path = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        sent = Sent(path, headers, b"", self._now())
        manners = self._manners[path]
        try:
            if scope["method"] != "POST":
                raise InvalidInput("method_not_allowed", f"{path} takes POST")
            authorization = manners.authorization(headers.get(b"authorization"))
            tenant_id = await self._authenticator.tenant_of(authorization)
            with self._intake.place() as place:
                body = await place.read(receive, headers, EVENTS_BYTES_MAX)
                encoding = sent.header(b"content-encoding")
                sent = replace(
                    sent, body=await self._door.read(body, lambda body: decompress(body, encoding))
                )
                if path in self._told:
                    manners = await self._door.read(sent.body, self._told[path])
                return await manners.take(self._door, tenant_id, sent)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and the log has the rest
            return manners.refused(path, sent.content_type, _refusal(error))


def _refusal(error: Exception) -> Refusal:
    allow = {"allow": "POST"} if getattr(error, "code", "") == "method_not_allowed" else {}
    told = problem(error, headers=allow)
    return Refusal.of(told.status, msgspec.json.decode(told.body), told.headers)
