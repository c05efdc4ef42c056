"""The template: a process that has imported what the server's processes need, so that each of them is a fork of it.

    supervisor   -- orders, channel, listening socket -->   template   -- fork -->   api-1, api-2, engine

Importing takes a worker seconds, and a fork milliseconds. The template does nothing else: it has no connection, no
log, no database and no thread of ours, so nothing of it can be broken by a fork. Its forks are children of the
supervisor, not of the template (`adopt_forks`): they live on when the template does not, and the supervisor sees how
they end.

Where processes cannot be forked so, a template becomes what it is asked for, and the next one is another template.
"""

import asyncio
import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

import msgspec

from farthing.api.process import Orders, be

IMPORTED_FIRST = "farthing.api.worker"
"""What taking events needs."""
IMPORTED_BEHIND = (
    "farthing.events.store.duckdb",
    "fastapi",
    "farthing.wallets.holds.desk",
    "farthing.payments.gateways.setup",
    "farthing.api.documents.invoice",
    "farthing.api.documents.subscription",
    "farthing.api.asgi",
)
"""What answering everything else needs, step by step: between two of them a worker may be wanted that takes events."""
PROGRAM = (sys.executable, "-m", "farthing.api.template")
NAME = b"farthing-forks"
ANSWER_SECONDS_MAX = 60.0
"""How long it may take to import what it is asked for, or to fork."""
ONCE = "once"
"""The argument of a template that is to become what it is asked for."""
_NEXT, _MORE, _DONE, _FAILED = b"next", b"more", b"done", b"failed"
_REQUEST_BYTES_MAX = 65_536
_REPLY_BYTES_MAX = 64
_DESCRIPTORS_MAX = 2
_SET_NAME, _SET_CHILD_SUBREAPER = 15, 36
"""Numbers of `prctl` (linux/prctl.h)."""


class TemplateLost(Exception):
    """The template ended, does not answer, or cannot be started."""


@dataclass(slots=True, eq=False)
class Template:
    """A template, seen from the supervisor."""

    pid: int
    forks: bool
    """Whether it makes processes, or becomes one."""
    born: float
    """When it was started, by the clock that only goes forward."""
    _channel: socket.socket
    has_ended: bool = False
    """Whether its number may be another process's by now."""
    _is_complete: bool = False
    _is_sound: bool = True
    _is_closed: bool = False
    _completing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def begin(cls, *, forks: bool) -> "Template":
        """Start one, of the program as it is now. It imports what taking events needs, and then waits for what it is
        asked. Raises TemplateLost.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    pid = start_program(theirs, () if forks else (ONCE,))
                except OSError:
                    ours.close()
                    raise
        except OSError as error:
            raise TemplateLost(f"no process can be started: {error}") from error
        return cls._of(pid, forks, ours)

    @classmethod
    def begin_here(cls, without: socket.socket) -> "Template":
        """Make one that is a fork of this process, so that it need not import what this one has.

        For a process that has no threads, no event loop and no connections. without: what is not for the template.
        """
        ours, theirs = socket.socketpair()
        if sys.stdout is not None:
            sys.stdout.flush()
        if not (pid := os.fork()):
            try:
                ours.close()
                without.close()
                os.dup2(theirs.fileno(), 0)
                theirs.close()
                os.setpgid(0, 0)
                main()
            except BaseException:  # noqa: BLE001 - whatever it is, nothing of this process's may go on there
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()
        return cls._of(pid, True, ours)

    @classmethod
    def _of(cls, pid: int, forks: bool, channel: socket.socket) -> "Template":
        channel.setblocking(False)
        return cls(pid, forks, time.monotonic(), channel)

    async def complete(self, engine: str | None) -> bool:
        """Have it import everything. False where the engine cannot be imported. Raises TemplateLost."""
        async with self._completing:
            if not self._is_complete:
                while await self._ask(_NEXT, []) == _MORE:
                    pass
                if engine is not None:
                    module = engine.partition(":")[0].encode()
                    self._is_sound = await self._ask(module, []) != _FAILED
                self._is_complete = True
        return self._is_sound

    async def fork(self, orders: Orders, channel: socket.socket, listener: socket.socket) -> int:
        """Have it make a process, and say its number. Raises TemplateLost.

        channel: the process's end of it. Both sockets stay the caller's.
        """
        descriptors = [channel.fileno(), *([] if orders.listener is None else [listener.fileno()])]
        return int(await self._ask(msgspec.json.encode(orders, enc_hook=str), descriptors))

    async def retire(self) -> None:
        """Let it end once it has answered."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        """Let it end. Who waits for an answer gets none."""
        self._is_closed = True
        if not self._turn.locked():
            self._channel.close()
        else:
            # The event loop waits for the socket: it wakes up, and then the socket is closed.
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End it, if it is still there."""
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _ask(self, request: bytes, descriptors: Sequence[int]) -> bytes:
        async with self._turn:
            if self._is_closed:
                raise TemplateLost(f"the template (process {self.pid}) was let go")
            reply = b""
            try:
                socket.send_fds(self._channel, [request], descriptors)
                loop = asyncio.get_running_loop()
                reply = await asyncio.wait_for(
                    loop.sock_recv(self._channel, _REPLY_BYTES_MAX), ANSWER_SECONDS_MAX
                )
            except (OSError, TimeoutError):
                pass
            finally:
                # What it would answer later is the answer to nothing.
                if self._is_closed or not reply:
                    self._is_closed = True
                    self._channel.close()
            if not reply:
                self.kill()
                raise TemplateLost(f"the template (process {self.pid}) does not answer")
            return reply


