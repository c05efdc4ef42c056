"""Authorisations against a model that knows nothing of SQL, batches or positions.

The model has one customer with two models of tokens: `flat` costs 0.03 a token, `steep` 0.1 up to 100 tokens of the
period and 0.2 beyond. It keeps a list of authorisations and works the worst case out by trying every whole place.
At every step: what is held, settled and drawn of each grant is what the model says to the last digit, and within it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import instant, plan
from hold_world import CLIMBING, HoldWorld, authorize, hold_world, release, settle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.wallets.holds.model import Done, Insufficient

PRICE = {
    "model": "matrix", "dimensions": ["model"],
    "cells": [{"when": {"model": "steep"}, "price": CLIMBING}],
    "default": {"model": "per_unit", "unit_price": "0.03"},
}  # fmt: skip
MODELS = ("flat", "steep")
TTL_SECONDS = 60

tokens = st.integers(0, 90)
models = st.sampled_from(MODELS)
picks = st.integers(0, 5)


def total(model: str, count: int) -> D:
    if model == "flat":
        return D("0.03") * count
    return D("0.1") * min(count, 100) + D("0.2") * max(count - 100, 0)


@dataclass
class Known:
    """An authorisation as the model has it."""

    model: str
    bound: int
    amount: D
    expires_at: datetime
    end: int
    status: str = "held"
    used: int = 0
    settled: D = D(0)


class HoldMachine(RuleBasedStateMachine):
    books: Books
    directory: Path

    @initialize(funds=st.lists(st.integers(1, 40), min_size=1, max_size=3))
    def begin(self, funds: list[int]) -> None:
        number = next(self.numbers)
        tenant_id = create_tenant(self.books, f"holds-{number}", "Machine", instant("2026-01-10"))
        directory = self.directory / str(number)
        directory.mkdir()
        self.world: HoldWorld = hold_world(self.books, tenant_id, instant("2026-01-10"), directory)
        card = {"key": "tokens", "name": "Tokens", "meter": "tokens", "price": PRICE}
        self.world.furnish([plan(card)], [{"customer": "acme", "plan": "payg"}])
        self.world.wallet()
        for place, amount in enumerate(funds):
            self.world.grant(f"g{place}", str(amount), effective_at="2026-01-01T00:00:00Z")
        self.grants = [f"g{place}" for place in range(len(funds))]
        self.funds = D(sum(funds))
        self.known: dict[str, Known] = {}
        self.sealed = dict.fromkeys(MODELS, 0)
        self.drawn = D(0)
        self.count = 0

    # ---- The model

    def climbing(self, model: str) -> int:
        """What is authorised and not counted: up to its bound where it is open, what it was where it is settled."""
        return sum(
            one.bound if one.status == "held" else one.used
            for one in self.known.values()
            if one.model == model and one.status in ("held", "settled")
        )

    def worst(self, model: str, low: int, high: int, count: int) -> D:
        return max(total(model, place + count) - total(model, place) for place in range(low, high + 1))

    @property
    def held(self) -> D:
        return sum((one.amount for one in self.known.values() if one.status == "held"), D(0))

    @property
    def settled(self) -> D:
        return sum((one.settled for one in self.known.values() if one.status == "settled"), D(0))

    @property
    def available(self) -> D:
        return self.funds - self.held - self.settled - self.drawn

    def open(self, pick: int) -> str | None:
        still = [key for key, one in self.known.items() if one.status == "held"]
        return still[pick % len(still)] if still else None

    # ---- What happens

    @rule(model=models, bound=tokens)
    def authorise(self, model: str, bound: int) -> None:
        self.count += 1
        key = f"a{self.count}"
        low = self.sealed[model]
        high = low + self.climbing(model)
        expected = self.worst(model, low, high, bound)
        (outcome,) = self.world.ask(
            authorize(key, str(bound), dimensions={"model": model}, ttl_seconds=TTL_SECONDS)
        )
        if expected > self.available:
            assert isinstance(outcome, Insufficient)
            assert (outcome.required, outcome.available) == (expected, self.available)
            return
        assert isinstance(outcome, Done)
        assert outcome.hold.amount == expected
        expires_at = self.world.now + timedelta(seconds=TTL_SECONDS)
        self.known[key] = Known(model, bound, expected, expires_at, high)

    @rule(batch=st.lists(st.tuples(models, tokens), min_size=2, max_size=5))
    def authorise_together(self, batch: list[tuple[str, int]]) -> None:
        """In one transaction: each is decided behind those before it."""
        asked, keys = [], []
        for model, bound in batch:
            self.count += 1
            keys.append(f"a{self.count}")
            asked.append(
                authorize(keys[-1], str(bound), dimensions={"model": model}, ttl_seconds=TTL_SECONDS)
            )
        outcomes = self.world.ask(*asked)
        for key, (model, bound), outcome in zip(keys, batch, outcomes, strict=True):
            low = self.sealed[model]
            high = low + self.climbing(model)
            expected = self.worst(model, low, high, bound)
            assert isinstance(outcome, Done) is (expected <= self.available)
            if isinstance(outcome, Done):
                expires_at = self.world.now + timedelta(seconds=TTL_SECONDS)
                self.known[key] = Known(model, bound, expected, expires_at, high)

    @rule(pick=picks, used=tokens, again=st.booleans())
    def settle(self, pick: int, used: int, again: bool) -> None:
        key = self.open(pick)
        if key is None:
            return
        one = self.known[key]
        if one.expires_at <= self.world.now:
            (outcome,) = self.world.ask(settle(key, key, str(used), data={"model": one.model}))
            assert getattr(outcome, "code", None) == "authorization_expired"
            return
        one.status = "settling"
        low = self.sealed[one.model]
        high = max(low, min(one.end, low + self.climbing(one.model)))
        cost = self.worst(one.model, low, high, used)
        asked = settle(key, key, str(used), data={"model": one.model})
        outcomes = self.world.ask(*([asked] * 2 if again else [asked]))
        for outcome in outcomes:
            assert isinstance(outcome, Done)
            assert outcome.hold.cost == cost
            one.settled = min(cost, self.available)
            assert outcome.hold.covered == one.settled
        one.status, one.used = "settled", used

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        key = self.open(pick)
        if key is not None:
            (outcome,) = self.world.ask(release(key))
            assert isinstance(outcome, Done)
            self.known[key].status = "released"

    @rule(seconds=st.sampled_from((1, 30, 61, -45)))
    def pass_time(self, seconds: int) -> None:
        """The clock may go backwards, too."""
        self.world.now += timedelta(seconds=seconds)
        due = [
            one for one in self.known.values() if one.status == "held" and one.expires_at <= self.world.now
        ]
        assert self.world.expire() == len(due)
        for one in due:
            one.status = "expired"

    @rule()
    def seal(self) -> None:
        self.world.seal()
        reserved, cost = self.settled, D(0)
        free = self.available
        for model in MODELS:
            more = sum(
                one.used for one in self.known.values() if (one.model, one.status) == (model, "settled")
            )
            cost += total(model, self.sealed[model] + more) - total(model, self.sealed[model])
            self.sealed[model] += more
        for one in self.known.values():
            if one.status == "settled":
                one.status = "counted"
        self.drawn += min(cost, reserved + free)

    @invariant()
    def the_books_say_the_same(self) -> None:
        if not hasattr(self, "world"):
            return
        grants = [self.world.of(key) for key in self.grants]
        for grant in grants:
            assert grant.drawn + grant.held + grant.settled + grant.expired <= grant.amount
        assert sum(grant.held for grant in grants) == self.held
        assert sum(grant.settled for grant in grants) == self.settled
        assert sum(grant.drawn for grant in grants) == self.drawn
        self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()


@pytest.fixture
def machine(books: Books, tenant_id: int, tmp_path: Path) -> type[HoldMachine]:
    numbers = iter(range(tenant_id * 1_000_000, tenant_id * 1_000_000 + 999_999))
    return type("Machine", (HoldMachine,), {"books": books, "directory": tmp_path, "numbers": numbers})


def test_never_overspent_whatever_happens(machine: type[HoldMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
