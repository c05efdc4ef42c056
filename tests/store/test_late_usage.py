"""Events that come after the invoice of their period are a line of the next one; issued invoices never change."""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from tax_world import collects_tax

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.model import VOID_TYPE
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.checks import check_booked, check_documents, check_sums
from farthing.invoicing.credit_notes.service import void_invoice
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import get_invoice, list_invoices

TIERED = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {
        "model": "graduated",
        "tiers": [
            {"up_to": "100", "unit_price": "0.1"},
            {"up_to": "300", "unit_price": "0.03"},
            {"unit_price": "0.007"},
        ],
    },
}
BY_MODEL = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [{"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "0.5"}}],
        "default": {"model": "per_unit", "unit_price": "0.2"},
    },
}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield world
    world.store.close()


def at(world: World, day: str) -> None:
    """What is sent and billed from now on happens on that day."""
    world.now = instant(day)


def bill(world: World, day: str) -> list[str]:
    at(world, day)
    return world.bill(day).issued


def correction(event_id: str, target: str, day: str) -> dict[str, Any]:
    """An event that voids another."""
    return {
        "specversion": "1.0", "id": event_id, "source": "test", "type": VOID_TYPE, "corrects": target,
        "time": f"{day}T00:00:00Z",
    }  # fmt: skip


def lines(world: World, number: str) -> list[tuple[str, str, str]]:
    document = get_invoice(world.books, world.tenant_id, number)
    return [(line["kind"], line["description"], line["amount_exact"]) for line in document["lines"]]


def well(world: World) -> bool:
    found = [
        finding
        for check in (check_sums, check_documents, check_booked)
        for finding in check(world.books, world.tenant_id).findings
    ]
    assert found == []
    return True


