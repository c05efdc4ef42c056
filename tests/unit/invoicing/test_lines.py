"""What stands on an invoice: usage in arrears, fees in arrears and in advance, shares of a period."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import Told

from farthing.catalog.model import Plan
from farthing.catalog.plan import parse_plan
from farthing.customers.model import Address, Customer, Fact, FactContent, FactKind, Subscription
from farthing.invoicing.adjusting.adjustments import Carried
from farthing.invoicing.drafting.fees import covers_of, prorated
from farthing.invoicing.drafting.lines import lines_of
from farthing.invoicing.due import due_bills
from farthing.invoicing.model import Bill, Cover, Line, Reason
from farthing.invoicing.run import drafted_in_order
from farthing.kernel.quantity import exact
from farthing.rating import Charge
from farthing.usage.model import NO_DETAIL, Detail, UsageRow

PER_UNIT = {
    "key": "calls",
    "name": "Calls",
    "meter": "calls",
    "price": {"model": "per_unit", "unit_price": "0.01"},
}
ARREARS = {"key": "support", "name": "Support", "price": {"model": "flat", "amount": "31"}}
ADVANCE = {"key": "base", "name": "Base", "timing": "advance", "price": {"model": "flat", "amount": "49"}}


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan_with(*cards: dict[str, Any]) -> Plan:
    return parse_plan(
        {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": list(cards)}
    )


def bills(
    plan: Plan, until: str, start: str = "2024-01-01", end: str | None = None, **more: Any
) -> list[Bill]:
    customer = Customer(7, "acme", "Acme", "USD", more.get("timezone", "UTC"), None, Address(), ())
    subscription = Subscription(
        3,
        "acme-p",
        7,
        "acme",
        1,
        "p",
        1,
        more.get("anchor", "calendar"),
        day(start),
        day(end) if end else None,
        (Fact(1, "end", day(end), FactContent(FactKind.CANCEL), day(start)),) if end else (),
    )
    return due_bills([subscription], {7: customer}, {1: plan}, day(until))


def shown(line: Line) -> tuple[str, str, str]:
    period = line.service_period
    return line.rate_card, f"{period.start:%m-%d}..{period.end:%m-%d}", str(line.amount_exact)


def billed(plan: Plan, until: str, **more: Any) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Each bill in turn, knowing what those before it bill."""
    covers: dict[int, list[Cover]] = {}
    return [
        (bill.reason.value, [] if isinstance(draft, str) else [shown(line) for line in draft.lines])
        for bill, draft in drafted_in_order(bills(plan, until, **more), Told(), covers, Carried({}, {}))
    ]


def test_a_fee_in_arrears_is_billed_when_its_period_is_over() -> None:
    assert billed(plan_with(ARREARS), "2024-03-01") == [
        ("period", [("support", "01-01..02-01", "31")]),
        ("period", [("support", "02-01..03-01", "31")]),
    ]
    assert billed(plan_with(ARREARS), "2024-01-31T23:59:59") == []


def test_a_fee_in_advance_is_billed_at_the_start_and_then_with_each_period_for_the_next() -> None:
    assert billed(plan_with(ADVANCE), "2024-01-01") == [("start", [("base", "01-01..02-01", "49")])]
    assert billed(plan_with(ADVANCE, ARREARS), "2024-02-01") == [
        ("start", [("base", "01-01..02-01", "49")]),
        ("period", [("base", "02-01..03-01", "49"), ("support", "01-01..02-01", "31")]),
    ]


def test_the_last_period_has_no_fee_for_a_next_one() -> None:
    assert billed(plan_with(ADVANCE), "2024-06-01", end="2024-03-01") == [
        ("start", [("base", "01-01..02-01", "49")]),
        ("period", [("base", "02-01..03-01", "49")]),
        ("period", []),
    ]


def test_fees_of_partial_periods_are_shares_to_the_second() -> None:
    plan = plan_with(ADVANCE, ARREARS)
    assert billed(plan, "2024-06-01", start="2024-01-10", end="2024-02-08T12:00:00") == [
        ("start", [("base", "01-10..02-01", "34.774193548387096774")]),
        ("period", [("base", "02-01..02-08", "12.672413793103448276"), ("support", "01-10..02-01", "22")]),
        ("period", [("support", "02-01..02-08", "8.017241379310344828")]),
    ]


def test_an_anniversary_has_no_partial_first_period() -> None:
    assert billed(plan_with(ARREARS), "2024-03-31", start="2024-01-31", anchor="anniversary") == [
        ("period", [("support", "01-31..02-29", "31")]),
        ("period", [("support", "02-29..03-31", "31")]),
    ]


def test_a_share_is_of_the_local_month_with_its_missing_hour() -> None:
    (bill,) = bills(plan_with(ARREARS), "2024-04-01", start="2024-03-30T23:00:00", timezone="Europe/Berlin")
    (line,) = lines_of(bill, {})
    assert [str(line.amount_exact), line.charges[-1].reason] == [
        "0.959623149394347241",
        "prorated to 82800 of 2674800 seconds",
    ]


def test_a_share_shows_what_was_taken_off() -> None:
    (bill,) = bills(plan_with(ARREARS), "2024-02-01", start="2024-01-10")
    (line,) = lines_of(bill, {})
    assert line.charges == (
        Charge(Decimal(1), Decimal(31), Decimal(31), "flat fee"),
        Charge(Decimal(1), Decimal(-9), Decimal(-9), "prorated to 22 of 31 days"),
    )


