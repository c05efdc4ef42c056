"""An API worker: one process that answers requests on the socket that the supervisor gave it.

It takes events as soon as it has the books and a log file, and is ready once it can answer everything.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial

import uvicorn

from farthing.api.authenticator import Authenticator
from farthing.api.body import Intake
from farthing.api.draining import Draining
from farthing.api.front import Front, Rest, build_front
from farthing.api.http_protocol import CLOSE, CONNECTIONS_MAX, BoundedHttp, sweep
from farthing.api.process import Orders, Ready, ServerSettings
from farthing.db import Books, open_books
from farthing.db.secret import load_secret
from farthing.events.door import Door
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id

BACKLOG = 2048
FILES_KEPT = 128
"""Files that a worker needs beside its connections: the log, the books, segments that are read."""
SWEEP_TICKS = 10
"""How often connections are looked at: once in so many ticks of a tenth of a second."""
COLLECT_AFTER = (20_000, 20, 20)
"""Garbage collection, less often than Python's default: requests make next to no cycles."""
GOODBYE_SECONDS_MAX = 1.0
"""While stopping: how long connections are told `Connection: close` before idle ones are cut."""

_log = logging.getLogger("farthing.api")


def run(orders: Orders, ready: Ready) -> int:
    """Serve until told to stop, then finish what was begun. 1 where the event log, or a part of this worker, failed."""
    assert orders.listener is not None
    settings = orders.settings
    draining = Draining()
    with ExitStack() as leaving:
        books = leaving.enter_context(open_books(settings.data_dir, settings.database_url, now=_now()))
        door = Door(settings.data_dir / "log", _writer_name(orders.name))
        leaving.callback(door.close)
        pepper = load_secret(settings.data_dir)
        front = build_front(
            books,
            pepper,
            door,
            _now,
            draining,
            partial(_make_rest, settings, books, pepper, door, draining, leaving),
        )
        config = uvicorn.Config(
            front,
            http=partial(BoundedHttp, short_way=front, connections_max=_allow_many_connections()),  # type: ignore[arg-type]
            loop="uvloop",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(settings.drain_seconds),
        )
        server = _Server(config, orders, ready, door, front, draining)
        server.run(sockets=[socket.socket(fileno=orders.listener)])
    return 1 if door.failure or server.is_incomplete else 0


def _make_rest(
    settings: ServerSettings,
    books: Books,
    pepper: bytes,
    door: Door,
    draining: Draining,
    leaving: ExitStack,
    authenticator: Authenticator,
    intake: Intake,
) -> Rest:
    """Everything that events need not wait for. Imported here because it takes longer than all that they need."""
    from farthing.api.asgi import build_rest
    from farthing.api.services import Services
    from farthing.events.store.duckdb import EventStore
    from farthing.payments.gateways.setup import GatewaysInUse, open_gateways
    from farthing.wallets.holds.desk import Desk

    store = EventStore(settings.data_dir, threads=settings.query_threads, memory_limit=settings.query_memory)
    leaving.callback(store.close)
    desk = Desk(books, door.log, _now)
    leaving.callback(desk.close)
    services = Services(
        books=books,
        data_dir=settings.data_dir,
        door=door,
        desk=desk,
        store=store,
        pepper=pepper,
        now=_now,
        gateways=GatewaysInUse(books, open_gateways(settings.gateways, _now)),
        draining=draining,
    )
    return build_rest(services, authenticator, intake)


class _Server(uvicorn.Server):
    """uvicorn, stopping in an order that no client notices, and leaving signals to the supervisor's rules."""

    def __init__(
        self,
        config: uvicorn.Config,
        orders: Orders,
        ready: Ready,
        door: Door,
        front: Front,
        draining: Draining,
    ) -> None:
        super().__init__(config)
        self._at_once = orders.at_once
        self._ready = ready
        self._door = door
        self._front = front
        self._draining = draining
        self._completing: asyncio.Task[None] | None = None
        self.is_incomplete = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if not self._at_once:
            await self._front.rest.get()
        await super().startup(sockets)
        self._ready.listening()
        self._completing = asyncio.create_task(self._complete())

    async def _complete(self) -> None:
        """Make what events need not wait for; from then on this worker is ready."""
        try:
            await self._front.rest.get()
        except Exception:  # noqa: BLE001 - the log has it, and the supervisor sees that this worker ends
            _log.exception("a part of this worker could not be made, so it ends")
            self.is_incomplete = self.should_exit = True
            return
        # What is here now stays until the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        if self._door.failure is not None and not self.should_exit:
            _log.error("the event log failed, so this worker ends: %s", self._door.failure)
            self.should_exit = True
        if counter % SWEEP_TICKS == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting; let every connection hear `Connection: close` on its next answer; then close the rest."""
        self._draining.begin()
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        deadline = asyncio.get_running_loop().time() + GOODBYE_SECONDS_MAX
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end and so kill the process before it has cleaned up.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def _allow_many_connections() -> int:
    """As many open files as the system lets this user have; how many of them may be connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return (
        CONNECTIONS_MAX if most == resource.RLIM_INFINITY else max(min(CONNECTIONS_MAX, most - FILES_KEPT), 1)
    )


def _writer_name(name: str) -> str:
    """Never used before: the books remember log files by name for good."""
    return time_ordered_id(name, int(_now().timestamp() * 1000), os.urandom(ENTROPY_BYTES))


def _now() -> datetime:
    return datetime.now(UTC)
