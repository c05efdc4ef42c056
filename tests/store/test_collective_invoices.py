"""Several subscriptions of a customer on one invoice: each has its own, and the last of the day asks for it all."""

from collections.abc import Iterator
from decimal import Decimal as D
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from billing_world import World, fee, instant, open_store, plan
from carry_world import assert_well, booked, invoices, tokens, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tax_world import collects_tax

from farthing.customers.apply import apply
from farthing.customers.terms.service import put_billing_terms
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.kernel.errors import Conflict
from farthing.payments.service import balances_of
from farthing.wallets.service import create_wallet

NOW = "2026-07-10T08:00:00Z"
A, B, C = ({"customer": "acme", "plan": key} for key in ("alpha", "beta", "gamma"))


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, instant(NOW))
    yield world
    world.store.close()


def collective(world: World, customer: str | None = None, *, value: bool = True, **more: Any) -> None:
    put_billing_terms(world.books, world.tenant_id, customer, {"collective": value} | more, world.now)


def three(world: World, **more: Any) -> None:
    """alpha at 0.333 and beta at 0.5 a token; gamma, a fee of 10.00 a month; bolt has two of them as well."""
    plans = [
        plan(tokens("0.333"), key="alpha", **more),
        plan(tokens("0.5"), key="beta", **more),
        plan(fee("10"), key="gamma", **more),
    ]
    bolt = [{"customer": "bolt", "plan": key} for key in ("alpha", "gamma")]
    world.furnish(plans, [A, B, C, *bolt], address={"country": "DE"})


JANUARY = [
    ("acme-alpha", [("usage", "0.666", "0.67"), ("carried_forward", "-0.666", "-0.67")], "0.00"),
    (
        "acme-beta",
        [("usage", "1", "1.00"), ("brought_forward", "0.666", "0.67"), ("carried_forward", "-1", "-1.00"),
         ("carried_forward", "-0.666", "-0.67")],
        "0.00",
    ),
    (
        "acme-gamma",
        [("fee", "10", "10.00"), ("brought_forward", "1", "1.00"), ("brought_forward", "0.666", "0.67")],
        "11.67",
    ),
]  # fmt: skip
SEPARATE = [
    ("bolt-alpha", [("usage", "0.666", "0.67")], "0.67"),
    ("bolt-gamma", [("fee", "10", "10.00")], "10.00"),
]


def test_the_last_of_the_day_asks_for_all_and_says_whose_it_is(world: World) -> None:
    """0.666, 1 and 10 are 11.666: rounded once, 11.67. bolt, who said nothing, has an invoice for each."""
    three(world)
    collective(world, "acme")
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "2")
    ahead = preview_billing(
        world.books, world.store, world.tenant_id, instant("2026-02-01"), customer="acme"
    ).upcoming
    assert [(one["status"], one["total"]) for one in ahead[:3]] == [
        ("due", "0.00"), ("due", "0.00"), ("due", "11.67"),
    ]  # fmt: skip
    world.bill("2026-02-01")
    assert told(world) == [*JANUARY, *SEPARATE]
    asks = invoices(world)[2]
    assert [(line.get("subscription"), line["charges"][0]["reason"]) for line in asks["lines"][1:]] == [
        ("acme-beta", "subscription acme-beta"),
        ("acme-alpha", "subscription acme-alpha"),
    ]
    assert booked(world) == {"receivable": D("22.34"), "revenue": D("-22.34")}
    assert balances_of(world.books, world.tenant_id, ["INV-000003"])["INV-000003"].open == D("11.67")
    assert_well(world)


def test_nothing_waits_where_the_last_of_the_day_has_nothing_itself(world: World) -> None:
    """beta, the last by key, has no usage in January: it asks for alpha's all the same. In February nobody has any."""
    requests = {"key": "requests", "event_type": "request", "aggregation": "count"}
    apply(world.books, world.tenant_id, {"meters": [requests]}, world.now)
    yearly = plan(tokens(), key="gamma", interval="year")
    world.furnish(
        [plan(tokens(), key="alpha"), plan(tokens(meter="requests"), key="beta"), yearly], [A, B, C]
    )
    collective(world)
    world.use("acme", "2026-01-15", "2")
    world.bill("2026-04-01")
    assert told(world) == [
        ("acme-alpha", [("usage", "0.666", "0.67"), ("carried_forward", "-0.666", "-0.67")], "0.00"),
        ("acme-beta", [("brought_forward", "0.666", "0.67")], "0.67"),
    ]
    assert_well(world)


