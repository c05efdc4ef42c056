"""Farthing with faults in its way, in a process that the zygote has forked.

It is the program as it is: sizes and pauses that only say when something happens are set small, so that
what happens in a day of heavy traffic happens within a second, and what it asks of the system goes past
an injector. The processes of a server are forks of their supervisor, where `farthing serve` starts them
anew; what they are told, and what they do, is the same.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.crash import canaries
from tests.crash.injection import Injector, install

_SERVER_PROCESS = ("-m", "farthing.api.process")


def become(words: Sequence[str], armed: Path | None, canary: str | None) -> None:
    """Be a command of Farthing; ends by SystemExit. armed: where faults are armed for it."""
    from farthing.cli import main as farthing

    if armed is not None:
        injector = Injector(armed, "supervisor" if words[0] == "serve" else words[0])
        install(injector)
        _make_small()
        canaries.install(canary)
        _fork_server_processes(injector)
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


def _fork_server_processes(injector: Injector) -> None:
    """What the supervisor starts as `python -m farthing.api.process` is a fork of it, and is not executed."""
    from farthing.api import process

    start, read_orders = asyncio.create_subprocess_exec, process.read_orders

    def read_and_take_role(line: bytes) -> process.Orders:
        orders = read_orders(line)
        injector.begin_as("engine" if orders.name == "engine" else "worker")
        return orders

    async def start_here(program: str, *words: Any, **named: Any) -> asyncio.subprocess.Process:
        if words == _SERVER_PROCESS:
            named["preexec_fn"] = lambda: _be_server_process(process.main, named["pass_fds"])
        return await start(program, *words, **named)

    process.read_orders = read_and_take_role
    asyncio.create_subprocess_exec = start_here  # type: ignore[assignment]


def _be_server_process(be: Callable[[], None], kept: Sequence[int]) -> None:
    """In the child, where its pipes are in place and the program would be executed."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    first = 3
    for descriptor in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(first, descriptor)
        first = descriptor + 1
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
