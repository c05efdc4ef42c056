"""The processes that the supervisor keeps: how they are made, how it hears of them, how they end.

Which there should be, `server.py` says.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from farthing.api.process import LISTENING, READY, Orders, ServerSettings
from farthing.api.template import Template, TemplateLost, adopt_forks
from farthing.kernel.errors import Unavailable

READY_SECONDS_MAX = 60.0
"""How long a process may take to be ready to work."""
KILL_AFTER_SECONDS = 5.0
"""Past the drain time, a process that still lives is killed."""
FORKS = sys.platform == "linux"
"""Whether processes are forks of one template. Elsewhere nobody adopts forks, and some libraries do not survive one."""
STEADY_SECONDS = 10.0
"""What lived this long is replaced at once when it dies."""

_log = logging.getLogger("farthing.server")


def begin_template(listener: socket.socket) -> Template:
    """The first template. To be called before there are threads, an event loop, or connections.

    Raises Unavailable: `no_process`, the system does not start one.
    """
    try:
        # Only then: a fork that nobody adopts would end without anybody hearing of it.
        return (
            Template.begin_here(without=listener) if FORKS and adopt_forks() else Template.begin(forks=False)
        )
    except (TemplateLost, OSError) as error:
        raise Unavailable("no_process", f"no process can be started: {error}") from error


@dataclass(slots=True, eq=False)
class Child:
    """One process of ours. `leaving` once it was told to go."""

    name: str
    pid: int
    heard: asyncio.StreamReader
    channel: asyncio.StreamWriter
    born: float
    ended: asyncio.Future[int]
    """Its exit code, or the number of the signal that ended it below zero."""
    is_listening: asyncio.Event
    leaving: bool = False

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if not self.ended.done():
            _signal(self.pid, number)

    async def is_ready(self) -> bool:
        """Wait until it says that it can do all of its work. False where it ends before, or takes too long."""
        try:
            return await asyncio.wait_for(self._says_ready(), READY_SECONDS_MAX)
        except TimeoutError:
            _log.error("%s (process %d) is not ready; it stands here:", self.name, self.pid)
            self.signal(signal.SIGUSR1)
            return False

    async def _says_ready(self) -> bool:
        said = b""
        with contextlib.suppress(ConnectionError):
            while (said := await self.heard.readline()) == LISTENING:
                self.is_listening.set()
        return said == READY


class Processes:
    """All processes but PostgreSQL's. To be made, and used, in one event loop."""

    def __init__(self, settings: ServerSettings, listener: socket.socket, template: Template) -> None:
        """template: the first one, which imports while other things are done."""
        self._settings = settings
        self._listener = listener
        self._children: set[Child] = set()
        self._forks = template.forks
        self._template: Template | None = template
        self._templates = {template.pid: template}
        self._background: set[asyncio.Task[None]] = set()
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._ended_unknown: dict[int, int] = {}
        self._made: set[asyncio.Future[None]] = set()
        """One for each process that is being made now."""
        self._closing = False

    def begin(self) -> None:
        """Hear of processes that end. Whoever else waits for some of this process's has done so by then."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        self._reap()  # The template may have ended before.

    async def make(
        self, name: str, entry: str, *, listens: bool, at_once: bool = True, early: bool = False
    ) -> Child | None:
        """Make a process. None where that fails.

        at_once: see `Orders`. early: as soon as the template has imported what taking events needs.
        """
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._made.add(made)
        try:
            orders = Orders(
                entry=entry,
                name=name,
                settings=self._settings,
                listener=self._listener.fileno() if listens else None,
                at_once=at_once,
            )
            return await self._make(orders, early)
        except (TemplateLost, OSError) as lost:
            if not self._closing:
                _log.error("%s was not started: %s", name, lost)
            return None
        finally:
            made.set_result(None)
            self._made.discard(made)
            if not self._made:
                self._ended_unknown.clear()

    async def _make(self, orders: Orders, early: bool) -> Child:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = await self._fork(orders, theirs, early)
            ended = self._end_of(pid)
            heard, channel = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()  # Whatever was made sees that, and ends.
            raise
        born = asyncio.get_running_loop().time()
        child = Child(orders.name, pid, heard, channel, born, ended, asyncio.Event())
        self._children.add(child)
        return child

    async def renew(self) -> bool:
        """Put a new template in the place of the one that is there: of the program as it is now. False where it fails,
        and the old one stays."""
        if self._closing:
            return False
        try:
            template = await self._sound_template()
        except TemplateLost as lost:
            _log.error("nothing was replaced: %s", lost)
            return False
        old, self._template = self._template, template
        if old is not None:
            self._beside(old.retire())
        return True

    async def dismiss(self, children: Sequence[Child | None] | None = None) -> None:
        """Tell processes to stop, all that there are where none are named, and see to it that they do."""
        leaving = [child for child in (self._children if children is None else children) if child is not None]
        for child in leaving:
            child.leaving = True
            child.signal(signal.SIGTERM)
        if not leaving:
            return
        ends = [child.ended for child in leaving]
        _, late = await asyncio.wait(ends, timeout=self._settings.drain_seconds + KILL_AFTER_SECONDS)
        for child in leaving:
            if not child.ended.done():
                _log.error("%s (process %d) did not stop and was killed", child.name, child.pid)
                child.signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)
        for child in leaving:
            self.forget(child)

    def kill_all(self) -> None:
        """Stop at once, whatever is under way."""
        for child in self._children:
            child.signal(signal.SIGKILL)

    def forget(self, child: Child) -> None:
        """It has ended."""
        self._children.discard(child)
        child.channel.close()

    def begin_to_stop(self) -> None:
        """No process is made from now on."""
        self._closing = True

    async def close(self) -> None:
        """Stop whatever is still there. To be called after `begin_to_stop`."""
        for task in self._background:
            task.cancel()
        if self._made:
            await asyncio.wait([*self._made], timeout=KILL_AFTER_SECONDS)
        await self.dismiss()
        for template in [*self._templates.values()]:
            template.close()
            template.kill()  # It may be importing, and has nothing to lose.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(template.pid, 0)

    # ---- The template

    async def _fork(self, orders: Orders, channel: socket.socket, early: bool) -> int:
        while True:
            template = self._usable_template()
            try:
                if not early:
                    await template.complete(self._settings.engine)
                if self._closing:
                    raise TemplateLost("the server stops")
                return await template.fork(orders, channel, self._listener)
            except TemplateLost:
                self._let_go(template)
                if self._closing or self._template is None:
                    raise
                # Another one has taken its place meanwhile.
            finally:
                if not self._forks:  # It was the template itself that became a process, or nothing did.
                    template.close()

    def _usable_template(self) -> Template:
        if self._closing:
            raise TemplateLost("the server stops")
        template = self._template or self._begin_template()
        self._template = template if self._forks else None
        return template

    async def _sound_template(self) -> Template:
        """A new one, of which every process can be made."""
        template = self._begin_template()
        try:
            if not await template.complete(self._settings.engine):
                raise TemplateLost("the engine cannot be imported; the log above says why")
        except BaseException:
            template.close()
            template.kill()
            raise
        return template

    def _begin_template(self) -> Template:
        template = Template.begin(forks=self._forks)
        self._templates[template.pid] = template
        return template

    def _let_go(self, template: Template) -> None:
        template.close()
        if self._template is template:
            self._template = None

    async def _renew_lost(self, pause_seconds: float) -> None:
        await asyncio.sleep(pause_seconds)
        with contextlib.suppress(TemplateLost):
            await self._usable_template().complete(self._settings.engine)

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ---- Who has ended

    def _end_of(self, pid: int) -> asyncio.Future[int]:
        """How a process ends, which is heard of here only."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if pid in self._ended_unknown:  # before its number was known
            ended.set_result(self._ended_unknown.pop(pid))
        else:
            self._awaited[pid] = ended
        return ended

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._has_ended(pid, os.waitstatus_to_exitcode(status))

    def _has_ended(self, pid: int, code: int) -> None:
        if (template := self._templates.pop(pid, None)) is not None:
            template.has_ended = True
            self._template_ended(template, code)
        if (ended := self._awaited.pop(pid, None)) is not None:
            ended.set_result(code)
        elif self._made:
            # Its number may be still on its way to us. Else it is one that one of ours has left behind.
            self._ended_unknown[pid] = code

    def _template_ended(self, template: Template, code: int) -> None:
        was_in_force = self._template is template
        self._let_go(template)
        if was_in_force and self._forks and not self._closing:
            _log.error("the template (process %d) ended with status %d", template.pid, code)
            lived = time.monotonic() - template.born
            # The next process that is needed should not have to wait for another one.
            self._beside(self._renew_lost(max(STEADY_SECONDS - lived, 0.0)))


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
