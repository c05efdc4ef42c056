"""A tenant with a catalog and events, ready to be billed. One per test, on the shared books."""

import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from farthing.customers.apply import apply
from farthing.db import Books
from farthing.events.intake.formats import parse_lines
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.invoicing.model import BillingResult
from farthing.invoicing.service import run_billing
from farthing.kernel.instant import parse_instant, unix_microseconds

LATENESS = Lateness(10**9, 10**9)

TOKENS = {
    "key": "tokens",
    "event_type": "llm.completion",
    "aggregation": "sum",
    "value": "data.tokens",
    "dimensions": {"model": "data.model"},
}
PER_TOKEN = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {"model": "per_unit", "unit_price": "0.0000025"},
}


def instant(text: str) -> datetime:
    """`2026-01-31`, or with a time."""
    return parse_instant(text if "T" in text else f"{text}T00:00:00Z", "")


def plan(
    *rate_cards: dict[str, Any], key: str = "payg", currency: str = "USD", **more: Any
) -> dict[str, Any]:
    return {
        "key": key,
        "name": key.title(),
        "currency": currency,
        "interval": "month",
        "rate_cards": list(rate_cards),
        **more,
    }


def fee(amount: str, timing: str = "arrears", key: str = "fee") -> dict[str, Any]:
    return {
        "key": key,
        "name": "Platform fee",
        "timing": timing,
        "price": {"model": "flat", "amount": amount},
    }


@dataclass
class World:
    books: Books
    store: EventStore
    tenant_id: int
    now: datetime
    _ids: itertools.count = field(default_factory=itertools.count)

    def furnish(
        self, plans: list[dict[str, Any]], subscriptions: list[dict[str, Any]], **customer: Any
    ) -> None:
        """The meter `tokens`, these plans, and a customer for each name that subscriptions mention."""
        known = {raw["key"]: raw for raw in plans}
        names = dict.fromkeys(raw["customer"] for raw in subscriptions)
        currencies = {raw["customer"]: known[raw["plan"]]["currency"] for raw in subscriptions}
        customers = [
            {"key": name, "name": f"{name.title()} Inc.", "currency": currencies[name]} | customer
            for name in names
        ]
        document = {
            "meters": [TOKENS],
            "plans": plans,
            "customers": customers,
            "subscriptions": [
                {"key": f"{raw['customer']}-{raw['plan']}", "start": "2026-01-01T00:00:00Z", **raw}
                for raw in subscriptions
            ],
        }
        apply(self.books, self.tenant_id, document, self.now)

    def use(self, customer: str, time: str, tokens: str, **data: str) -> None:
        """One event that is counted."""
        self.use_all([(customer, time, tokens, data)])

    def use_all(self, uses: list[tuple[str, str, str, dict[str, str]]]) -> None:
        self.send(self.events(uses))

    def events(self, uses: list[tuple[str, str, str, dict[str, str]]]) -> list[dict[str, Any]]:
        """These uses as events."""
        return [
            {
                "specversion": "1.0",
                "id": str(next(self._ids)),
                "source": "test",
                "type": "llm.completion",
                "subject": customer,
                "time": time if "T" in time else f"{time}T12:00:00Z",
                "data": {"tokens": tokens, **data},
            }
            for customer, time, tokens, data in uses
        ]

    def send(self, events: list[dict[str, Any]]) -> None:
        """Events that are counted, through the log and the sealer."""
        self.log(events)
        self.seal()

    def log(self, events: list[dict[str, Any]]) -> None:
        """Events that stand in the log and are not sealed."""
        batch = parse_lines(b"".join(json.dumps(event).encode() + b"\n" for event in events))
        assert not batch.rejected
        header = BlockHeader(
            block=1,
            tenant=self.tenant_id,
            kind="events",
            received_us=unix_microseconds(self.now),
            events=batch.accepted,
            bytes=len(batch.lines),
            origin="test",
        )
        # The books of all tests know log files by name: a writer's name is used once.
        writer = LogWriter(self.store.data_dir / "log", f"test-{uuid.uuid4().hex}")
        writer.append(encode_block(header, batch.lines)).result()
        writer.close()

    def bill(self, until: str, now: datetime | None = None) -> BillingResult:
        return run_billing(self.books, self.store, self.tenant_id, instant(until), now or self.now)

    def seal(self) -> None:
        with only_sealer(self.store.data_dir) as alone:
            assert alone
            sealer = Sealer(self.books, self.store, self.store.data_dir / "log", LATENESS)
            while sealer.seal_next(self.now) is not None:
                pass


def open_store(directory: Path) -> EventStore:
    return EventStore(directory, threads=1, memory_limit="500MB")


def amounts(document: dict[str, Any]) -> list[Decimal]:
    return [Decimal(line["amount"]) for line in document["lines"]]
