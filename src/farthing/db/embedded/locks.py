"""Kernel file locks: they end with the process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX


def takes(descriptor: int, mode: int) -> bool:
    """Lock an open file or directory until it is closed. False where others hold it."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def try_lock(path: Path, mode: int) -> int | None:
    """A descriptor that holds the lock until it is closed, or None if others hold it."""
    descriptor = _open(path)
    try:
        if takes(descriptor, mode):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def held(path: Path, mode: int) -> Iterator[bool]:
    """Hold the lock inside the block. Yields False, and holds nothing, where others have it."""
    descriptor = try_lock(path, mode)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock."""
    descriptor = try_lock(path, EXCLUSIVE)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


@contextmanager
def turn(path: Path, mode: int = EXCLUSIVE) -> Iterator[int]:
    """One at a time (or those who share together): waits for the others. Children that are given the descriptor
    hold it too."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, mode)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """The lock file, made if missing for whoever owns the directory, never through a symbolic link."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
