"""A bill that is due stands as a draft until its grace is over: seen, recomputed, issued once, by itself or early."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from billing_world import World, fee, instant, open_store, plan

from farthing.customers.life import change_subscription
from farthing.customers.terms.service import put_billing_terms
from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.drafts.service import bill_by_itself, issue_early, list_drafts
from farthing.invoicing.service import get_invoice, list_invoices
from farthing.kernel.errors import InvalidInput, NotFound
from farthing.ledger.service import trial_balance
from farthing.payments.service import overdue_invoices

TOKENS = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {"model": "per_unit", "unit_price": "0.5"},
}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, instant("2026-01-20"))
    yield world
    world.store.close()


def at(world: World, moment: str) -> datetime:
    """What is sent and billed from now on happens then."""
    world.now = instant(moment)
    return world.now


def grace(world: World, hours: int, customer: str | None = None) -> None:
    put_billing_terms(world.books, world.tenant_id, customer, {"grace_hours": hours}, world.now)


def drafts(
    world: World, after: str | None = None, limit: int = 10, **more: Any
) -> list[tuple[str, str, str]]:
    found = list_drafts(world.books, world.store, world.tenant_id, world.now, after, limit, **more)
    return [(one["draft"], one["total"], one["issue_at"]) for one in found]


def by_itself(world: World) -> int:
    return bill_by_itself(world.books, world.store, world.tenant_id, world.now)


def totals(world: World) -> list[tuple[str, str]]:
    found = list_invoices(world.books, world.tenant_id, None, 100)
    return [(one["subscription"], one["total"]) for one in found]


def facts(world: World) -> list[tuple[str, str]]:
    found = facts_after(world.books, world.tenant_id, 0, 1000)
    return [(one.fact.kind, one.fact.subject) for one in found if one.fact.kind.startswith("invoice.")]


JANUARY = "acme-payg/2026-01-01T00:00:00Z/period"


def test_a_draft_takes_late_events_until_its_grace_is_over(world: World) -> None:
    world.furnish(
        [plan(TOKENS)], [{"customer": "acme", "plan": "payg"}, {"customer": "bolt", "plan": "payg"}]
    )
    grace(world, 72)
    grace(world, 0, "bolt")
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "4")
    at(world, "2026-01-31T23:00:00Z")
    assert (drafts(world), by_itself(world)) == ([], 0)
    at(world, "2026-02-01T00:10:00Z")
    assert drafts(world) == [(JANUARY, "2.00", "2026-02-04T00:00:00Z")]
    # bolt has no grace: its invoice is issued by itself, at once; acme's waits, and is told of once.
    assert (by_itself(world), by_itself(world)) == (1, 0)
    assert totals(world) == [("bolt-payg", "2.00")]
    assert facts(world) == [("invoice.issued", "INV-000001"), ("invoice.drafted", "acme-payg")]
    assert [fact.fact.body["issue_at"] for fact in facts_after(world.books, world.tenant_id, 0, 10)
            if fact.fact.kind == "invoice.drafted"] == ["2026-02-04T00:00:00Z"]  # fmt: skip
    # A late event of January is in the draft; nothing of it is numbered or booked.
    at(world, "2026-02-03T12:00:00Z")
    world.use("acme", "2026-01-31", "3")
    assert drafts(world) == [(JANUARY, "3.50", "2026-02-04T00:00:00Z")]
    assert {row.code.value: row.debit for row in trial_balance(world.books, world.tenant_id).rows} == {
        "receivable": 2, "revenue": 0,
    }  # fmt: skip
    said = preview_billing(world.books, world.store, world.tenant_id, world.now, customer="acme").upcoming
    assert [(one["status"], one["total"], one.get("issue_at")) for one in said] == [
        ("draft", "3.50", "2026-02-04T00:00:00Z")
    ]
    run = world.bill("2026-02-03T12:00:00Z")
    assert [(one["subscription"], one["reason"]) for one in run.skipped if one["reason"] == "in_grace"] == [
        ("acme-payg", "in_grace")
    ]
    assert by_itself(world) == 0
    # Five minutes after the end of the grace it is issued as it stands; what comes later is on the next one.
    at(world, "2026-02-04T00:04:00Z")
    assert (by_itself(world), len(drafts(world))) == (0, 0)
    at(world, "2026-02-04T00:05:00Z")
    assert (by_itself(world), by_itself(world)) == (1, 0)
    assert totals(world)[1:] == [("acme-payg", "3.50")]
    world.use("acme", "2026-01-30", "1")
    at(world, "2026-03-05T00:00:00Z")
    assert by_itself(world) == 1
    lines = get_invoice(world.books, world.tenant_id, "INV-000003")["lines"]
    assert [(line["kind"], line["amount"]) for line in lines if line["amount"] != "0.00"] == [
        ("correction", "0.50")
    ]


def test_a_tenant_that_says_nothing_is_not_billed_by_itself(world: World) -> None:
    world.furnish(
        [plan(TOKENS)], [{"customer": "acme", "plan": "payg"}, {"customer": "bolt", "plan": "payg"}]
    )
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "4")
    at(world, "2026-02-10")
    assert (by_itself(world), drafts(world), facts(world)) == (0, [], [])
    grace(world, 24, "bolt")
    assert by_itself(world) == 1
    assert totals(world) == [("bolt-payg", "2.00")]
    world.bill("2026-02-01")
    assert totals(world) == [("bolt-payg", "2.00"), ("acme-payg", "2.00")]


def test_drafts_are_issued_early_by_customer_or_by_subscription(world: World) -> None:
    world.furnish(
        [plan(TOKENS), plan(TOKENS, key="other")],
        [
            {"customer": "acme", "plan": "payg"},
            {"customer": "acme", "plan": "other"},
            {"customer": "bolt", "plan": "payg"},
        ],
    )
    grace(world, 720)
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "4")
    at(world, "2026-02-02")
    names = [name for name, *_ in drafts(world)]
    assert names == [f"{key}/2026-01-01T00:00:00Z/period" for key in ("acme-other", "acme-payg", "bolt-payg")]
    assert [[name for name, *_ in drafts(world, after, 2)] for after in (None, *names)] == [
        names[:2], names[1:], names[2:], [],
    ]  # fmt: skip
    assert [name for name, *_ in drafts(world, customer="bolt")] == names[2:]
    for bad in ({}, {"customer": "acme", "subscription": "acme-payg"}, [], {"until": "now"}):
        with pytest.raises(InvalidInput):
            issue_early(world.books, world.store, world.tenant_id, bad, world.now)
    for unknown in ({"customer": "nobody"}, {"subscription": "nothing"}):
        with pytest.raises(NotFound):
            issue_early(world.books, world.store, world.tenant_id, unknown, world.now)
    early = issue_early(world.books, world.store, world.tenant_id, {"subscription": "acme-payg"}, world.now)
    again = issue_early(world.books, world.store, world.tenant_id, {"subscription": "acme-payg"}, world.now)
    assert (early.issued, again.issued) == (["INV-000001"], [])
    assert totals(world) == [("acme-payg", "2.00")]
    issue_early(world.books, world.store, world.tenant_id, {"customer": "acme"}, world.now)
    assert totals(world)[1:] == [("acme-other", "2.00")]
    assert [name for name, *_ in drafts(world)] == names[2:]


def test_what_is_asked_for_at_once_takes_the_drafts_before_it_along(world: World) -> None:
    """A seat more from 2 February, at once: with January's 2.00 of usage, February's seat of 28.00 and 27.00."""
    world.furnish(
        [plan(TOKENS, fee("28", timing="advance", key="seats"))], [{"customer": "acme", "plan": "payg"}]
    )
    grace(world, 72)
    world.use("acme", "2026-01-15", "4")
    assert by_itself(world) == 1  # January's seat, in advance: not something that waits
    at(world, "2026-02-02")
    assert (by_itself(world), [total for _, total, _ in drafts(world)]) == (0, ["30.00"])
    change_subscription(
        world.books, world.tenant_id, "acme-payg",
        {"kind": "quantity", "quantities": {"seats": "2"}, "invoice": "now"}, world.now,
    )  # fmt: skip
    at(world, "2026-02-02T01:00:00Z")
    assert by_itself(world) == 1
    assert totals(world) == [("acme-payg", "28.00"), ("acme-payg", "57.00")]
    assert drafts(world) == []


def test_overdue_invoices_are_found(world: World) -> None:
    world.furnish(
        [plan(TOKENS, net_days=14)],
        [{"customer": "acme", "plan": "payg"}, {"customer": "bolt", "plan": "payg"}],
    )
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "4")
    issued_at = at(world, "2026-02-01")
    world.bill("2026-02-01")

    def overdue(
        days: int, after: str | None = None, limit: int = 10, customer: str | None = None
    ) -> list[str]:
        moment = issued_at + timedelta(days=days, seconds=1)
        return overdue_invoices(world.books, world.tenant_id, moment, after, limit, customer)

    assert (overdue(13), overdue(14)) == ([], ["INV-000001", "INV-000002"])
    assert (overdue(14, limit=1), overdue(14, "INV-000001")) == (["INV-000001"], ["INV-000002"])
    assert overdue(14, customer="bolt") == ["INV-000002"]
