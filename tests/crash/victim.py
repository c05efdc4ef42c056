"""Farthing with faults in its way, in a process that the zygote has forked.

It is the program as it is: sizes and pauses that only say when something happens are set small, so that
what happens in a day of heavy traffic happens within a second, and what it asks of the system goes past
an injector. Every template of a server's processes is a fork of their supervisor, where `farthing serve` starts all
but the first as programs of their own; what they are told, and what they do, is the same.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tests.crash import canaries
from tests.crash.injection import Injector, install


def become(words: Sequence[str], armed: Path | None, canary: str | None) -> None:
    """Be a command of Farthing; ends by SystemExit. armed: where faults are armed for it."""
    from farthing.cli import main as farthing

    if armed is not None:
        injector = Injector(armed, "supervisor" if words[0] == "serve" else words[0])
        install(injector)
        _make_small()
        canaries.install(canary)
        _fork_template(injector)
    farthing(words)


def ending(be: Callable[[], object]) -> None:
    """Be something, then end this process with its exit code: whatever comes, it does not come back."""
    code = 70
    try:
        be()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 70
    except BaseException:  # noqa: BLE001  this is the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fork_template(injector: Injector) -> None:
    """What the supervisor starts as `python -m farthing.api.template` is a fork of it, and is not executed."""
    from farthing.api import process, template

    main, read_orders = template.main, template.read_orders

    def main_here() -> NoReturn:
        injector.begin_as("template")
        main()

    def read_and_take_role(request: bytes) -> process.Orders:
        orders = read_orders(request)
        injector.begin_as("engine" if orders.name == "engine" else "worker")
        return orders

    def start_here(channel: socket.socket, words: Sequence[str]) -> int:
        assert not words
        pid = os.fork()
        if not pid:
            os.dup2(channel.fileno(), 0)
            _be_template(main_here)
        return pid

    template.main, template.read_orders = main_here, read_and_take_role
    template.start_program = start_here


def _be_template(be: Callable[[], None]) -> None:
    """In the child, where the program would be executed."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    ending(be)


def _make_small() -> None:
    """Files of the log, pieces of an import, batches of the sealer, intervals of the engine, pauses."""
    from farthing.api import server
    from farthing.events import engine
    from farthing.events.ids import index as id_index
    from farthing.events.intake import files
    from farthing.events.log import files as log
    from farthing.events.scanning import loading
    from farthing.events.sealing import sealer
    from farthing.events.segments import compaction

    for module, name, value in (
        (log, "FILE_BYTES_MAX", 60_000),
        (files, "CHUNK_BYTES", 3_000),
        (loading, "SCANNED_FROM_BYTES", 0),
        (sealer, "BATCH_BYTES_MAX", 120_000),
        (engine, "IDLE_SECONDS", 0.03),
        (engine, "GATHER_SECONDS", 0.15),
        (engine, "UPKEEP_SECONDS", 2),
        (engine, "CLEANING_SECONDS", 2),
        (compaction, "SMALL_SEGMENTS_MAX", 8),
        (compaction, "SMALL_SEGMENT_EVENTS", 2_000),
        (id_index, "RUNS_MERGED_AT_ONCE", 3),
        (server, "PAUSE_SECONDS_MIN", 0.02),
        (server, "PAUSE_SECONDS_MAX", 0.1),
    ):
        assert hasattr(module, name), f"{module.__name__}.{name} has another name now"
        setattr(module, name, value)
