"""The front of a worker: every request is identified here, once, before any route sees it.

Events need nothing but keys and the log, so they are taken as soon as a worker has these. Everything else that
it answers takes longer to import than PostgreSQL takes to recover: it is made beside, and waited for.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from farthing.api.authenticator import Authenticator
from farthing.api.body import ClientGone, Intake, Receive
from farthing.api.draining import Draining
from farthing.api.events_route import EVENTS_PATH, Answer, EventsRoute, Send, is_table, send_problem
from farthing.api.keys import tenant_of_key
from farthing.api.later import Later
from farthing.api.problems import problem
from farthing.db import Books
from farthing.events.door import Door
from farthing.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from farthing.api.authorizations_route import AuthorizationsRoute
    from farthing.api.doors.route import OtherDoors

AUTHORIZATIONS_PATH = "/v1/authorizations"
OPEN_PATHS = frozenset({"/v1/health", "/v1/health/live", "/v1/health/ready", "/openapi.json"})
"""What may be asked without a key."""
SIGNED_PATHS = "/v1/webhooks/"
"""What is under here bears a signature of its own instead."""

_EVENTS_TARGET = EVENTS_PATH.encode()
_SLASH = re.compile(rb"%2f", re.IGNORECASE)

Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rest:
    """What a worker answers beside events: doors for other systems' clients, authorisations, the resources."""

    others: "OtherDoors"
    authorizations: "AuthorizationsRoute"
    resources: Application


class Front:
    """An ASGI application: authenticates, hands events to their door and all else to the rest."""

    def __init__(
        self, authenticator: Authenticator, events: EventsRoute, rest: Later[Rest], draining: Draining
    ) -> None:
        self._authenticator = authenticator
        self._events = events
        self._draining = draining
        self.rest = rest

    @property
    def stopping(self) -> bool:
        """Whether this worker was told to stop."""
        return self._draining.begun

    def take_whole(
        self, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, answer: Callable[[Answer], None]
    ) -> bool:
        """Events, or an authorisation, in a small request that has arrived whole, with a key that is known:
        without a task.

        False where it must go the usual way. `answer` is called once, perhaps before this returns.
        """
        named = dict(headers)
        if b"authorization" not in named or b"expect" in named or self._draining.begun:
            return False
        if target == _EVENTS_TARGET:
            rest = None
            if is_table(named):
                return False
        elif (rest := self.rest.made) is None:
            return False
        tenant_id = self._authenticator.known(named[b"authorization"])
        if tenant_id is None:
            return False
        if rest is None:
            self._events.take_whole(tenant_id, named, body, answer)
        else:
            rest.authorizations.take_whole(tenant_id, target.decode("ascii", "replace"), named, body, answer)
        return True

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        try:
            if path == EVENTS_PATH and scope["method"] != "GET":
                await self._identify(scope)
                await self._events(scope, receive, send)
                return
            rest = await self.rest.get()
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a problem and the log has the rest
            await send_problem(send, problem(error))
            return
        if scope["type"] != "http":
            await rest.resources(scope, receive, send)
        elif path in rest.others:  # They authenticate themselves: their errors look otherwise.
            await rest.others(scope, receive, send)
        else:
            await self._hand_on(rest, scope, receive, send)

    async def _identify(self, scope: MutableMapping[str, Any]) -> None:
        tenant_id = await self._authenticator.tenant_of(_authorization(scope))
        scope.setdefault("state", {})["tenant_id"] = tenant_id

    async def _hand_on(
        self, rest: Rest, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        path = scope["path"]
        try:
            if path not in OPEN_PATHS and not path.startswith(SIGNED_PATHS):
                await self._identify(scope)
            if rest.authorizations.takes(path, scope["method"]):
                await rest.authorizations(scope, receive, send)
                return
            if "\x00" in path or b"%00" in scope["query_string"]:
                raise InvalidInput("invalid_path", "the address holds a NUL character")
            # A slash inside a key must not look like one between parts of the path.
            if _SLASH.search(scope["raw_path"]):
                scope["path"] = unquote(_SLASH.sub(b"%00", scope["raw_path"]).decode("ascii"))
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a problem and the log has the rest
            await send_problem(send, problem(error))
            return
        # The framework raises again what it has answered with 500 and logged: there is no more to do.
        with suppress(Exception):
            await rest.resources(scope, receive, send)


def build_front(
    books: Books,
    pepper: bytes,
    door: Door,
    now: Callable[[], datetime],
    draining: Draining,
    make_rest: Callable[[Authenticator, Intake], Rest],
) -> Front:
    """Everything a worker answers, as one ASGI application. The rest is made when it is first asked for."""
    intake = Intake()
    authenticator = Authenticator(lambda presented: tenant_of_key(books, pepper, presented))
    events = EventsRoute(door, intake, now)
    return Front(authenticator, events, Later(lambda: make_rest(authenticator, intake)), draining)


def _authorization(scope: MutableMapping[str, Any]) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return None
