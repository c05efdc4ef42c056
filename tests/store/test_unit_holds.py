"""Authorisations of customers that hold units: units first, money for the rest. By hand, to the last digit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import instant, plan
from hold_world import authorize, event, hold_world, release, settle
from unit_world import FALLING, RISING, UnitHolds

from farthing.db import Books
from farthing.events.sealing import sealer
from farthing.invoicing.ahead.preview import pending_alone
from farthing.invoicing.service import draft_batches, get_invoice, subscribed_by
from farthing.invoicing.units.paying import unit_draft
from farthing.ledger.checks import check_balances
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.holds.content import hold_json, insufficient_json, priced_json
from farthing.wallets.holds.lookup import get_authorization
from farthing.wallets.holds.model import Done, Insufficient, Priced
from farthing.wallets.holds.service import Authorizations
from farthing.wallets.model import Cause
from farthing.wallets.unit_draws import draw_units
from farthing.wallets.unit_store import lock_grants_of

ACME = {"customer": "acme", "plan": "payg"}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[UnitHolds]:
    made = hold_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    found = UnitHolds(made.books, made.store, made.tenant_id, made.now)
    found.furnish([plan(FALLING)], [ACME])
    found.wallet()
    found.unit_wallet()
    yield found
    found.check()
    for check in (check_overspent, check_counters, check_prepaid, check_balances):
        assert check(books, tenant_id).findings == (), check.__name__
    found.store.close()


def cash(world: UnitHolds, amount: str) -> None:
    world.grant("cash", amount, effective_at="2026-01-01T00:00:00Z")


def test_units_are_held_first_and_money_for_the_rest(world: UnitHolds) -> None:
    """600 units of 900 tokens; 300 x 0.01 in money. 500 are used: 500 units, no money."""
    cash(world, "25")
    world.units("pack", "600")
    held = world.hold(authorize("a", "900"))
    assert (held.amount, world.counters("pack"), world.counters("cash")) == (
        D(3), ("600", "0", "0"), ("3", "0", "0"),
    )  # fmt: skip
    assert hold_json(held)["units"] == [{"unit": "tokens", "held": "600", "settled": None}]
    settled = world.hold(settle("a", "e-a", "500"))
    assert (settled.cost, settled.covered) == (0, 0)
    assert (world.counters("pack"), world.counters("cash")) == (("0", "500", "0"), ("0", "0", "0"))
    assert hold_json(settled)["units"] == [{"unit": "tokens", "held": "600", "settled": "500"}]
    world.seal()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "500"), ("0", "0", "0"))
    world.accrue()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "500"), ("0", "0", "0"))
    # 0.002 a unit: 1.00 of 1.20 is revenue.
    assert world.trial_balance() == {"receivable": "26.2", "prepaid": "-25.2", "revenue": "-1"}
    shown = get_authorization(world.books, world.tenant_id, "a")
    assert [(one["grant"], one["amount"], one.get("unit")) for one in shown["held_on"]] == [
        ("pack", "600", "tokens"), ("cash", "3", None),
    ]  # fmt: skip
    assert [(one["grant"], one["amount"]) for one in shown["settled_on"]] == [("pack", "500")]


def test_calls_in_pieces_that_are_sealed_together_draw_what_each_settled(
    world: UnitHolds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three calls and a repeat, each in a log file of its own, in one commit: 450 units, then 250 x 0.01 in money."""
    monkeypatch.setattr(sealer, "BATCH_BYTES_MAX", 8)
    cash(world, "25")
    world.units("pack", "450")
    for key, quantity in (("a", "200"), ("b", "200"), ("c", "300")):
        world.hold(authorize(key, quantity))
    for key, quantity in (("a", "200"), ("b", "200"), ("c", "300")):
        world.hold(settle(key, f"e-{key}", quantity))
    world.log([event("e-b", "200")])
    world.seal()
    with world.books.read_only(world.tenant_id) as conn:
        row = conn.execute(
            "SELECT count(*) AS seals, count(DISTINCT xmin::text) AS commits FROM seals"
        ).fetchone()
    assert row == {"seals": 4, "commits": 1}
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "450"), ("0", "0", "2.5"))
    world.accrue()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "450"), ("0", "0", "2.5"))