def test_what_came_late_is_a_line_of_the_next_invoice(world: World) -> None:
    """150 tokens in January are 11.50; 200 more make it 350: 10 + 6 + 0.35, of which 4.85 are owed in February."""
    world.furnish([plan(TIERED)], [{"customer": "acme", "plan": "payg"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "150")
    assert bill(world, "2026-02-01") == ["INV-000001"]
    before = get_invoice(world.books, world.tenant_id, "INV-000001")
    at(world, "2026-02-05")
    world.use("acme", "2026-01-31T23:59:59Z", "200")
    world.use("acme", "2026-02-03", "10")
    (ahead,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    assert bill(world, "2026-03-01") == ["INV-000002"]
    found = get_invoice(world.books, world.tenant_id, "INV-000002")
    assert lines(world, "INV-000002") == [
        ("usage", "Tokens", "1"),
        ("correction", "Tokens, correction of INV-000001", "4.85"),
    ]
    correction = found["lines"][1]
    assert (correction["rate_card"], correction["adjustment"]["key"]) == ("tokens", "INV-000001")
    assert correction["charges"][0]["reason"] == "16.35 for 350 in place of 11.50"
    assert correction["service_period"] == before["period"]
    assert ahead["lines"] == found["lines"]
    assert get_invoice(world.books, world.tenant_id, "INV-000001") == before
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000002", 2, 10)
    assert (said["corrects"], said["events_total"]) == ("INV-000001", 1)
    assert [(event["id"], event["value"]) for event in said["events"]] == [("1", "200")]
    assert bill(world, "2026-04-01") == []
    assert well(world)


def test_an_event_that_is_voided_after_its_invoice_is_taken_off_the_next(world: World) -> None:
    """150 and 200 tokens in January are 16.35; without the 200 they are 11.50: 4.85 less on February's invoice."""
    world.furnish([plan(TIERED)], [{"customer": "acme", "plan": "payg"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "150")
    world.use("acme", "2026-01-11", "200")
    assert bill(world, "2026-02-01") == ["INV-000001"]
    at(world, "2026-02-10")
    world.send([correction("v", "1", "2026-02-10")])
    world.use("acme", "2026-02-03", "10")
    (ahead,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    assert bill(world, "2026-03-01") == ["INV-000002"]
    assert lines(world, "INV-000002") == [
        ("usage", "Tokens", "1"),
        ("correction", "Tokens, correction of INV-000001", "-4.85"),
    ]
    assert ahead["lines"] == get_invoice(world.books, world.tenant_id, "INV-000002")["lines"]
    assert bill(world, "2026-04-01") == []
    assert well(world)


def test_an_event_that_is_replaced_after_its_invoice_is_billed_by_the_difference(world: World) -> None:
    """The replacement is of another month than the event, and of another customer: three periods change."""
    world.furnish(
        [plan(PER_TOKEN, fee("1"))], [{"customer": name, "plan": "payg"} for name in ("acme", "bolt")]
    )
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "1000000")
    world.use("bolt", "2026-01-10", "4000000")
    bill(world, "2026-02-01")
    bill(world, "2026-03-01")
    at(world, "2026-03-10")
    (instead,) = world.events([("bolt", "2026-02-10", "2000000", {})])
    world.send([instead | {"corrects": "0"}])
    bill(world, "2026-04-01")
    found = {
        document["customer"]: [(line["kind"], line["amount_exact"]) for line in document["lines"]]
        for number in ("INV-000005", "INV-000006")
        for document in [get_invoice(world.books, world.tenant_id, number)]
    }
    assert found == {
        "acme": [("fee", "1"), ("correction", "-2.5")],
        "bolt": [("fee", "1"), ("correction", "5")],
    }
    assert well(world)


def test_a_void_that_comes_before_its_event_and_one_that_is_late_itself(world: World) -> None:
    """An event and its void, both after the invoice, change nothing; nor does what is not usage."""
    world.furnish([plan(PER_TOKEN, fee("1"))], [{"customer": "acme", "plan": "payg"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "1000000")
    bill(world, "2026-02-01")
    late = world.events([("acme", "2026-01-11", "4000000", {})])
    world.send([correction("v", "1", "2026-02-10")])
    world.send(late)
    bill(world, "2026-03-01")
    assert [line[0] for line in lines(world, "INV-000002")] == ["fee"]
    # The same event again: its id is taken. Then the one that was billed.
    world.send([correction("w", "0", "2026-03-10")])
    bill(world, "2026-04-01")
    assert lines(world, "INV-000003")[-1] == ("correction", "Tokens, correction of INV-000001", "-2.5")
    bill(world, "2026-05-01")
    assert [line[0] for line in lines(world, "INV-000004")] == ["fee"]
    assert well(world)


def test_a_later_correction_knows_the_earlier_one(world: World) -> None:
    world.furnish([plan(PER_TOKEN, fee("1"))], [{"customer": "acme", "plan": "payg"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "1000000")
    bill(world, "2026-02-01")
    for month in ("2026-03", "2026-04"):
        world.use("acme", "2026-01-11", "2000000")
        bill(world, f"{month}-01")
    assert [lines(world, f"INV-00000{place}")[-1][2] for place in (1, 2, 3)] == ["1", "5", "5"]
    assert [line[0] for line in lines(world, "INV-000003")] == ["fee", "correction"]
    bill(world, "2026-05-01")
    assert [line[0] for line in lines(world, "INV-000004")] == ["fee"]
    assert well(world)


def test_each_line_of_a_matrix_is_corrected_and_a_new_one_comes(world: World) -> None:
    world.furnish([plan(BY_MODEL)], [{"customer": "acme", "plan": "payg"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "10", model="opus")
    bill(world, "2026-02-01")
    world.use("acme", "2026-01-10", "5", model="mini")
    world.use("acme", "2026-01-10", "-4", model="opus")
    bill(world, "2026-03-01")
    found = get_invoice(world.books, world.tenant_id, "INV-000002")
    assert [(line["dimensions"], line["amount_exact"]) for line in found["lines"]] == [
        ({"model": "opus"}, "-2"),
        ({"model": "mini"}, "1"),
    ]
    assert found["total"] == "-1.00"
    assert well(world)


def test_a_correction_bears_the_tax_of_its_period(world: World) -> None:
    lowered = {"country": "DE", "rate": "16", "name": "VAT", "from": "2026-02-01"}
    world.furnish(
        [plan(fee("100"), PER_TOKEN)], [{"customer": "acme", "plan": "payg"}], address={"country": "DE"}
    )
    collects_tax(world, lowered)
    bill(world, "2026-02-01")
    world.use("acme", "2026-01-10", "4000000")
    bill(world, "2026-03-01")
    found = get_invoice(world.books, world.tenant_id, "INV-000002")
    assert [(tax["rate"], tax["net"], tax["amount"]) for tax in found["taxes"]] == [
        ("16", "100.00", "16.00"),
        ("19", "10.00", "1.90"),
    ]
    assert well(world)


def test_what_a_voided_invoice_corrected_is_corrected_again(world: World) -> None:
    world.furnish([plan(fee("1"), PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    bill(world, "2026-02-01")
    world.use("acme", "2026-01-10", "4000000")
    bill(world, "2026-03-01")
    void_invoice(world.books, world.tenant_id, "INV-000002", "Mistake", world.now)
    assert bill(world, "2026-03-01") == ["INV-000003"]
    assert lines(world, "INV-000003")[-1] == ("correction", "Tokens, correction of INV-000001", "10")
    assert well(world)


def test_only_those_whose_usage_came_late_are_corrected(world: World) -> None:
    names = ("acme", "bolt", "core")
    world.furnish([plan(fee("1"), PER_TOKEN)], [{"customer": name, "plan": "payg"} for name in names])
    bill(world, "2026-02-01")
    world.use_all([("bolt", "2026-01-10", "4000000", {}), ("acme", "2026-02-10", "4000000", {})])
    bill(world, "2026-03-01")
    kinds = {
        one["customer"]: [line[0] for line in lines(world, one["number"])]
        for one in list_invoices(world.books, world.tenant_id, "INV-000003", 10)
    }
    assert kinds == {"acme": ["usage", "fee"], "bolt": ["fee", "correction"], "core": ["fee"]} or kinds == {
        "acme": ["fee", "usage"], "bolt": ["fee", "correction"], "core": ["fee"],
    }  # fmt: skip
    assert well(world)


def test_what_comes_after_the_end_has_invoices_of_its_own(world: World) -> None:
    """100 tokens are 10.00; 50 more 1.50; 200 more 350 in all: 16.35."""
    world.furnish(
        [plan(TIERED, fee("1"))], [{"customer": "acme", "plan": "payg", "end": "2026-02-01T00:00:00Z"}]
    )
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "100")
    (last,) = bill(world, "2026-02-01")
    before = get_invoice(world.books, world.tenant_id, last)
    assert bill(world, "2026-02-02") == []
    world.use("acme", "2026-01-31T23:59:59Z", "50")
    world.use("acme", "2026-02-03", "1000")
    (ahead,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    (first,) = bill(world, "2026-02-10")
    found = get_invoice(world.books, world.tenant_id, first)
    assert (found["reason"], found["total"], ahead["total"]) == ("settlement", "1.50", "1.50")
    assert lines(world, first) == [("correction", f"Tokens, correction of {last}", "1.5")]
    world.use("acme", "2026-01-12", "200")
    (second,) = bill(world, "2026-03-01")
    assert lines(world, second) == [("correction", f"Tokens, correction of {last}", "4.85")]
    assert bill(world, "2026-04-01") == []
    assert get_invoice(world.books, world.tenant_id, last) == before
    void_invoice(world.books, world.tenant_id, second, "Mistake", world.now)
    (again,) = bill(world, "2026-04-01")
    assert lines(world, again) == lines(world, second)
    assert well(world)


def test_what_is_taken_off_after_the_end_is_given_as_credit(world: World) -> None:
    world.furnish([plan(TIERED)], [{"customer": "acme", "plan": "payg", "end": "2026-02-01T00:00:00Z"}])
    at(world, "2026-01-20")
    world.use("acme", "2026-01-10", "100")
    world.use("acme", "2026-01-11", "50")
    bill(world, "2026-02-01")
    at(world, "2026-02-05")
    world.send([correction("v-1", "1", "2026-02-05")])
    (settlement,) = bill(world, "2026-02-10")
    assert get_invoice(world.books, world.tenant_id, settlement)["total"] == "-1.50"
    assert bill(world, "2026-03-01") == []
    assert well(world)


# ---- Any sequence of late events

steps = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, 6), st.integers(-50, 400)),
        st.tuples(st.just("bill"), st.just(0), st.just(0)),
    ),
    max_size=14,
)


def tiered(quantity: int) -> Fraction:
    """The price of TIERED, written down a second time."""
    bands = ((0, 100, Fraction("0.1")), (100, 300, Fraction("0.03")), (300, 10**9, Fraction("0.007")))
    return sum((max(0, min(quantity, upper) - lower) * price for lower, upper, price in bands), Fraction(0))


@settings(max_examples=15)
@given(steps, st.booleans())
def test_the_invoices_sum_to_what_one_at_the_end_would_have_been(
    books: Books, session_now: datetime, tmp_path_factory: Any, steps: list[tuple[str, int, int]], ends: bool
) -> None:
    """Whether the subscription goes on or has ended with the last month that is used in."""
    number = next(_numbers)
    tenant_id = create_tenant(books, f"late-{number}", f"Late {number}", session_now)
    world = World(books, open_store(tmp_path_factory.mktemp("late")), tenant_id, instant("2026-01-01"))
    subscription = {"customer": "acme", "plan": "payg"} | ({"end": "2026-07-01T00:00:00Z"} if ends else {})
    world.furnish([plan(TIERED, fee("1"))], [subscription])
    used = dict.fromkeys(range(1, 7), 0)
    month = 1
    issued: dict[str, Any] = {}

    def billed_until(month: int) -> None:
        for one in bill(world, f"2026-{month:02}-01"):
            issued[one] = get_invoice(books, tenant_id, one)

    for what, of_month, quantity in steps:
        if what == "use":
            world.use("acme", f"2026-{of_month:02}-15", str(quantity))
            used[of_month] += quantity
        elif month < (9 if ends else 7):
            month += 2 if ends else 1
            billed_until(month)
    # The last invoice after everything has come: of July, which has no usage, or of what came after the end.
    billed_until(10 if ends else 8)
    expected = {at: tiered(quantity) for at, quantity in used.items()}
    found = {at: Fraction(0) for at in used}
    for document in issued.values():
        for line in document["lines"]:
            if line["kind"] in ("usage", "correction"):
                found[int(line["service_period"]["start"][5:7])] += Fraction(line["amount_exact"])
    assert {at: amount for at, amount in found.items() if at < 7} == expected
    assert issued == {one: get_invoice(books, tenant_id, one) for one in issued}
    well(world)
    world.store.close()


_numbers = iter(range(10**6))
