"""Progress bars: on standard error, and only where a person looks at it."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

APPEARS_AFTER_SECONDS = 0.7
"""What is done sooner needs no bar."""


class Bar(Protocol):
    """Moved on by whoever works."""

    def __call__(self, done: int, total: int | None, note: str = "") -> None: ...


@contextmanager
def progress_bar(title: str, unit: str = "") -> Iterator[Bar]:
    """A bar for the length of the block, if it is long; gone afterwards. Nothing at all in a script."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TextColumn("{task.fields[note]}"))
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = progress.add_task(title, total=None, note="")
    appear = threading.Timer(APPEARS_AFTER_SECONDS, progress.start)
    appear.daemon = True
    appear.start()
    try:
        yield lambda done, total, note="": progress.update(task, completed=done, total=total, note=note)
    finally:
        appear.cancel()
        appear.join()
        progress.stop()


def _nothing(done: int, total: int | None, note: str = "") -> None:
    """Nobody looks."""