def test_voids_and_credit_notes_of_a_collective_invoice(world: World) -> None:
    three(world)
    collective(world, "acme")
    world.use("acme", "2026-01-15", "2")
    world.bill("2026-02-01")
    with pytest.raises(Conflict, match="INV-000003 was issued later and builds on it"):
        void_invoice(world.books, world.tenant_id, "INV-000002", "mistake", world.now)
    void_invoice(world.books, world.tenant_id, "INV-000003", "mistake", world.now)
    void_invoice(world.books, world.tenant_id, "INV-000002", "mistake", world.now)
    world.use("acme", "2026-01-16", "2")
    world.bill("2026-02-01")
    # beta is billed anew with 4 tokens; alpha, which was not voided, is corrected on its next invoice.
    assert [(name, total) for name, _, total in told(world)[-2:]] == [
        ("acme-beta", "0.00"),
        ("acme-gamma", "12.67"),
    ]
    number = invoices(world)[-1]["number"]
    wanted = {"invoice": number, "key": "back", "reason": "outage", "lines": [{"line": 2, "amount": "2.00"}]}
    note, _ = issue_credit_note(world.books, world.tenant_id, wanted, world.now)
    assert note["total"] == "2.00"
    assert balances_of(world.books, world.tenant_id, [number])[number].open == D("10.67")
    world.bill("2026-03-01")
    lines = {name: lines for name, lines, _ in told(world)[-5:]}
    assert ("correction", "0.666", "0.67") in lines["acme-alpha"]
    assert_well(world)


def test_a_collective_invoice_below_the_smallest_waits_whole(world: World) -> None:
    world.furnish([plan(tokens("0.333"), key="alpha"), plan(tokens("0.5"), key="beta")], [A, B])
    collective(world, smallest_invoice={"USD": "5"})
    for month, units in (("01", "2"), ("02", "5")):
        world.use("acme", f"2026-{month}-15", units)
    world.bill("2026-03-01")
    assert [(name, total) for name, _, total in told(world)] == [
        ("acme-alpha", "0.00"), ("acme-beta", "0.00"), ("acme-alpha", "0.00"), ("acme-beta", "5.83"),
    ]  # fmt: skip
    # 7 x 0.333 and 7 x 0.5, by subscription: what alpha used in January is one amount with what it used in February.
    assert [(line.get("subscription"), line["amount_exact"]) for line in invoices(world)[-1]["lines"]] == [
        (None, "2.5"),
        ("acme-alpha", "2.331"),
        (None, "1"),
    ]
    assert_well(world)


@pytest.mark.parametrize("rounding", ["invoice", "line"])
def test_tax_is_that_of_the_whole(world: World, rounding: str) -> None:
    """0.67, 1.00 and 10.00 at 19 %: 2.217 on the invoice that asks, and nothing on the statements."""
    three(world, rounding=rounding)
    collects_tax(world)
    collective(world, "acme")
    world.use("acme", "2026-01-15", "2")
    world.bill("2026-02-01")
    documents = [one for one in invoices(world) if one["customer"] == "acme"]
    assert [one["tax"] for one in documents] == ["0.00", "0.00", "2.22"]
    assert documents[2]["total"] == "13.89"
    assert_well(world)


def test_who_has_a_wallet_gets_an_invoice_for_each(world: World) -> None:
    three(world)
    collective(world)
    for customer in ("acme", "bolt"):
        world.use(customer, "2026-01-15", "2")
        create_wallet(
            world.books,
            world.tenant_id,
            {"key": customer, "customer": customer, "currency": "USD"},
            world.now,
        )
    world.bill("2026-02-01")
    assert told(world)[3:] == SEPARATE
    assert [total for *_, total in told(world)[:3]] == ["0.67", "1.00", "10.00"]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    months=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    amount=st.sampled_from(["0", "0.004", "7.777"]),
    together=st.booleans(),
    ends=st.booleans(),
)
def test_what_is_asked_for_is_what_was_used(
    world: World, months: list[int], amount: str, together: bool, ends: bool
) -> None:
    """Each month one invoice asks for the exact sum of what three subscriptions come to, rounded once."""
    tenant_id = create_tenant(world.books, f"collective-{next(world._ids)}", "T", world.now)
    mine = World(world.books, world.store, tenant_id, world.now, world._ids)
    end = {"end": f"2026-{len(months) + 1:02}-01T00:00:00Z"} if ends else {}
    mine.furnish(
        [
            plan(tokens("0.0371"), key="alpha"),
            plan(tokens("0.333"), key="beta"),
            plan(fee(amount), key="gamma"),
        ],
        [A | end, B, C | end],
    )
    collective(mine)
    mine.use_all(
        [("acme", f"2026-{place:02}-15", str(units), {}) for place, units in enumerate(months, 1) if units]
    )
    for place in range(1, len(months) + 1):
        if not together or place == len(months):
            mine.bill(f"2026-{place + 1:02}-01")
    found = invoices(mine)
    for place, units in enumerate(months, start=1):
        month = [one for one in found if one["period"]["start"].startswith(f"2026-{place:02}")]
        due = units * (Fraction("0.0371") + Fraction("0.333")) + Fraction(amount)
        assert sum(Fraction(one["total_exact"]) for one in month) == due
        asking = [one for one in month if Fraction(one["total_exact"])]
        assert len(asking) == (1 if due else 0)
        for one in asking:
            cents = D(one["total"])
            assert abs(Fraction(cents) - due) <= Fraction("0.005")
    assert_well(mine)
