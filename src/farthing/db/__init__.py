"""The books: everything that is money or state, in one PostgreSQL.

Owns: the PostgreSQL that Farthing starts for itself, or the one given by URL; migrations; the pool;
the transaction, with its tenant; tenants; the outbox.
Does not own: any table's meaning. Each room keeps its own SQL in its `store.py`.
Laws: the application connects as a role that cannot bypass row-level security, and every
transaction is bound to one tenant (law 12); migrations only go forward and are never edited;
whoever starts the server, it outlives no last user and is never shared with another system user.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from farthing.db.endpoint import Endpoint, OnWait
from farthing.db.external import given_postgres
from farthing.db.installation import bind_installation
from farthing.db.migration import migrate
from farthing.db.pool import POOL_SIZE, Books
from farthing.db.tenants import ensure_default_tenant

__all__ = ["Books", "Endpoint", "OnWait", "open_books"]


@contextmanager
def open_books(
    data_dir: Path,
    database_url: str | None,
    *,
    now: datetime,
    on_wait: OnWait | None = None,
    pool_size: int = POOL_SIZE,
) -> Iterator[Books]:
    """The books of `data_dir`, or of the PostgreSQL at `database_url`, ready for use.

    Starts the embedded PostgreSQL or joins the one that runs, brings the schema up to date and makes
    sure that the tenant "default" exists. `on_wait` hears a sentence whenever there is something to
    wait for, such as recovery after a crash: waiting has no limit while the server makes progress.
    """
    with ExitStack() as leaving:
        if database_url is None:
            # Imported here because file locks and system users exist on POSIX systems only.
            from farthing.db.embedded import embedded_postgres

            endpoint = leaving.enter_context(embedded_postgres(data_dir, on_wait or _silent))
        else:
            endpoint = given_postgres(database_url)
        migrate(endpoint, now)
        books = Books(endpoint, pool_size)
        leaving.callback(books.close)
        bind_installation(books, data_dir)
        ensure_default_tenant(books, now)
        yield books


def _silent(_message: str) -> None:
    """Nobody wants to hear about waiting."""