def test_what_units_leave_is_priced_at_its_place_among_what_they_left(world: UnitHolds) -> None:
    """Units climb no tier: of 1,500 tokens 800 are priced, and the next 400 lie at 800: 200 x 0.01 + 200 x 0.005."""
    cash(world, "25")
    world.units("pack", "700")
    assert world.hold(authorize("a", "1500")).amount == D(8)
    # All of `a` may come to nothing or be all: 400 cost most where they are counted before it.
    assert world.hold(authorize("b", "400")).amount == D(4)
    world.hold(settle("a", "e-a", "1500"))
    world.seal()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "700"), ("4", "0", "8"))
    # Sealed as it is, and looked at by the duty or not: 800 are priced.
    for _ in range(2):
        (priced,) = world.ask(authorize("c", "400", check=True))
        assert isinstance(priced, Priced)
        # `b` may still be settled: from 800 or from 1,200 on.
        assert (priced.amount, priced.available) == (D(3), D(13))
        world.accrue()
    settled = world.hold(settle("b", "e-b", "400"))
    assert settled.cost == D(3)
    world.seal()
    world.accrue()
    assert world.counters("cash") == ("0", "0", "11")
    world.now = instant("2026-02-01T00:05:00Z")
    (number,) = world.bill("2026-02-01").issued
    (line,) = get_invoice(world.books, world.tenant_id, number)["lines"]
    assert [(one["quantity"], one["amount"]) for one in line["charges"]] == [
        ("700", "0"), ("1000", "10"), ("200", "1"),
    ]  # fmt: skip


def test_the_shortfall_says_units_and_money(world: UnitHolds) -> None:
    cash(world, "1")
    world.units("pack", "600")
    (refused,) = world.ask(authorize("a", "900"))
    assert isinstance(refused, Insufficient)
    assert insufficient_json(refused) == {
        "currency": "USD", "required": "3", "available": "1", "shortfall": "2",
        "units": [{"unit": "tokens", "required": "900", "available": "600", "shortfall": "300"}],
    }  # fmt: skip
    (priced,) = world.ask(authorize("a", "900", check=True))
    assert isinstance(priced, Priced)
    assert priced_json(priced) | {"limit": None} == {
        "customer": "acme", "currency": "USD", "amount": "3", "available": "1", "shortfall": "2",
        "would_hold": False, "limit": None,
        "units": [{"unit": "tokens", "required": "900", "available": "600", "shortfall": "300"}],
    }  # fmt: skip
    (priced,) = world.ask(authorize("a", "100", check=True))
    assert isinstance(priced, Priced)
    assert priced_json(priced)["units"] == [
        {"unit": "tokens", "required": "100", "available": "600", "shortfall": "0"}
    ]
    assert world.counters("pack") == ("0", "0", "0")


def test_a_release_and_the_end_of_its_time_give_units_back(world: UnitHolds) -> None:
    world.units("pack", "100")
    world.hold(authorize("a", "70"))
    assert isinstance(world.ask(authorize("b", "31"))[0], Insufficient)
    world.hold(release("a"))
    assert world.counters("pack") == ("0", "0", "0")
    world.hold(authorize("b", "100", ttl_seconds=60))
    world.now += timedelta(seconds=61)
    assert world.expire() == 1
    assert world.counters("pack") == ("0", "0", "0")


def test_more_than_was_held_takes_what_is_free_then_money(world: UnitHolds) -> None:
    cash(world, "5")
    world.units("pack", "100")
    world.hold(authorize("a", "60"))
    settled = world.hold(settle("a", "e-a", "300"))  # 100 units, 200 x 0.01
    assert (settled.cost, settled.covered) == (2, 2)
    assert (world.counters("pack"), world.counters("cash")) == (("0", "100", "0"), ("0", "2", "0"))
    world.seal()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "100"), ("0", "0", "2"))


def test_units_are_taken_in_the_order_in_which_they_burn_down(world: UnitHolds) -> None:
    """The lower priority first, a gift before what was paid for; never one for another rate card."""
    world.units("other", "500", None, rate_cards=["something"], priority=0)
    world.units("paid", "50")
    world.units("gift", "30", None)
    world.units("first", "20", priority=1)
    world.hold(authorize("a", "80"))
    assert [world.counters(one)[0] for one in ("other", "first", "gift", "paid")] == ["0", "20", "30", "30"]
    world.hold(settle("a", "e-a", "40"))
    assert [world.counters(one)[1] for one in ("other", "first", "gift", "paid")] == ["0", "20", "20", "0"]


def test_an_event_that_had_counted_lets_its_units_go(world: UnitHolds) -> None:
    world.units("pack", "100")
    world.hold(authorize("a", "60"))
    world.send([event("e", "40")])
    world.hold(settle("a", "e", "40"))
    assert world.counters("pack") == ("0", "40", "0")
    world.seal()
    assert world.counters("pack") == ("0", "0", "0")
    world.accrue()
    assert world.counters("pack") == ("0", "0", "40")


