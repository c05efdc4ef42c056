"""A server process, seen from inside: what `template.py` makes of itself when the supervisor wants one.

It has its orders and one socket to the supervisor, its channel. On that it says "listening" when it takes requests,
and "ready", once, when it can do all of its work. When the channel ends, the supervisor is gone, and the process stops
as if it had been told to. Nothing secret stands in its arguments or its environment.
"""

import faulthandler
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LISTENING = b"listening\n"
READY = b"ready\n"

_log = logging.getLogger("farthing.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How Farthing is served. `app.py` reads flags and environment; nothing below it does."""

    data_dir: Path
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 2
    drain_seconds: float = 30.0
    """How long requests may take to finish after the server was told to stop."""
    engine: str | None = None
    """`module:function` of the process that seals the log; None where nothing is sealed."""
    query_threads: int = 2
    query_memory: str = "1GB"
    log_level: str = "WARNING"
    gateways: Path | None = None
    """The file with the secrets of payment gateways; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one process is to do."""

    entry: str
    name: str
    settings: ServerSettings
    listener: int | None
    at_once: bool = True
    """Whether a worker takes events before it can answer everything: where others do meanwhile, it need not."""


class Ready:
    """Tells the supervisor how far this process is: called once, when it can do all of its work."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def listening(self) -> None:
        """It takes requests, and is not ready yet."""
        self._channel.sendall(LISTENING)

    def __call__(self) -> None:
        gc.enable()
        self._channel.sendall(READY)


Entry = Callable[[Orders, Ready], int]


def be(orders: Orders, channel: socket.socket) -> NoReturn:
    """Be the process that the orders name until it ends. channel: to the supervisor."""
    gc.disable()  # Until it is ready: whatever is made before stays, and would be looked at again and again.
    # Asked by the supervisor when this process takes too long to be ready, or by an operator.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=orders.settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
    module, _, function = orders.entry.partition(":")
    threading.Thread(target=_stop_when_alone, args=[channel], name="supervisor-watch", daemon=True).start()
    code = 1
    try:
        run: Entry = getattr(importlib.import_module(module), function)
        code = run(orders, Ready(channel))
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001 - the log has it, and the supervisor sees the code
        _log.exception("%s failed", orders.name)
    finally:
        # What this process is a fork of must not go on in it, and has nothing here to clean up.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)


def _stop_when_alone(channel: socket.socket) -> None:
    with suppress(ConnectionError):
        while channel.recv(1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def stop_signal() -> threading.Event:
    """An event that is set when this process is told to stop. For processes without an event loop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
