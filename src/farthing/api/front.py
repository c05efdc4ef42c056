"""The front of a worker: every request is identified here, once, before any route sees it."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from farthing.api.authenticator import Authenticator
from farthing.api.authorizations_route import AuthorizationsRoute
from farthing.api.body import ClientGone, Receive
from farthing.api.doors.route import OtherDoors
from farthing.api.events_route import EVENTS_PATH, Answer, EventsRoute, Send, is_table, send_problem
from farthing.api.problems import problem
from farthing.api.services import Draining
from farthing.kernel.errors import InvalidInput

OPEN_PATHS = frozenset({"/v1/health", "/v1/health/live", "/v1/health/ready", "/openapi.json"})
"""What may be asked without a key."""

_EVENTS_TARGET = EVENTS_PATH.encode()
_SLASH = re.compile(rb"%2f", re.IGNORECASE)

Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Front:
    """An ASGI application: authenticates, hands events to their door and the rest to the resources."""

    def __init__(
        self,
        authenticator: Authenticator,
        events: EventsRoute,
        others: OtherDoors,
        authorizations: AuthorizationsRoute,
        resources: Application,
        draining: Draining,
    ) -> None:
        self._authenticator = authenticator
        self._events = events
        self._others = others
        self._authorizations = authorizations
        self._resources = resources
        self._draining = draining

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
        if target == _EVENTS_TARGET and is_table(named):
            return False
        tenant_id = self._authenticator.known(named[b"authorization"])
        if tenant_id is None:
            return False
        if target == _EVENTS_TARGET:
            self._events.take_whole(tenant_id, named, body, answer)
        else:
            self._authorizations.take_whole(tenant_id, target.decode("ascii", "replace"), named, body, answer)
        return True

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._resources(scope, receive, send)
            return
        path = scope["path"]
        if path in self._others:  # They authenticate themselves: their errors look otherwise.
            await self._others(scope, receive, send)
            return
        try:
            if path not in OPEN_PATHS:
                tenant_id = await self._authenticator.tenant_of(_authorization(scope))
                scope.setdefault("state", {})["tenant_id"] = tenant_id
            if path == EVENTS_PATH and scope["method"] != "GET":
                await self._events(scope, receive, send)
                return
            if self._authorizations.takes(path, scope["method"]):
                await self._authorizations(scope, receive, send)
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
            await self._resources(scope, receive, send)


def _authorization(scope: MutableMapping[str, Any]) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return None
