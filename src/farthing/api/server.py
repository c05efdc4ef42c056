"""The server: one supervisor that owns the listening socket, and the processes that it keeps alive.

    supervisor   owns socket and PostgreSQL, starts, restarts, replaces and stops the others
    template     has imported what the others need; each of them is a fork of it (`template.py`)
    api-1 ...    workers: answer requests on the inherited socket (`worker.py`)
    engine       seals the event log (its entry is a setting: `app.py` names it)

At the start the template imports what taking events needs while PostgreSQL starts, or recovers; the first worker is
forked as soon as both have. So the first event is acknowledged as soon as keys can be looked up. Then the template
imports all else, and the other processes are forked when it has: as are all that take the place of one that died.

Because the socket stays open in the supervisor, a connection that arrives while a worker is being
replaced waits in the queue instead of being refused.

    SIGTERM, SIGINT   stop accepting, finish requests, exit; a second one stops at once
    SIGHUP            replace every process, each new worker ready before the old one is told to go
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

from farthing.api.process import ServerSettings
from farthing.api.processes import STEADY_SECONDS, Child, Processes, begin_template
from farthing.api.template import Template
from farthing.kernel.errors import Unavailable

FAILURES_IN_A_ROW_MAX = 10
"""Once the processes of every worker ended so many times without one that was steady, the server gives up."""
PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 5.0
ADDRESS_SECONDS_MAX = 3.0
"""How long to wait for the address: workers of a server that was killed let it go within a moment."""
ADDRESS_POLL_SECONDS = 0.1
BACKLOG = 2048
WORKER_ENTRY = "farthing.api.worker:run"

Announce = Callable[[str], None]

_log = logging.getLogger("farthing.server")


def serve(settings: ServerSettings, announce: Announce) -> int:
    """Serve until told to stop; returns the exit code. `announce` gets the lines meant for people.

    Raises:
        Unavailable: `address_in_use`, or the books cannot be opened.
    """
    with _listen(settings) as listener, contextlib.ExitStack() as leaving:

        def open_first() -> str | None:
            # Imported while the template imports, which is on its way by then.
            from farthing.api.keys import create_first_key
            from farthing.db import open_books
            from farthing.db.secret import load_secret
            from farthing.db.tenants import DEFAULT_TENANT_ID

            now = datetime.now(UTC)
            books = leaving.enter_context(open_books(settings.data_dir, settings.database_url, now=now))
            return create_first_key(books, load_secret(settings.data_dir), DEFAULT_TENANT_ID, now)

        template = begin_template(listener)
        return asyncio.run(_Supervisor(settings, listener, template, announce).run(open_first))


def _listen(settings: ServerSettings) -> socket.socket:
    """The one socket that all workers accept on."""
    deadline = time.monotonic() + ADDRESS_SECONDS_MAX
    while True:
        try:
            return _bound(settings.host, settings.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(ADDRESS_POLL_SECONDS)
                continue
            place = f"{settings.host}:{settings.port}"
            raise Unavailable("address_in_use", f"cannot listen on {place}: {error.strerror}") from error


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of a server that has just stopped are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


@dataclass(slots=True, eq=False)
class _Slot:
    """A place that is always taken: a name, what runs there, and who does so now."""

    name: str
    entry: str
    listens: bool
    child: Child | None = None
    pause_seconds: float = 0.0
    failures: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs here."""
        return self.child is None or self.child.ended.done()


