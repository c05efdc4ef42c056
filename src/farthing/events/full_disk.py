"""A full disk is no failure: nothing is lost, and the work goes on where it was once there is space."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from farthing.events.log.files import FULL_DISK
from farthing.kernel.errors import Unavailable

_WORDS = tuple(os.strerror(number) for number in sorted(FULL_DISK))


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Whatever the block was writing with, a full disk ends it as Unavailable `disk_full`."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        # DuckDB tells in words only.
        full = (
            error.errno in FULL_DISK
            if isinstance(error, OSError)
            else any(word in str(error) for word in _WORDS)
        )
        if not full:
            raise
        raise Unavailable("disk_full", "the disk is full; what was acknowledged is safe and waits") from None
