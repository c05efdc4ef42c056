"""Reading invoices, explaining their lines down to the event, and saying who sells."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, World, fee, open_store, plan

from farthing.db import Books
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import get_invoice, get_seller, invoice_documents, list_invoices, put_seller
from farthing.kernel.errors import InvalidInput, NotFound

TIERS = {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "0.01"}, {"unit_price": "0.005"}]}


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


def test_a_line_is_explained_down_to_its_events(world: World) -> None:
    world.furnish([plan(PER_TOKEN | {"price": TIERS})], [{"customer": "acme", "plan": "payg"}])
    world.use_all([("acme", f"2026-01-{day:02d}", "50", {"model": "opus"}) for day in range(1, 5)])
    world.bill("2026-02-01")
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000001", 1, limit=3)
    assert said["line"]["charges"] == [
        {"quantity": "100", "unit_price": "0.01", "amount": "1", "reason": "tier 1"},
        {"quantity": "100", "unit_price": "0.005", "amount": "0.5", "reason": "tier 2"},
    ]
    assert (said["plan"], said["rate_card"]) == ({"key": "payg", "name": "Payg", "version": 1}, "tokens")
    assert said["price"]["model"] == "graduated"
    assert (said["meter"]["key"], said["meter"]["value"]) == ("tokens", "data.tokens")
    assert (said["quantity_billed"], said["quantity_now"], said["changed_since"]) == ("200", "200", False)
    assert said["events_total"] == 4
    assert [(event["time"], event["value"], event["subject"]) for event in said["events"]] == [
        ("2026-01-01T12:00:00Z", "50", "acme"),
        ("2026-01-02T12:00:00Z", "50", "acme"),
        ("2026-01-03T12:00:00Z", "50", "acme"),
    ]


def test_usage_that_came_late_is_visible(world: World) -> None:
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "100")
    world.bill("2026-02-01")
    world.use("acme", "2026-01-06", "7")
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000001", 1, limit=10)
    assert (said["quantity_billed"], said["quantity_now"], said["changed_since"]) == ("100", "107", True)
    assert said["events_total"] == 2


def test_each_line_of_a_matrix_has_its_own_events(world: World) -> None:
    price = {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [
            {"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "0.01"}},
            {"when": {"model": "sonnet"}, "price": TIERS},
        ],
        "default": TIERS,
        "minimum": "1000",
    }
    world.furnish([plan(PER_TOKEN | {"price": price})], [{"customer": "acme", "plan": "payg"}])
    world.use_all(
        [
            ("acme", "2026-01-01", "1", {"model": "opus"}),
            ("acme", "2026-01-02", "2", {"model": "sonnet"}),
            ("acme", "2026-01-03", "3", {"model": "haiku"}),
            ("acme", "2026-01-04", "4", {"model": "flute"}),
            ("acme", "2026-01-05", "5", {}),
        ]
    )
    world.bill("2026-02-01")
    explained = [
        explain_line(world.books, world.store, world.tenant_id, "INV-000001", line, limit=10)
        for line in range(1, 5)
    ]
    assert [
        (said["line"]["dimensions"], said["quantity_now"], sorted(event["value"] for event in said["events"]))
        for said in explained
    ] == [
        ({"model": "opus"}, "1", ["1"]),
        ({"model": "sonnet"}, "2", ["2"]),
        ({}, "12", ["3", "4", "5"]),
        ({}, "0", []),
    ]
    assert [charge["reason"] for charge in explained[-1]["line"]["charges"]] == ["minimum"]
    assert not any(said["changed_since"] for said in explained)


def test_a_fixed_fee_is_explained_by_its_price(world: World) -> None:
    world.furnish([plan(fee("49"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-02-01")
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000001", 1, limit=10)
    assert said["price"] == {"model": "flat", "amount": "49"}
    assert "meter" not in said


def test_what_is_not_there_is_not_found(world: World) -> None:
    world.furnish([plan(fee("49"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-02-01")
    for ask in (
        lambda: get_invoice(world.books, world.tenant_id, "INV-000002"),
        lambda: list(invoice_documents(world.books, world.tenant_id, ["INV-000001", "INV-000002"])),
        lambda: explain_line(world.books, world.store, world.tenant_id, "INV-000002", 1, 1),
    ):
        with pytest.raises(NotFound, match="INV-000002"):
            ask()
    with pytest.raises(NotFound, match="has lines 1 to 1"):
        explain_line(world.books, world.store, world.tenant_id, "INV-000001", 2, 1)


def test_invoices_are_listed_in_pages_and_by_customer(world: World) -> None:
    names = ["a", "b", "c"]
    world.furnish([plan(fee("49"))], [{"customer": name, "plan": "payg"} for name in names])
    world.bill("2026-03-01")
    numbers: list[str] = []
    while page := list_invoices(world.books, world.tenant_id, numbers[-1] if numbers else None, 4):
        assert len(page) <= 4
        numbers += [one["number"] for one in page]
    assert numbers == [f"INV-{number:06d}" for number in range(1, 7)]
    of_b = list_invoices(world.books, world.tenant_id, None, 100, customer="b")
    assert [(one["number"], one["customer"]) for one in of_b] == [("INV-000002", "b"), ("INV-000005", "b")]
    assert of_b[0] == {
        "number": "INV-000002",
        "customer": "b",
        "subscription": "b-payg",
        "status": "issued",
        "currency": "USD",
        "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "subtotal": "49.00",
        "tax": "0.00",
        "total_exact": "49",
        "total": "49.00",
        "reason": "period",
        "issued_at": "2026-11-23T12:00:00Z",
    }
    assert list_invoices(world.books, world.tenant_id, None, 100, customer="nobody") == []


def test_the_seller_of_the_day_stands_on_the_invoice_for_ever(world: World) -> None:
    world.furnish([plan(fee("49"))], [{"customer": "acme", "plan": "payg"}])
    first = {"name": "Northwind AI", "address": {"city": "Berlin"}, "tax_id": "DE 123", "paper": "us-letter"}
    assert put_seller(world.books, world.tenant_id, first) == first
    world.bill("2026-02-01")
    put_seller(world.books, world.tenant_id, {"name": "Northwind SE"})
    world.bill("2026-03-01")
    sellers = [get_invoice(world.books, world.tenant_id, f"INV-00000{n}")["seller"] for n in (1, 2)]
    assert sellers == [
        {"name": "Northwind AI", "address": {"city": "Berlin"}, "tax_id": "DE 123"},
        {"name": "Northwind SE"},
    ]
    assert get_seller(world.books, world.tenant_id) == {"name": "Northwind SE"}


def test_a_seller_that_is_wrong_is_refused_with_every_fault(world: World) -> None:
    wrong = {"email": 7, "paper": "a5", "logo_png": "aGVsbG8=", "colour": "red", "address": {"street": "1"}}
    with pytest.raises(InvalidInput) as refused:
        put_seller(world.books, world.tenant_id, wrong)
    assert {fault.path for fault in refused.value.faults} == {
        "name", "email", "paper", "logo_png", "colour", "address.street",
    }  # fmt: skip
    with pytest.raises(InvalidInput) as refused:
        put_seller(world.books, world.tenant_id, {"name": "N", "logo_svg": "<svg>broken"})
    assert refused.value.code == "invalid_logo"
