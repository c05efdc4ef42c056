"""Coupons and commitments on real books: what may be redeemed and committed to, once, and never more often."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, instant, open_store, plan

from farthing.catalog.model import Outcome
from farthing.catalog.service import get_coupon, list_coupons, put_coupon
from farthing.customers.apply import apply, plan_apply
from farthing.customers.service import cancel_subscription, create_subscription
from farthing.customers.terms.service import add_commitment, get_terms, redeem_coupon
from farthing.db import Books
from farthing.invoicing.service import list_commitments, list_redemptions
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput, NotFound

LAUNCH = {"key": "launch", "name": "Launch", "percent": "10", "duration": "forever"}
YEAR = {
    "key": "year",
    "kind": "minimum",
    "amount": "100",
    "start": "2026-02-01T00:00:00Z",
    "interval": "year",
}


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


@pytest.fixture
def acme(world: World) -> World:
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    return world


def coupon(world: World, **fields: Any) -> None:
    put_coupon(world.books, world.tenant_id, LAUNCH | fields, world.now)


def redeem(world: World, subscription: str = "acme-payg", **fields: Any) -> Outcome:
    raw = {"coupon": "launch", **fields}
    return redeem_coupon(world.books, world.tenant_id, subscription, raw, world.now)[1]


def commit(world: World, **fields: Any) -> Outcome:
    return add_commitment(world.books, world.tenant_id, "acme-payg", YEAR | fields, world.now)[1]


def refusal(call: Any, *arguments: Any, **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(FarthingError) as refused:
        call(*arguments, **fields)
    return refused.value.code, refused.value.path


# -- Coupons --------------------------------------------------------------------------------------


def test_a_coupon_is_created_once_and_never_changes(acme: World) -> None:
    coupon(acme)
    assert put_coupon(acme.books, acme.tenant_id, LAUNCH, acme.now)[1] is Outcome.UNCHANGED
    assert refusal(coupon, acme, percent="11")[0] == "coupon_immutable"
    assert list_coupons(acme.books, acme.tenant_id, None, 10) == [
        get_coupon(acme.books, acme.tenant_id, "launch")
    ]
    with pytest.raises(NotFound):
        get_coupon(acme.books, acme.tenant_id, "other")


def test_a_subscription_redeems_it_once(acme: World) -> None:
    coupon(acme)
    assert [redeem(acme), redeem(acme)] == [Outcome.CREATED, Outcome.UNCHANGED]
    assert get_coupon(acme.books, acme.tenant_id, "launch")[1] == 1
    assert refusal(redeem, acme, start="2026-01-05T00:00:00Z") == ("coupon_redeemed", "coupon")


def test_what_cannot_be_redeemed_says_why(acme: World) -> None:
    coupon(acme, redeem_by=(acme.now - timedelta(seconds=1)).isoformat())
    assert refusal(redeem, acme) == ("coupon_expired", "coupon")
    coupon(acme, key="euro", percent=None, amount="5", currency="EUR")
    assert refusal(redeem, acme, coupon="euro") == ("currency_mismatch", "coupon")
    assert refusal(redeem, acme, coupon="none") == ("coupon_not_found", "coupon")
    assert refusal(redeem, acme, subscription="none")[0] == "subscription_not_found"
    coupon(acme, key="early")
    assert refusal(redeem, acme, coupon="early", start="2025-12-31T00:00:00Z")[0] == "invalid_redemption"
    assert refusal(redeem, acme, code="x")[0] == "invalid_redemption"


@pytest.mark.parametrize("places", [1, 5])
def test_the_last_ones_are_redeemed_by_sixteen_at_once_and_never_more_often(
    world: World, places: int
) -> None:
    names = [f"customer-{number:02d}" for number in range(16)]
    world.furnish([plan(PER_TOKEN)], [{"customer": name, "plan": "payg"} for name in names])
    coupon(world, max_redemptions=places)
    together = Barrier(16)

    def one(name: str) -> str:
        together.wait()
        try:
            redeem(world, f"{name}-payg")
        except Conflict as error:
            return error.code
        return "redeemed"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(one, names))
    assert sorted(outcomes) == ["coupon_exhausted"] * (16 - places) + ["redeemed"] * places
    assert get_coupon(world.books, world.tenant_id, "launch")[1] == places


def test_the_database_itself_holds_the_number(world: World) -> None:
    """Whoever inserts, and without any lock: sixteen sessions that each believe to be the first."""
    names = [f"customer-{number:02d}" for number in range(16)]
    world.furnish([plan(PER_TOKEN)], [{"customer": name, "plan": "payg"} for name in names])
    coupon(world, max_redemptions=1)
    together = Barrier(16)

    def one(name: str, place: int) -> bool:
        together.wait()
        try:
            with world.books.transaction(world.tenant_id) as conn:
                conn.execute(
                    "INSERT INTO coupon_redemptions (tenant_id, coupon_id, subscription_id, place,"
                    "                                max_redemptions, start_at, redeemed_at)"
                    " SELECT c.tenant_id, c.coupon_id, s.subscription_id, %s, c.max_redemptions, now(), now()"
                    "   FROM coupons c JOIN subscriptions s ON s.tenant_id = c.tenant_id AND s.key = %s",
                    [place, f"{name}-payg"],
                )
        except (psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation):
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(one, names, [1 + number % 2 for number in range(16)]))
    assert sum(done) == 1, "a second place does not exist, and the first is taken once"


# -- Commitments ------------------------------------------------------------------------------


def test_a_commitment_is_made_once_and_never_changes(acme: World) -> None:
    assert [commit(acme), commit(acme)] == [Outcome.CREATED, Outcome.UNCHANGED]
    assert refusal(commit, acme, amount="101")[0] == "commitment_immutable"
    terms = get_terms(acme.books, acme.tenant_id, "acme-payg")[1]
    assert [(one.key, one.term.end) for one in terms.commitments] == [("year", instant("2027-02-01"))]


def test_what_cannot_be_committed_to_says_why(acme: World) -> None:
    commit(acme)
    assert refusal(commit, acme, key="other")[0] == "commitments_overlap"
    assert refusal(commit, acme, key="o", start="2027-02-01T00:00:00Z", rate_cards=["none"]) == (
        "unknown_rate_card",
        "rate_cards",
    )
    assert refusal(commit, acme, key="o", start="2025-12-31T00:00:00Z") == ("invalid_commitment", "start")
    assert refusal(commit, acme, key="o", start=None, interval=None, end="2025-01-01T00:00:00Z") == (
        "invalid_commitment",
        "end",
    )
    for count in (400, 1000):  # within the calendar and beyond it
        fields = {"key": "o", "interval": "half_year", "interval_count": count}
        assert refusal(commit, acme, **fields | {"start": "2100-02-01T00:00:00Z"}) == (
            "invalid_commitment",
            "interval_count",
        )
    assert (
        refusal(commit, acme, key="o", start="2190-01-01T00:00:00Z", interval_count=1000)[1]
        == "interval_count"
    )
    assert commit(acme, key="next", start="2027-02-01T00:00:00Z") is Outcome.CREATED


def test_it_does_not_begin_before_what_is_invoiced(acme: World) -> None:
    acme.use("acme", "2026-01-05", "1000000")
    acme.bill("2026-02-01")
    assert refusal(commit, acme, start="2026-01-15T00:00:00Z") == ("already_invoiced", "start")
    assert commit(acme) is Outcome.CREATED


def test_the_interval_is_counted_in_the_customers_time_zone(world: World) -> None:
    world.furnish(
        [plan(PER_TOKEN)],
        [{"customer": "acme", "plan": "payg", "start": "2026-01-01T00:00:00+13:00"}],
        timezone="Pacific/Auckland",
    )
    commit(world, start=None, interval="month", interval_count=3)
    (one,) = list_commitments(world.books, world.tenant_id, "acme-payg")
    assert (one["start"], one["end"]) == ("2025-12-31T11:00:00Z", "2026-03-31T11:00:00Z")


# -- In a catalog file, and with a subscription ------------------------------------------------


def catalog(**subscription: Any) -> dict[str, Any]:
    return {
        "coupons": [LAUNCH],
        "subscriptions": [
            {
                "key": "acme-payg",
                "customer": "acme",
                "plan": "payg",
                "start": "2026-01-01T00:00:00Z",
                "coupons": ["launch"],
                "commitments": [YEAR],
                **subscription,
            }
        ],
    }


def test_a_file_redeems_and_commits_and_does_so_once(acme: World) -> None:
    planned = plan_apply(acme.books, acme.tenant_id, catalog(), acme.now)
    assert [(change.kind, change.outcome.value) for change in planned.changing()] == [
        ("coupon", "created"),
        ("subscription", "changed"),
    ]
    assert [field.field for field in planned.changes[1].fields] == ["coupons.launch", "commitments.year"]
    assert apply(acme.books, acme.tenant_id, catalog(), acme.now) == planned
    assert apply(acme.books, acme.tenant_id, catalog(), acme.now + timedelta(days=1)).changing() == ()
    assert len(list_redemptions(acme.books, acme.tenant_id, "acme-payg")) == 1


def test_with_a_new_subscription_a_coupon_counts_from_its_start(world: World) -> None:
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg", "key": "other"}])
    apply(world.books, world.tenant_id, catalog(), world.now)
    (one,) = list_redemptions(world.books, world.tenant_id, "acme-payg")
    assert one == {
        "coupon": "launch",
        "start": "2026-01-01T00:00:00Z",
        "invoices_reduced": 0,
        "invoices_left": None,
        "taken_off": "0",
    }


def test_every_fault_of_a_file_is_named_with_its_place(acme: World) -> None:
    raw = catalog(coupons=["launch", "none"], commitments=[YEAR | {"rate_cards": ["none"]}])
    with pytest.raises(InvalidInput) as refused:
        apply(acme.books, acme.tenant_id, raw, acme.now)
    assert [fault.path for fault in refused.value.faults] == [
        "subscriptions[0].coupons[1]",
        "subscriptions[0].commitments[0].rate_cards",
    ]
    assert refusal(get_coupon, acme.books, acme.tenant_id, "launch")[0] == "coupon_not_found", (
        "all or nothing"
    )


def test_a_subscription_is_created_with_its_terms(acme: World) -> None:
    coupon(acme)
    raw = catalog()["subscriptions"][0] | {"key": "second"}
    assert create_subscription(acme.books, acme.tenant_id, raw, acme.now)[1] is Outcome.CREATED
    assert create_subscription(acme.books, acme.tenant_id, raw, acme.now)[1] is Outcome.UNCHANGED
    assert get_terms(acme.books, acme.tenant_id, "second")[1].redemptions[0].start == instant("2026-01-01")


def test_a_coupon_with_few_places_left_is_not_overdrawn_by_a_file(world: World) -> None:
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg", "key": "other"}])
    one = catalog(commitments=[])["subscriptions"][0]
    raw = {"coupons": [LAUNCH | {"max_redemptions": 1}], "subscriptions": [one, one | {"key": "second"}]}
    assert refusal(apply, world.books, world.tenant_id, raw, world.now) == (
        "coupon_exhausted",
        "subscriptions[1].coupons[0]",
    )


# -- The billing run sees them as they stand ----------------------------------------------------


def test_what_is_redeemed_after_the_draft_is_not_overlooked(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from farthing.invoicing import store as rows

    acme.use("acme", "2026-01-05", "1000000")
    coupon(acme)
    lock = rows.lock_issuing

    def redeem_first(*arguments: Any) -> None:
        monkeypatch.setattr(rows, "lock_issuing", lock)
        redeem(acme, start="2026-01-01T00:00:00Z")
        lock(*arguments)

    monkeypatch.setattr(rows, "lock_issuing", redeem_first)
    first = acme.bill("2026-02-01")
    assert (first.issued, [one["reason"] for one in first.skipped]) == ([], ["subscription_changed"])
    assert acme.bill("2026-02-01").issued == ["INV-000001"]
    (state,) = list_redemptions(acme.books, acme.tenant_id, "acme-payg")
    assert (state["invoices_reduced"], state["taken_off"]) == (1, "0.25")


def test_ending_at_once_does_not_lose_the_true_up(acme: World) -> None:
    commit(acme, start=None)
    acme.use("acme", "2026-01-05", "1000000")
    acme.bill("2026-02-01")
    cancel_subscription(acme.books, acme.tenant_id, "acme-payg", instant("2026-02-01"), acme.now)
    result = acme.bill("2026-02-02")
    assert result.issued == ["INV-000002"]
    (state,) = list_commitments(acme.books, acme.tenant_id, "acme-payg")
    assert (state["used"], state["left"], state["true_up"]) == ("2.5", "0", "97.5")
    assert acme.bill("2026-03-02").issued == []
