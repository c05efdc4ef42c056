"""Wallets and grants: made once, expired, promised, rolled over, voided, topped up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, instant, plan
from wallet_world import WalletWorld, wallet_world

from farthing.db import Books
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput, NotFound
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import (
    create_grant,
    create_wallet,
    list_grants,
    update_wallet,
    void_grant,
    wallet_history,
)
from farthing.wallets.top_ups import fail_top_up, fund_top_up, list_top_ups, request_top_up
from farthing.wallets.upkeep import keep_up

D = Decimal
ACME = {"customer": "acme", "plan": "payg"}
JANUARY = instant("2026-01-01")


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    found = wallet_world(books, tenant_id, JANUARY, tmp_path)
    found.furnish([plan(PER_TOKEN)], [ACME])
    found.wallet()
    yield found
    assert_lawful(found)
    found.store.close()


def assert_lawful(world: WalletWorld) -> None:
    for check in (check_overspent, check_counters, check_prepaid):
        assert not check(world.books, world.tenant_id).findings


def refused(world: WalletWorld, raw: dict[str, Any], wallet: str = "acme-usd") -> FarthingError:
    with pytest.raises(FarthingError) as error:
        create_grant(world.books, world.tenant_id, wallet, raw, world.now)
    return error.value


@pytest.mark.parametrize(
    ("field", "value", "code", "path"),
    [
        ("amount", "-5", "invalid_grant", "amount"),
        ("amount", "0", "invalid_grant", "amount"),
        ("amount", "1.001", "invalid_grant", "amount"),
        ("amount", 1.5, "invalid_grant", "amount"),
        ("kind", "gift", "invalid_grant", "kind"),
        ("currency", "EUR", "currency_mismatch", "currency"),
        ("expires_at", "2025-12-31T00:00:00Z", "grant_expired", "expires_at"),
        ("priority", 1001, "invalid_priority", "priority"),
        ("meters", [], "invalid_grant", "meters"),
        ("key", "k" * 129, "invalid_key", "key"),
        (
            "every",
            {"interval": "month", "rollover_percent": "101"},
            "invalid_grant",
            "every.rollover_percent",
        ),
        ("every", {"interval": "fortnight"}, "invalid_interval", "every.interval"),
        ("colour", "red", "invalid_grant", "colour"),
    ],
)
def test_a_bad_grant_is_refused_and_nothing_is_booked(
    world: WalletWorld, field: str, value: object, code: str, path: str
) -> None:
    error = refused(world, {"key": "bad", "kind": "paid", "amount": "5", field: value})
    assert isinstance(error, InvalidInput)
    assert (error.code, error.path) == (code, path)
    assert world.trial_balance() == {}
    assert list_grants(world.books, world.tenant_id, "acme-usd", 0, 10) == []


def test_a_grant_is_made_once_however_often_it_is_asked_for(world: WalletWorld) -> None:
    for _ in range(3):
        world.grant("order-1", "10", reference="order 1")
    world.grant("order-1", "10.00", reference="order 1")
    assert world.trial_balance() == {"receivable": "10", "prepaid": "-10"}
    error = refused(world, {"key": "order-1", "kind": "paid", "amount": "11", "reference": "order 1"})
    assert isinstance(error, Conflict)
    assert error.code == "grant_exists"
    assert world.available() == 10
    assert refused(world, {"key": "x", "kind": "paid", "amount": "1"}, "nobody").code == "wallet_not_found"


def test_a_wallet_is_of_the_currency_of_its_customer(world: WalletWorld) -> None:
    raw = {"key": "acme-eur", "customer": "acme", "currency": "EUR"}
    with pytest.raises(InvalidInput, match="billed in USD") as error:
        create_wallet(world.books, world.tenant_id, raw, world.now)
    assert error.value.code == "currency_mismatch"
    with pytest.raises(NotFound, match="no customer"):
        create_wallet(world.books, world.tenant_id, raw | {"customer": "nobody"}, world.now)
    with pytest.raises(Conflict, match="another content"):
        world.wallet(priority=1)


def test_only_settings_of_a_wallet_change(world: WalletWorld) -> None:
    changed, _ = update_wallet(
        world.books, world.tenant_id, "acme-usd", {"low_balance": "5", "name": "Funds"}, world.now
    )
    assert (changed.low_balance, changed.name) == (5, "Funds")
    with pytest.raises(InvalidInput, match="never changes"):
        update_wallet(world.books, world.tenant_id, "acme-usd", {"currency": "EUR"}, world.now)


def test_what_is_left_of_an_expired_grant_is_breakage_once(world: WalletWorld) -> None:
    world.grant("order-1", "10", expires_at="2026-01-20T00:00:00Z")
    world.grant("gift", "5", kind="promotional", expires_at="2026-01-20T00:00:00Z")
    world.now = instant("2026-01-10")
    world.use("acme", "2026-01-09", "2600000")  # 6.50: the gift first, then the order
    assert (world.drawn("gift"), world.drawn("order-1")) == (5, D("1.5"))
    world.now = instant("2026-01-20")
    assert world.available() == 0
    keep_up(world.books, world.tenant_id, world.now)
    assert world.of("order-1").expired == 0, "what was used before may still be on its way"
    for _ in range(2):
        world.now += timedelta(minutes=15)
        keep_up(world.books, world.tenant_id, world.now)
    assert world.of("order-1").expired == D("8.5")
    assert world.trial_balance() == {
        "receivable": "10", "revenue": "-6.5", "breakage": "-8.5", "promotions": "5",
    }  # fmt: skip
    assert ("grant.expired", "order-1") in world.told("grant.*")


def test_a_scheduled_grant_pays_from_its_day_on(world: WalletWorld) -> None:
    world.grant("later", "10", effective_at="2026-01-15T00:00:00Z")
    world.now = instant("2026-01-10")
    world.use("acme", "2026-01-09", "400000")  # 1.00
    assert (world.available(), world.drawn("later")) == (0, 0)
    world.now = instant("2026-01-16")
    world.use("acme", "2026-01-15", "400000")
    assert (world.available(), world.drawn("later")) == (9, 1)


def test_a_promise_is_kept_once_in_each_period_and_rolls_over(world: WalletWorld) -> None:
    world.grant(
        "monthly",
        "10",
        kind="promotional",
        every={
            "interval": "month",
            "rollover_percent": "50",
            "rollover_maximum": "4",
            "end": "2026-04-01T00:00:00Z",
        },
    )
    for day in (
        "2026-01-01",
        "2026-01-02",
        "2026-02-01",
        "2026-02-02",
        "2026-03-05",
        "2026-05-01",
        "2026-05-02",
    ):
        world.now = instant(day)
        for _ in range(2):
            keep_up(world.books, world.tenant_id, world.now)
        if day == "2026-01-02":
            world.use("acme", "2026-01-02", "2800000")  # 7.00 of January: 3 left, 1.50 go on
    grants = {one.key: one for one in list_grants(world.books, world.tenant_id, "acme-usd", 0, 100)}
    rolled = next(key for key in grants if key.startswith("monthly@2026-02-01T00:00:00Z:"))
    assert [(key, one.amount, one.expired) for key, one in sorted(grants.items())] == [
        ("monthly@2026-01-01T00:00:00Z", 10, 3),
        ("monthly@2026-02-01T00:00:00Z", 10, 10),
        (
            f"monthly@2026-02-01T00:00:00Z:from_{grants['monthly@2026-01-01T00:00:00Z'].grant_id}",
            D("1.5"),
            D("1.5"),
        ),
        ("monthly@2026-03-01T00:00:00Z", 10, 10),
        (f"monthly@2026-03-01T00:00:00Z:from_{grants['monthly@2026-02-01T00:00:00Z'].grant_id}", 4, 4),
        (f"monthly@2026-03-01T00:00:00Z:from_{grants[rolled].grant_id}", D("0.75"), D("0.75")),
    ]
    assert world.trial_balance() == {"promotions": "7", "revenue": "-7"}
    error = refused(world, {"key": "monthly", "kind": "paid", "amount": "10", "every": {"interval": "month"}})
    assert error.code == "grant_exists"


def test_what_is_voided_stands_to_the_customers_credit(world: WalletWorld) -> None:
    world.grant("order-1", "10")
    world.now = instant("2026-01-10")
    world.use("acme", "2026-01-09", "13")
    for expected in (D("9.9999675"), D(0)):
        assert void_grant(world.books, world.tenant_id, "order-1", "cancelled", world.now)[1] == expected
    assert world.trial_balance() == {
        "receivable": "0.01", "revenue": "-0.0000325", "breakage": "-0.0099675",
    }  # fmt: skip
    movements = [(one["movement"], one["amount"]) for one in world.history()]
    assert movements == [("voided", "-9.9999675"), ("drawn", "-0.0000325"), ("granted", "10")]


def test_the_history_comes_in_pages_that_miss_nothing(world: WalletWorld) -> None:
    for number in range(7):
        world.now = JANUARY + timedelta(days=number)
        world.grant(f"order-{number}", "1")
        world.use("acme", f"2026-01-0{number + 1}", "100")
    whole = world.history()
    assert len(whole) == 14
    pages, place = [], None
    while page := wallet_history(world.books, world.tenant_id, "acme-usd", place, 3):
        pages += page
        place = page[-1]["place"]
    assert pages == whole
    with pytest.raises(InvalidInput, match="not the place"):
        wallet_history(world.books, world.tenant_id, "acme-usd", "nonsense", 3)


def test_a_balance_is_announced_once_for_each_crossing(world: WalletWorld) -> None:
    update_wallet(world.books, world.tenant_id, "acme-usd", {"low_balance": "5"}, world.now)
    world.grant("order-1", "10")
    world.now = instant("2026-01-10")
    for tokens in ("400000", "2000000", "400000", "8000000", "400000"):  # 1, 5, 1, 20, 1
        world.use("acme", "2026-01-09", tokens)
    assert world.told() == [("wallet.low_balance", "acme-usd"), ("wallet.exhausted", "acme-usd")]
    world.grant("order-2", "100")
    world.use("acme", "2026-01-09", "40000000")  # 100
    assert world.told()[2:] == [("wallet.exhausted", "acme-usd")]


def test_a_wallet_tops_itself_up_within_its_limits(world: WalletWorld) -> None:
    top_up = {"below": "5", "amount": "20", "cooldown_seconds": 3600, "monthly_maximum": "40"}
    update_wallet(world.books, world.tenant_id, "acme-usd", {"top_up": top_up}, world.now)

    def top_ups() -> list[str]:
        return [one["status"] for one in list_top_ups(world.books, world.tenant_id, 0, 100, "acme-usd")]

    def settle(key: str, *, funded: bool) -> None:
        with world.books.transaction(world.tenant_id) as conn:
            if funded:
                fund_top_up(conn, world.tenant_id, key, world.now)
            else:
                fail_top_up(conn, world.tenant_id, key, "card declined", world.now)

    assert top_ups() == ["requested"], "it is empty from the beginning"
    for _ in range(3):
        keep_up(world.books, world.tenant_id, world.now)
    assert top_ups() == ["requested"], "one at a time"
    first, *_ = (one["key"] for one in list_top_ups(world.books, world.tenant_id, 0, 100))
    settle(first, funded=False)
    settle(first, funded=False)
    keep_up(world.books, world.tenant_id, world.now + timedelta(minutes=59))
    assert top_ups() == ["failed"], "not within the cooldown"
    world.now += timedelta(hours=1)
    keep_up(world.books, world.tenant_id, world.now)
    assert top_ups() == ["failed", "requested"]
    settle(f"{first[:-1]}2", funded=True)
    settle(f"{first[:-1]}2", funded=True)
    with pytest.raises(Conflict, match="funded already"):
        settle(f"{first[:-1]}2", funded=False)
    assert world.available() == 20
    world.now = instant("2026-01-10")
    world.use("acme", "2026-01-09", "8000000")
    settle(f"{first[:-1]}3", funded=True)
    world.use("acme", "2026-01-09", "8000000")
    keep_up(world.books, world.tenant_id, world.now + timedelta(days=5))
    assert top_ups() == ["failed", "funded", "funded"], "not more than 40 in a month"
    keep_up(world.books, world.tenant_id, instant("2026-02-01"))
    assert top_ups()[3:] == ["requested"]
    assert world.trial_balance() == {"receivable": "40", "revenue": "-40"}


def test_a_top_up_is_requested_once(world: WalletWorld) -> None:
    for _ in range(2):
        request_top_up(world.books, world.tenant_id, "acme-usd", {"key": "t-1", "amount": "5"}, world.now)
    with pytest.raises(Conflict, match="another top-up"):
        request_top_up(world.books, world.tenant_id, "acme-usd", {"key": "t-1", "amount": "6"}, world.now)
    assert [kind for kind, _ in world.told()] == ["wallet.top_up_requested"]


@dataclass(frozen=True)
class _Forbidden:
    statement: str
    error: type[psycopg.Error]


@pytest.mark.parametrize(
    "forbidden",
    [
        _Forbidden("UPDATE grants SET amount = 1000", psycopg.errors.RestrictViolation),
        _Forbidden("UPDATE grants SET drawn = 0", psycopg.errors.RestrictViolation),
        _Forbidden("UPDATE grants SET held = 11", psycopg.errors.CheckViolation),
        _Forbidden("UPDATE grants SET settled = -1", psycopg.errors.CheckViolation),
        _Forbidden("DELETE FROM grants", psycopg.errors.RestrictViolation),
        _Forbidden("UPDATE wallet_draws SET amounts = '{0}'", psycopg.errors.RestrictViolation),
        _Forbidden("DELETE FROM grant_endings", psycopg.errors.RestrictViolation),
    ],
    ids=lambda one: one.statement,
)
def test_the_database_refuses(world: WalletWorld, forbidden: _Forbidden) -> None:
    world.grant("order-1", "10")
    with (
        pytest.raises((forbidden.error, psycopg.errors.InsufficientPrivilege)),
        world.books.transaction(world.tenant_id) as conn,
    ):
        conn.execute(forbidden.statement)


def test_not_even_the_owner_changes_what_a_grant_says(
    world: WalletWorld, owner: psycopg.Connection, now: datetime
) -> None:
    world.grant("order-1", "10")
    owner.execute("SELECT set_config('farthing.tenant', %s, true)", [str(world.tenant_id)])
    with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
        owner.execute("UPDATE grants SET amount = 1000")
