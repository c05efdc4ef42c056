"""After an erasure: what was replaced is to be in no file any more, neither ours nor PostgreSQL's."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from farthing.db import Books
from farthing.db.erasing import write_anew
from farthing.events.sealing.sealer import only_sealer, sweep
from farthing.events.segments.damage import DAMAGED_DIR
from farthing.events.store import books as event_rows
from farthing.keeping.erasing import identity_store

READERS_GONE_SECONDS = 3600
"""After so long nobody reads a segment that was replaced, and no merge that had begun before still writes one."""

_SPILLED = re.compile(r"([0-9]+)-[0-9]+")


def cleaned(books: Books, data_dir: Path, tenant_id: int, events_at: datetime, now: datetime) -> str | None:
    """Remove replaced segments, write the tables anew; a place in PostgreSQL's log, as `write_anew` has it.

    None: not yet. A server at work leaves replaced files to its readers for an hour, and removes them then.
    """
    with only_sealer(data_dir) as nobody_seals:
        written_until = None if nobody_seals else events_at + timedelta(seconds=READERS_GONE_SECONDS)
        if nobody_seals:
            sweep(books, data_dir, [tenant_id], now, None)
        elif written_until is not None and now < written_until:
            return None
        named = _in_force(books, tenant_id)
        if any(
            str(path) not in named and _is_left(data_dir / path, written_until)
            for path in _segments(data_dir, tenant_id)
        ):
            return None
    for aside in (data_dir / DAMAGED_DIR / "segments" / str(tenant_id)).glob("*.parquet"):
        if str(Path("segments", str(tenant_id), aside.name)) not in named:
            aside.unlink()
    _remove_spilled(data_dir)
    with books.read_only(tenant_id) as conn:
        tables = identity_store.select_identity_tables(conn)
    place = write_anew(books.endpoint, tables)
    # Imported here because file locks and system users exist on POSIX systems only.
    from farthing.db.embedded.server_log import begin_server_log_anew

    begin_server_log_anew(data_dir)
    return place


def _in_force(books: Books, tenant_id: int) -> set[str]:
    with books.read_only(tenant_id) as conn:
        return {segment.path for segment in event_rows.segments(conn, tenant_id, with_voids=False)}


def _segments(data_dir: Path, tenant_id: int) -> Iterator[Path]:
    for path in (data_dir / "segments" / str(tenant_id)).glob("*"):
        yield path.relative_to(data_dir)


def _is_left(path: Path, written_until: datetime | None) -> bool:
    """Whether it is still there, and may have the customer: what came later has not."""
    try:
        return written_until is None or path.stat().st_mtime < written_until.timestamp()
    except FileNotFoundError:
        return False


def _remove_spilled(data_dir: Path) -> None:
    """What queries of processes that were killed had put aside, because it did not fit into memory."""
    for path in (data_dir / "tmp").glob("*"):
        of = _SPILLED.fullmatch(path.name)
        if of is not None and not _runs(int(of[1])):
            with suppress(FileNotFoundError):
                shutil.rmtree(path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
