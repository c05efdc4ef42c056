"""What coupons take off: computed by hand, and against a second, naive calculation."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from term_world import CALLS, TOKENS, Story, coupon, fee, invoices, plan_with, told

from farthing.catalog.coupon import parse_coupon
from farthing.customers.terms.model import Redemption
from farthing.invoicing.model import Line

USAGE_AND_FEE = plan_with(CALLS, fee("40"))


def january(redemptions: list[Redemption], calls: str = "80", plan: Any = USAGE_AND_FEE) -> list[Line]:
    (draft,) = Story(plan, {"calls": [calls]}, redemptions=redemptions).bill("2024-02-01")
    return list(draft.lines)


def test_a_percentage_of_everything() -> None:
    lines = january([coupon(percent="10", duration="forever")])
    assert told(lines) == [("usage", "80"), ("fee", "40"), ("coupon", "-12")]
    assert lines[2].charges[0].reason == "10 % off 120.00"


def test_an_amount_is_taken_from_the_lines_in_their_order() -> None:
    lines = january([coupon(amount="90", currency="USD", duration="once")])
    assert told(lines)[2:] == [("coupon", "-90")]
    adjustment = lines[2].adjustment
    assert adjustment is not None
    assert [(share.line, str(share.amount)) for share in adjustment.of] == [(1, "-80"), (2, "-10")]


@pytest.mark.parametrize(("amount", "off"), [("119.99", "-119.99"), ("120", "-120"), ("120.01", "-120")])
def test_an_amount_never_takes_off_more_than_there_is(amount: str, off: str) -> None:
    lines = january([coupon(amount=amount, currency="USD", duration="forever")])
    assert told(lines)[2:] == [("coupon", off)]


def test_what_an_amount_has_left_over_is_not_carried() -> None:
    story = Story(
        plan_with(CALLS),
        {"calls": ["30", "80"]},
        redemptions=[coupon(amount="50", currency="USD", duration="once")],
    )
    assert invoices(story.bill("2024-03-01")) == [
        [("usage", "30"), ("coupon", "-30")],
        [("usage", "80")],
    ]


def test_coupons_apply_in_the_order_of_redemption_each_to_what_is_left() -> None:
    percent = coupon(key="a", percent="25", duration="forever")
    amount = coupon(key="b", amount="100", currency="USD", duration="forever")
    assert told(january([percent, amount]))[2:] == [("coupon", "-30"), ("coupon", "-90")]
    assert told(january([amount, percent]))[2:] == [("coupon", "-100"), ("coupon", "-5")]


def test_a_coupon_takes_off_from_the_rate_cards_in_its_scope() -> None:
    assert told(january([coupon(percent="50", duration="forever", rate_cards=["fee"])]))[2:] == [
        ("coupon", "-20")
    ]
    assert told(january([coupon(percent="50", duration="forever", rate_cards=["other"])]))[2:] == []


def test_a_hundred_percent_leaves_nothing_for_the_next() -> None:
    lines = january(
        [coupon(key="a", percent="100", duration="forever"), coupon(key="b", percent="1", duration="forever")]
    )
    assert told(lines)[2:] == [("coupon", "-120")]


def test_the_first_so_many_invoices_with_something_to_take_off() -> None:
    """February has nothing to take off, and does not count."""
    story = Story(
        plan_with(CALLS),
        {"calls": ["10", "0", "10", "10"]},
        redemptions=[coupon(percent="10", duration="repeating", periods=2)],
    )
    assert invoices(story.bill("2024-05-01")) == [
        [("usage", "10"), ("coupon", "-1")],
        [("usage", "10"), ("coupon", "-1")],
        [("usage", "10")],
    ]


def test_a_coupon_begins_with_the_invoices_that_fall_due_at_its_start() -> None:
    story = Story(
        plan_with(CALLS),
        {"calls": ["10", "10", "10"]},
        redemptions=[coupon("2024-03-01", percent="10", duration="once")],
    )
    assert invoices(story.bill("2024-04-01")) == [
        [("usage", "10")],
        [("usage", "10"), ("coupon", "-1")],
        [("usage", "10")],
    ]


def test_three_months_of_a_fee_in_advance() -> None:
    """Invoices that it reduced are counted: that of the start is the first."""
    story = Story(
        plan_with(fee("40", "advance")),
        {},
        redemptions=[coupon(percent="50", duration="repeating", periods=3)],
    )
    assert (
        invoices(story.bill("2024-05-01")) == [[("fee", "40"), ("coupon", "-20")]] * 3 + [[("fee", "40")]] * 2
    )


def test_a_line_for_each_service_period() -> None:
    """The usage of January and the fee for February stand on one invoice."""
    story = Story(
        plan_with(CALLS, fee("40", "advance")),
        {"calls": ["80"]},
        redemptions=[coupon("2024-02-01", percent="10", duration="once")],
    )
    lines = story.bill("2024-02-01")[1].lines
    assert told(lines) == [("usage", "80"), ("fee", "40"), ("coupon", "-8"), ("coupon", "-4")]
    assert [line.service_period.start.month for line in lines] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("currency", "total"), [("JPY", ("107", "-11", "96")), ("KWD", ("107.100", "-10.710", "96.390"))]
)
def test_currencies_have_their_own_digits(currency: str, total: tuple[str, str, str]) -> None:
    """107.1 less 10 percent is 96.39, exactly; in JPY 96."""
    plan = plan_with(CALLS, currency=currency)
    (draft,) = Story(plan, {"calls": ["107.1"]}, redemptions=[coupon(percent="10", duration="once")]).bill(
        "2024-02-01"
    )
    usage, off, whole = total
    assert [str(amount) for amount in draft.totals.amounts] == [usage, off]
    assert str(draft.totals.total) == whole
    assert draft.totals.total_exact == Decimal("96.39")


# -- Against a second calculation -------------------------------------------------------------

AMOUNTS = st.decimals(0, 1000, places=4)
COUPONS = st.lists(
    st.tuples(
        st.sampled_from(["percent", "amount"]),
        st.decimals("0.01", 100, places=2),
        st.sampled_from([None, ["calls"], ["tokens"], ["fee"], ["calls", "fee"]]),
    ),
    max_size=5,
)


def naive(amounts: dict[str, Fraction], coupons: list[tuple[str, Decimal, list[str] | None]]) -> Fraction:
    """What is left of an invoice, rate card by rate card."""
    left = dict(amounts)
    for kind, size, scope in coupons:
        cards = [card for card in left if scope is None or card in scope]
        if kind == "percent":
            for card in cards:
                left[card] *= 1 - Fraction(size) / 100
            continue
        money = Fraction(size)
        for card in cards:
            taken = min(money, left[card])
            left[card] -= taken
            money -= taken
    return sum(left.values(), Fraction(0))


@given(AMOUNTS, AMOUNTS, AMOUNTS, COUPONS)
def test_any_coupons_on_any_amounts(
    calls: Decimal, tokens: Decimal, flat: Decimal, given_: list[tuple[str, Decimal, list[str] | None]]
) -> None:
    redemptions = []
    for number, (kind, size, scope) in enumerate(given_):
        fields: dict[str, Any] = {kind: str(size)} | ({"currency": "USD"} if kind == "amount" else {})
        if scope is not None:
            fields["rate_cards"] = scope
        redemptions.append(coupon(key=f"c{number}", duration="forever", **fields))
    plan = plan_with(CALLS, TOKENS, fee(str(flat)))
    drafts = Story(plan, {"calls": [str(calls)], "tokens": [str(tokens)]}, redemptions=redemptions).bill(
        "2024-02-01"
    )
    exact = sum((Fraction(draft.totals.total_exact) for draft in drafts), Fraction(0))
    expected = naive({"calls": Fraction(calls), "tokens": Fraction(tokens), "fee": Fraction(flat)}, given_)
    assert exact == expected
    assert exact >= 0
    for draft in drafts:
        assert sum(draft.totals.amounts) == draft.totals.subtotal
        for line in draft.lines:
            if line.adjustment is not None:
                assert sum(share.amount for share in line.adjustment.of) == line.amount_exact
                assert line.amount_exact < 0


# -- What is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"percent": "0"}, "invalid_coupon", "percent"),
        ({"percent": "100.01"}, "invalid_coupon", "percent"),
        ({"percent": "0.0000001"}, "invalid_coupon", "percent"),
        ({"percent": None}, "invalid_coupon", "percent"),
        ({"amount": "5", "currency": "USD"}, "invalid_coupon", "percent"),
        ({"percent": None, "amount": "5"}, "invalid_coupon", "currency"),
        ({"percent": None, "amount": "-5", "currency": "USD"}, "invalid_coupon", "amount"),
        ({"currency": "USD"}, "invalid_coupon", "currency"),
        ({"percent": None, "amount": "5", "currency": "XXX"}, "invalid_currency", "currency"),
        ({"duration": "sometimes"}, "invalid_coupon", "duration"),
        ({"duration": "repeating"}, "invalid_coupon", "periods"),
        ({"periods": 3}, "invalid_coupon", "periods"),
        ({"duration": "repeating", "periods": 0}, "invalid_coupon", "periods"),
        ({"rate_cards": []}, "invalid_scope", "rate_cards"),
        ({"rate_cards": ["a", "a"]}, "invalid_scope", "rate_cards[1]"),
        ({"redeem_by": "tomorrow"}, "invalid_instant", "redeem_by"),
        ({"max_redemptions": 0}, "invalid_coupon", "max_redemptions"),
        ({"max_redemptions": 2**31}, "invalid_coupon", "max_redemptions"),
        ({"discount": "5"}, "invalid_coupon", "discount"),
    ],
)
def test_a_faulty_coupon_is_refused_with_the_place(change: dict[str, Any], code: str, path: str) -> None:
    from farthing.kernel.errors import InvalidInput

    raw = {"key": "c", "name": "C", "percent": "10", "duration": "once"} | change
    with pytest.raises(InvalidInput) as refused:
        parse_coupon(raw, "coupons[2]")
    assert (refused.value.code, refused.value.path) == (code, f"coupons[2].{path}")
