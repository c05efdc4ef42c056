"""Farthing with faults in its way: `python -m tests.crash.victim DIRECTORY [--canary NAME] -- serve ...`.

The same program as `farthing serve ...`, entered here instead of there; the processes that a server
starts are entered here too. Sizes and pauses that only say when something happens are set small, so
that what happens in a day of heavy traffic happens within a second.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.crash import canaries
from tests.crash.injection import Injector, install, install_in_books, install_in_store

SEGMENT_DELAY_SECONDS = 0.002
_SERVER_PROCESS = "farthing.api.process"
_CHILD = "process"


def main() -> None:
    """Be the command behind `--`, or a process of the server."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.victim")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--canary", choices=canaries.CANARIES)
    parser.add_argument("words", nargs="+")
    asked = parser.parse_args()
    if asked.words == [_CHILD]:
        _be_server_process(asked.directory, asked.canary)
    else:
        become(asked.directory, asked.canary, asked.words)


def become(directory: Path, canary: str | None, words: Sequence[str]) -> None:
    """Be a command of Farthing; ends the process."""
    role = "supervisor" if words[0] == "serve" else words[0]
    injector = Injector(directory, role)
    install(injector)
    install_in_books(injector)
    if role == "supervisor":
        _enter_children_here(directory, canary)
        _pause_little()
    else:
        install_in_store(injector, SEGMENT_DELAY_SECONDS)
        make_small()
        canaries.install(canary)
    from farthing.cli import main as farthing

    farthing(words)


def _be_server_process(directory: Path, canary: str | None) -> None:
    from farthing.api import process

    read_orders = process.read_orders

    def read_and_be(line: bytes) -> process.Orders:
        orders = read_orders(line)
        injector = Injector(directory, "engine" if orders.name == "engine" else "worker")
        install(injector)
        install_in_books(injector)
        if orders.name == "engine":
            install_in_store(injector, SEGMENT_DELAY_SECONDS)
        make_small()
        canaries.install(canary)
        return orders

    process.read_orders = read_and_be
    process.main()


def _enter_children_here(directory: Path, canary: str | None) -> None:
    start = asyncio.create_subprocess_exec
    here = ["-m", "tests.crash.victim", str(directory), *(["--canary", canary] if canary else [])]

    async def start_here(program: str, *words: Any, **named: Any) -> asyncio.subprocess.Process:
        if words == ("-m", _SERVER_PROCESS):
            words = (*here, "--", _CHILD)
        return await start(program, *words, **named)

    asyncio.create_subprocess_exec = start_here  # type: ignore[assignment]


def _pause_little() -> None:
    from farthing.api import server

    server.PAUSE_SECONDS_MIN = 0.02
    server.PAUSE_SECONDS_MAX = 0.1


def make_small() -> None:
    """Files of the log, pieces of an import, batches of the sealer, intervals of the engine."""
    from farthing.events import engine, files, id_index, rewrite, sealer
    from farthing.events.log import files as log

    log.FILE_BYTES_MAX = 250_000
    files.CHUNK_BYTES = 3_000
    sealer.BATCH_BYTES_MAX = 120_000
    engine.IDLE_SECONDS = 0.03
    engine.GATHER_SECONDS = 0.05
    engine.UPKEEP_SECONDS = 2
    engine.CLEANING_SECONDS = 2
    rewrite.SMALL_SEGMENTS_MAX = 8
    rewrite.SMALL_SEGMENT_EVENTS = 2_000
    id_index.RUNS_MERGED_AT_ONCE = 3  # type: ignore[misc]


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.argv[0] = "farthing"
    main()
