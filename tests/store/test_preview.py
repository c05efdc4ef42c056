"""Looking ahead: a preview is what the run issues, an estimate is what the usage then adds, to the last digit."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan

from farthing.catalog.service import put_coupon
from farthing.customers.service import cancel_subscription
from farthing.customers.terms.service import add_commitment, redeem_coupon
from farthing.db import Books
from farthing.invoicing.ahead.estimate import parse_question
from farthing.invoicing.ahead.preview import estimate_usage, preview_billing
from farthing.invoicing.service import invoice_documents
from farthing.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound

TIERS = {
    "model": "graduated",
    "tiers": [{"up_to": "1000", "unit_price": "0.01", "flat_fee": "3"}, {"unit_price": "0.0033"}],
    "free_units": "100",
}
MATRIX = {
    "model": "matrix",
    "dimensions": ["model"],
    "cells": [{"when": {"model": "opus"}, "price": TIERS}],
    "default": {"model": "package", "package_price": "0.7", "package_size": "300"},
    "minimum": "2",
}
TIERED = PER_TOKEN | {"key": "tiered", "name": "Tiered", "price": TIERS}
BY_MODEL = PER_TOKEN | {"key": "by_model", "name": "By model", "price": MATRIX}
UNISSUED = ("number", "status", "issued_at", "due_at")


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


@pytest.fixture
def rich(world: World) -> World:
    """Acme with everything: tiers, a matrix, a fee in advance, a minimum, coupons, both kinds of commitment."""
    plans = [
        plan(TIERED, BY_MODEL, fee("9.99", "advance"), minimum="12.34"),
        plan(PER_TOKEN, key="plain"),
    ]
    subscriptions = [
        {"customer": "acme", "plan": "payg"},
        {"customer": "acme", "plan": "plain"},
        {"customer": "zoe", "plan": "plain"},
    ]
    world.furnish(plans, subscriptions)
    for coupon in (
        {"key": "a", "name": "A", "percent": "7.5", "duration": "repeating", "periods": 2},
        {"key": "b", "name": "B", "amount": "1.01", "currency": "USD", "duration": "forever"},
    ):
        put_coupon(world.books, world.tenant_id, coupon, world.now)
        redemption = {"coupon": coupon["key"], "start": "2026-01-01T00:00:00Z"}
        redeem_coupon(world.books, world.tenant_id, "acme-payg", redemption, world.now)
    for commitment in (
        {"kind": "prepaid", "amount": "11.5", "rate_cards": ["tiered"], "overage_percent": "130"},
        {"kind": "minimum", "amount": "9", "rate_cards": ["by_model"], "overage_percent": "80"},
    ):
        raw = {"key": commitment["kind"], "interval": "quarter", **commitment}
        add_commitment(world.books, world.tenant_id, "acme-payg", raw, world.now)
    world.use_all(
        [
            (customer, f"2026-{month:02d}-{day:02d}", str(tokens), {"model": model})
            for customer in ("acme", "zoe")
            for month in (1, 2, 3)
            for day, tokens, model in ((3, 450, "opus"), (9, 777, "opus"), (20, 901, "haiku"))
        ]
    )
    return world


def preview(world: World, at: str, **more: Any) -> list[dict[str, Any]]:
    return preview_billing(world.books, world.store, world.tenant_id, instant(at), **more).upcoming


def known(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what only the issue gives it."""
    return {name: value for name, value in document.items() if name not in UNISSUED}


@pytest.mark.parametrize("at", ["2026-01-01", "2026-02-01", "2026-03-17", "2026-04-01", "2026-07-01"])
def test_a_preview_is_what_the_run_at_the_same_clock_issues(rich: World, at: str) -> None:
    ahead = preview(rich, at)
    issued = rich.bill(at, now=instant(at)).issued
    documents = list(invoice_documents(rich.books, rich.tenant_id, issued))
    assert documents, "there is something to compare"
    assert [known(one) for one in ahead if one["status"] == "due"] == [known(one) for one in documents]


