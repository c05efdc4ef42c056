"""Grants, draws, expiry, recurrence, voids and invoices in any order, beside an oracle that knows no SQL.

The oracle keeps funds as a list of (what, how much is left) and walks through it charge by charge.
"""

import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, instant, plan
from hypothesis import settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from wallet_world import wallet_world

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing.checks import check_booked, check_sums
from farthing.invoicing.service import get_invoice
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import void_grant
from farthing.wallets.upkeep import GRACE_SECONDS, keep_up

D = Decimal
CENT = D("0.01")
TIERED = {
    "key": "tiered",
    "name": "Tiered",
    "meter": "tokens",
    "price": {
        "model": "graduated",
        "tiers": [{"up_to": "1000", "unit_price": "0.001"}, {"unit_price": "0.0003", "flat_fee": "0.5"}],
    },
}
START = instant("2026-01-01")


@dataclass
class Funds:
    """A grant as the oracle sees it."""

    key: str
    paid: bool
    left: Decimal
    place: tuple
    start: datetime
    end: datetime | None
    card: str | None
    gone: bool = False


@dataclass
class Oracle:
    """What there should be."""

    funds: list[Funds] = field(default_factory=list)
    used: Decimal = field(default_factory=Decimal)
    drawn: dict[str, Decimal] = field(default_factory=lambda: {"tokens": D(0), "tiered": D(0)})
    by: list[tuple[str, Funds, Decimal]] = field(default_factory=list)

    def exact(self, card: str, used: Decimal) -> Decimal:
        if card == "tokens":
            return used * D("0.0000025")
        if used <= 1000:
            return used * D("0.001")
        return D("1.5") + (used - 1000) * D("0.0003")

    def take(self, card: str, amount: Decimal, at: datetime) -> Decimal:
        taken = D(0)
        for one in sorted(self.funds, key=lambda funds: funds.place):
            in_force = one.start <= at and (one.end is None or at < one.end) and not one.gone
            if in_force and one.card in (None, card):
                part = min(one.left, amount - taken)
                one.left -= part
                taken += part
                if part:
                    self.by.append((card, one, part))
        self.drawn[card] += taken
        return taken

    def invoice(self, at: datetime) -> tuple[Decimal, Decimal]:
        """(total, what wallets pay of it); the period begins anew."""
        exact = {card: self.exact(card, self.used) for card in self.drawn}
        total = sum(exact.values()).quantize(CENT, ROUND_HALF_UP)
        for card in ("tokens", "tiered"):
            self.take(card, exact[card] - self.drawn[card], at)
        drawn = sum(self.drawn.values())
        if drawn == sum(exact.values()) and drawn < total:
            for card in ("tokens", "tiered"):
                self.take(card, total - sum(self.drawn.values()), at)
        drawn = sum(self.drawn.values())
        paid = total if drawn >= total else drawn.quantize(CENT, ROUND_FLOOR)
        self.lost = drawn - paid
        self.used = D(0)
        self.drawn = {card: D(0) for card in self.drawn}
        return total, paid


