"""A server process, seen from inside: `python -m farthing.api.process`, started by the supervisor only.

It gets its orders as one JSON line on standard input, imports what they name and waits for a second line, which
says that the books are open: so both take their time together. The input stays open behind it: when it ends,
the supervisor is gone, and the process stops as if it had been told to. It says "listening" on standard
output when it takes requests, and "ready", once, when it can do all of its work. Nothing secret stands in its
arguments or its environment.
"""

import faulthandler
import gc
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
BEGIN = b"begin\n"
LISTENING = b"listening\n"
READY = b"ready\n"


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

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor

    def listening(self) -> None:
        """It takes requests, and is not ready yet."""
        os.write(self._supervisor, LISTENING)

    def __call__(self) -> None:
        gc.enable()
        os.write(self._supervisor, READY)
        os.close(self._supervisor)


Entry = Callable[[Orders, Ready], int]


def write_orders(orders: Orders) -> bytes:
    """The orders as the line that `main` reads."""
    return msgspec.json.encode(orders, enc_hook=str) + b"\n"


def read_orders(line: bytes) -> Orders:
    """What the supervisor wrote to this process."""
    return msgspec.json.decode(line, type=Orders, dec_hook=lambda kind, raw: kind(raw))


def main() -> None:
    """Read the orders, then be the process that they name until it ends."""
    gc.disable()  # Until it is ready: whatever is made before stays, and would be looked at again and again.
    lines = _lines()
    orders = read_orders(next(lines))
    # Asked by the supervisor when this process takes too long to be ready, or by an operator.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=orders.settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
    # Only "ready" may reach the supervisor's pipe: whatever else is printed goes to the log.
    supervisor = os.dup(1)
    os.dup2(2, 1)
    module, _, function = orders.entry.partition(":")
    run: Entry = getattr(importlib.import_module(module), function)
    next(lines)  # The books are open.
    threading.Thread(target=_stop_when_alone, name="supervisor-watch", daemon=True).start()
    sys.exit(run(orders, Ready(supervisor)))


def _lines() -> Iterator[bytes]:
    """Read without a buffer: a thread that waits inside one would break the interpreter's exit."""
    rest = b""
    while True:
        while b"\n" not in rest:
            if not (part := os.read(0, 65536)):
                raise SystemExit("the supervisor ended before it gave its orders")
            rest += part
        line, _, rest = rest.partition(b"\n")
        yield line


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
