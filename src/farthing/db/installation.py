"""The books and the data directory belong together, and both remember it.

The event store's files mean nothing without the rows that name them. A data directory that is opened
with other books (a mistyped or emptied FARTHING_DATABASE_URL) would take its own segments for debris;
so each side keeps the same id, and a pair that does not match is refused.
"""

import os
import secrets
from pathlib import Path

from farthing.db import store
from farthing.db.pool import Books
from farthing.kernel.errors import Conflict

INSTALLATION_FILE = "installation.id"
_EVENT_DIRECTORIES = ("segments", "ids", "log")


def bind_installation(books: Books, data_dir: Path) -> None:
    """Give a new pair an id, or check that an old one is still together. Raises Conflict `wrong_books`."""
    file = data_dir / INSTALLATION_FILE
    with books.operator_transaction() as conn:
        in_books = store.select_installation(conn)  # Locks, so the file is looked at behind it.
        in_directory = (file.read_text().strip() or None) if file.exists() else None
        if in_directory is not None and in_directory == in_books:
            return
        # One side may be missing while the other holds nothing yet: a first start that was cut short.
        if (in_books is not None and in_directory is not None) or (
            in_books != in_directory and _has_events(data_dir)
        ):
            raise Conflict(
                "wrong_books",
                f"{data_dir} belongs to other books than those it was opened with: check FARTHING_DATABASE_URL",
            )
        installation_id = in_books or in_directory or new_installation_id()
        if in_directory is None:
            write_installation(data_dir, installation_id)
        if in_books is None:
            store.insert_installation(conn, installation_id)


def _has_events(data_dir: Path) -> bool:
    return any(any((data_dir / name).rglob("*.*")) for name in _EVENT_DIRECTORIES)


def new_installation_id() -> str:
    """An id that no other pair of books and data directory has."""
    return secrets.token_hex(16)


def write_installation(data_dir: Path, installation_id: str) -> None:
    """Say in a data directory which books it belongs to."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with open(data_dir / INSTALLATION_FILE, "w") as out:
        out.write(installation_id + "\n")
        out.flush()
        os.fsync(out.fileno())
