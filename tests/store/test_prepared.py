"""Drafts are taxed and written ahead of their issue; what changes in between is on the invoices all the same."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from tax_world import FRENCH, GERMAN, collects_tax, knows

from farthing.customers.terms.service import put_billing_terms
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing import batches, service
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.checks import check_booked, check_documents, check_sums
from farthing.invoicing.credit_notes.service import void_invoice
from farthing.invoicing.service import put_seller
from farthing.wallets.service import create_grant, create_wallet

BERLIN = {"address": {"city": "Berlin", "country": "DE"}}
PARIS = {"country": "FR"}
CUSTOMERS = [{"customer": key, "plan": "payg"} for key in ("acme", "böse", "zoe")]


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = furnished(books, tenant_id, tmp_path, now)
    yield world
    world.store.close()


def furnished(books: Books, tenant_id: int, directory: Path, now: datetime) -> World:
    """Three customers in Berlin with a fee and tokens, of which two invoices each fall due at once."""
    world = World(books, open_store(directory), tenant_id, now)
    world.furnish([plan(fee("30"), PER_TOKEN)], CUSTOMERS, **BERLIN)
    world.use_all([(one["customer"], "2026-01-10", "1000", {}) for one in CUSTOMERS])
    collects_tax(world)
    knows(world, "acme", tax_ids=[GERMAN])
    return world


def meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]
) -> list[dict[str, Any]]:
    """Bill, and let something change after the first batch was prepared and before it is issued."""
    issue, changed = service.issue, []

    def change_first(*arguments: Any) -> Any:
        if not changed:
            changed.append(change())
        return issue(*arguments)

    monkeypatch.setattr(service, "issue", change_first)
    world.bill("2026-03-01")
    for check in (check_sums, check_documents, check_booked):
        assert check(world.books, world.tenant_id).findings == ()
    return [json.loads(text) for text in documents(world)]


def documents(world: World) -> list[str]:
    with world.books.read_only(world.tenant_id) as conn:
        return [
            row["document"]
            for row in conn.execute("SELECT document FROM invoices ORDER BY invoice_id").fetchall()
        ]


def columns(world: World) -> list[dict[str, Any]]:
    """What stands in columns, but for ids."""
    with world.books.read_only(world.tenant_id) as conn:
        return conn.execute(
            """
            SELECT i.number, i.reason, i.currency, i.period_start, i.period_end, i.subtotal, i.tax, i.total,
                   i.total_exact, i.due_at, i.prices_include_tax, i.carries, i.brings, i.brings_again, i.sequence,
                   i.paid_from_wallets, i.replaces IS NOT NULL AS replaces, l.line, l.adjustment, l.rate_card,
                   l.meter_key, l.quantity, l.amount_exact, l.amount, l.tax AS tax_of_line, l.dimensions::text,
                   l.service_start, l.service_end, t.name, t.percent, t.net, t.amount AS tax_amount
              FROM invoices i JOIN invoice_lines l USING (tenant_id, invoice_id)
              LEFT JOIN invoice_taxes t USING (tenant_id, invoice_id)
             ORDER BY i.invoice_id, l.line, t.place
            """
        ).fetchall()


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_what_is_prepared_is_what_would_be_written_then(
    batch: int, books: Books, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, and in each column: of bills that carry and bring forward, wait for others of their day, are paid
    from wallets, were charged within their period, and come again after a void."""
    monkeypatch.setattr(batches, "INVOICES_PER_TRANSACTION", batch)
    found = []
    for name in ("ahead", "then"):
        directory = tmp_path / name
        directory.mkdir()
        tenant_id = create_tenant(books, f"{tmp_path.name}-{name}", "Seller", now)
        world = World(books, open_store(directory), tenant_id, instant("2026-01-01"))
        if name == "then":
            monkeypatch.setattr(batches, "prepare", lambda *_: None)
        every_kind_of_bill(world)
        found.append((documents(world), columns(world)))
        world.store.close()
    assert found[0] == found[1]
    rows = found[0][1]
    assert {row["reason"] for row in rows} == {"start", "period", "interim"}
    assert all(
        any(row[name] for row in rows) for name in ("carries", "brings", "paid_from_wallets", "replaces")
    )


def every_kind_of_bill(world: World) -> None:
    third = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.333"}}
    as_they_go = {"mode": "pay_as_you_go", "threshold": "50"}
    plans = [
        plan(third, fee("3", "advance")),
        plan(third, fee("7"), key="second"),
        plan(third, key="go", collection=as_they_go),
    ]
    of = [
        ("small", "payg"),
        ("small", "second"),
        ("together", "payg"),
        ("together", "second"),
        ("funded", "payg"),
    ]
    subscribed = [{"customer": customer, "plan": plan} for customer, plan in [*of, ("going", "go")]]
    world.furnish(plans, subscribed, **BERLIN)
    collects_tax(world)
    put_billing_terms(world.books, world.tenant_id, "small", {"smallest_invoice": {"USD": "11"}}, world.now)
    put_billing_terms(world.books, world.tenant_id, "together", {"collective": True}, world.now)
    wallet = {"customer": "funded", "currency": "USD", "key": "wallet"}
    create_wallet(world.books, world.tenant_id, wallet, world.now)
    grant = {"key": "grant", "amount": "4", "kind": "promotional"}
    create_grant(world.books, world.tenant_id, "wallet", grant, world.now)
    usage = {"small": "5", "together": "17", "funded": "11", "going": "155"}
    days = ("2026-01-03", "2026-01-10", "2026-02-03")
    world.use_all([(customer, day, tokens, {}) for customer, tokens in usage.items() for day in days])
    for day in ("2026-01-05", "2026-01-12"):
        charge_accrued(world.books, world.store, world.tenant_id, instant(day))
    world.bill("2026-02-01", now=instant("2026-02-02"))
    world.bill("2026-03-01", now=instant("2026-03-02"))
    last = numbers(world, "funded")[-1]
    void_invoice(world.books, world.tenant_id, last, "wrong address", instant("2026-03-03"))
    world.bill("2026-03-01", now=instant("2026-03-04"))


def numbers(world: World, customer: str) -> list[str]:
    found = (json.loads(text) for text in documents(world))
    return [one["number"] for one in found if one["customer"] == customer]


def test_nothing_is_written_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changes, what was prepared is what is issued."""

    def never(*_: object) -> None:
        raise AssertionError("it is written already")

    monkeypatch.setattr("farthing.invoicing.run.written", never)
    world.bill("2026-03-01")
    assert len(documents(world)) == 6


def test_a_rate_that_changes_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = {"country": "DE", "rate": "21", "name": "VAT", "from": "2020-01-01"}
    found = meanwhile(world, monkeypatch, lambda: collects_tax(world, raised))
    assert {(one["taxes"][0]["rate"], one["total"]) for one in found} == {("21", "36.30")}


def test_a_customer_of_whom_something_gets_known_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = meanwhile(world, monkeypatch, lambda: knows(world, "zoe", tax_ids=[FRENCH]))
    ids = {one["customer"]: one["bill_to"].get("tax_ids") for one in found}
    assert ids == {"acme": [GERMAN], "böse": None, "zoe": [FRENCH]}


def test_a_seller_that_moves_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {"name": "Ailleurs", "address": PARIS}
    found = meanwhile(world, monkeypatch, lambda: put_seller(world.books, world.tenant_id, moved))
    assert [one["seller"]["name"] for one in found] == ["Ailleurs"] * 6