class Machine(RuleBasedStateMachine):
    books: Books
    now: datetime
    numbers = iter(range(1, 10**9))

    @initialize()
    def begin(self) -> None:
        number = next(self.numbers)
        self.directory = tempfile.TemporaryDirectory()
        tenant = create_tenant(self.books, f"machine-{number}", "Machine", self.now)
        self.world = wallet_world(self.books, tenant, START, Path(self.directory.name))
        self.world.furnish([plan(PER_TOKEN, TIERED)], [{"customer": "acme", "plan": "payg"}])
        for place in range(2):
            self.world.wallet(f"w{place}", priority=place)
        self.oracle = Oracle()
        self.period = START
        self.receivable = D(0)
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.directory.cleanup()

    @rule(
        wallet=strategies.integers(0, 1),
        cents=strategies.integers(1, 400),
        paid=strategies.booleans(),
        priority=strategies.integers(0, 2),
        days=strategies.none() | strategies.integers(1, 40),
        wait=strategies.integers(0, 3),
        card=strategies.none() | strategies.sampled_from(["tokens", "tiered"]),
    )
    def grant(
        self,
        wallet: int,
        cents: int,
        paid: bool,
        priority: int,
        days: int | None,
        wait: int,
        card: str | None,
    ) -> None:
        self.count += 1
        key = f"g{self.count:05}"
        start = self.world.now + timedelta(days=wait)
        end = None if days is None else start + timedelta(days=days)
        amount = cents * CENT
        more = {"rate_cards": [card]} if card else {}
        if end is not None:
            more["expires_at"] = end.isoformat()
        self.world.grant(
            key, str(amount), f"w{wallet}", "paid" if paid else "promotional", priority=priority,
            effective_at=start.isoformat(), **more,
        )  # fmt: skip
        last = datetime.max.replace(tzinfo=start.tzinfo)
        place = (wallet, priority, end or last, paid, self.count)
        self.oracle.funds.append(Funds(key, paid, amount, place, start, end, card))
        if paid:
            self.receivable += amount

    @rule(uses=strategies.lists(strategies.integers(1, 900), min_size=1, max_size=4))
    def use(self, uses: list[int]) -> None:
        at = self.world.now.isoformat().replace("+00:00", "Z")
        self.world.use_all([("acme", at, str(tokens), {}) for tokens in uses])
        before, self.oracle.used = self.oracle.used, self.oracle.used + sum(uses)
        for card in ("tokens", "tiered"):
            more = self.oracle.exact(card, self.oracle.used) - self.oracle.exact(card, before)
            self.oracle.take(card, more, self.world.now)

    @rule(hours=strategies.integers(1, 90))
    def wait(self, hours: int) -> None:
        """Time passes; where a month ends it is billed, at its first moment and before anything else."""
        until = self.world.now + timedelta(hours=hours)
        end = (self.period + timedelta(days=32)).replace(day=1)
        if until < end:
            self.world.now = until
            return
        self.world.now = end
        before = self.oracle.used
        issued = self.world.bill(end.isoformat().replace("+00:00", "Z")).issued
        assert bool(issued) == bool(before)
        if issued:
            total, paid = self.oracle.invoice(end - timedelta(microseconds=1))
            document = get_invoice(self.books, self.world.tenant_id, issued[0])
            assert D(document["total"]) == total
            assert D(document.get("paid_from_wallets", "0")) == paid
            assert D(document.get("amount_due", document["total"])) == total - paid
            self.receivable += total - paid
            self._settle_rest()
        self.oracle.by.clear()
        self.period = end

    def _settle_rest(self) -> None:
        """Which grants got back what was below the cent is not the oracle's business, but that they got that much."""
        for one in self.oracle.funds:
            told = self.world.of(one.key)
            left = told.amount - told.drawn - told.expired
            self.oracle.lost -= left - one.left
            assert one.left <= left < one.left + CENT
            one.left = left
        assert self.oracle.lost == 0

    @rule()
    def keep_up(self) -> None:
        for _ in range(2):
            keep_up(self.books, self.world.tenant_id, self.world.now)
        limit = self.world.now - timedelta(seconds=GRACE_SECONDS)
        for one in self.oracle.funds:
            if one.end is not None and one.end <= limit:
                one.left, one.gone = D(0), True

    @precondition(lambda self: self.oracle.funds)
    @rule(data=strategies.data())
    def void(self, data: strategies.DataObject) -> None:
        one = data.draw(strategies.sampled_from(self.oracle.funds))
        _, voided = void_grant(self.books, self.world.tenant_id, one.key, "", self.world.now)
        assert voided == one.left
        if one.paid:
            self.receivable -= one.left.quantize(CENT, ROUND_FLOOR)
        one.left = D(0)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "world"):
            return
        for one in self.oracle.funds:
            told = self.world.of(one.key)
            assert told.amount - told.drawn - told.expired == one.left, one.key
        for check in (check_overspent, check_counters, check_prepaid):
            assert not check(self.books, self.world.tenant_id).findings
        accounts = {name: D(value) for name, value in self.world.trial_balance().items()}
        assert accounts.get("receivable", 0) == self.receivable
        assert sum(accounts.values()) == 0
        paid = sum((one.left for one in self.oracle.funds if one.paid), D(0))
        assert -accounts.get("prepaid", 0) == paid

    @rule()
    def doctor(self) -> None:
        tenant_id = self.world.tenant_id
        for check in (check_sums, check_balances, check_transfers_balance):
            assert not check(self.books, tenant_id).findings
        assert not check_booked(self.books, tenant_id, lambda *_: None).findings


@pytest.mark.parametrize("_", [0])
def test_wallets_against_an_oracle(books: Books, now: datetime, _: int) -> None:
    Machine.books, Machine.now = books, now
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=12, stateful_step_count=25, deadline=None)
    )