def test_what_was_sealed_since_a_draft_is_not_taken_back_by_it(world: UnitHolds) -> None:
    """Drafted before the event was sealed: what the seal drew stays, and the next look says the same."""
    world.units("pack", "100")
    world.send([event("e", "10")])
    world.hold(authorize("a", "60"))
    world.hold(settle("a", "e-a", "60"))
    billed = subscribed_by(world.books, world.tenant_id, world.now)
    bills, _ = pending_alone(world.books, world.tenant_id, billed, world.now)
    (batch,) = draft_batches(world.books, world.store, world.tenant_id, bills, billed.terms, world.now)
    drafts = [unit_draft(draft.bill) for draft in batch.drafts]
    world.seal()
    with world.books.transaction(world.tenant_id) as conn:
        lock_grants_of(conn, world.tenant_id, {one.customer_id for one in drafts})
        assert draw_units(conn, world.tenant_id, drafts, Cause.ACCRUED, world.now) == ([False], [])
    assert world.counters("pack") == ("0", "0", "60")
    world.accrue()
    assert world.counters("pack") == ("0", "0", "70")
    assert isinstance(world.ask(authorize("b", "31"))[0], Insufficient)


def test_units_of_what_is_billed_already_are_let_go(world: UnitHolds) -> None:
    """Its period has its invoice: the event is late usage, and is priced with the next."""
    world.units("pack", "100")
    world.now = instant("2026-01-31T23:59:00Z")
    world.send([event("e", "40")])
    world.hold(authorize("a", "60", ttl_seconds=3600))
    world.now = instant("2026-02-01T00:30:00Z")
    world.bill("2026-02-01")
    world.hold(settle("a", "e-a", "60", time="2026-01-31T23:59:30Z"))
    assert world.counters("pack") == ("0", "60", "40")
    world.seal()
    assert world.counters("pack") == ("0", "0", "40")


def test_prices_that_rise_are_held_behind_what_units_may_leave(
    books: Books, tenant_id: int, tmp_path: Path
) -> None:
    made = hold_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    world = UnitHolds(made.books, made.store, made.tenant_id, made.now)
    world.furnish([plan(RISING)], [ACME])
    world.wallet()
    world.unit_wallet()
    cash(world, "100")
    world.units("pack", "500")
    world.send([event("e", "1400")])
    # The duty has not looked: all 1,400 may be priced, and 500 units pay for what comes first.
    held = world.hold(authorize("a", "700"))
    assert (held.amount, world.counters("pack")[0]) == (D(4), "500")
    world.hold(release("a"))
    world.accrue()
    assert (world.counters("pack"), world.counters("cash")) == (("0", "0", "500"), ("0", "0", "9"))
    assert world.hold(authorize("b", "200")).amount == D(3)  # from 900 on: 100 x 0.01 + 100 x 0.02
    assert world.hold(authorize("c", "100")).amount == D(2)  # from 900 or from 1,100 on
    world.check()
    world.store.close()


def test_two_at_once_share_units(world: UnitHolds) -> None:
    """In one transaction: the second finds what the first left."""
    world.units("pack", "100")
    outcomes = world.ask(authorize("a", "70"), authorize("b", "70"), authorize("c", "30"))
    assert [isinstance(one, Done) for one in outcomes] == [True, False, True]
    assert world.counters("pack") == ("100", "0", "0")


def test_units_are_never_overspent_by_many_at_once(world: UnitHolds) -> None:
    """Four workers ask for 4 x 30 calls of up to 20 tokens out of 500 units and 1.00; an engine seals and accrues."""
    cash(world, "1")
    world.units("gift", "200", None)
    world.units("pack", "300")

    def work(worker: int) -> tuple[int, int]:
        own, held, used = Authorizations(world.books), 0, 0
        for number in range(30):
            key = f"w{worker}-{number}"
            (outcome,), _ = own.apply(world.tenant_id, [authorize(key, "20")], world.now)
            if not isinstance(outcome, Done):
                assert isinstance(outcome, Insufficient), outcome
                continue
            held += 1
            if number % 5 == worker:
                own.apply(world.tenant_id, [release(key)], world.now)
                continue
            tokens = (number + worker) % 20 + 1
            (outcome,), settled = own.apply(world.tenant_id, [settle(key, key, str(tokens))], world.now)
            assert isinstance(outcome, Done), outcome
            assert outcome.hold.covered == outcome.hold.cost
            used += tokens
            world.log_settled(settled)
        return held, used

    with ThreadPoolExecutor(5) as pool:
        workers = [pool.submit(work, worker) for worker in range(4)]
        while not all(one.done() for one in workers):
            world.seal()
            world.accrue()
            world.check()
    held, used = (sum(column) for column in zip(*(one.result() for one in workers), strict=True))
    assert held > 25
    world.seal()
    world.accrue()
    grants = [world.of(key) for key in ("gift", "pack")]
    assert sum(one.drawn for one in grants) == min(D(used), D(500))
    assert [one.held + one.settled for one in grants] == [0, 0]
    assert world.of("cash").drawn == max(D(used) - 500, D(0)) * D("0.01") <= 1