def test_nothing_is_issued_and_no_number_is_taken(rich: World) -> None:
    assert preview(rich, "2026-03-17") == preview(rich, "2026-03-17")
    with rich.books.read_only(rich.tenant_id) as conn:
        for table in ("invoices", "invoice_counters"):
            assert conn.execute(f"SELECT count(*) AS n FROM {table}").fetchone() == {"n": 0}


def test_an_open_period_as_it_stands_is_what_is_issued_if_nothing_more_happens(rich: World) -> None:
    rich.bill("2026-03-01")
    ahead = preview(rich, "2026-03-25")
    assert {one["status"] for one in ahead} == {"open"}
    assert all(one[name] is None for one in ahead for name in ("number", "issued_at", "due_at"))
    documents = list(invoice_documents(rich.books, rich.tenant_id, rich.bill("2026-04-01").issued))
    assert [known(one) for one in ahead] == [known(one) for one in documents]


def test_for_one_customer(rich: World) -> None:
    everybody = preview(rich, "2026-02-10")
    assert preview(rich, "2026-02-10", customer="zoe") == [
        one for one in everybody if one["customer"] == "zoe"
    ]
    with pytest.raises(NotFound):
        preview(rich, "2026-02-10", customer="nobody")
    with pytest.raises(LimitExceeded):
        preview(rich, "2026-02-10", customer="zoe", most=1)


def test_a_subscription_that_is_over_has_no_open_period(rich: World) -> None:
    cancel_subscription(rich.books, rich.tenant_id, "zoe-plain", instant("2026-02-10"), rich.now)
    found = preview(rich, "2026-02-10", customer="zoe")
    assert [(one["status"], one["period"]["end"][:10]) for one in found] == [
        ("due", "2026-02-01"),
        ("due", "2026-02-10"),
    ]


# -- Estimates ------------------------------------------------------------------------------------


def estimate(world: World, at: str, *usage: tuple[str, str], **whose: Any) -> dict[str, Any]:
    rows = [
        {"meter": "tokens", "quantity": quantity, "dimensions": {"model": model}} for model, quantity in usage
    ]
    question = parse_question({**whose, "usage": rows})
    return estimate_usage(world.books, world.store, world.tenant_id, question, instant(at))


@pytest.mark.parametrize("at", ["2026-01-02", "2026-01-15", "2026-02-21", "2026-03-25"])
@pytest.mark.parametrize(
    "usage",
    [[("opus", "1")], [("opus", "5000"), ("haiku", "123.5")], [("other", "301")], [("haiku", "0")]],
)
def test_an_estimate_is_what_the_usage_then_adds(rich: World, at: str, usage: list[tuple[str, str]]) -> None:
    def total() -> Decimal:
        documents = preview(rich, at, customer="acme")
        return sum((Decimal(one["total_exact"]) for one in documents if one["status"] == "open"), Decimal(0))

    before = total()
    said = estimate(rich, at, *usage, customer="acme")
    assert total() == before, "nothing is stored"
    for model, quantity in usage:
        rich.use("acme", at, quantity, model=model)
    assert before + Decimal(said["amount_exact"]) == total()
    assert sum(Decimal(line["amount_exact"]) for line in said["lines"]) == Decimal(said["amount_exact"])
    for line in said["lines"]:
        if line["kind"] == "usage":
            assert sum(Decimal(one["amount"]) for one in line["charges"]) == Decimal(line["amount_exact"])


