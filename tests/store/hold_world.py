"""A tenant whose customers have wallets and whose calls are authorised, on the world of wallets."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from billing_world import open_store
from wallet_world import WalletWorld

from farthing.db import Books
from farthing.events.log.files import LogWriter
from farthing.wallets.holds.checks import check_holds
from farthing.wallets.holds.content import parse_authorize, parse_settle
from farthing.wallets.holds.counting import settled_charges
from farthing.wallets.holds.model import Asked, Authorize, Done, Hold, Outcome, Release, Settle
from farthing.wallets.holds.service import Authorizations, Settled
from farthing.wallets.holds.upkeep import append_again, expire_holds, settled_block
from farthing.wallets.sealing import WalletDraws

CLIMBING = {
    "model": "graduated",
    "tiers": [{"up_to": "100", "unit_price": "0.1"}, {"unit_price": "0.2"}],
}


@dataclass
class HoldWorld(WalletWorld):
    """Authorises as a worker would, and seals as the engine would."""

    authorizations: Authorizations = field(init=False)

    def __post_init__(self) -> None:
        self.authorizations = Authorizations(self.books)

    def ask(self, *batch: Asked) -> list[Outcome]:
        """A batch, its settled events put into the log."""
        outcomes, settled = self.authorizations.apply(self.tenant_id, batch, self.now)
        self.log_settled(settled)
        return outcomes

    def hold(self, asked: Asked) -> Hold:
        """What one request that succeeds leaves."""
        (outcome,) = self.ask(asked)
        assert isinstance(outcome, Done), outcome
        return outcome.hold

    def log_settled(self, settled: Sequence[Settled]) -> None:
        if settled:
            lines = [one.event.line for one in settled]
            with self.open_log() as log:
                log.append(settled_block(self.tenant_id, settled[0].at, lines)).result()

    @contextmanager
    def open_log(self) -> Iterator[LogWriter]:
        log = LogWriter(self.store.data_dir / "log", f"test-{uuid.uuid4().hex}")
        try:
            yield log
        finally:
            log.close()

    def expire(self) -> int:
        return expire_holds(self.books, self.tenant_id, self.now)

    def append_again(self) -> int:
        return append_again(self.books, self.tenant_id, self.now, self.open_log)

    def counters(self, grant: str) -> tuple[str, str, str]:
        """What is held, settled and drawn of a grant."""
        found = self.of(grant)
        return tuple(format(value.normalize(), "f") for value in (found.held, found.settled, found.drawn))  # type: ignore[return-value]

    def check(self) -> None:
        """Law 10, and that counters are the fold of authorisations."""
        assert check_holds(self.books, self.tenant_id).findings == ()


def hold_world(books: Books, tenant_id: int, now: datetime, directory: Path) -> HoldWorld:
    store = open_store(directory)
    store.beside_sealing = WalletDraws(books, store, settled_charges)
    return HoldWorld(books, store, tenant_id, now)


def authorize(key: str, quantity: str = "10", customer: str = "acme", **more: Any) -> Authorize:
    raw: dict[str, Any] = {"customer": customer}
    if "event" not in more and "usage" not in more:
        raw["usage"] = [{"meter": "tokens", "quantity": quantity, "dimensions": more.pop("dimensions", {})}]
    check = more.pop("check", False)
    return parse_authorize(json.dumps({**raw, **more}).encode(), key, check=check)


def event(event_id: str, tokens: str, customer: str | None = "acme", **more: Any) -> dict[str, Any]:
    data = more.pop("data", {})
    raw = {
        "specversion": "1.0", "id": event_id, "source": "api", "type": "llm.completion", "subject": customer,
        "data": {"tokens": tokens, **data}, **more,
    }  # fmt: skip
    return {name: value for name, value in raw.items() if value is not None}


def settle(key: str, event_id: str, tokens: str = "10", **more: Any) -> Settle:
    return parse_settle(key, json.dumps({"event": event(event_id, tokens, **more)}).encode())


def release(key: str) -> Release:
    return Release(key)
