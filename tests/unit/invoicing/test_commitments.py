"""What commitments do to the invoices of their term: computed by hand, and against a second calculation."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from term_world import CALLS, TOKENS, Story, commitment, coupon, fee, invoices, plan_with, told

from farthing.customers.terms.model import Commitment
from farthing.invoicing.model import Reason

METERED = plan_with(CALLS)


def story(calls: list[str], *commitments: Commitment, **more: Any) -> Story:
    return Story(more.pop("plan", METERED), {"calls": calls}, commitments=list(commitments), **more)


# -- A minimum ------------------------------------------------------------------------------------


def minimum(amount: str, **more: Any) -> Commitment:
    return commitment(kind="minimum", amount=amount, **({"interval": "quarter"} | more))


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ("9", [("usage", "9"), ("commitment", "0"), ("true_up", "61")]),
        ("69.99", [("usage", "69.99"), ("commitment", "0"), ("true_up", "0.01")]),
        ("70", [("usage", "70"), ("commitment", "0")]),
        ("71", [("usage", "71"), ("commitment", "0")]),
        ("0", [("true_up", "70")]),
    ],
)
def test_what_is_missing_to_a_minimum_is_owed_at_its_end(last: str, end: list[tuple[str, str]]) -> None:
    drafts = story(["10", "20", last, "5"], minimum("100")).bill("2024-05-01")
    assert invoices(drafts) == [
        [("usage", "10"), ("commitment", "0")],
        [("usage", "20"), ("commitment", "0")],
        end,
        [("usage", "5")],
    ]


def test_each_invoice_says_how_far_it_is() -> None:
    lines = story(["10", "20"], minimum("1000")).bill("2024-03-01")[1].lines
    assert lines[1].charges[0].reason == "20.00 counted: 30.00 of 1,000.00"
    assert (str(lines[1].quantity), lines[1].description) == ("20", "Year")


@pytest.mark.parametrize(
    ("percent", "before", "calls", "overage"),
    [
        ("120", "95", "5", []),
        ("120", "95", "5.01", [("overage", "0.002")]),
        ("120", "95", "80", [("overage", "15")]),
        ("120", "100", "80", [("overage", "16")]),
        ("120", "150", "80", [("overage", "16")]),
        ("50", "95", "80", [("overage", "-37.5")]),
        ("0", "95", "80", [("overage", "-75")]),
        ("100", "95", "80", []),
        (None, "95", "80", []),
    ],
)
def test_usage_beyond_it_costs_another_rate_from_the_very_point_on(
    percent: str | None, before: str, calls: str, overage: list[tuple[str, str]]
) -> None:
    more = {} if percent is None else {"overage_percent": percent}
    drafts = story([before, calls], minimum("100", **more)).bill("2024-03-01")
    assert told(drafts[1].lines) == [("usage", calls), ("commitment", "0"), *overage]


def test_crossed_in_the_middle_of_an_invoice_with_several_lines() -> None:
    """40 and 50 follow upon 30: the second line crosses 100 after 30 of its 50."""
    plan = plan_with(CALLS, TOKENS)
    drafts = Story(
        plan,
        {"calls": ["30", "40"], "tokens": ["0", "50"]},
        commitments=[minimum("100", overage_percent="150")],
    ).bill("2024-03-01")
    overage = drafts[1].lines[-1]
    assert (overage.kind.value, str(overage.quantity), str(overage.amount_exact)) == ("overage", "20", "10.0")
    assert overage.charges[0].reason == "20.00 beyond 100.00 at 150 %"
    assert overage.adjustment is not None
    assert [(share.line, str(share.amount)) for share in overage.adjustment.of] == [(2, "20")]


def test_fixed_fees_count_only_where_they_are_named() -> None:
    plan = plan_with(CALLS, fee("40"))
    named = minimum("300", rate_cards=["calls", "fee"])
    assert told(story(["10"] * 3, minimum("300"), plan=plan).bill("2024-04-01")[-1].lines)[-1] == (
        "true_up",
        "270",
    )
    assert told(story(["10"] * 3, named, plan=plan).bill("2024-04-01")[-1].lines)[-1] == ("true_up", "150")


def test_what_coupons_take_off_does_not_count() -> None:
    drafts = story(["10"] * 3, minimum("100"), redemptions=[coupon(percent="50", duration="forever")]).bill(
        "2024-04-01"
    )
    assert told(drafts[2].lines) == [
        ("usage", "10"),
        ("coupon", "-5"),
        ("commitment", "0"),
        ("true_up", "85"),
    ]


def test_two_commitments_with_scopes_of_their_own() -> None:
    plan = plan_with(CALLS, TOKENS)
    calls = minimum("50", key="a", rate_cards=["calls"])
    tokens = minimum("60", key="b", rate_cards=["tokens"])
    drafts = Story(plan, {"calls": ["10"], "tokens": ["20"]}, commitments=[calls, tokens]).bill("2024-04-01")
    assert invoices(drafts) == [
        [("usage", "10"), ("usage", "20"), ("commitment", "0"), ("commitment", "0")],
        [("true_up", "40"), ("true_up", "40")],
    ]


def test_one_year_follows_upon_the_other() -> None:
    first = minimum("30", key="a", interval="month")
    second = minimum("30", key="b", interval="month", start="2024-02-01T00:00:00Z")
    assert invoices(story(["10", "20"], first, second).bill("2024-04-01")) == [
        [("usage", "10"), ("commitment", "0"), ("true_up", "20")],
        [("usage", "20"), ("commitment", "0"), ("true_up", "10")],
    ]


def test_a_term_that_ends_inside_a_period_takes_the_period_that_began_in_it() -> None:
    one = minimum("100", end="2024-02-10T00:00:00Z", interval=None)
    assert invoices(story(["10", "20", "30"], one).bill("2024-04-01")) == [
        [("usage", "10"), ("commitment", "0")],
        [("usage", "20"), ("commitment", "0"), ("true_up", "70")],
        [("usage", "30")],
    ]


# -- Cancelled early ---------------------------------------------------------------------------


def test_with_the_subscription_the_term_ends() -> None:
    drafts = story(["10", "20"], minimum("100"), end="2024-02-10").bill("2024-06-01")
    assert invoices(drafts)[-1] == [("usage", "20"), ("commitment", "0"), ("true_up", "70")]
    assert [draft.bill.reason for draft in drafts] == [Reason.PERIOD] * 2


def test_ended_after_its_last_period_was_invoiced_it_is_settled_on_an_invoice_of_its_own() -> None:
    one = story(["10", "20"], minimum("100"))
    assert len(one.bill("2024-03-01")) == 2
    one.end = one.due("2024-03-01")[-1].period.end
    (settled,) = one.bill("2024-03-05")
    assert (settled.bill.reason, told(settled.lines)) == (Reason.SETTLEMENT, [("true_up", "70")])
    assert one.bill("2024-06-01") == []


def test_a_term_that_would_begin_after_the_end_never_does() -> None:
    later = commitment(kind="prepaid", amount="100", interval="year", start="2024-03-01T00:00:00Z")
    drafts = story(["10", "20"], later, end="2024-03-01").bill("2024-06-01")
    assert invoices(drafts) == [[("usage", "10")], [("usage", "20")]]


# -- Prepaid ------------------------------------------------------------------------------------


def prepaid(amount: str, **more: Any) -> Commitment:
    return commitment(kind="prepaid", amount=amount, **({"interval": "quarter"} | more))


@pytest.mark.parametrize(
    ("second", "lines"),
    [
        ("89", [("usage", "89"), ("drawdown", "-89")]),
        ("90", [("usage", "90"), ("drawdown", "-90")]),
        ("91", [("usage", "91"), ("drawdown", "-90")]),
    ],
)
def test_usage_draws_it_down_until_nothing_is_left(second: str, lines: list[tuple[str, str]]) -> None:
    drafts = story(["10", second, "5"], prepaid("100")).bill("2024-03-01")
    assert invoices(drafts) == [[("prepaid", "100")], [("usage", "10"), ("drawdown", "-10")], lines]
    assert [draft.bill.reason for draft in drafts] == [Reason.START, Reason.PERIOD, Reason.PERIOD]


def test_what_is_left_at_the_end_lapses() -> None:
    drafts = story(["10", "20", "30", "40"], prepaid("100")).bill("2024-05-01")
    assert invoices(drafts)[3:] == [
        [("usage", "30"), ("drawdown", "-30"), ("lapse", "0")],
        [("usage", "40")],
    ]
    lapse = drafts[3].lines[-1]
    assert (str(lapse.quantity), lapse.charges[0].reason) == ("40", "40.00 of 100.00 not used")


def test_what_is_rolled_over_goes_on_being_drawn() -> None:
    drafts = story(["10", "20", "30", "35", "40"], prepaid("100", rollover=True, overage_percent="150")).bill(
        "2024-06-01"
    )
    assert invoices(drafts)[3:] == [
        [("usage", "30"), ("drawdown", "-30")],
        [("usage", "35"), ("drawdown", "-35")],
        [("usage", "40"), ("drawdown", "-5")],
    ]


def test_what_is_rolled_over_is_drawn_before_the_next_and_lapses_with_the_subscription() -> None:
    first = prepaid("40", key="a", interval="month", rollover=True)
    second = prepaid("40", key="b", interval="month", start="2024-02-01T00:00:00Z", rollover=True)
    drafts = story(["10", "50"], first, second, end="2024-03-01").bill("2024-06-01")
    assert invoices(drafts) == [
        [("prepaid", "40")],
        [("usage", "10"), ("drawdown", "-10"), ("prepaid", "40")],
        [("usage", "50"), ("drawdown", "-30"), ("drawdown", "-20"), ("lapse", "0")],
    ]


def test_usage_beyond_what_was_prepaid() -> None:
    drafts = story(["90", "30"], prepaid("100", overage_percent="120")).bill("2024-03-01")
    assert told(drafts[2].lines) == [("usage", "30"), ("drawdown", "-10"), ("overage", "4")]


def test_it_is_billed_on_the_first_invoice_that_falls_due_when_it_begins() -> None:
    later = prepaid("100", start="2024-02-01T00:00:00Z")
    assert invoices(story(["10", "20"], later).bill("2024-03-01")) == [
        [("usage", "10"), ("prepaid", "100")],
        [("usage", "20"), ("drawdown", "-20")],
    ]


def test_on_the_invoice_of_the_start_beside_the_fee_in_advance() -> None:
    plan = plan_with(CALLS, fee("40", "advance"))
    drafts = story(["10"], prepaid("100"), plan=plan).bill("2024-02-01")
    assert invoices(drafts) == [
        [("fee", "40"), ("prepaid", "100")],
        [("usage", "10"), ("fee", "40"), ("drawdown", "-10")],
    ]


# -- The plan's minimum -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "missing"),
    [("0", "50"), ("49.99", "0.01"), ("50", None), ("51", None)],
)
def test_a_period_comes_to_the_minimum(calls: str, missing: str | None) -> None:
    (draft,) = story([calls], plan=plan_with(CALLS, minimum="50")).bill("2024-02-01")
    usage = [("usage", calls)] if calls != "0" else []
    assert told(draft.lines) == usage + ([] if missing is None else [("minimum", missing)])


def test_a_part_of_a_period_has_its_share_of_the_minimum() -> None:
    (draft,) = story(["10"], plan=plan_with(CALLS, minimum="62"), start="2024-01-17").bill("2024-02-01")
    assert told(draft.lines)[1:] == [("minimum", "20")], "62 * 15/31 - 10"


def test_a_fee_that_was_billed_in_advance_counts_for_its_period() -> None:
    """The fee for January is on the invoice of the start; that for February on January's, and the last is out."""
    plan = plan_with(CALLS, fee("20", "advance"), minimum="50")
    drafts = story(["10", "30", "0"], plan=plan, end="2024-04-01").bill("2024-06-01")
    assert invoices(drafts) == [
        [("fee", "20")],
        [("usage", "10"), ("fee", "20"), ("minimum", "20")],
        [("usage", "30"), ("fee", "20")],
        [("minimum", "30")],
    ]


