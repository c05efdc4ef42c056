"""Interim invoices: however a period is charged for, its invoices sum to what one invoice would have been.

The oracle rates by fractions (`tests/unit/rating/oracle.py`), rounds by whole numbers, and knows nothing of
lines: what an interim invoice must come to is what accrued, less what the invoices before it came to.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Used, owes
from random_prices import random_price, random_quantity

from farthing.catalog.model import Plan
from farthing.catalog.plan import parse_plan
from farthing.customers.model import Address, Customer, Subscription
from farthing.invoicing.document import document_of, document_text
from farthing.invoicing.drafting.usage_lines import meter_queries
from farthing.invoicing.due import due_bills
from farthing.invoicing.interim.charging import INTERIM_INVOICES_MAX, bill_so_far, told_of
from farthing.invoicing.model import NO_BASIS, Because, Bill, BilledBefore, Draft, Interim, Reason
from farthing.invoicing.run import draft_on
from farthing.kernel.money import MINOR_UNITS
from farthing.usage.model import UsageRow

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2026, 2, 1, tzinfo=UTC)
MODELS = ("per_unit", "package", "graduated", "volume", "stair_step", "block")
CUSTOMER = Customer(7, "acme", "Acme", "USD", "UTC", None, Address(), ())


def subscription(plan: Plan) -> Subscription:
    return Subscription(3, "acme-p", 7, "acme", 1, plan.key, 1, "calendar", START, None)


def whole_bill(plan: Plan) -> Bill:
    bills = due_bills([subscription(plan)], {7: CUSTOMER}, {1: plan}, END)
    return next(bill for bill in bills if bill.reason is Reason.PERIOD)


def interim(plan: Plan, moment: datetime, sequence: int) -> Bill:
    found = bill_so_far(subscription(plan), CUSTOMER, {1: plan}, moment)
    assert found is not None
    assert found[0].end == END
    return replace(found[1], interim=Interim(sequence, Because.THRESHOLD))


def usage(plan: Plan, quantities: Sequence[Decimal]) -> Any:
    return {
        query: [UsageRow(0, {}, quantity, 1)]
        for card, quantity in zip(plan.rate_cards, quantities, strict=True)
        if quantity
        for query in meter_queries(card)
    }


def before_of(draft: Draft, number: str) -> BilledBefore:
    """What the invoices after it are told of an issued one, from the document that is kept of it."""
    text = document_text(document_of(draft, number, {"name": "Northwind"}, END))
    period, interim = draft.bill.period, draft.bill.interim
    assert interim is not None
    told = told_of(number, json.loads(text)["lines"])
    for before in draft.basis.billed:
        sums = [sum(Fraction(amount) for _, amount in of) for of in (told[before.number], before.of)]
        assert sums[0] == sums[1], "the last one tells of all before it"
    return BilledBefore(number, interim.sequence, draft.totals.subtotal, period.end, told[number])


def drafted(bill: Bill, used: Any, billed: Sequence[BilledBefore]) -> Draft | None:
    return draft_on(bill, used, (), replace(NO_BASIS, billed=tuple(billed)))


def rounded(amount: Fraction, minor_units: int, mode: str) -> Fraction:
    scaled = abs(amount) * 10**minor_units
    whole, rest = divmod(scaled, 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (mode == "half_up" or whole % 2 == 1))
    return (whole + up) * (1 if amount >= 0 else -1) / Fraction(10) ** minor_units


def floored(amount: Fraction, minor_units: int) -> Fraction:
    return Fraction(amount * 10**minor_units // 1, 10**minor_units)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_the_invoices_of_a_period_sum_to_what_one_invoice_would_have_been(seed: int) -> None:
    random = Random(seed)
    currency, mode, scope = (
        random.choice(choices)
        for choices in (("USD", "JPY", "KWD"), ("half_up", "half_even"), ("invoice", "line"))
    )
    prices = [random_price(random, MODELS) for _ in range(random.randint(1, 3))]
    cards = [
        {"key": f"c{place}", "name": "C", "meter": f"m{place}", "price": price}
        for place, price in enumerate(prices)
    ]
    plan = parse_plan(
        {"key": "p", "name": "P", "currency": currency, "interval": "month", "rate_cards": cards}
        | {"rounding": scope, "rounding_mode": mode}
    )
    digits = MINOR_UNITS[currency]
    quantities = [Decimal(0)] * len(cards)
    billed: list[BilledBefore] = []
    sum_exact = sum_shown = Fraction(0)
    for step in range(random.randint(0, 6)):
        # Usage may fall: corrections in a period simply net.
        quantities = [
            quantity + random_quantity(random) * random.choice((1, 1, 1, -1)) for quantity in quantities
        ]
        moment = START + timedelta(days=step + 1)
        draft = drafted(interim(plan, moment, len(billed) + 1), usage(plan, quantities), billed)
        accrued = owed(prices, quantities, final=False)
        charged = floored(sum(accrued, Fraction(0)) - sum_shown, digits)
        if charged <= 0:
            assert draft is None, "nothing is charged before it has accrued"
            continue
        assert draft is not None
        assert Fraction(draft.totals.total) == Fraction(draft.totals.total_exact) == charged
        assert sum(map(Fraction, draft.totals.amounts)) == Fraction(draft.totals.subtotal)
        billed.append(before_of(draft, f"INV-{len(billed) + 1:06d}"))
        sum_exact += Fraction(draft.totals.total_exact)
        sum_shown += Fraction(draft.totals.total)
        of_lines = sum(Fraction(amount) for _, amount in billed[-1].of)
        assert of_lines == Fraction(draft.totals.total), "all of it is of its lines"
    owed_in_all = owed(prices, quantities, final=True)
    one_invoice = drafted(whole_bill(plan), usage(plan, quantities), ())
    last = drafted(whole_bill(plan), usage(plan, quantities), billed)
    expected = (
        rounded(sum(owed_in_all, Fraction(0)), digits, mode)
        if scope == "invoice"
        else sum((rounded(amount, digits, mode) for amount in owed_in_all), Fraction(0))
    )
    if last is not None:
        sum_exact += Fraction(last.totals.total_exact)
        sum_shown += Fraction(last.totals.total)
        assert sum(map(Fraction, last.totals.amounts)) == Fraction(last.totals.subtotal)
        exactly = sum(Fraction(line.amount_exact) for line in last.lines)
        assert exactly == Fraction(last.totals.total_exact)
    assert sum_exact == sum(owed_in_all, Fraction(0))
    assert sum_shown == expected
    if one_invoice is not None and last is not None:
        own = [line for line in last.lines if line.kind != "billed"]
        assert own == list(one_invoice.lines), "the last invoice is the one invoice, less what was billed"


def owed(prices: Sequence[dict[str, Any]], quantities: Sequence[Decimal], *, final: bool) -> list[Fraction]:
    return [
        owes(price, Used(Fraction(quantity)), final) if quantity or final else Fraction(0)
        for price, quantity in zip(prices, quantities, strict=True)
    ]


PER_THIRD = {"key": "c", "name": "C", "meter": "m", "price": {"model": "per_unit", "unit_price": "0.333"}}


def plan_of(**more: Any) -> Plan:
    raw = {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": [PER_THIRD]}
    return parse_plan(raw | more)


def test_the_example_of_the_module() -> None:
    plan, billed = plan_of(), []
    for number, (units, total) in enumerate((("3", "0.99"), ("6", "1.00")), start=1):
        moment = START + timedelta(days=number)
        draft = drafted(interim(plan, moment, number), usage(plan, [Decimal(units)]), billed)
        assert draft is not None
        assert str(draft.totals.total) == total
        billed.append(before_of(draft, f"INV-{number}"))
    last = drafted(whole_bill(plan), usage(plan, [Decimal(7)]), billed)
    assert last is not None
    assert [(line.kind.value, str(line.amount_exact)) for line in last.lines] == [
        ("usage", "2.331"), ("billed", "-0.99"), ("billed", "-1.00"),
    ]  # fmt: skip
    assert (str(last.totals.total_exact), str(last.totals.total)) == ("0.341", "0.34")


@pytest.mark.parametrize(("mode", "total"), [("half_even", "0.11"), ("half_up", "0.12")])
def test_what_was_billed_is_taken_off_after_rounding(mode: str, total: str) -> None:
    card = PER_THIRD | {"price": {"model": "per_unit", "unit_price": "0.005"}}
    plan = plan_of(rate_cards=[card], rounding_mode=mode)
    first = drafted(interim(plan, START + timedelta(days=1), 1), usage(plan, [Decimal(2)]), ())
    assert first is not None
    last = drafted(whole_bill(plan), usage(plan, [Decimal(25)]), [before_of(first, "INV-1")])
    assert last is not None
    assert str(last.totals.total) == total  # of 0.125: 0.12 or 0.13, less 0.01


def test_a_period_that_comes_to_less_than_was_charged_gives_back() -> None:
    volume = {"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.1"}]}
    plan = plan_of(rate_cards=[PER_THIRD | {"price": volume}])
    first = drafted(interim(plan, START + timedelta(days=1), 1), usage(plan, [Decimal(10)]), ())
    assert first is not None
    assert first.totals.total == 10
    billed = [before_of(first, "INV-1")]
    assert drafted(interim(plan, START + timedelta(days=2), 2), usage(plan, [Decimal(20)]), billed) is None
    last = drafted(whole_bill(plan), usage(plan, [Decimal(20)]), billed)
    assert last is not None
    assert last.totals.total == -8


def test_what_a_line_takes_off_says_of_which_lines_it_is() -> None:
    other = PER_THIRD | {"key": "d", "meter": "n", "price": {"model": "per_unit", "unit_price": "1"}}
    plan = plan_of(rate_cards=[PER_THIRD, other])
    first = drafted(interim(plan, START + timedelta(days=1), 1), usage(plan, [Decimal(1), Decimal(2)]), ())
    assert first is not None
    last = drafted(whole_bill(plan), usage(plan, [Decimal(4), Decimal(5)]), [before_of(first, "INV-1")])
    assert last is not None
    (taken,) = (line for line in last.lines if line.kind == "billed")
    assert taken.adjustment is not None
    # 0.003 of 2.333 was carried, from the larger line.
    assert [(share.line, str(share.amount)) for share in taken.adjustment.of] == [
        (1, "-0.333"),
        (2, "-1.997"),
    ]
    assert taken.description == "Billed on INV-1"


def test_what_a_vanished_line_was_billed_is_taken_off_the_largest() -> None:
    """An alias moved: the usage of a card is somebody else's now, and what was billed of it is given back."""
    other = PER_THIRD | {"key": "d", "meter": "n", "price": {"model": "per_unit", "unit_price": "1"}}
    plan = plan_of(rate_cards=[PER_THIRD, other])
    first = drafted(interim(plan, START + timedelta(days=1), 1), usage(plan, [Decimal(3), Decimal(2)]), ())
    assert first is not None
    billed = [before_of(first, "INV-1")]
    last = drafted(whole_bill(plan), usage(plan, [Decimal(0), Decimal(5)]), billed)
    assert last is not None
    (own, taken) = last.lines
    assert (own.rate_card, str(taken.amount_exact)) == ("d", "-2.99")
    assert taken.adjustment is not None
    assert [(share.line, str(share.amount)) for share in taken.adjustment.of] == [(1, "-2.990")]
    nothing = drafted(whole_bill(plan), usage(plan, [Decimal(0), Decimal(0)]), billed)
    assert nothing is not None
    assert [(line.kind.value, str(line.amount_exact)) for line in nothing.lines] == [("billed", "-2.99")]


def test_a_minimum_and_what_is_owed_without_usage_wait_for_the_end() -> None:
    card = PER_THIRD | {"price": PER_THIRD["price"] | {"minimum": "7"}}
    plan = plan_of(rate_cards=[card], minimum="50")
    draft = drafted(interim(plan, START + timedelta(days=1), 1), usage(plan, [Decimal(3)]), ())
    assert draft is not None
    assert draft.totals.total == Decimal("0.99")


def test_nothing_has_accrued_at_the_very_start_of_a_period() -> None:
    plan = plan_of()
    assert bill_so_far(subscription(plan), CUSTOMER, {1: plan}, START) is None
    assert bill_so_far(subscription(plan), CUSTOMER, {1: plan}, END) is None
    assert INTERIM_INVOICES_MAX == 1000
