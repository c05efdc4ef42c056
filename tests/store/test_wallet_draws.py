"""What sealing draws from wallets."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import psycopg
import pytest
from billing_world import PER_TOKEN, fee, instant, plan
from mortals import mortals
from wallet_world import WalletWorld, wallet_world

from farthing.catalog.service import put_coupon
from farthing.customers.life import change_subscription
from farthing.customers.terms.service import redeem_coupon
from farthing.db import Books
from farthing.invoicing.accruing import accrue
from farthing.invoicing.service import get_invoice
from farthing.kernel.quantity import trimmed
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.model import ChargeKey, SettledHold, UsageCharge
from farthing.wallets.sealing import WalletDraws

D = Decimal
ACME = {"customer": "acme", "plan": "payg"}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    found = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    yield found
    found.store.close()


def test_sealed_usage_is_drawn_to_the_last_digit(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-09", "13")
    assert world.drawn("order-1") == D("0.0000325")
    assert world.trial_balance() == {
        "receivable": "10", "prepaid": "-9.9999675", "revenue": "-0.0000325",
    }  # fmt: skip


def test_an_invoice_settles_to_the_minor_unit(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-09", "1234567")
    assert world.drawn("order-1") == D("3.0864175")
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    assert world.drawn("order-1") == D("3.09")
    assert world.trial_balance() == {"receivable": "10", "prepaid": "-6.91", "revenue": "-3.09"}
    invoice = get_invoice(world.books, world.tenant_id, number)
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == ("3.09", "3.09", "0.00")


def test_what_funds_do_not_cover_is_due(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "5.00")
    world.grant("gift", "0.005", kind="promotional")
    world.use("acme", "2026-01-09", "4938240")  # 12.3456
    assert (world.drawn("order-1"), world.drawn("gift")) == (D(5), D("0.005"))
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    invoice = get_invoice(world.books, world.tenant_id, number)
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == (
        "12.35",
        "5.00",
        "7.35",
    )
    assert world.available() == D("0.005")
    assert world.trial_balance() == {
        "receivable": "12.35", "promotional_credit": "-0.005", "promotions": "0.005", "revenue": "-12.35",
    }  # fmt: skip


TIERED = {
    "key": "tiered",
    "name": "Tiered",
    "meter": "tokens",
    "price": {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.1"}]},
}
VOLUME = {
    "key": "volume",
    "name": "Volume",
    "meter": "tokens",
    "price": {"model": "volume", "tiers": [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.1"}]},
}
BY_MODEL = {
    "key": "by_model",
    "name": "By model",
    "meter": "tokens",
    "price": {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [{"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "0.01"}}],
        "default": {"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0"}]},
    },
}
PERCENT = {
    "key": "percent",
    "name": "Percent",
    "meter": "tokens",
    "price": {"model": "percentage", "rate": "10", "fixed_fee": "0.5", "minimum": "50"},
}


def furnished(world: WalletWorld, *cards: dict, funds: str = "1000") -> None:
    world.furnish([plan(*cards)], [ACME])
    world.wallet()
    world.grant("order-1", funds)


def settled(world: WalletWorld, *, paid: str, due: str = "0.00") -> None:
    """January is billed: wallets paid so much of it, so much is due, and the books are lawful."""
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    invoice = get_invoice(world.books, world.tenant_id, number)
    assert (invoice["paid_from_wallets"], invoice["amount_due"]) == (paid, due)
    lawful(world)


def lawful(world: WalletWorld) -> None:
    for check in (check_overspent, check_counters, check_prepaid):
        assert not check(world.books, world.tenant_id).findings


def test_a_draw_knows_the_tier_that_it_stands_in(world: WalletWorld) -> None:
    furnished(world, TIERED)
    for tokens, drawn in (("60", "60"), ("60", "102"), ("1000", "202")):
        world.use("acme", "2026-01-09", tokens)
        assert world.drawn("order-1") == D(drawn)
    settled(world, paid="202.00")


def test_a_total_that_falls_gives_back(world: WalletWorld) -> None:
    """100 units at 1 each are 100; from 101 on all of them cost 0.1."""
    furnished(world, VOLUME)
    for tokens, drawn in (("100", 100), ("50", 15)):
        world.now += timedelta(seconds=1)
        world.use("acme", "2026-01-09", tokens)
        assert world.drawn("order-1") == drawn
    assert [one["amount"] for one in world.history()] == ["85", "-100", "1000"]
    settled(world, paid="15.00")


def test_usage_by_dimensions_is_drawn_by_its_cells(world: WalletWorld) -> None:
    furnished(world, BY_MODEL)
    world.use("acme", "2026-01-09", "1000", model="opus")
    world.use_all([("acme", "2026-01-09", "6", {"model": name}) for name in ("small", "tiny")])
    assert world.drawn("order-1") == 20, "small and tiny share the default's tier of 10"
    world.use("acme", "2026-01-09", "100", model="other")
    assert world.drawn("order-1") == 20
    settled(world, paid="20.00")


def test_a_first_wallet_in_the_middle_of_a_period_finds_its_tier(world: WalletWorld) -> None:
    world.furnish([plan(TIERED)], [ACME])
    world.use("acme", "2026-01-05", "90")
    world.wallet()
    world.grant("order-1", "1000")
    world.use("acme", "2026-01-09", "20")
    assert world.drawn("order-1") == 11, "10 at 1 and 10 at 0.1; what was used before is not drawn"
    settled(world, paid="101.00")


def test_what_was_used_before_the_first_wallet_is_remembered_by_its_dimensions(world: WalletWorld) -> None:
    world.furnish([plan(BY_MODEL)], [ACME])
    world.use("acme", "2026-01-05", "8", model="small")
    world.wallet()
    world.grant("order-1", "1000")
    world.use("acme", "2026-01-09", "1", model="mini")
    assert world.drawn("order-1") == 1
    world.use("acme", "2026-01-10", "5", model="mini")
    assert world.drawn("order-1") == 2, (
        "8 of the tier of 10 were used by another model before the wallet was there"
    )
    settled(world, paid="10.00")


def test_prices_of_single_events_are_drawn_by_the_duty(world: WalletWorld) -> None:
    furnished(world, PERCENT)
    world.use("acme", "2026-01-09", "100")
    assert world.drawn("order-1") == 0
    for _ in range(2):
        accrue(world.books, world.store, world.tenant_id, world.now)
        assert world.drawn("order-1") == D("10.5"), "the minimum is due at the end, not before"
    settled(world, paid="50.00")


def test_coupons_reduce_what_is_drawn(world: WalletWorld) -> None:
    furnished(world, TIERED)
    coupon = {"key": "half", "name": "Half", "percent": "50", "duration": "forever"}
    put_coupon(world.books, world.tenant_id, coupon, world.now)
    start = {"coupon": "half", "start": "2026-01-01T00:00:00Z"}
    redeem_coupon(world.books, world.tenant_id, "acme-payg", start, world.now)
    world.use("acme", "2026-01-09", "61")
    assert world.drawn("order-1") == 0
    accrue(world.books, world.store, world.tenant_id, world.now)
    assert world.drawn("order-1") == D("30.5")
    settled(world, paid="30.50")


def test_a_fee_is_due_beside_usage_that_is_paid(world: WalletWorld) -> None:
    furnished(world, TIERED, fee("49"))
    world.use("acme", "2026-01-09", "10")
    settled(world, paid="10.00", due="49.00")


def test_scopes_pay_for_their_own_only(world: WalletWorld) -> None:
    world.furnish([plan(TIERED, PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("for-tiers", "5", rate_cards=["tiered"])
    world.grant("for-others", "7", meters=["other"])
    world.grant("for-all", "1", priority=999)
    world.use("acme", "2026-01-09", "100")
    assert [world.drawn(key) for key in ("for-tiers", "for-others", "for-all")] == [5, 0, 1]
    settled(world, paid="6.00", due="94.00")


def test_a_later_top_up_pays_at_the_end_what_was_owed(world: WalletWorld) -> None:
    furnished(world, TIERED, funds="30")
    world.use("acme", "2026-01-09", "100")
    assert world.available() == 0
    world.grant("order-2", "100")
    world.use("acme", "2026-01-09", "10")
    assert world.drawn("order-2") == 1, "what was owed before waits for its invoice"
    settled(world, paid="101.00")
    assert (world.drawn("order-1"), world.drawn("order-2")) == (30, 71)


def test_a_grant_of_the_next_period_does_not_pay_for_the_last(world: WalletWorld) -> None:
    furnished(world, TIERED, funds="30")
    world.use("acme", "2026-01-09", "100")
    world.grant("february", "100", effective_at="2026-02-01T00:00:00Z")
    settled(world, paid="30.00", due="70.00")


def test_usage_that_comes_after_its_invoice_is_not_drawn(world: WalletWorld) -> None:
    furnished(world, TIERED)
    world.use("acme", "2026-01-09", "10")
    settled(world, paid="10.00")
    world.use("acme", "2026-01-10", "10")
    assert world.drawn("order-1") == 10
    world.use("acme", "2026-02-01T01:00:00Z", "3")
    assert world.drawn("order-1") == 13
    lawful(world)


def test_a_batch_over_two_periods_is_drawn_in_each(world: WalletWorld) -> None:
    furnished(world, TIERED)
    world.now = instant("2026-02-01T00:10:00Z")
    world.use_all([("acme", "2026-01-31", "100", {}), ("acme", "2026-02-01T00:05:00Z", "100", {})])
    assert world.drawn("order-1") == 200
    periods = {one["period_start"]: one["amount"] for one in world.history() if one["movement"] == "drawn"}
    assert periods == {"2026-01-01T00:00:00Z": "-100", "2026-02-01T00:00:00Z": "-100"}


def test_two_subscriptions_share_a_wallet_to_the_cent(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN), plan(PER_TOKEN, key="second")], [ACME, ACME | {"plan": "second"}])
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-09", "1249998")  # 3.124995 of each
    world.now = instant("2026-02-01T06:00:00Z")
    numbers = world.bill("2026-02-01").issued
    paid = [get_invoice(world.books, world.tenant_id, number)["paid_from_wallets"] for number in numbers]
    assert paid == ["3.12", "3.12"]
    assert world.available() == D("3.76")
    lawful(world)


def test_a_plan_that_changes_within_its_period_is_brought_right_by_the_duty(world: WalletWorld) -> None:
    world.furnish([plan(TIERED), plan(PER_TOKEN, key="other")], [ACME])
    world.wallet()
    world.grant("order-1", "1000")
    world.use("acme", "2026-01-05", "10")
    assert world.drawn("order-1") == 10
    change = {"kind": "plan", "key": "move", "plan": "other", "at": "2026-01-08T00:00:00Z"}
    change_subscription(world.books, world.tenant_id, "acme-payg", change, world.now)
    world.use("acme", "2026-01-09", "400000")
    accrue(world.books, world.store, world.tenant_id, world.now)
    assert world.drawn("order-1") == 11
    settled(world, paid="11.00")


def test_a_tenant_without_wallets_is_sealed_as_ever(world: WalletWorld) -> None:
    world.furnish([plan(TIERED)], [ACME])
    world.use("acme", "2026-01-09", "10")
    assert world.trial_balance() == {}
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    assert "paid_from_wallets" not in get_invoice(world.books, world.tenant_id, number)


def test_settled_holds_pay_first_and_what_they_do_not_need_is_let_go(world: WalletWorld) -> None:
    world.furnish([plan(TIERED)], [ACME])
    world.wallet()
    world.grant("first", "50", priority=1)
    world.grant("second", "50", priority=2)
    with world.books.transaction(world.tenant_id) as conn:
        conn.execute("UPDATE grants SET settled = 20 WHERE key = 'second'")
        row = conn.execute("SELECT grant_id FROM grants WHERE key = 'second'").fetchone()
        subscription = conn.execute("SELECT subscription_id, customer_id FROM subscriptions").fetchone()
    assert row is not None
    assert subscription is not None
    key = ChargeKey(subscription["subscription_id"], instant("2026-01-01"), "tiered")
    hold = (SettledHold(row["grant_id"], D(20)),)
    charge = UsageCharge(key, subscription["customer_id"], "USD", (), D(0), world.now, hold)
    world.store.beside_sealing = WalletDraws(world.books, world.store, lambda *_: [charge])
    world.use("acme", "2026-01-09", "12")
    assert (world.drawn("first"), world.drawn("second"), world.of("second").settled) == (0, 12, 0)
    lawful(world)


def test_what_fails_before_the_commit_has_drawn_nothing(world: WalletWorld) -> None:
    furnished(world, TIERED)
    draws = world.store.beside_sealing
    assert draws is not None

    def failing(batches, now):
        commit = draws(batches, now)

        def effect(conn):
            commit(conn)
            raise RuntimeError("killed before the commit")

        return effect

    world.store.beside_sealing = failing
    with pytest.raises(RuntimeError, match="killed"):
        world.use("acme", "2026-01-09", "150")
    assert world.drawn("order-1") == 0
    world.store.beside_sealing = draws
    world.seal()
    assert world.drawn("order-1") == 105
    settled(world, paid="105.00")


def test_a_sealer_killed_at_any_moment_draws_each_event_once(
    world: WalletWorld, books_dir: Path, eventually: Callable[..., None]
) -> None:
    names = [f"customer-{number:03d}" for number in range(40)]
    world.furnish([plan(TIERED)], [{"customer": name, "plan": "payg"} for name in names])
    for name in names:
        world.wallet(name, name)
        world.grant(f"order-{name}", "1000", name)
    random, used, killed = Random(20260110), Counter[str](), 0
    with mortals(books_dir, world.store.data_dir, world.now.isoformat(), (10**9, 10**9)) as lives:
        for number in range(8):
            for _ in range(5):
                uses = [(name, "2026-01-09", str(random.randrange(1, 9)), {}) for name in names]
                world.log(world.events(uses))
                used.update({name: int(tokens) for name, _, tokens, _ in uses})
            killed += not lives.live(killed_after=0.3 * (number + random.random()) / 8)
            eventually(lambda: world.quiet())
            lawful(world)
        assert lives.live()
    assert killed >= 3
    for name in names:
        exact = D(min(used[name], 100)) + max(used[name] - 100, 0) * D("0.1")
        assert world.drawn(f"order-{name}") == exact
    lawful(world)


def test_customers_of_every_kind_are_drawn_in_one_batch(world: WalletWorld) -> None:
    """The only grant of one covers its usage, another's does not, one has two grants, one a threshold, one a gift, one
    two rate cards, one a promotion for something else, one nothing: each pays as it would alone."""
    names = ["easy", "short", "two", "near", "gift", "elsewhere", "poor"]
    both = plan(PER_TOKEN, TIERED)
    world.furnish([both], [{"customer": name, "plan": both["key"]} for name in names])
    for name in names:
        world.wallet(name, name, **({"low_balance": "50"} if name == "near" else {}))
    for name, amount in (("easy", "1000"), ("short", "60"), ("near", "150"), ("two", "30")):
        world.grant(f"{name}-1", amount, name)
    world.grant("two-2", "1000", "two", priority=200)
    world.grant("gift-1", "1000", "gift", kind="promotional")
    world.grant("elsewhere-1", "1000", "elsewhere", rate_cards=["tiered"])
    for tokens in ("40", "70"):  # 40 and then 60 of the first tier, 10 of the second: 40 + 61 = 101
        world.use_all([(name, "2026-01-09", tokens, {}) for name in names])
        lawful(world)
    per_token = D(110) * D("0.0000025")
    whole = D(101) + per_token
    assert world.drawn("easy-1") == world.drawn("gift-1") == world.drawn("near-1") == whole
    assert world.drawn("short-1") == 60
    assert (world.drawn("two-1"), world.drawn("two-2")) == (30, whole - 30)
    assert world.drawn("elsewhere-1") == 101
    assert world.told("wallet.low_balance") == [("wallet.low_balance", "near")]
    assert ("wallet.exhausted", "short") in world.told("wallet.exhausted")
    assert world.trial_balance()["revenue"] == trimmed(-(4 * whole + 60 + 101))


def test_where_the_money_came_from_is_summed_up_when_somebody_asks(world: WalletWorld) -> None:
    furnished(world, TIERED)

    def waiting() -> int:
        with world.books.read_only(world.tenant_id) as conn:
            row = conn.execute("SELECT count(*) AS waiting FROM draws_to_fund").fetchone()
        assert row is not None
        return int(row["waiting"])

    for number in range(3):
        world.use("acme", "2026-01-09", "60")
        assert waiting() == number + 1
        lawful(world)
    accrue(world.books, world.store, world.tenant_id, world.now)
    assert waiting() == 0
    lawful(world)
    world.use("acme", "2026-01-09", "20")
    assert waiting() == 1
    settled(world, paid="110.00")
    assert waiting() == 0


def test_a_charge_of_a_subscription_that_is_not_there_is_refused(world: WalletWorld) -> None:
    furnished(world, TIERED)
    asked = """
        INSERT INTO charge_funding (tenant_id, subscription_id, period_start, rate_card, grant_id, customer_id, amount,
                                    last_draw_id)
        SELECT tenant_id, subscription_id + %(off)s, now(), 'tiered', 0, customer_id + %(other)s, 1, 0
          FROM subscriptions
    """
    for off, other in ((1_000_000, 0), (0, 1)):
        with (
            pytest.raises(psycopg.errors.ForeignKeyViolation),
            world.books.transaction(world.tenant_id) as conn,
        ):
            conn.execute(asked, {"off": off, "other": other})
    positions = """
        INSERT INTO usage_positions (tenant_id, subscription_id, period_start, rate_card, dimensions, quantity)
        SELECT tenant_id, subscription_id + 1000000, now(), 'tiered', '', 1 FROM subscriptions
    """
    with pytest.raises(psycopg.errors.ForeignKeyViolation), world.books.transaction(world.tenant_id) as conn:
        conn.execute(positions)
