"""Real processes that seal and ingest, and are killed on the way.

One process imports everything and then forks: a life costs milliseconds instead of a second.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MOTHER = """
import json, os, sys, traceback
from datetime import datetime
from pathlib import Path
from farthing.db import open_books
from farthing.events.ingest import ingest_file
from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.wallets.sealing import WalletDraws

def live(order):
    now = datetime.fromisoformat(order["now"])
    lateness = Lateness(*order["lateness"])
    data_dir = Path(order["data_dir"])
    with open_books(Path(order["books_dir"]), None, now=now, pool_size=2) as books:
        store = EventStore(data_dir, threads=1, memory_limit="500MB")
        store.beside_sealing = WalletDraws(books, store)
        print("begins", flush=True)
        if order["path"]:
            ingest_file(books, store, order["tenant_id"], Path(order["path"]), mapping=order["mapping"],
                        lateness=lateness, clock=lambda: now)
        else:
            with only_sealer(data_dir) as alone:
                assert alone
                sealer = Sealer(books, store, data_dir / "log", lateness)
                while sealer.seal_next(now):
                    pass

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            live(json.loads(line))
            ended = 0
        except BaseException:
            traceback.print_exc()
        os._exit(ended)
    print(child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Mortals:
    """Lives one life after the other."""

    mother: subprocess.Popen[bytes]
    books_dir: Path
    data_dir: Path
    now: str
    lateness: tuple[int, int]

    def live(
        self,
        *,
        killed_after: float | None = None,
        tenant_id: int = 0,
        path: Path | None = None,
        mapping: str | None = None,
    ) -> bool:
        """Seal the log, or ingest a file; whether that came to its end before the kill."""
        order = {
            "books_dir": str(self.books_dir),
            "data_dir": str(self.data_dir),
            "now": self.now,
            "lateness": self.lateness,
            "tenant_id": tenant_id,
            "path": path and str(path),
            "mapping": mapping,
        }
        assert self.mother.stdin is not None
        self.mother.stdin.write(json.dumps(order).encode() + b"\n")
        child = int(self._hear())
        assert self._hear() == "begins"
        if killed_after is not None and not self._says_something_within(killed_after):
            os.kill(child, signal.SIGKILL)
        ended = self._hear()
        assert ended in ("ended 0", f"ended {-signal.SIGKILL}"), ended
        return ended == "ended 0"

    def _hear(self) -> str:
        assert self.mother.stdout is not None
        return self.mother.stdout.readline().decode().strip()

    def _says_something_within(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.mother.stdout], [], [], seconds)
        return bool(ready)


@contextmanager
def mortals(books_dir: Path, data_dir: Path, now: str, lateness: tuple[int, int]) -> Iterator[Mortals]:
    """The mother of processes that work on these directories."""
    mother = subprocess.Popen(
        [sys.executable, "-c", _MOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield Mortals(mother, books_dir, data_dir, now, lateness)
    finally:
        assert mother.stdin is not None
        assert mother.stdout is not None
        mother.stdin.close()
        mother.stdout.close()
        assert mother.wait() == 0
