"""Drafting and issuing at the same time: while the books take one batch, the next one is computed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Piece = TypeVar("_Piece")


def one_ahead(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """These pieces, in their order, of which the next one is made in a thread while one is being used.

    At most one is made ahead of time. What making one raises is raised where it is asked for.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="drafting") as thread:
        coming = thread.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = thread.submit(next, pieces, None)
            yield piece