def test_coupons_come_before_the_minimum_and_a_drawdown_does_not_touch_it() -> None:
    plan = plan_with(CALLS, minimum="50")
    drafts = story(
        ["60"], prepaid("100"), plan=plan, redemptions=[coupon(percent="50", duration="forever")]
    ).bill("2024-02-01")
    assert told(drafts[1].lines) == [
        ("usage", "60"),
        ("coupon", "-30"),
        ("drawdown", "-30"),
        ("minimum", "20"),
    ]


# -- Together or one by one, and against a second calculation ------------------------------------

YEAR = st.lists(st.decimals(0, 200, places=3).map(str), min_size=12, max_size=12)
PERCENT = st.one_of(st.none(), st.integers(0, 300).map(str))


def naive_year(months: list[str], kind: str, amount: str, percent: str | None) -> Fraction:
    """What a year comes to: with everything known at once, not an invoice at a time."""
    used = sum((Fraction(month) for month in months), Fraction(0))
    size = Fraction(amount)
    rate = Fraction(100 if percent is None else percent) / 100
    return max(used, size) if used <= size else size + (used - size) * rate


@settings(max_examples=150)
@given(YEAR, st.sampled_from(["minimum", "prepaid"]), st.decimals(1, 2000, places=2).map(str), PERCENT)
def test_a_year_comes_to_what_it_comes_to_however_it_is_billed(
    months: list[str], kind: str, amount: str, percent: str | None
) -> None:
    more = {} if percent is None else {"overage_percent": percent}

    def of_year() -> Story:
        return story(months, commitment(kind=kind, amount=amount, interval="year", **more))

    at_once = of_year().bill("2025-01-01")
    monthly = of_year()
    one_by_one = [
        draft
        for year, month in [*((2024, number) for number in range(1, 13)), (2025, 1)]
        for draft in monthly.bill(f"{year}-{month:02d}-01")
    ]
    assert [draft.lines for draft in at_once] == [draft.lines for draft in one_by_one]
    total = sum((Fraction(draft.totals.total_exact) for draft in at_once), Fraction(0))
    assert total == naive_year(months, kind, amount, percent)
    for draft in at_once:
        for line in draft.lines:
            if line.adjustment is not None and line.adjustment.of:
                shares = sum((share.amount for share in line.adjustment.of), Decimal(0))
                assert abs(shares) == line.quantity, "made of these lines, and of nothing else"


