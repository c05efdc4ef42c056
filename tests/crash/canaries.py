"""Farthing with a mistake in it: each is one that real systems have made, and the harness must find it.

They are put into a process from outside (`victim.py`); nothing in `src/` knows of them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

CANARIES = ("cursor_first", "acknowledge_first", "claim_first", "forget_first")


def install(name: str | None) -> None:
    """Make this process the broken variant."""
    if name is not None:
        _INSTALL[name]()


def _cursor_first() -> None:
    """The log cursor moves in a transaction of its own, before the one that holds segment and ids."""
    from farthing.events import sealer

    move, seal = sealer.rows.move_cursor, sealer.Sealer._seal_piece

    def seal_piece(
        self: sealer.Sealer, log_file: str, start: int, blocks: Sequence[Any], now: datetime
    ) -> Any:
        with self.books.operator_transaction() as conn:
            move(conn, log_file, start, blocks[-1].end, now)
        return seal(self, log_file, start, blocks, now)

    sealer.Sealer._seal_piece = seal_piece  # type: ignore[method-assign]
    sealer.rows.move_cursor = lambda *_: True


def _acknowledge_first() -> None:
    """A request is answered when its events are written, before they are synced."""
    from farthing.events.log import files

    write = files.LogWriter._write

    def write_and_answer(self: files.LogWriter, batch: Sequence[Any]) -> list[Any]:
        positions = write(self, batch)
        for entry, position in zip(batch, positions, strict=True):
            entry.done.set_result(position)
            entry.done = files.Future()  # what is told after the sync reaches nobody
            entry.done.set_running_or_notify_cancel()
        return positions

    files.LogWriter._write = write_and_answer  # type: ignore[method-assign]


def _claim_first() -> None:
    """The ids of a batch are known as counted in a transaction before the one that counts them."""
    from farthing.events import sealer

    insert_run, commit = sealer.rows.insert_run, sealer.Sealer._seal_piece
    seal_blocks = sealer.seal_blocks

    def claim(books: Any, now: Callable[[], datetime]) -> Callable[..., Any]:
        def seal(store: Any, tenant_id: int, *rest: Any) -> Any:
            batch = seal_blocks(store, tenant_id, *rest)
            if batch.run is not None:
                with books.transaction(tenant_id) as conn:
                    insert_run(conn, tenant_id, batch.run, now())
            return batch

        return seal

    def seal_piece(
        self: sealer.Sealer, log_file: str, start: int, blocks: Sequence[Any], now: datetime
    ) -> Any:
        sealer.seal_blocks = claim(self.books, lambda: now)
        sealer.rows.insert_run = lambda *_: None
        try:
            return commit(self, log_file, start, blocks, now)
        finally:
            sealer.rows.insert_run = insert_run

    sealer.Sealer._seal_piece = seal_piece  # type: ignore[method-assign]


def _forget_first() -> None:
    """Only ids that were counted since the start are known: a window, as in most of this field."""
    from farthing.events import sealer

    def tenant_runs(self: sealer.Sealer, tenant_id: int) -> dict[str, Any]:
        return self._runs.setdefault(tenant_id, {})

    sealer.Sealer._tenant_runs = tenant_runs  # type: ignore[method-assign]


_INSTALL = {
    "cursor_first": _cursor_first,
    "acknowledge_first": _acknowledge_first,
    "claim_first": _claim_first,
    "forget_first": _forget_first,
}
assert tuple(_INSTALL) == CANARIES
