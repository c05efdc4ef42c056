"""An API worker: one process that answers requests on the socket that the supervisor gave it."""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import uvicorn

from farthing.api.asgi import build_asgi
from farthing.api.http_protocol import BoundedHttp
from farthing.api.keys import load_pepper
from farthing.api.process import Orders, Ready
from farthing.api.services import Draining, Services, log_dir
from farthing.db import open_books
from farthing.events.door import Door
from farthing.events.store.duckdb import EventStore
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
GOODBYE_SECONDS_MAX = 1.0
"""While stopping: how long connections are told `Connection: close` before idle ones are cut."""

_log = logging.getLogger("farthing.api")


def run(orders: Orders, ready: Ready) -> int:
    """Serve until told to stop, then finish what was begun. 1 where the event log failed."""
    assert orders.listener is not None
    settings = orders.settings
    _allow_many_connections()
    draining = Draining()
    with ExitStack() as leaving:
        books = leaving.enter_context(open_books(settings.data_dir, settings.database_url, now=_now()))
        store = EventStore(
            settings.data_dir, threads=settings.query_threads, memory_limit=settings.query_memory
        )
        leaving.callback(store.close)
        door = Door(log_dir(settings.data_dir), _writer_name(orders.name))
        leaving.callback(door.close)
        services = Services(
            books=books,
            data_dir=settings.data_dir,
            door=door,
            store=store,
            pepper=load_pepper(settings.data_dir),
            now=_now,
            draining=draining,
        )
        config = uvicorn.Config(
            build_asgi(services),
            http=BoundedHttp,
            loop="uvloop",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.drain_seconds),
        )
        _Server(config, ready, door, draining).run(sockets=[socket.socket(fileno=orders.listener)])
    return 1 if door.failure else 0


class _Server(uvicorn.Server):
    """uvicorn, stopping in an order that no client notices, and leaving signals to the supervisor's rules."""

    def __init__(self, config: uvicorn.Config, ready: Ready, door: Door, draining: Draining) -> None:
        super().__init__(config)
        self._ready = ready
        self._door = door
        self._draining = draining

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        if self._door.failure is not None and not self.should_exit:
            _log.error("the event log failed, so this worker ends: %s", self._door.failure)
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting; let every connection hear `Connection: close` on its next answer; then close the rest."""
        self._draining.begin()
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
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


def _allow_many_connections() -> None:
    """As many open connections as the system lets this user have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _writer_name(name: str) -> str:
    """Never used before: the books remember log files by name for good."""
    return time_ordered_id(name, int(_now().timestamp() * 1000), os.urandom(ENTROPY_BYTES))


def _now() -> datetime:
    return datetime.now(UTC)
