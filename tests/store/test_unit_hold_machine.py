"""Authorisations of a customer with units and money, against a model that knows nothing of SQL, batches or positions.

Tokens cost 0.2 up to 100 of the period and 0.1 beyond, or the other way round. The model holds units before money and
works out by trying every whole place what the rest can come to. At every step: settled, held and drawn of units and of
money are what the model says to the last digit, and within what was funded (law 10).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, instant, plan
from hold_world import authorize, event, hold_world, release, settle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from unit_world import UnitHolds

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.ledger.checks import check_balances
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.holds.model import Done, Insufficient, UnitsWanted

TTL_SECONDS = 60

tokens = st.integers(0, 90)
picks = st.integers(0, 5)


@dataclass
class Known:
    """An authorisation as the model has it: units and money that it holds, or that pay for its event."""

    units: int
    priced: int
    money: D
    end: int
    expires_at: datetime
    status: str = "held"
    used: int = 0


class UnitHoldMachine(RuleBasedStateMachine):
    books: Books
    directory: Path

    @initialize(
        packs=st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=1, max_size=3),
        cash=st.lists(st.integers(1, 40), max_size=2),
        prices=st.sampled_from((("0.2", "0.1"), ("0.1", "0.2"))),
    )
    def begin(self, packs: list[tuple[int, bool]], cash: list[int], prices: tuple[str, str]) -> None:
        number = next(self.numbers)
        tenant_id = create_tenant(self.books, f"units-{number}", "Machine", instant("2026-01-10"))
        directory = self.directory / str(number)
        directory.mkdir()
        made = hold_world(self.books, tenant_id, instant("2026-01-10"), directory)
        self.world = UnitHolds(made.books, made.store, made.tenant_id, made.now)
        tiers = [{"up_to": "100", "unit_price": prices[0]}, {"unit_price": prices[1]}]
        self.world.furnish(
            [plan(PER_TOKEN | {"price": {"model": "graduated", "tiers": tiers}})],
            [{"customer": "acme", "plan": "payg"}],
        )
        self.world.wallet()
        self.world.unit_wallet()
        for place, (quantity, paid) in enumerate(packs):
            self.world.units(f"u{place}", str(quantity), "0.01" if paid else None)
        for place, amount in enumerate(cash):
            self.world.grant(f"g{place}", str(amount), effective_at="2026-01-01T00:00:00Z")
        self.prices = D(prices[0]), D(prices[1])
        self.packs, self.cash = [f"u{place}" for place in range(len(packs))], len(cash)
        self.all_units, self.funds = sum(quantity for quantity, _ in packs), D(sum(cash))
        self.known: dict[str, Known] = {}
        self.sealed = self.units_drawn = self.count = 0
        self.drawn = self.owed = D(0)

    # ---- The model

    def total(self, count: int) -> D:
        return self.prices[0] * min(count, 100) + self.prices[1] * max(count - 100, 0)

    def worst(self, low: int, high: int, count: int) -> D:
        return max(self.total(place + count) - self.total(place) for place in range(low, high + 1))

    def having(self, *status: str) -> list[Known]:
        return [one for one in self.known.values() if one.status in status]

    @property
    def free(self) -> int:
        return self.all_units - self.units_drawn - sum(one.units for one in self.having("held", "settled"))

    @property
    def available(self) -> D:
        return self.funds - self.drawn - sum((one.money for one in self.having("held", "settled")), D(0))

    @property
    def places(self) -> tuple[int, int]:
        """Where what units leave may begin: all units that are not drawn may pay for what is counted, or none."""
        low = max(self.sealed - self.all_units, 0)
        climbing = sum(one.priced for one in self.having("held", "settled"))
        return low, max(self.sealed - self.units_drawn, 0) + climbing

    def decide(self, outcome: object, key: str, bound: int) -> None:
        units = min(bound, self.free)
        low, high = self.places
        money = self.worst(low, high, bound - units)
        if money > self.available:
            assert isinstance(outcome, Insufficient)
            assert (outcome.required, outcome.available) == (money, self.available)
            if self.units_drawn < self.all_units:
                assert outcome.units == (UnitsWanted("tokens", D(bound), D(units)),)
            return
        assert isinstance(outcome, Done)
        assert outcome.hold.amount == money
        expires_at = self.world.now + timedelta(seconds=TTL_SECONDS)
        self.known[key] = Known(units, bound - units, money, high, expires_at)

    # ---- What happens

    @rule(bounds=st.lists(tokens, min_size=1, max_size=4))
    def authorise(self, bounds: list[int]) -> None:
        """In one transaction: each is decided behind those before it."""
        keys = [f"a{self.count + place}" for place in range(len(bounds))]
        self.count += len(bounds)
        asked = [
            authorize(key, str(bound), ttl_seconds=TTL_SECONDS)
            for key, bound in zip(keys, bounds, strict=True)
        ]
        for outcome, key, bound in zip(self.world.ask(*asked), keys, bounds, strict=True):
            self.decide(outcome, key, bound)

    @rule(bound=tokens)
    def check(self, bound: int) -> None:
        """What is only asked moves nothing."""
        self.world.ask(authorize("asked", str(bound), check=True))

    @rule(pick=picks, used=tokens)
    def settle(self, pick: int, used: int) -> None:
        key = self.open(pick)
        if key is None:
            return
        one = self.known[key]
        (outcome,) = self.world.ask(settle(key, key, str(used)))
        if one.expires_at <= self.world.now:
            assert getattr(outcome, "code", None) == "authorization_expired"
            return
        one.status = "settling"
        low, high = self.places
        # Of what units paid all of, nothing was reckoned with; a bound of nothing has its place like any other.
        end = high if one.units and not one.priced else one.end
        units = min(used, self.free)
        cost = self.worst(low, max(low, min(end, high)), used - units)
        assert isinstance(outcome, Done)
        assert outcome.hold.cost == cost
        money = min(cost, self.available)
        assert outcome.hold.covered == money
        one.status, one.used, one.units, one.priced, one.money = "settled", used, units, used - units, money

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
        due = [one for one in self.having("held") if one.expires_at <= self.world.now]
        assert self.world.expire() == len(due)
        for one in due:
            one.status = "expired"

    @rule(unasked=st.integers(0, 120))
    def seal(self, unasked: int) -> None:
        """What was settled counts, and what was sent without an authorisation."""
        if unasked:
            self.count += 1
            self.world.send([event(f"s{self.count}", str(unasked))])
        else:
            self.world.seal()
        self.sealed += unasked
        for one in self.having("settled"):
            self.sealed += one.used
            self.units_drawn += one.units
            self.drawn += one.money
            one.status = "counted"

    @rule()
    def accrue(self) -> None:
        """What is counted is paid with units as far as they go, and brought to what the rest comes to."""
        self.world.accrue()
        if not self.sealed:
            return
        self.units_drawn += min(self.free, self.sealed - self.units_drawn)
        more = self.total(self.sealed - self.units_drawn) - self.drawn - self.owed
        if more < 0:
            less = min(self.owed, -more)
            self.owed -= less
            self.drawn += more + less
        else:
            paid = min(more, self.available)
            self.drawn += paid
            self.owed += more - paid

    def open(self, pick: int) -> str | None:
        still = [key for key, one in self.known.items() if one.status == "held"]
        return still[pick % len(still)] if still else None

    @invariant()
    def the_books_say_the_same(self) -> None:
        if not hasattr(self, "world"):
            return
        self.within(
            self.packs, D(self.units_drawn), [(one.status, D(one.units)) for one in self.known.values()]
        )
        money = [(one.status, one.money) for one in self.known.values()]
        self.within([f"g{place}" for place in range(self.cash)], self.drawn, money)
        self.world.check()
        for check in (check_overspent, check_counters, check_prepaid, check_balances):
            assert check(self.books, self.world.tenant_id).findings == (), check.__name__

    def within(self, grants: Iterable[str], drawn: D, parts: list[tuple[str, D]]) -> None:
        found = [self.world.of(key) for key in grants]
        for grant in found:
            assert grant.drawn + grant.held + grant.settled + grant.expired <= grant.amount
        assert sum(grant.held for grant in found) == sum(part for status, part in parts if status == "held")
        assert sum(grant.settled for grant in found) == sum(
            part for status, part in parts if status == "settled"
        )
        assert sum(grant.drawn for grant in found) == drawn

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()


@pytest.fixture
def machine(books: Books, tenant_id: int, tmp_path: Path) -> type[UnitHoldMachine]:
    numbers = iter(range(tenant_id * 1_000_000, tenant_id * 1_000_000 + 999_999))
    return type("Machine", (UnitHoldMachine,), {"books": books, "directory": tmp_path, "numbers": numbers})


def test_units_are_never_overspent_whatever_happens(machine: type[UnitHoldMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