def test_it_is_priced_where_the_customer_stands(world: World) -> None:
    """950 used: 100 free, 850 in the first tier. 250 more: 150 of them up to 1000, then 100 beyond."""
    world.furnish([plan(TIERED)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "950")
    said = estimate(world, "2026-01-20", ("opus", "250"), customer="acme")
    assert said == {
        "at": "2026-01-20T00:00:00Z",
        "currency": "USD",
        "lines": [
            {
                "subscription": "acme-payg",
                "plan": "payg",
                "kind": "usage",
                "rate_card": "tiered",
                "meter": "tokens",
                "description": "Tiered",
                "dimensions": {},
                "service_period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
                "quantity": "250",
                "amount_exact": "1.83",
                "charges": [
                    {"quantity": "150", "unit_price": "0.01", "amount": "1.5", "reason": "tier 1"},
                    {"quantity": "100", "unit_price": "0.0033", "amount": "0.33", "reason": "tier 2"},
                ],
            }
        ],
        "amount_exact": "1.83",
        "amount": "1.83",
    }


def test_on_a_plan_it_begins_at_zero(rich: World) -> None:
    """Of 1200 opus 100 are free: 3 + 1000 * 0.01 + 100 * 0.0033 = 13.33 on both cards.

    The matrix asks for 2 in any case, and the plan for 12.34 with it and the fee of 9.99: 0.35 is spared.
    """
    said = estimate(rich, "2026-01-20", ("opus", "1200"), plan="payg")
    assert [(line["kind"], line["rate_card"], line["amount_exact"]) for line in said["lines"]] == [
        ("usage", "tiered", "13.33"),
        ("usage", "by_model", "13.33"),
        ("usage", "by_model", "-2"),
        ("minimum", None, "-0.35"),
    ]
    assert (said["amount_exact"], said["lines"][0]["subscription"]) == ("24.31", None)


def test_below_a_minimum_usage_adds_nothing(world: World) -> None:
    world.furnish([plan(PER_TOKEN, minimum="50")], [{"customer": "acme", "plan": "payg"}])
    said = estimate(world, "2026-01-20", ("opus", "400000"), subscription="acme-payg")
    assert [(line["kind"], line["amount_exact"]) for line in said["lines"]] == [
        ("usage", "1"),
        ("minimum", "-1"),
    ]
    assert (said["amount_exact"], said["amount"]) == ("0", "0.00")


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        ({}, ["usage", "customer"]),
        ({"customer": "acme", "plan": "payg", "usage": []}, ["usage", "customer"]),
        ({"customer": "acme", "version": 1, "usage": [{"meter": "m", "quantity": "1"}]}, ["version"]),
        ({"plan": "payg", "usage": [{"meter": "tokens", "quantity": "-1"}]}, ["usage[0].quantity"]),
        ({"plan": "payg", "usage": [{"meter": "tokens"}]}, ["usage[0].quantity"]),
        (
            {"plan": "payg", "usage": [{"meter": "tokens", "quantity": "1", "dimensions": {"model": 1}}]},
            ["usage[0].dimensions.model"],
        ),
        ({"plan": "payg", "usage": [{"meter": "none", "quantity": "1"}]}, ["usage[0].meter"]),
        (
            {"plan": "payg", "usage": [{"meter": "tokens", "quantity": "1", "dimensions": {"no": "x"}}]},
            ["usage[0].dimensions.no"],
        ),
    ],
)
def test_a_faulty_question_is_refused_with_every_place(rich: World, raw: object, paths: list[str]) -> None:
    def ask() -> None:
        estimate_usage(rich.books, rich.store, rich.tenant_id, parse_question(raw), rich.now)

    with pytest.raises(InvalidInput) as refused:
        ask()
    assert refused.value.code == "invalid_estimate"
    assert [fault.path for fault in refused.value.faults] == paths


def test_nobody_to_estimate_for(rich: World) -> None:
    for whose in ({"customer": "nobody"}, {"subscription": "none"}, {"plan": "none"}):
        with pytest.raises(NotFound):
            estimate(rich, "2026-01-20", ("opus", "1"), **whose)
    with pytest.raises(Conflict, match="no subscription"):
        estimate(rich, "2025-01-20", ("opus", "1"), customer="acme")
