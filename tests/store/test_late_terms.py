"""Late usage where coupons, commitments or a minimum look at the bill: in the end it is what one bill would say."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from billing_world import World, fee, instant, open_store, plan
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.catalog.service import put_coupon
from farthing.customers.terms.service import add_commitment, redeem_coupon
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.model import VOID_TYPE
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.checks import check_booked, check_documents, check_sums, check_terms
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.credit_notes.service import get_credit_note, list_credit_notes
from farthing.invoicing.due import parted
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.late.bills import with_corrections
from farthing.invoicing.late.correcting import correct_at_once, put_policy
from farthing.invoicing.service import (
    draft_batches,
    get_invoice,
    issue,
    list_commitments,
    list_redemptions,
    subscribed_by,
)
from farthing.invoicing.store import select_issued
from farthing.payments.checks import check_payments
from farthing.payments.credit_checks import check_credit

TOKENS = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {"model": "per_unit", "unit_price": "0.1"},
}
MONTHS = 6
TERM = {"start": "2026-01-01T00:00:00Z", "interval": "month", "interval_count": MONTHS}
COUPONS: dict[str, dict[str, Any]] = {
    "percent": {"percent": "10", "duration": "repeating", "periods": 2, "rate_cards": ["tokens"]},
    "amount": {"amount": "5", "currency": "USD", "duration": "forever"},
}
COMMITMENTS: dict[str, dict[str, Any]] = {
    "minimum": {"kind": "minimum", "amount": "100", "overage_percent": "150", **TERM},
    "prepaid": {"kind": "prepaid", "amount": "60", **TERM},
}
_numbers = iter(range(10**6))


def furnished(world: World, terms: str, end: str | None = None, **more: Any) -> World:
    """acme pays 0.10 a token and 1.00 a month, under these terms from January on, until the end if there is one."""
    if terms == "floor":
        more["minimum"] = "30"
    subscription = {"customer": "acme", "plan": "payg"} | ({} if end is None else {"end": end})
    world.furnish([plan(TOKENS, fee("1"), **more)], [subscription])
    books, tenant_id = world.books, world.tenant_id
    if terms in COUPONS:
        put_coupon(books, tenant_id, {"key": "c", "name": "Hello", **COUPONS[terms]}, world.now)
        start = {"coupon": "c", "start": "2026-01-01T00:00:00Z"}
        redeem_coupon(books, tenant_id, "acme-payg", start, world.now)
    if terms in COMMITMENTS:
        raw = {"key": "k", "name": "Half a year", **COMMITMENTS[terms]}
        add_commitment(books, tenant_id, "acme-payg", raw, world.now)
    return world


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, instant("2026-01-01"))
    yield world
    world.store.close()


def bill(world: World, day: str) -> list[str]:
    world.now = instant(day)
    return world.bill(day).issued


def void(world: World, target: str, day: str) -> None:
    world.now = instant(day)
    event = {
        "specversion": "1.0",
        "id": f"v-{target}",
        "source": "test",
        "type": VOID_TYPE,
        "corrects": target,
    }
    world.send([event | {"time": f"{day}T00:00:00Z"}])


def lines(world: World, number: str) -> list[tuple[str, str, str]]:
    document = get_invoice(world.books, world.tenant_id, number)
    return [
        (
            line.get("adjustment", {}).get("corrected", {}).get("kind", line["kind"]),
            line["rate_card"] or "",
            line["amount_exact"],
        )
        for line in document["lines"]
    ]


def well(world: World) -> None:
    checks = (
        check_sums, check_documents, check_booked, check_terms, check_credited, check_payments, check_credit,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(world.books, world.tenant_id).findings]
    assert found == []


def test_a_coupon_takes_its_part_of_what_came_late(world: World) -> None:
    """January: 100 tokens, 10.00, 10 % off, fee 1.00: 10.00. 50 more come: 5.00, and 0.50 off it, on February's."""
    furnished(world, "percent")
    world.use("acme", "2026-01-10", "100")
    bill(world, "2026-02-01")
    world.use("acme", "2026-01-11", "50")
    (ahead,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    bill(world, "2026-03-01")
    assert lines(world, "INV-000002") == [
        ("fee", "fee", "1"), ("correction", "tokens", "5"), ("coupon", "tokens", "-0.5"),
    ]  # fmt: skip
    document = get_invoice(world.books, world.tenant_id, "INV-000002")
    assert (document["total"], ahead["lines"]) == ("5.50", document["lines"])
    said = document["lines"][2]
    assert (said["description"], said["charges"][0]["reason"]) == (
        "Hello, correction of INV-000001", "\u22121.50 in place of \u22121.00",
    )  # fmt: skip
    explained = explain_line(world.books, world.store, world.tenant_id, "INV-000002", 3, 10)
    assert [event["id"] for event in explained["events"]] == ["1"]
    (state,) = list_redemptions(world.books, world.tenant_id, "acme-payg")
    assert (state["invoices_reduced"], state["taken_off"]) == (1, "1.5")
    assert bill(world, "2026-04-01") == ["INV-000003"]
    assert lines(world, "INV-000003") == [("fee", "fee", "1")]
    well(world)


def test_a_coupon_that_a_late_event_used_up_is_taken_off_a_later_invoice_again(world: World) -> None:
    """Two invoices are reduced: February's and March's, until usage of January comes and is the first of the two."""
    furnished(world, "percent")
    bill(world, "2026-02-01")
    world.use("acme", "2026-02-10", "100")
    bill(world, "2026-03-01")
    world.use("acme", "2026-03-10", "200")
    bill(world, "2026-04-01")
    world.use("acme", "2026-01-10", "300")
    world.use("acme", "2026-04-10", "10")
    bill(world, "2026-05-01")
    assert lines(world, "INV-000004") == [
        ("usage", "tokens", "1"), ("fee", "fee", "1"),
        ("correction", "tokens", "30"), ("coupon", "tokens", "-3"),  # January: 30.00 less 10 %
        ("coupon", "tokens", "2"),  # March is no longer reduced
    ]  # fmt: skip
    (state,) = list_redemptions(world.books, world.tenant_id, "acme-payg")
    assert (state["invoices_reduced"], state["invoices_left"], state["taken_off"]) == (2, 0, "4")
    well(world)


def test_a_true_up_is_given_back_by_what_came_late(world: World) -> None:
    """100.00 committed, 80.00 used: 20.00 are owed in June. 300 tokens of March come: 30.00, of which 10.00 are beyond,
    at 150 %. So 30.00 + 5.00 - 20.00."""
    furnished(world, "minimum")
    world.use("acme", "2026-02-10", "800")
    for month in range(2, 8):
        bill(world, f"2026-{month:02}-01")
    assert ("true_up", "", "20") in lines(world, "INV-000006")
    world.use("acme", "2026-03-10", "300")
    bill(world, "2026-08-01")
    # March counts 30.00, of which 10.00 lie beyond; nothing is missing in June any more.
    assert lines(world, "INV-000007") == [
        ("fee", "fee", "1"), ("correction", "tokens", "30"), ("commitment", "", "0"), ("overage", "tokens", "5"),
        ("true_up", "", "-20"),
    ]  # fmt: skip
    (state,) = list_commitments(world.books, world.tenant_id, "acme-payg")
    assert (state["used"], state["left"], state["overage"], state["true_up"]) == ("110", "0", "5", "0")
    well(world)


def test_the_minimum_of_a_plan_is_filled_by_what_came_late(world: World) -> None:
    """At least 30.00 a month: 1.00 of fee and 29.00 missing. 100 tokens come: 10.00, and 10.00 less are missing. A void
    of them brings it back, and no credit note gives 10.00 back at once, since the minimum takes them again."""
    furnished(world, "floor")
    bill(world, "2026-02-01")
    world.use("acme", "2026-01-10", "100")
    bill(world, "2026-03-01")
    assert lines(world, "INV-000002")[-2:] == [("correction", "tokens", "10"), ("minimum", "", "-10")]
    assert get_invoice(world.books, world.tenant_id, "INV-000002")["total"] == "30.00"
    void(world, "0", "2026-03-10")
    assert correct_at_once(world.books, world.store, world.tenant_id, world.now) == []
    bill(world, "2026-04-01")
    assert lines(world, "INV-000003")[-2:] == [("minimum", "", "10"), ("correction", "tokens", "-10")]
    well(world)


def test_a_credit_note_at_once_gives_back_what_the_coupon_left(world: World) -> None:
    """January: 10.00 less 10 %. 100 tokens are voided: 9.00 at once, and nothing on the next invoice."""
    furnished(world, "percent")
    world.use("acme", "2026-01-10", "100")
    bill(world, "2026-02-01")
    void(world, "0", "2026-02-10")
    put_policy(world.books, world.tenant_id, {"below_zero": "credit_note"})
    bill(world, "2026-03-01")
    (note,) = list_credit_notes(world.books, world.tenant_id, None, 10)
    said = get_credit_note(world.books, world.tenant_id, note["number"])
    assert [(line["of"], line["rate_card"], line["amount"]) for line in said["lines"]] == [
        (1, "tokens", "9.00")
    ]
    assert lines(world, "INV-000002") == [("fee", "fee", "1")]
    (state,) = list_redemptions(world.books, world.tenant_id, "acme-payg")
    assert (state["invoices_reduced"], state["taken_off"]) == (0, "0")
    well(world)


def test_what_two_give_back_at_once_is_given_back_once_and_no_draft_carries_it(world: World) -> None:
    """150 tokens are 15.00; 50 are voided: 5.00. Two correct it together while a run has drafted the next invoice."""
    furnished(world, "none")
    world.use("acme", "2026-01-10", "100")
    world.use("acme", "2026-01-11", "50")
    bill(world, "2026-02-01")
    void(world, "1", "2026-02-10")
    world.now = until = instant("2026-03-01")
    books, tenant_id, store = world.books, world.tenant_id, world.store
    billed = subscribed_by(books, tenant_id, until)
    with books.read_only(tenant_id) as conn:
        issued = select_issued(conn, tenant_id)
    missing, standing = parted(billed.due(until), issued)
    drafted = with_corrections(books, store, tenant_id, missing, standing, billed.terms)
    (batch,) = draft_batches(books, store, tenant_id, drafted, billed.terms, until)
    assert [len(draft.bill.corrections) for draft in batch.drafts] == [1]
    with ThreadPoolExecutor(2) as two:
        corrected = [
            two.submit(correct_at_once, books, store, tenant_id, until, number="INV-000001") for _ in range(2)
        ]
        assert sorted(one.result() for one in corrected) == [[], ["CN-000001"]]
    numbers, skipped = issue(books, tenant_id, batch, until, Counter(key.subscription_id for key in issued))
    assert (numbers, [one["reason"] for one in skipped]) == ([], ["subscription_changed"])
    assert bill(world, "2026-03-01") == ["INV-000002"]
    assert lines(world, "INV-000002") == [("fee", "fee", "1")]
    well(world)


def test_more_than_is_left_of_an_invoice_waits_for_the_next(world: World) -> None:
    """February: 1.00 of fee, 5.00 of usage and 4.00 less for January. Its 5.00 are voided, and 2.00 are left of it: no
    credit note gives more than that, and March has all of it."""
    furnished(world, "none")
    world.use("acme", "2026-01-10", "40")
    bill(world, "2026-02-01")
    world.use("acme", "2026-02-10", "50")
    void(world, "0", "2026-02-11")
    bill(world, "2026-03-01")
    assert get_invoice(world.books, world.tenant_id, "INV-000002")["total"] == "2.00"
    void(world, "1", "2026-03-10")
    assert correct_at_once(world.books, world.store, world.tenant_id, world.now) == []
    bill(world, "2026-04-01")
    assert lines(world, "INV-000003") == [("fee", "fee", "1"), ("correction", "tokens", "-5")]
    well(world)


def test_what_comes_after_the_end_is_corrected_each_time(world: World) -> None:
    """100 tokens less a tenth, then 50 more, then 30 more: each less a tenth, on an invoice of its own."""
    furnished(world, "percent", "2026-02-01T00:00:00Z")
    world.use("acme", "2026-01-10", "100")
    assert bill(world, "2026-02-01") == ["INV-000001"]
    for tokens, day, number in (("50", "2026-02-10", "INV-000002"), ("30", "2026-02-20", "INV-000003")):
        world.use("acme", "2026-01-11", tokens)
        assert bill(world, day) == [number]
    assert lines(world, "INV-000002") == [("correction", "tokens", "5"), ("coupon", "tokens", "-0.5")]
    assert lines(world, "INV-000003") == [("correction", "tokens", "3"), ("coupon", "tokens", "-0.3")]
    assert bill(world, "2026-03-01") == []
    well(world)


# ---- Any sequence of late events

steps = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, MONTHS), st.integers(1, 500)),
        st.tuples(st.just("void"), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("bill"), st.just(0), st.just(0)),
    ),
    max_size=14,
)


