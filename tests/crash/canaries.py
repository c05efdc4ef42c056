"""Farthing with a mistake in it: each is one that real systems have made, and the harness must find it.

They are put into a process from outside (`victim.py`); nothing in `src/` knows of them.

    acknowledge_first  a request is answered before its events are synced
    name_first         segments and id runs are named in the books before they are synced
    cursor_first       the log cursor moves in a transaction before the one that counts
    claim_first        the ids of a batch are known as counted before the transaction that counts them
    forget_first       only ids that were counted since the start are known: a window, as in most of this field
"""

import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

LATE_SECONDS = 1.0
"""How much later a sync is done than it should be."""


def install(name: str | None) -> None:
    """Make this process, and its forks, the broken variant."""
    if name is not None:
        CANARIES[name]()


def _acknowledge_first() -> None:
    os.fdatasync = _late(os.fdatasync, (".log",))


def _name_first() -> None:
    os.fsync = _late(os.fsync, (".parquet", ".ids", "/segments/", "/ids/"))


def _late(sync: Callable[[Any], None], of: Sequence[str]) -> Callable[[Any], None]:
    """A sync that comes back before it is done, for files and directories whose path has one of `of` in it."""

    def later(file: Any) -> None:
        if not any(part in os.readlink(f"/proc/self/fd/{file}") + "/" for part in of):
            sync(file)
            return
        timer = threading.Timer(LATE_SECONDS, _sync_and_close, (sync, os.dup(file)))
        timer.daemon = True
        timer.start()

    return later


def _sync_and_close(sync: Callable[[Any], None], file: int) -> None:
    sync(file)
    os.close(file)


def _cursor_first() -> None:
    from farthing.events.sealing import sealer

    move, commit = sealer.rows.move_cursor, sealer.Sealer._commit

    def move_and_commit(self: sealer.Sealer, pieces: Sequence[Any], now: datetime) -> Any:
        with self.books.operator_transaction() as conn:
            for piece in pieces:
                move(conn, piece.log_file, piece.start, piece.end, now)
        return commit(self, pieces, now)

    sealer.Sealer._commit = move_and_commit  # type: ignore[method-assign]
    sealer.rows.move_cursor = lambda *_: True


def _claim_first() -> None:
    from farthing.events.sealing import sealer

    insert_run, write, seal_blocks = sealer.rows.insert_run, sealer.Sealer._write, sealer.seal_blocks
    claimed: set[str] = set()

    def insert_unless_claimed(conn: Any, tenant_id: int, run: Any, now: datetime) -> None:
        if run.run_id not in claimed:
            insert_run(conn, tenant_id, run, now)

    def claim_and_write(self: sealer.Sealer, *what: Any) -> None:
        *_, now = what

        def claim_and_seal(store: Any, tenant_id: int, *rest: Any) -> Any:
            batch = seal_blocks(store, tenant_id, *rest)
            if batch.run is not None:
                with self.books.transaction(tenant_id) as conn:
                    insert_run(conn, tenant_id, batch.run, now)
                claimed.add(batch.run.run_id)
            return batch

        sealer.seal_blocks = claim_and_seal
        write(self, *what)

    sealer.Sealer._write = claim_and_write  # type: ignore[method-assign]
    sealer.rows.insert_run = insert_unless_claimed


def _forget_first() -> None:
    from farthing.events.sealing import sealer

    def tenant_runs(self: sealer.Sealer, tenant_id: int, _now: datetime) -> dict[str, Any]:
        return self._runs.setdefault(tenant_id, {})

    sealer.Sealer._tenant_runs = tenant_runs  # type: ignore[method-assign]


CANARIES: dict[str, Callable[[], None]] = {
    "acknowledge_first": _acknowledge_first,
    "name_first": _name_first,
    "cursor_first": _cursor_first,
    "claim_first": _claim_first,
    "forget_first": _forget_first,
}
