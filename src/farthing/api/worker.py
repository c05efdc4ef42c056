"""An API worker: one process that answers requests on the socket that the supervisor gave it."""

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

from farthing.api.asgi import build_asgi
from farthing.api.http_protocol import CLOSE, CONNECTIONS_MAX, BoundedHttp, sweep
from farthing.api.process import Orders, Ready
from farthing.api.services import Draining, Services, log_dir
from farthing.db import open_books
from farthing.db.secret import load_secret
from farthing.events.door import Door
from farthing.events.store.duckdb import EventStore
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.payments.gateways.setup import GatewaysInUse, open_gateways
from farthing.wallets.holds.desk import Desk

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
    """Serve until told to stop, then finish what was begun. 1 where the event log failed."""
    assert orders.listener is not None
    settings = orders.settings
    draining = Draining()
    with ExitStack() as leaving:
        books = leaving.enter_context(open_books(settings.data_dir, settings.database_url, now=_now()))
        store = EventStore(
            settings.data_dir, threads=settings.query_threads, memory_limit=settings.query_memory
        )
        leaving.callback(store.close)
        door = Door(log_dir(settings.data_dir), _writer_name(orders.name))
        leaving.callback(door.close)
        desk = Desk(books, door.log, _now)
        leaving.callback(desk.close)
        services = Services(
            books=books,
            data_dir=settings.data_dir,
            door=door,
            desk=desk,
            store=store,
            pepper=load_secret(settings.data_dir),
            now=_now,
            gateways=GatewaysInUse(books, open_gateways(settings.gateways, _now)),
            draining=draining,
        )
        front = build_asgi(services)
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
        _Server(config, ready, door, draining).run(sockets=[socket.socket(fileno=orders.listener)])
        gc.unfreeze()
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