def owed(terms: str, used: list[int], months: int) -> Fraction:
    """What so many tokens a month come to in so many months, written down a second time."""
    usage = [Fraction(one, 10) for one in used]
    fees = Fraction(months)
    match terms:
        case "percent":
            reduced = [one for one in usage if one][:2]
            return sum(usage) - sum(reduced) / 10 + fees
        case "amount":
            return sum((max(one + 1 - 5, Fraction(0)) for one in usage), Fraction(0))
        case "minimum":
            total = sum(usage)
            return total + max(total - 100, 0) / 2 + max(100 - total, 0) + fees
        case "prepaid":
            return 60 + max(sum(usage) - 60, 0) + fees
        case _:
            return sum((max(one + 1, Fraction(30)) for one in usage), Fraction(0))


@settings(max_examples=10)
@given(
    steps, st.sampled_from(["percent", "amount", "minimum", "prepaid", "floor"]), st.booleans(), st.booleans()
)
def test_the_invoices_sum_to_what_one_bill_with_all_events_would_have_been(
    books: Books,
    session_now: datetime,
    tmp_path_factory: Any,
    steps: list[tuple[str, int, int]],
    terms: str,
    at_once: bool,
    ends: bool,
) -> None:
    """Also where the subscription has ended and its last month is invoiced before all has come."""
    number = next(_numbers)
    tenant_id = create_tenant(books, f"late-terms-{number}", f"Late {number}", session_now)
    world = World(books, open_store(tmp_path_factory.mktemp("late")), tenant_id, instant("2026-01-01"))
    furnished(world, terms, f"2026-{MONTHS + 3:02}-01T00:00:00Z" if ends else None)
    if at_once:
        put_policy(books, tenant_id, {"below_zero": "credit_note"})
    used: list[tuple[int, int]] = []
    voided: set[int] = set()
    month = 1
    issued: list[str] = []
    for what, which, quantity in steps:
        if what == "use":
            world.use("acme", f"2026-{which:02}-15", str(quantity))
            used.append((which, quantity))
        elif what == "void":
            if which < len(used) and which not in voided:
                voided.add(which)
                void(world, str(which), world.now.date().isoformat())
        elif month < MONTHS + (4 if ends else 1):
            month += 3 if ends else 1
            issued += bill(world, f"2026-{month:02}-01")
    # Everything has come; the last invoices are of months without usage.
    for last in (MONTHS + 2, MONTHS + 3) if not ends else (MONTHS + 5, MONTHS + 6):
        issued += bill(world, f"2026-{last:02}-01")
    tokens = [0] * (MONTHS + 2)
    for place, (of_month, quantity) in enumerate(used):
        if place not in voided:
            tokens[of_month - 1] += quantity
    billed = sum((Fraction(get_invoice(books, tenant_id, one)["total_exact"]) for one in issued), Fraction(0))
    notes = sum(
        (Fraction(one["total"]) for one in list_credit_notes(books, tenant_id, None, 100)), Fraction(0)
    )
    assert billed - notes == owed(terms, tokens, MONTHS + 2)
    well(world)
    world.store.close()
