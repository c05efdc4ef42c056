"""The billing run on real events and real books: what is issued, once, in order, without a gap."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, amounts, fee, instant, open_store, plan

from farthing.customers.service import cancel_subscription
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing import batches, service
from farthing.invoicing import store as rows
from farthing.invoicing.service import get_invoice, invoice_documents, run_billing

MATRIX = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [
            {"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "0.0000025"}},
            {"when": {"model": "haiku"}, "price": {"model": "per_unit", "unit_price": "0.00000125"}},
        ],
    },
}


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


def documents(world: World, numbers: list[str]) -> list[dict[str, Any]]:
    return list(invoice_documents(world.books, world.tenant_id, numbers))


def texts(world: World) -> list[str]:
    """Every invoice of the tenant, byte for byte, in order of issue."""
    with world.books.read_only(world.tenant_id) as conn:
        found = conn.execute("SELECT document FROM invoices ORDER BY invoice_id").fetchall()
    return [row["document"] for row in found]


def reasons(skipped: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(entry["subscription"], entry["period"]["start"][:10], entry["reason"]) for entry in skipped]


def test_the_invoice_of_the_example(world: World) -> None:
    world.furnish([plan(MATRIX)], [{"customer": "acme", "plan": "payg"}], timezone="UTC")
    world.use_all(
        [
            ("acme", "2026-01-05", "18059974", {"model": "opus"}),
            ("acme", "2026-01-31T23:59:59.999999Z", "1967168", {"model": "haiku"}),
            ("acme", "2026-02-01T00:00:00Z", "99", {"model": "haiku"}),
        ]
    )
    result = world.bill("2026-02-01", now=instant("2026-02-01T06:00:00Z"))
    assert (result.issued, result.skipped) == (["INV-000001"], [])
    document = get_invoice(world.books, world.tenant_id, "INV-000001")
    january = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    assert document == {
        "number": "INV-000001",
        "customer": "acme",
        "subscription": "acme-payg",
        "status": "issued",
        "currency": "USD",
        "period": january,
        "lines": [
            {
                "line": 1,
                "kind": "usage",
                "rate_card": "tokens",
                "meter": "tokens",
                "description": "Tokens",
                "dimensions": {"model": "opus"},
                "service_period": january,
                "quantity": "18059974",
                "amount_exact": "45.149935",
                "amount": "45.15",
                "charges": [
                    {
                        "quantity": "18059974",
                        "unit_price": "0.0000025",
                        "amount": "45.149935",
                        "reason": "usage",
                    }
                ],
            },
            {
                "line": 2,
                "kind": "usage",
                "rate_card": "tokens",
                "meter": "tokens",
                "description": "Tokens",
                "dimensions": {"model": "haiku"},
                "service_period": january,
                "quantity": "1967168",
                "amount_exact": "2.45896",
                "amount": "2.46",
                "charges": [
                    {
                        "quantity": "1967168",
                        "unit_price": "0.00000125",
                        "amount": "2.45896",
                        "reason": "usage",
                    }
                ],
            },
        ],
        "subtotal": "47.61",
        "tax": "0.00",
        "total_exact": "47.608895",
        "total": "47.61",
        "reason": "period",
        "issued_at": "2026-02-01T06:00:00Z",
        "due_at": "2026-03-03T06:00:00Z",
        "plan": {"key": "payg", "name": "Payg", "version": 1},
        "rounding": {"scope": "invoice", "mode": "half_up"},
        "timezone": "UTC",
        "bill_to": {"name": "Acme Inc.", "address": {}},
        "seller": document["seller"],
    }
    assert document["seller"]["name"].startswith("Test ")


def test_fees_in_advance_and_usage_in_arrears(world: World) -> None:
    world.furnish(
        [plan(PER_TOKEN, fee("49", "advance"))],
        [{"customer": "acme", "plan": "payg", "start": "2026-01-10T00:00:00Z"}],
    )
    world.use("acme", "2026-01-20", "400000")
    assert world.bill("2026-01-09").issued == []
    (start,) = documents(world, world.bill("2026-01-10").issued)
    assert (start["reason"], start["total"], start["total_exact"]) == (
        "start",
        "34.77",
        "34.774193548387096774",
    )
    (january,) = documents(world, world.bill("2026-02-01").issued)
    assert january["reason"] == "period"
    assert [
        (line["rate_card"], line["service_period"]["start"][:10], line["amount"]) for line in january["lines"]
    ] == [
        ("tokens", "2026-01-10", "1.00"),
        ("fee", "2026-02-01", "49.00"),
    ]


def test_running_again_changes_nothing(world: World) -> None:
    world.furnish(
        [plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}, {"customer": "idle", "plan": "payg"}]
    )
    world.use("acme", "2026-01-05", "1000000")
    first = world.bill("2026-02-15")
    assert first.issued == ["INV-000001"]
    assert reasons(first.skipped) == [("idle-payg", "2026-01-01", "nothing_to_bill")]
    before = texts(world)
    again = world.bill("2026-02-15", now=world.now + timedelta(days=1))
    assert again.issued == []
    assert reasons(again.skipped) == [
        ("acme-payg", "2026-01-01", "already_issued"),
        ("idle-payg", "2026-01-01", "nothing_to_bill"),
    ]
    assert texts(world) == before


def test_periods_long_past_are_caught_up_each_once_and_in_order(world: World) -> None:
    world.furnish(
        [plan(PER_TOKEN)],
        [
            {"customer": "zoe", "plan": "payg", "start": "2025-11-01T00:00:00Z"},
            {"customer": "adam", "plan": "payg", "start": "2025-12-01T00:00:00Z"},
        ],
    )
    days = ["2025-11-10", "2025-12-10", "2026-01-10", "2026-02-10"]
    world.use_all([(customer, day, "1000000", {}) for customer in ("adam", "zoe") for day in days])
    issued = documents(world, world.bill("2026-02-15").issued)
    assert [(one["number"], one["period"]["start"][:7], one["customer"]) for one in issued] == [
        ("INV-000001", "2025-11", "zoe"),
        ("INV-000002", "2025-12", "adam"),
        ("INV-000003", "2025-12", "zoe"),
        ("INV-000004", "2026-01", "adam"),
        ("INV-000005", "2026-01", "zoe"),
    ]
    assert {one["total"] for one in issued} == {"2.50"}


def test_usage_that_costs_nothing_is_shown(world: World) -> None:
    world.furnish([plan(MATRIX)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "12", model="unknown")
    (invoice,) = documents(world, world.bill("2026-02-01").issued)
    assert (invoice["total"], invoice["lines"][0]["quantity"]) == ("0.00", "12")
    assert invoice["lines"][0]["charges"][0]["reason"] == "unpriced"


def test_usage_that_comes_late_for_an_issued_period_is_not_billed_and_for_another_it_is(world: World) -> None:
    world.furnish(
        [plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}, {"customer": "slow", "plan": "payg"}]
    )
    world.use("acme", "2026-01-05", "1000000")
    assert len(world.bill("2026-02-01").issued) == 1
    before = texts(world)
    world.use("acme", "2026-01-06", "1000000")
    world.use("slow", "2026-01-06", "1000000")
    (late,) = documents(world, world.bill("2026-02-01").issued)
    assert late["customer"] == "slow"
    assert texts(world)[:1] == before


@pytest.mark.parametrize(("rounding", "total"), [("invoice", "1.00"), ("line", "0.99")])
def test_the_plan_says_what_is_rounded(world: World, rounding: str, total: str) -> None:
    cards = [fee("0.333", key=key) for key in ("one", "two", "three")]
    world.furnish([plan(*cards, rounding=rounding)], [{"customer": "acme", "plan": "payg"}])
    (invoice,) = documents(world, world.bill("2026-02-01").issued)
    assert invoice["total"] == total
    assert sum(amounts(invoice)) == Decimal(total)


@pytest.mark.parametrize(("currency", "total"), [("JPY", "1235"), ("KWD", "1234.500"), ("CLF", "1234.5000")])
def test_currencies_have_their_own_digits(world: World, currency: str, total: str) -> None:
    world.furnish([plan(fee("1234.5"), currency=currency)], [{"customer": "acme", "plan": "payg"}])
    (invoice,) = documents(world, world.bill("2026-02-01").issued)
    assert (invoice["total"], invoice["lines"][0]["amount"]) == (total, total)


# -- Once, whoever runs and whatever happens --------------------------------------------------


def many(world: World, customers: int) -> None:
    names = [f"customer-{number:02d}" for number in range(customers)]
    world.furnish([plan(PER_TOKEN)], [{"customer": name, "plan": "payg"} for name in names])
    world.use_all(
        [(name, day, "400000", {}) for name in names for day in ("2026-01-10", "2026-02-10", "2026-03-10")]
    )


def numbers_and_customers(world: World) -> list[tuple[str, str, str]]:
    with world.books.read_only(world.tenant_id) as conn:
        found = conn.execute(
            "SELECT i.number, c.key, i.period_start FROM invoices i JOIN customers c USING (tenant_id, customer_id)"
            " ORDER BY i.number"
        ).fetchall()
    return [(row["number"], row["key"], f"{row['period_start']:%Y-%m}") for row in found]


def test_runs_at_the_same_time_issue_everything_once_and_without_a_gap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "INVOICES_PER_TRANSACTION", 3)
    many(world, 10)
    together = threading.Barrier(4)

    def bill() -> list[str]:
        together.wait()
        return world.bill("2026-04-01").issued

    with ThreadPoolExecutor(4) as pool:
        runs = [run.result() for run in [pool.submit(bill) for _ in range(4)]]
    issued = sorted(number for run in runs for number in run)
    assert issued == [f"INV-{number:06d}" for number in range(1, 31)]
    standing = numbers_and_customers(world)
    assert [number for number, _, _ in standing] == issued
    assert len({(customer, month) for _, customer, month in standing}) == 30


def test_a_run_that_is_stopped_anywhere_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "INVOICES_PER_TRANSACTION", 4)
    many(world, 10)
    insert = rows.insert_invoices
    left = 3

    def stop_in_the_fourth(*arguments: Any) -> list[int]:
        nonlocal left
        made = insert(*arguments)
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return made

    monkeypatch.setattr(rows, "insert_invoices", stop_in_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        world.bill("2026-04-01")
    assert len(texts(world)) == 12, "three batches were committed, the fourth was not"
    monkeypatch.setattr(rows, "insert_invoices", insert)
    world.bill("2026-04-01")
    expected = [
        (f"INV-{place:06d}", customer, month)
        for place, (month, customer) in enumerate(
            sorted(
                (month, f"customer-{number:02d}")
                for month in ("2026-01", "2026-02", "2026-03")
                for number in range(10)
            ),
            start=1,
        )
    ]
    assert numbers_and_customers(world) == expected


def test_the_same_log_catalog_and_clock_give_the_same_bytes(
    books: Books, now: datetime, tmp_path: Path
) -> None:
    found = []
    for copy in ("one", "two"):
        tenant = create_tenant(books, f"same-{copy}", "Northwind", now)
        store = open_store(tmp_path / copy)
        world = World(books, store, tenant, now)
        world.furnish(
            [plan(MATRIX, fee("49", "advance"))],
            [{"customer": name, "plan": "payg", "start": "2026-01-10T00:00:00Z"} for name in ("acme", "zoe")],
        )
        uses = [
            (customer, "2026-01-15", str(tokens), {"model": model})
            for customer in ("acme", "zoe")
            for tokens, model in ((1234567, "opus"), (7, "haiku"), (89, "opus"))
        ]
        world.use_all(uses if copy == "one" else uses[::-1])
        world.bill("2026-02-01", now=instant("2026-02-01T06:00:00Z"))
        found.append(texts(world))
        store.close()
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_a_subscription_that_is_ended_meanwhile_is_left_to_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.furnish([plan(fee("31"))], [{"customer": "acme", "plan": "payg"}])
    issue = service.issue

    def end_it_first(*arguments: Any) -> Any:
        cancel_subscription(world.books, world.tenant_id, "acme-payg", instant("2026-01-11"), world.now)
        return issue(*arguments)

    monkeypatch.setattr(service, "issue", end_it_first)
    result = world.bill("2026-02-01")
    assert (result.issued, reasons(result.skipped)) == (
        [],
        [("acme-payg", "2026-01-01", "subscription_changed")],
    )
    monkeypatch.setattr(service, "issue", issue)
    (invoice,) = documents(world, world.bill("2026-02-01").issued)
    assert (invoice["period"]["end"], invoice["total"]) == ("2026-01-11T00:00:00Z", "10.00")


def test_an_invoice_cannot_be_changed(world: World) -> None:
    world.furnish([plan(fee("31"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-02-01")
    for statement in ("UPDATE invoices SET status = status", "DELETE FROM invoice_lines"):
        with pytest.raises(psycopg.Error), world.books.transaction(world.tenant_id) as conn:
            conn.execute(statement)


def test_progress_reaches_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "INVOICES_PER_TRANSACTION", 4)
    monkeypatch.setattr(batches, "BILLS_PER_QUERY", 10)
    many(world, 5)
    seen: list[tuple[int, int]] = []
    run_billing(
        world.books,
        world.store,
        world.tenant_id,
        instant("2026-04-01"),
        world.now,
        lambda done, due: seen.append((done, due)),
    )
    assert seen == [(4, 15), (8, 15), (10, 15), (14, 15), (15, 15)]