def start_program(channel: socket.socket, words: Sequence[str]) -> int:
    """Start a template with this channel, and say its number. Ctrl-C in a terminal is not for it."""
    actions = [(os.POSIX_SPAWN_DUP2, channel.fileno(), 0)]
    return os.posix_spawn(sys.executable, [*PROGRAM, *words], os.environ, file_actions=actions, setpgroup=0)


def adopt_forks() -> bool:
    """From now on, children of this process's children are its own when these end. False where that cannot be."""
    return sys.platform == "linux" and _prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def main(*, once: bool = False) -> NoReturn:
    """Import, then fork for whatever is asked, until the supervisor is gone. once: do not fork, but become that."""
    gc.disable()  # What is made here stays.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # It is for the supervisor, and for its forks neither.
    _prctl(_SET_NAME, ctypes.c_char_p(NAME))
    os.dup2(2, 1)  # Whatever is printed goes to the log.
    supervisor = _own_input()
    importlib.import_module(IMPORTED_FIRST)
    behind = iter(IMPORTED_BEHIND)
    while True:
        request, descriptors = _heard(supervisor)
        if not descriptors:
            _say(supervisor, _next_imported(behind) if request == _NEXT else _imported(request.decode()))
            continue
        if once:
            _say(supervisor, str(os.getpid()).encode())
        if once or _is_fork(supervisor):
            supervisor.close()
            _become(read_orders(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def read_orders(request: bytes) -> Orders:
    """What the supervisor wants a process to do."""
    return msgspec.json.decode(request, type=Orders, dec_hook=lambda kind, raw: kind(raw))


def _own_input() -> socket.socket:
    """The socket that is standard input; nothing else is to be read from there. Whatever else was open is closed."""
    own = os.dup(0)
    os.closerange(3, own)
    os.closerange(own + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return socket.socket(fileno=own)


def _heard(supervisor: socket.socket) -> tuple[bytes, list[int]]:
    request, descriptors = b"", list[int]()
    with suppress(ConnectionError):
        request, descriptors, _, _ = socket.recv_fds(supervisor, _REQUEST_BYTES_MAX, _DESCRIPTORS_MAX)
    if not request:
        _end()
    return request, descriptors


def _say(supervisor: socket.socket, reply: bytes) -> None:
    try:
        supervisor.sendall(reply)
    except ConnectionError:
        _end()


def _end() -> NoReturn:
    # There is nothing to clean up, and some libraries complain of what was not.
    os._exit(0)


def _next_imported(behind: Iterator[str]) -> bytes:
    """Import the next of what is imported behind."""
    module = next(behind, None)
    if module is None:
        return _DONE
    importlib.import_module(module)
    gc.freeze()
    return _MORE


def _imported(module: str) -> bytes:
    """Import the engine. Where that fails, there are still workers to be forked."""
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 - it may be any program's
        traceback.print_exc()
        return _FAILED
    gc.freeze()
    return _DONE


def _is_fork(supervisor: socket.socket) -> bool:
    """Fork: True in the new process, which is nobody's child but whose who adopts it; False here.

    The process between the two tells its number, so that none lives that nobody knows.
    """
    between = os.fork()
    if between:
        _, status = os.waitpid(between, 0)
        if status:
            os._exit(1)
        return False
    try:
        made = os.fork()
        if not made:
            return True
        supervisor.sendall(str(made).encode())
    except BaseException:  # noqa: BLE001 - nothing of the template is to be ended by its copy
        os._exit(1)
    os._exit(0)


def _become(orders: Orders, descriptors: Sequence[int]) -> NoReturn:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    channel, *listener = descriptors
    with suppress(PermissionError):  # What leads a group already.
        os.setsid()
    _prctl(_SET_NAME, ctypes.c_char_p(f"farthing-{orders.name}".encode()))
    if listener:
        orders = replace(orders, listener=listener[0])
    be(orders, socket.socket(fileno=channel))


def _prctl(option: int, value: object) -> bool:
    """Whether the system did it."""
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    return False


if __name__ == "__main__":
    main(once=ONCE in sys.argv[1:])