class _Supervisor:
    """Keeps one process in every slot until told to stop."""

    def __init__(
        self, settings: ServerSettings, listener: socket.socket, template: Template, announce: Announce
    ) -> None:
        self._listener = listener
        self._announce = announce
        self._processes = Processes(settings, listener, template)
        self._workers = [
            _Slot(f"api-{n}", WORKER_ENTRY, listens=True) for n in range(1, settings.workers + 1)
        ]
        self._engines = [_Slot("engine", settings.engine, listens=False)] if settings.engine else []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._stops_heard = 0
        self._gave_up = False
        self._replacing = self._replace_again = False

    async def run(self, open_first: Callable[[], str | None]) -> int:
        """Start everything, say so, and stand by until a signal comes.

        open_first: opens the books and gives the first key, if it has just been made.
        """
        loop = asyncio.get_running_loop()
        try:
            # Nothing else is to be done meanwhile, and Ctrl-C ends it as it would end any other wait.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            first_key = open_first()
            self._processes.begin()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._hear_stop)
            loop.add_signal_handler(signal.SIGHUP, self._hear_replace)
            started = await self._start(first_key)
            if self._stop.is_set():
                return 0
            if not started:
                _log.error("the server could not start; its log above says why")
                return 1
            await self._stop.wait()
            return 1 if self._gave_up else 0
        finally:
            self._begin_to_stop()
            self._listener.close()
            await self._processes.dismiss([slot.child for slot in self._workers])
            await self._processes.dismiss([slot.child for slot in self._engines])
            await self._processes.close()
            for task in (tasks := [*self._tasks]):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _failed(self, slot: _Slot) -> None:
        """Count a process that was not steady. Where no worker is, what new ones do not mend is for people."""
        slot.failures += 1
        least = min(worker.failures for worker in self._workers)
        if least >= FAILURES_IN_A_ROW_MAX and not self._stop.is_set():
            _log.error(
                "every worker failed %d times in a row, so the server stops; its log above says why. "
                "What was acknowledged is on disk and is sealed after the next start.",
                least,
            )
            self._gave_up = True
            self._begin_to_stop()

    async def _start(self, first_key: str | None) -> bool:
        """Put a process in every slot, and say so once the first worker listens. False where it does not."""
        first, *others = *self._workers, *self._engines
        if not await self._begin_first(first, first_key):
            return False
        for slot in others:  # Clients have been told that the server listens: each is tried until it stands.
            self._spawn(self._refill_in_turn(slot))
        return True

    async def _begin_first(self, slot: _Slot, first_key: str | None) -> bool:
        """Put the worker into its slot that takes events while all else is still being imported."""
        async with slot.turn:
            child = await self._processes.make(slot.name, slot.entry, listens=True, early=True)
            if child is None:
                return False
            ready = asyncio.ensure_future(child.is_ready())
            listening = asyncio.ensure_future(child.is_listening.wait())
            await asyncio.wait((ready, listening), return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            if not child.is_listening.is_set() or self._stop.is_set():
                ready.cancel()
                await self._processes.dismiss([child])
                return False
            slot.child = child
            self._spawn(self._watch(slot, child))
        self._spawn(self._dismiss_unless(ready, child))
        self._say_hello(first_key)
        return True

    async def _dismiss_unless(self, ready: asyncio.Future[bool], child: Child) -> None:
        """A process that has listened and does not become ready ends, and is replaced like any other."""
        if not await ready:
            child.signal(signal.SIGKILL)

    def _say_hello(self, first_key: str | None) -> None:
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._announce(f"Farthing is listening on http://{shown}:{port}")
        if first_key is not None:
            self._announce(f"API key (shown only once): {first_key}")

    def _begin_to_stop(self) -> None:
        self._stop.set()
        self._processes.begin_to_stop()

    def _hear_replace(self) -> None:
        """Replace all, once more where that is under way: what has been replaced may be of the program before."""
        self._replace_again = True
        if not self._replacing:
            self._replacing = True
            self._spawn(self._replace_as_often_as_told())

    async def _replace_as_often_as_told(self) -> None:
        try:
            while self._replace_again and not self._stop.is_set():
                self._replace_again = False
                await self._replace_all()
        finally:
            self._replacing = False

    def _hear_stop(self) -> None:
        self._begin_to_stop()
        self._stops_heard += 1
        if self._stops_heard > 1:
            self._processes.kill_all()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fill(self, slot: _Slot, *, at_once: bool = True) -> bool:
        """Put a new, ready process into a slot. False where it did not become ready."""
        # Where no worker is left, whoever sends events should not wait for what only others need.
        early = at_once and slot.listens and all(worker.is_empty for worker in self._workers)
        child = await self._processes.make(
            slot.name, slot.entry, listens=slot.listens, at_once=at_once, early=early
        )
        if child is None:
            return False
        if not await child.is_ready() or self._stop.is_set():
            await self._processes.dismiss([child])
            return False
        slot.child = child
        self._spawn(self._watch(slot, child))
        return True

    async def _watch(self, slot: _Slot, child: Child) -> None:
        """Wait for a process to end; unless it was told to, put another in its place."""
        status = await asyncio.shield(child.ended)
        if child.leaving or self._stop.is_set():
            return
        self._processes.forget(child)
        _log.error("%s (process %d) ended with status %d; starting another", child.name, child.pid, status)
        if asyncio.get_running_loop().time() - child.born >= STEADY_SECONDS:
            slot.pause_seconds, slot.failures = 0.0, 0
        else:
            slot.pause_seconds = _longer(slot.pause_seconds)
            if status != -signal.SIGKILL:  # Whoever kills it knows what is wrong.
                self._failed(slot)
        async with slot.turn:
            if slot.child is child:  # It may have died while its successor was already on the way.
                await self._refill(slot)

    async def _refill_in_turn(self, slot: _Slot) -> None:
        async with slot.turn:
            await self._refill(slot)

    async def _refill(self, slot: _Slot) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), slot.pause_seconds)
            if self._stop.is_set() or await self._fill(slot):
                return
            slot.pause_seconds = _longer(slot.pause_seconds)
            self._failed(slot)

    async def _replace_all(self) -> None:
        """SIGHUP: new processes for old. A worker goes when its successor is ready; the engine goes first."""
        if not await self._processes.renew():
            return
        for slot in self._workers:
            async with slot.turn:
                old = slot.child
                is_filled = not self._stop.is_set() and await self._fill(slot, at_once=False)
                if self._stop.is_set():
                    return
                if not is_filled:
                    _log.error("%s was not replaced: the new process did not become ready", slot.name)
                    return
                await self._processes.dismiss([old])
        for slot in self._engines:
            async with slot.turn:
                await self._processes.dismiss([slot.child])
                await self._refill(slot)
        _log.warning("all processes were replaced")


def _longer(pause_seconds: float) -> float:
    return min(max(2 * pause_seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
