"""Lines always sum to the total, whatever the amounts, the currency and the rounding."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.model import Plan, RoundingScope
from farthing.invoicing.drafting.totals import totals_of
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.period import Interval
from farthing.kernel.quantity import exact
from farthing.kernel.rounding import Rounding, round_money


def plan(
    currency: str = "USD",
    rounding: RoundingScope = RoundingScope.INVOICE,
    mode: Rounding = Rounding.HALF_UP,
) -> Plan:
    return Plan("payg", "Payg", currency, Interval.MONTH, 1, rounding, mode, ())


def amounts_of(texts: str, plan: Plan) -> tuple[list[str], str]:
    totals = totals_of([Decimal(text) for text in texts.split()], plan)
    return [str(amount) for amount in totals.amounts], str(totals.total)


@pytest.mark.parametrize(
    ("texts", "plan_", "amounts", "total"),
    [
        ("0.333 0.333 0.333", plan(), ["0.34", "0.33", "0.33"], "1.00"),
        ("0.333 0.333 0.333", plan(rounding=RoundingScope.LINE), ["0.33", "0.33", "0.33"], "0.99"),
        ("45.149935 2.45896", plan(), ["45.15", "2.46"], "47.61"),
        ("0.004 0.004", plan(), ["0.01", "0.00"], "0.01"),
        ("0.004 0.004", plan(rounding=RoundingScope.LINE), ["0.00", "0.00"], "0.00"),
        ("0.125", plan(), ["0.13"], "0.13"),
        ("0.125", plan(mode=Rounding.HALF_EVEN), ["0.12"], "0.12"),
        ("-0.125", plan(), ["-0.13"], "-0.13"),
        ("10.005 -3.335", plan(), ["10.01", "-3.34"], "6.67"),
        ("10.005 -3.335", plan(rounding=RoundingScope.LINE), ["10.01", "-3.34"], "6.67"),
        ("1234.5 0.5", plan("JPY"), ["1235", "0"], "1235"),
        ("625.0125 -20.5", plan("KWD"), ["625.013", "-20.500"], "604.513"),
        ("0 0", plan(), ["0.00", "0.00"], "0.00"),
    ],
)
def test_examples(texts: str, plan_: Plan, amounts: list[str], total: str) -> None:
    assert amounts_of(texts, plan_) == (amounts, total)


exact_amounts = st.lists(
    st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=9),
    min_size=1,
    max_size=60,
)
plans = st.builds(
    plan,
    st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
    st.sampled_from(RoundingScope),
    st.sampled_from(Rounding),
)


@given(exact_amounts, plans)
def test_lines_sum_to_the_total_and_no_line_is_off_by_a_unit(amounts: list[Decimal], plan: Plan) -> None:
    totals = totals_of(amounts, plan)
    digits = MINOR_UNITS[plan.currency]
    unit = Decimal(1).scaleb(-digits)
    with exact():
        assert sum(totals.amounts) == totals.subtotal
        assert totals.subtotal + totals.tax == totals.total
        assert totals.total_exact == sum(amounts)
        assert all(abs(shown - amount) < unit for shown, amount in zip(totals.amounts, amounts, strict=True))
    assert all(amount.as_tuple().exponent == -digits for amount in (*totals.amounts, totals.total))
    if plan.rounding is RoundingScope.INVOICE:
        assert totals.total == round_money(sum(amounts), digits, plan.rounding_mode)
