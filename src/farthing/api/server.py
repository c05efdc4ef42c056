"""The server: one supervisor that owns the listening socket, and the processes that it keeps alive.

    supervisor   owns socket and PostgreSQL, starts, restarts, replaces and stops the others
    api-1 ...    workers: answer requests on the inherited socket (`worker.py`)
    engine       seals the event log (its entry is a setting: `app.py` names it)

At the start the workers import what they need while PostgreSQL starts, or recovers; the engine begins once they take
events. So the first event is acknowledged as soon as keys can be looked up.

Because the socket stays open in the supervisor, a connection that arrives while a worker is being
replaced waits in the queue instead of being refused.

    SIGTERM, SIGINT   stop accepting, finish requests, exit; a second one stops at once
    SIGHUP            replace every process, each new worker ready before the old one is told to go
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

from farthing.api.process import BEGIN, LISTENING, READY, Orders, ServerSettings, write_orders
from farthing.kernel.errors import Unavailable

READY_SECONDS_MAX = 60.0
"""How long a process may take to be ready to work."""
STEADY_SECONDS = 10.0
"""A process that lived this long is replaced at once when it dies; a younger one after a pause."""
FAILURES_IN_A_ROW_MAX = 10
"""Once the processes of every worker ended so many times without one that was steady, the server gives up."""
PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 5.0
KILL_AFTER_SECONDS = 5.0
"""Past the drain time, a process that still lives is killed."""
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
            # Imported while the workers import theirs: they are on their way by then.
            from farthing.api.keys import create_first_key
            from farthing.db import open_books
            from farthing.db.secret import load_secret
            from farthing.db.tenants import DEFAULT_TENANT_ID

            now = datetime.now(UTC)
            books = leaving.enter_context(open_books(settings.data_dir, settings.database_url, now=now))
            return create_first_key(books, load_secret(settings.data_dir), DEFAULT_TENANT_ID, now)

        return asyncio.run(_Supervisor(settings, listener, announce).run(open_first))


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
class _Child:
    """One process of ours. `leaving` once it was told to go."""

    name: str
    process: asyncio.subprocess.Process
    born: float
    leaving: bool = False


@dataclass(slots=True, eq=False)
class _Slot:
    """A place that is always taken: a name, what runs there, and who does so now."""

    name: str
    entry: str
    listens: bool
    child: _Child | None = None
    pause_seconds: float = 0.0
    failures: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Supervisor:
    """Keeps one process in every slot until told to stop."""

    def __init__(self, settings: ServerSettings, listener: socket.socket, announce: Announce) -> None:
        self._settings = settings
        self._listener = listener
        self._announce = announce
        self._workers = [
            _Slot(f"api-{n}", WORKER_ENTRY, listens=True) for n in range(1, settings.workers + 1)
        ]
        self._engines = [_Slot("engine", settings.engine, listens=False)] if settings.engine else []
        self._children: set[_Child] = set()
        self._begun: dict[str, _Child] = {}  # by slot: processes that wait for the books to be open
        self._heard: set[str] = set()
        self._listening = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._stops_heard = 0
        self._gave_up = False

    async def run(self, open_first: Callable[[], str | None]) -> int:
        """Start everything, say so, and stand by until a signal comes.

        open_first: opens the books and gives the first key, if it has just been made.
        """
        loop = asyncio.get_running_loop()
        try:
            for slot in self._workers:
                self._begun[slot.name] = await self._begin(slot, at_once=True)
            # Nothing else is to be done meanwhile, and Ctrl-C ends it as it would end any other wait.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            first_key = open_first()
        except BaseException:
            await self._dismiss([*self._children])
            raise
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._replace_all()))
        try:
            started = await self._start(first_key)
            if self._stop.is_set():
                return 0
            if not started:
                _log.error("the server could not start; its log above says why")
                return 1
            await self._stop.wait()
            return 1 if self._gave_up else 0
        finally:
            self._stop.set()
            self._listener.close()
            await self._dismiss([slot.child for slot in self._workers])
            await self._dismiss([slot.child for slot in self._engines])
            await self._dismiss([*self._children])
            for task in self._tasks:
                task.cancel()

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
            self._stop.set()

    async def _start(self, first_key: str | None) -> bool:
        """Put a process in every slot, and say so once the workers listen. False where they do not."""
        workers = asyncio.gather(*(self._fill_first(slot) for slot in self._workers))
        listening = asyncio.ensure_future(self._listening.wait())
        await asyncio.wait((workers, listening), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if not self._listening.is_set():
            return all(await workers)
        self._say_hello(first_key)
        engines = asyncio.gather(*(self._fill_first(slot) for slot in self._engines))
        started = zip((*self._workers, *self._engines), (*await workers, *await engines), strict=True)
        for slot, is_ready in started:
            if not is_ready:  # Clients have been told that the server listens: another one takes its place.
                self._spawn(self._refill_in_turn(slot))
        return True

    def _say_hello(self, first_key: str | None) -> None:
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._announce(f"Farthing is listening on http://{shown}:{port}")
        if first_key is not None:
            self._announce(f"API key (shown only once): {first_key}")

    def _hear_stop(self) -> None:
        self._stop.set()
        self._stops_heard += 1
        if self._stops_heard > 1:
            for child in self._children:
                _signal(child, signal.SIGKILL)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fill(self, slot: _Slot, *, at_once: bool = True) -> bool:
        """Put a new, ready process into a slot. False where it did not become ready."""
        child = await self._launch(slot, at_once)
        if child is None:
            return False
        slot.child = child
        self._spawn(self._watch(slot, child))
        return True

    async def _begin(self, slot: _Slot, at_once: bool) -> _Child:
        """Start a process: it imports what its orders name, and then waits to be told that the books are open."""
        descriptor = self._listener.fileno() if slot.listens else None
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "farthing.api.process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=() if descriptor is None else (descriptor,),
            # Ctrl-C in a terminal is for the supervisor, which then stops the others in order.
            start_new_session=True,
        )
        child = _Child(slot.name, process, asyncio.get_running_loop().time())
        self._children.add(child)
        assert process.stdin is not None
        orders = Orders(
            entry=slot.entry,
            name=slot.name,
            settings=self._settings,
            listener=descriptor,
            at_once=at_once,
        )
        with contextlib.suppress(ConnectionError):  # It died; whoever waits for it to be ready sees that.
            process.stdin.write(write_orders(orders))
            await process.stdin.drain()
        return child

    async def _launch(self, slot: _Slot, at_once: bool) -> _Child | None:
        child = self._begun.pop(slot.name, None) or await self._begin(slot, at_once)
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(BEGIN)
            await child.process.stdin.drain()
            ready = await asyncio.wait_for(self._becomes_ready(child), READY_SECONDS_MAX)
            if ready and not self._stop.is_set():
                return child
        except TimeoutError:
            _log.error("%s (process %d) is not ready; it stands here:", child.name, child.process.pid)
            _signal(child, signal.SIGUSR1)
        except ConnectionError:
            pass  # It died before it had read its orders; its own log says why.
        await self._dismiss([child])
        return None

    async def _becomes_ready(self, child: _Child) -> bool:
        assert child.process.stdout is not None
        while (said := await child.process.stdout.readline()) == LISTENING:
            self._heard.add(child.name)
            if len(self._heard) == len(self._workers):
                self._listening.set()
        return said == READY

    async def _watch(self, slot: _Slot, child: _Child) -> None:
        """Wait for a process to end; unless it was told to, put another in its place."""
        status = await child.process.wait()
        self._children.discard(child)
        lived = asyncio.get_running_loop().time() - child.born
        if child.leaving or self._stop.is_set():
            return
        _log.error(
            "%s (process %d) ended with status %d; starting another", child.name, child.process.pid, status
        )
        if lived >= STEADY_SECONDS:
            slot.pause_seconds, slot.failures = 0.0, 0
        else:
            slot.pause_seconds = _longer(slot.pause_seconds)
            if status != -signal.SIGKILL:  # Whoever kills it knows what is wrong.
                self._failed(slot)
        async with slot.turn:
            if slot.child is child:  # It may have died while its successor was already on the way.
                await self._refill(slot)

    async def _fill_first(self, slot: _Slot) -> bool:
        async with slot.turn:
            return await self._fill(slot)

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
        for slot in self._workers:
            async with slot.turn:
                old = slot.child
                if self._stop.is_set() or not await self._fill(slot, at_once=False):
                    _log.error("%s was not replaced: the new process did not become ready", slot.name)
                    return
                await self._dismiss([old])
        for slot in self._engines:
            async with slot.turn:
                await self._dismiss([slot.child])
                await self._refill(slot)
        _log.warning("all processes were replaced")

    async def _dismiss(self, children: list[_Child | None]) -> None:
        """Tell processes to stop, and see to it that they do."""
        leaving = [child for child in children if child is not None]
        for child in leaving:
            child.leaving = True
            _signal(child, signal.SIGTERM)
        ends = [asyncio.ensure_future(child.process.wait()) for child in leaving]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=self._settings.drain_seconds + KILL_AFTER_SECONDS)
        for child in leaving:
            if child.process.returncode is None:
                _log.error("%s (process %d) did not stop and was killed", child.name, child.process.pid)
                _signal(child, signal.SIGKILL)
        await asyncio.gather(*late)
        self._children.difference_update(leaving)


def _longer(pause_seconds: float) -> float:
    return min(max(2 * pause_seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)


def _signal(child: _Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.process.pid, number)