@given(YEAR, st.decimals("0.01", 300, places=2).map(str), st.decimals(0, 100, places=2).map(str))
def test_a_minimum_with_a_fee_in_advance(months: list[str], least: str, flat: str) -> None:
    plan = plan_with(CALLS, fee(flat, "advance"), minimum=least)
    drafts = story(months, plan=plan, end="2025-01-01").bill("2025-01-01")
    total = sum((Fraction(draft.totals.total_exact) for draft in drafts), Fraction(0))
    assert total == sum(max(Fraction(least), Fraction(month) + Fraction(flat)) for month in months)


@pytest.mark.parametrize(("currency", "shown"), [("JPY", "10"), ("KWD", "10.500")])
def test_currencies_have_their_own_digits(currency: str, shown: str) -> None:
    plan = plan_with(CALLS, currency=currency)
    drafts = story(["89.5"], commitment(kind="minimum", amount="100", interval="month"), plan=plan).bill(
        "2024-02-01"
    )
    assert [str(amount) for amount in drafts[0].totals.amounts][2] == shown
    assert drafts[0].totals.total_exact == 100


# -- What is written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"kind": "maximum"}, "invalid_commitment", "kind"),
        ({"amount": "0"}, "invalid_commitment", "amount"),
        ({"amount": "1e30"}, "invalid_commitment", "amount"),
        ({"interval": None}, "invalid_commitment", "end"),
        ({"end": "2025-01-01T00:00:00Z"}, "invalid_commitment", "end"),
        ({"interval": "fortnight"}, "invalid_interval", "interval"),
        ({"interval_count": 0}, "invalid_interval_count", "interval_count"),
        (
            {"interval": None, "start": "2025-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"},
            "invalid_commitment",
            "end",
        ),
        ({"overage_percent": "-1"}, "invalid_commitment", "overage_percent"),
        ({"overage_percent": "10000.1"}, "invalid_commitment", "overage_percent"),
        ({"rollover": True}, "invalid_commitment", "rollover"),
        ({"rollover": "yes"}, "invalid_commitment", "rollover"),
        ({"rate_cards": "calls"}, "invalid_scope", "rate_cards"),
        ({"discount": "5"}, "invalid_commitment", "discount"),
    ],
)
def test_a_faulty_commitment_is_refused_with_the_place(change: dict[str, Any], code: str, path: str) -> None:
    from farthing.customers.content import parse_subscription
    from farthing.kernel.errors import InvalidInput

    raw = {"key": "c", "kind": "minimum", "amount": "10", "interval": "year"} | change
    subscription = {"key": "s", "customer": "a", "plan": "p", "start": "2024-01-01T00:00:00Z"}
    with pytest.raises(InvalidInput) as refused:
        parse_subscription(subscription | {"commitments": [raw]}, "subscriptions[1]")
    assert (refused.value.code, refused.value.path) == (code, f"subscriptions[1].commitments[0].{path}")
