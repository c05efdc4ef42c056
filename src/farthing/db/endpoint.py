"""Where the books are reached, by whom, and what a failure to reach them is called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from farthing.kernel.errors import Unavailable

OWNER_ROLE = "farthing_owner"
APP_ROLE = "farthing_app"

OnWait = Callable[[str], None]
"""Called with a sentence for people when there is something to wait for."""


def _awake() -> None:
    """A server that others look after."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Connection strings of one PostgreSQL: for migrations, and for everything else."""

    owner: str
    app: str
    app_role: str | None = None
    """The role to take after connecting, where the application has no login of its own."""
    wake: Callable[[], None] = _awake
    """Called before every new connection: a server of ours that was killed is started again."""


@contextmanager
def outages_named() -> Iterator[None]:
    """Failures of the database itself become Unavailable; what a statement did wrong passes through."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable("database_unavailable", f"the database cannot be used now: {error}") from error
