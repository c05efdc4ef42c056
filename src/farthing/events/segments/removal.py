"""Files that nobody needs any more are removed only while nobody copies them.

A backup reads in the books which files are in force and copies them after that. What is replaced meanwhile stays
where it is until the copy is done: the next sweep removes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farthing.db.embedded import locks

LOCK_FILE = "removals.lock"


@contextmanager
def removing(data_dir: Path) -> Iterator[bool]:
    """Whether files may be removed now; for as long as the block lasts, no copy begins."""
    with locks.held(data_dir / LOCK_FILE, locks.EXCLUSIVE) as alone:
        yield alone


@contextmanager
def nothing_removed(data_dir: Path) -> Iterator[None]:
    """No file of the event store or the log is removed inside the block. Several may copy at once."""
    with locks.turn(data_dir / LOCK_FILE, locks.SHARED):
        yield
