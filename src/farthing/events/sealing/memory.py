"""Memory that sealing lets go stays with its process until sealing rests.

A piece of the log takes some hundred megabytes for a second. glibc gives most of that back to the system at once, which
then clears every page again for the piece behind it: a quarter of the processor time of sealing. Without glibc, nothing
is done here.
"""

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Numbers of `mallopt` (malloc.h of glibc)."""

MAPPED_FROM_BYTES = 32 * 1024 * 1024
"""What is at least as large is mapped by itself, and given back at once: glibc's own limit of the setting."""
GIVEN_BACK_FROM_BYTES = 2**31 - 1
"""How much may be free at the end of the heap before any of it is given back."""
ARENAS = 2
"""Heaps that threads share. Two pieces are under way at a time; with more heaps, each keeps what none of them uses."""


def keep_freed_memory() -> None:
    """From now on this process keeps what it frees. Call it before threads bring heaps of their own."""
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        set_option(_TRIM_THRESHOLD, GIVEN_BACK_FROM_BYTES)
        set_option(_ARENA_MAX, ARENAS)


def give_back_freed_memory() -> None:
    """The system gets what this process has freed."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
