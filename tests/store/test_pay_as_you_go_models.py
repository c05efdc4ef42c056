"""Charged at any moments, by every price model, from real events: the same as one invoice, line by line and in all.

Two tenants have the same catalog and events. One is charged on four days and billed at the end; events come late,
some are refunds, and the plan changes. The other is billed once.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from billing_world import World, instant, open_store, plan
from random_prices import EVENT_MODELS, METERS, random_meters_price, random_price

from farthing.customers.apply import apply
from farthing.customers.life import change_subscription
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing.accrued.service import charge_accrued, list_accrued
from farthing.invoicing.checks import check_documents, check_sums
from farthing.invoicing.interim.checks import check_interims
from farthing.invoicing.service import invoice_documents

CENT = {"mode": "pay_as_you_go", "threshold": "0.01"}
DAYS = (6, 12, 19, 27)
VALUES = ("1", "10", "60", "30.5", "3600", "100", "0.000000000001", "-5", "12345.678")
METERING = [
    {"key": meter, "event_type": meter, "aggregation": how, "value": "data.value",
     "dimensions": {"model": "data.model"}}
    for meter, how in (("calls", "sum"), ("seats", "max"))
]  # fmt: skip


def cards(random: Random) -> list[dict[str, Any]]:
    """One of each: a formula, prices of single events, prices by kind, by the hour, of several meters, a fee."""
    plain = [random_price(random) for _ in range(2)]
    single = [random_price(random, EVENT_MODELS) for _ in range(2)]
    inner = [price | {"unit": None} for price in (random_price(random), random_price(random, EVENT_MODELS))]
    inner = [{name: value for name, value in price.items() if name != "unit"} for price in inner]
    by_kind = {
        "model": "matrix", "dimensions": ["model"], "default": inner[1],
        "cells": [{"when": {"model": "opus"}, "price": inner[0]}],
    }  # fmt: skip
    by_hour = {
        "model": "time_of_use", "timezone": "Europe/Berlin", "default": inner[1],
        "windows": [{"name": "day", "from": "08:00", "to": "18:00", "price": inner[0]}],
    }  # fmt: skip
    metered = [{"meter": "calls", "price": price} for price in (*plain, *single, by_kind, by_hour)]
    several = [{"meters": list(METERS), "price": random_meters_price(random)}]
    fee = [{"price": {"model": "flat", "amount": "9.99"}}]
    return [
        {"key": f"c{number}", "name": f"Card {number}", **one}
        for number, one in enumerate([*metered, *several, *fee])
    ]


@pytest.fixture
def worlds(books: Books, now: datetime, tmp_path: Path) -> Iterator[list[World]]:
    worlds = [
        World(
            books, open_store(tmp_path / copy), create_tenant(books, f"{copy}-{tmp_path.name}", "N", now), now
        )
        for copy in ("charged", "whole")
    ]
    yield worlds
    for world in worlds:
        world.store.close()


def told(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The lines of an invoice that no charge of before has made, with their exact amounts."""
    return [
        (line["kind"], line["rate_card"], line["dimensions"], line["quantity"], line["amount_exact"],
         line["charges"])
        for line in document["lines"] if line["kind"] != "billed"
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_charged_in_parts_is_billed_as_a_whole(worlds: list[World], seed: int) -> None:
    random = Random(seed)
    rounding = {
        "rounding": random.choice(("invoice", "line")),
        "rounding_mode": random.choice(("half_up", "half_even")),
    }
    plans = [
        plan(*cards(random), key=key, minimum="3", collection=CENT, **rounding) for key in ("payg", "pro")
    ]
    for world in worlds:
        document = {
            "meters": METERING,
            "plans": plans,
            "customers": [{"key": "acme", "name": "Acme", "currency": "USD"}],
            "subscriptions": [
                {"key": "a", "customer": "acme", "plan": "payg", "start": "2026-01-01T00:00:00Z"}
            ],
        }
        apply(world.books, world.tenant_id, document, world.now)
    charged, whole = worlds
    numbers: list[str] = []
    known = 0
    for day in DAYS:
        events = [event(random, known + number, day) for number in range(random.randint(5, 25))]
        known += len(events)
        for world in worlds:
            world.send(events)
            if day == DAYS[2]:
                to_pro = {"kind": "plan", "plan": "pro", "at": "2026-01-15T00:00:00Z"}
                change_subscription(world.books, world.tenant_id, "a", to_pro, instant("2026-01-16"))
        at = instant("2026-01-01") + timedelta(days=day)
        numbers += charge_accrued(charged.books, charged.store, charged.tenant_id, at).issued
        (state,) = list_accrued(charged.books, charged.store, charged.tenant_id, at)
        assert Fraction(state["unbilled"]) < Fraction(1, 100), "nothing that could be charged is left"
    (only,) = invoice_documents(whole.books, whole.tenant_id, whole.bill("2026-02-01").issued)
    numbers += charged.bill("2026-02-01").issued
    documents = list(invoice_documents(charged.books, charged.tenant_id, numbers))
    assert len(documents) > 2, "it was charged in parts"
    for name in ("total", "total_exact"):
        assert sum(Fraction(one[name]) for one in documents) == Fraction(only[name])
    assert told(documents[-1]) == told(only)
    for check in (check_sums, check_documents, check_interims):
        assert check(charged.books, charged.tenant_id).findings == ()


def event(random: Random, number: int, day: int) -> dict[str, Any]:
    """Of a day, or late: of any day before."""
    late = random.random() < 0.2
    time = instant("2026-01-01") + timedelta(
        days=random.uniform(0, day) if late else random.uniform(max(0, day - 5), day)
    )
    data = {"value": random.choice(VALUES)}
    if random.random() < 0.8:
        data["model"] = random.choice(("opus", "haiku"))
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": random.choice("ab"),
        "type": random.choice(METERS),
        "subject": "acme",
        "time": time.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
