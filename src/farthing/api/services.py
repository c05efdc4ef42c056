"""What a worker holds: everything that a route may need."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from farthing.db import Books
from farthing.events.door import Door
from farthing.events.store.duckdb import EventStore


class Draining:
    """Whether this worker was told to stop."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        self.begun = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The rooms as one worker uses them."""

    books: Books
    data_dir: Path
    door: Door
    store: EventStore
    pepper: bytes
    now: Callable[[], datetime]
    draining: Draining = field(default_factory=Draining)


def log_dir(data_dir: Path) -> Path:
    """Where the event log lies."""
    return data_dir / "log"