@given(
    st.decimals(min_value=0, max_value=10**12, places=6),
    st.lists(st.integers(0, 10**13), min_size=4, max_size=4),
    st.sampled_from([1, -1, 3, -7]),
)
def test_shares_are_exact_to_eighteen_digits_sum_to_the_whole_and_their_charges_to_them(
    amount: Decimal, bounds: list[int], many: int
) -> None:
    whole = sum(bounds) + 1
    with exact():
        charges = (Charge(Decimal(many), amount, amount * many, "flat fee"),)
    cuts = sorted({0, bounds[0], bounds[0] + bounds[1], whole})
    shares = []
    for start, end in pairwise(cuts):
        share, parted = prorated(amount, charges, Decimal(many), start, end, whole, "prorated")
        shares.append(share)
        with exact():
            assert sum(charge.amount for charge in parted) == share
            assert all(charge.quantity * charge.unit_price == charge.amount for charge in parted)
            assert abs(share * whole - amount * many * (end - start)) <= Decimal("1e-18") * whole
    with exact():
        assert sum(shares) == amount * many


def test_usage_of_a_card_is_one_line() -> None:
    (bill,) = bills(plan_with(PER_UNIT), "2024-02-01")
    (line,) = lines_of(bill, {("calls", NO_DETAIL): [UsageRow(0, {}, Decimal(1500), 3)]})
    assert (line.quantity, line.amount_exact, line.meter) == (Decimal(1500), Decimal(15), "calls")
    assert line.service_period == bill.period


def test_no_usage_no_line_and_nothing_owed_is_shown_if_it_was_used() -> None:
    (bill,) = bills(plan_with(PER_UNIT), "2024-02-01")
    assert lines_of(bill, {}) == ()
    (line,) = lines_of(bill, {("calls", NO_DETAIL): [UsageRow(0, {}, Decimal(0), 2)]})
    assert (line.quantity, line.amount_exact) == (0, 0)


def test_a_minimum_is_owed_without_usage() -> None:
    card = PER_UNIT | {"price": {"model": "per_unit", "unit_price": "0.01", "minimum": "20"}}
    (bill,) = bills(plan_with(card), "2024-02-01")
    (line,) = lines_of(bill, {})
    assert (line.quantity, line.amount_exact) == (0, 20)


def test_a_matrix_has_a_line_for_each_combination_and_unpriced_usage_is_shown() -> None:
    price = {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [
            {"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "0.01"}},
            {"when": {"model": "haiku"}, "price": {"model": "per_unit", "unit_price": "0.001"}},
        ],
    }
    (bill,) = bills(plan_with(PER_UNIT | {"price": price}), "2024-02-01")
    usage = [
        UsageRow(0, {"model": name}, Decimal(count), 1)
        for name, count in (("haiku", 10), ("opus", 20), ("other", 30))
    ]
    lines = lines_of(bill, {("calls", Detail(("model",))): usage})
    assert [(dict(line.dimensions), str(line.amount_exact)) for line in lines] == [
        ({"model": "opus"}, "0.20"),
        ({"model": "haiku"}, "0.010"),
        ({"model": "other"}, "0"),
    ]
    assert [charge.reason for charge in lines[-1].charges] == ["unpriced"]


def test_usage_is_not_on_the_invoice_of_a_start() -> None:
    start, period = bills(plan_with(PER_UNIT, ADVANCE), "2024-02-01")
    usage = {("calls", NO_DETAIL): [UsageRow(0, {}, Decimal(5), 1)]}
    assert [line.rate_card for line in lines_of(start, usage)] == ["base"]
    covers = covers_of(lines_of(start, usage))
    assert [line.rate_card for line in lines_of(period, usage, covers)] == ["calls", "base"]


def test_a_free_plan_has_no_lines() -> None:
    free = ARREARS | {"price": {"model": "flat", "amount": "0"}}
    assert billed(plan_with(free), "2024-02-01", start="2024-01-10") == [("period", [])]


@pytest.mark.parametrize("reason", [Reason.START, Reason.PERIOD])
def test_bills_are_in_order_of_moment_then_customer_then_subscription(reason: Reason) -> None:
    plan = plan_with(ADVANCE if reason is Reason.START else ARREARS)
    customers = {
        number: Customer(number, key, key, "USD", "UTC", None, Address(), ())
        for number, key in enumerate(["zoe", "adam"])
    }
    subscriptions = [
        Subscription(id_, key, customer, customers[customer].key, 1, "p", 1, "calendar", day(start), None)
        for id_, (key, customer, start) in enumerate(
            [("a", 0, "2024-01-01"), ("b", 1, "2024-01-01"), ("c", 1, "2024-02-01"), ("0", 1, "2024-01-01")]
        )
    ]
    ordered = [
        bill
        for bill in due_bills(subscriptions, customers, {1: plan}, day("2024-03-01"))
        if bill.reason is reason
    ]
    keys = [(bill.due_since, bill.customer.key, bill.subscription.key) for bill in ordered]
    assert keys == sorted(keys)
    assert [bill.subscription.key for bill in ordered[:3]] == ["0", "b", "a"]
