"""A server process, seen from inside: `python -m farthing.api.process`, started by the supervisor only.

It gets its orders as one JSON line on standard input. The line stays open behind it: when it ends,
the supervisor is gone, and the process stops as if it had been told to. It says "ready" on standard
output once, when it can work. Nothing secret stands in its arguments or its environment.
"""

import faulthandler
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
READY = b"ready\n"

Ready = Callable[[], None]


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


def write_orders(orders: Orders) -> bytes:
    """The orders as the line that `main` reads."""
    return msgspec.json.encode(orders, enc_hook=str) + b"\n"


def read_orders(line: bytes) -> Orders:
    """What the supervisor wrote to this process."""
    return msgspec.json.decode(line, type=Orders, dec_hook=lambda kind, raw: kind(raw))


def main() -> None:
    """Read the orders, then be the process that they name until it ends."""
    orders = read_orders(_first_line())
    # Asked by the supervisor when this process takes too long to be ready, or by an operator.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=orders.settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
    # Only "ready" may reach the supervisor's pipe: whatever else is printed goes to the log.
    supervisor = os.dup(1)
    os.dup2(2, 1)

    def ready() -> None:
        os.write(supervisor, READY)
        os.close(supervisor)

    threading.Thread(target=_stop_when_alone, name="supervisor-watch", daemon=True).start()
    module, _, function = orders.entry.partition(":")
    run: Callable[[Orders, Ready], int] = getattr(importlib.import_module(module), function)
    sys.exit(run(orders, ready))


def _first_line() -> bytes:
    """Read without a buffer: a thread that waits inside one would break the interpreter's exit."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(0, 65536)):
            raise SystemExit("the supervisor ended before it gave its orders")
        line += part
    return line


def _stop_when_alone() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def stop_signal() -> threading.Event:
    """An event that is set when this process is told to stop. For processes without an event loop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    main()
