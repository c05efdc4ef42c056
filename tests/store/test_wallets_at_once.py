"""Sealing, granting, voiding, expiring and topping up at the same time: nobody waits in a circle, nothing is lost."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, instant, plan
from wallet_world import WalletWorld, wallet_world

from farthing.db import Books
from farthing.invoicing.accruing import accrue
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import create_wallet, list_grants, void_grant
from farthing.wallets.top_ups import fund_top_up, request_top_up
from farthing.wallets.upkeep import keep_up

TIERED = {
    "key": "tiered",
    "name": "Tiered",
    "meter": "tokens",
    "price": {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.1"}]},
}
NAMES = [f"customer-{number}" for number in range(6)]
ROUNDS = 15


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    found = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    found.furnish([plan(PER_TOKEN, TIERED)], [{"customer": name, "plan": "payg"} for name in NAMES])
    for name in NAMES:
        found.wallet(name, name, low_balance="3")
        found.grant(f"first-{name}", "50", name)
    yield found
    found.store.close()


@dataclass
class Works:
    """What goes on at the same time, each of it again and again."""

    world: WalletWorld

    def seal(self, number: int) -> None:
        self.world.use_all([(name, "2026-01-09", "3", {}) for name in NAMES])

    def grant(self, number: int) -> None:
        ends = {"expires_at": (self.world.now + timedelta(minutes=1)).isoformat()} if number % 2 else {}
        for name in NAMES:
            self.world.grant(f"{name}-{number}", "2", name, "promotional" if number % 3 else "paid", **ends)

    def void(self, number: int) -> None:
        books, tenant_id = self.world.books, self.world.tenant_id
        for name in NAMES:
            grants = list_grants(books, tenant_id, name, 0, 100)
            void_grant(books, tenant_id, grants[number % len(grants)].key, "", self.world.now)

    def expire(self, number: int) -> None:
        keep_up(self.world.books, self.world.tenant_id, self.world.now + timedelta(hours=1))

    def top_up(self, number: int) -> None:
        books, tenant_id, now = self.world.books, self.world.tenant_id, self.world.now
        for name in NAMES:
            key = f"t-{name}-{number}"
            request_top_up(books, tenant_id, name, {"key": key, "amount": "1"}, now)
            with books.transaction(tenant_id) as conn:
                fund_top_up(conn, tenant_id, key, now)

    def grant_units(self, number: int) -> None:
        ends = {"expires_at": (self.world.now + timedelta(minutes=1)).isoformat()} if number % 2 else {}
        for name in NAMES:
            priced = {"kind": "promotional"} if number % 3 else {"unit_price": "0.5"}
            self.world.grant(f"{name}-u{number}", "4", f"{name}-units", **priced, **ends)

    def void_units(self, number: int) -> None:
        books, tenant_id = self.world.books, self.world.tenant_id
        for name in NAMES:
            grants = list_grants(books, tenant_id, f"{name}-units", 0, 100)
            void_grant(books, tenant_id, grants[number % len(grants)].key, "", self.world.now)

    def accrue(self, number: int) -> None:
        accrue(self.world.books, self.world.store, self.world.tenant_id, self.world.now)


def at_once(works: list[Callable[[int], None]], rounds: int = ROUNDS) -> list[BaseException]:
    """All of them, each in a thread; what went wrong."""
    failures: list[BaseException] = []

    def repeated(work: Callable[[int], None]) -> None:
        try:
            for number in range(rounds):
                work(number)
        except BaseException as error:  # noqa: BLE001  it is shown by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=repeated, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_everything_at_once(world: WalletWorld) -> None:
    works = Works(world)
    assert at_once([works.seal, works.grant, works.void, works.expire, works.top_up]) == []
    for check in (check_overspent, check_counters, check_prepaid, check_balances, check_transfers_balance):
        assert not check(world.books, world.tenant_id).findings
    used = D(3 * ROUNDS)
    with world.books.read_only(world.tenant_id) as conn:
        charged = conn.execute(
            "SELECT rate_card, sum(amount) AS amount FROM funding_parts GROUP BY rate_card"
        ).fetchall()
    assert {row["rate_card"]: row["amount"] for row in charged} == {
        "tokens": len(NAMES) * used * D("0.0000025"), "tiered": len(NAMES) * used,
    }  # fmt: skip


def test_units_and_money_at_once(world: WalletWorld) -> None:
    """What units pay is found by a draft and drawn later: whatever moved meanwhile, in the end it adds up."""
    works, rounds = Works(world), 5
    for name in NAMES:
        raw = {"key": f"{name}-units", "customer": name, "unit": "tokens"}
        create_wallet(world.books, world.tenant_id, raw, world.now)
        world.grant(f"first-{name}-units", "3", f"{name}-units", unit_price="0.25", rate_cards=["tiered"])
    works.seal(0)
    works.accrue(0)  # Units have paid before anybody can call them off.
    doing = [works.seal, works.grant_units, works.void_units, works.expire, works.accrue, works.accrue]
    assert at_once(doing, rounds) == []
    for _ in range(2):
        works.accrue(0)
    for check in (check_overspent, check_counters, check_prepaid, check_balances, check_transfers_balance):
        assert not check(world.books, world.tenant_id).findings
    with world.books.read_only(world.tenant_id) as conn:
        rows = conn.execute(
            """
            SELECT c.key, coalesce((SELECT sum(quantity) FROM unit_funding u
                                     WHERE u.customer_id = c.customer_id AND u.rate_card = 'tiered'), 0) AS units,
                   (SELECT sum(amount) FROM funding_parts f
                     WHERE f.customer_id = c.customer_id AND f.rate_card = 'tiered') AS priced
              FROM customers c
            """
        ).fetchall()
    assert len(rows) == len(NAMES)
    for row in rows:
        assert row["units"] + (row["priced"] or 0) == 3 * (1 + rounds), (
            "each token is paid by a unit, or priced at 1"
        )
        assert row["units"] > 0
