"""Files that nobody needs any more are removed only while nobody copies them.

A backup reads in the books which files are in force and copies them after that. What is replaced meanwhile stays
where it is until the copy is done: the next sweep removes it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = "removals.lock"


@contextmanager
def removing(data_dir: Path) -> Iterator[bool]:
    """Whether files may be removed now; for as long as the block lasts, no copy begins."""
    with _lock(data_dir, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        yield held


@contextmanager
def nothing_removed(data_dir: Path) -> Iterator[None]:
    """No file of the event store or the log is removed inside the block. Several may copy at once."""
    with _lock(data_dir, fcntl.LOCK_SH):
        yield


@contextmanager
def _lock(data_dir: Path, mode: int) -> Iterator[bool]:
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, mode)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
