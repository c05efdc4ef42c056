"""What a worker holds: everything that a route may need."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from farthing.api.draining import Draining
from farthing.db import Books
from farthing.events.door import Door
from farthing.events.store.duckdb import EventStore
from farthing.payments.gateway import Gateway
from farthing.payments.gateways.setup import GatewaysInUse
from farthing.wallets.holds.desk import Desk

BOOKS_SECONDS_MAX = 2.0
"""How long somebody who asks whether the books answer waits for it."""


class BooksWatch:
    """Whether the books answer, asked by one thread for all who want to know: books that hang hold up no other."""

    def __init__(self, seconds_max: float = BOOKS_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._asked: asyncio.Future[str] | None = None

    async def said(self, ask: Callable[[], str]) -> str:
        """What is wrong, or "ok"; `ask` blocks for as long as the books do."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(ask))
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), self._seconds_max)
        except TimeoutError:
            return "the books do not answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The rooms as one worker uses them."""

    books: Books
    data_dir: Path
    door: Door
    desk: Desk
    store: EventStore
    pepper: bytes
    now: Callable[[], datetime]
    gateways: GatewaysInUse | None = None
    draining: Draining = field(default_factory=Draining)
    books_watch: BooksWatch = field(default_factory=BooksWatch)

    def gateways_of(self, tenant_id: int) -> Mapping[str, Gateway]:
        """The payment gateways of a tenant."""
        return {} if self.gateways is None else self.gateways.of(tenant_id)


def log_dir(data_dir: Path) -> Path:
    """Where the event log lies."""
    return data_dir / "log"
