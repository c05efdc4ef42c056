"""Draws in columns are booked as the recipe for single ones says, to the last byte. Pure."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.ledger.batch import account_names, batch_of, rows_of_draws
from farthing.ledger.chart import Code
from farthing.ledger.checking import check_draws, check_transfers
from farthing.ledger.facts import DrawnTogether, WalletDrawn
from farthing.ledger.recipes import WALLETS_AT_ONCE, drawn_together

AT = datetime(2026, 2, 1, 9, 30, tzinfo=UTC)
FUNDS = st.tuples(
    st.sampled_from([Code.PREPAID, Code.PROMOTIONAL_CREDIT]),
    st.decimals(min_value="0.000000000000000001", max_value=10**12, places=18),
)


def drawn(funds: list[tuple[Code, D]], currency: str = "USD") -> DrawnTogether:
    customers = range(7, 7 + len(funds))
    codes, amounts = zip(*funds, strict=True)
    return DrawnTogether("41", currency, customers, codes, amounts, [None] * len(funds), AT)


@settings(max_examples=40, deadline=None)
@given(st.lists(FUNDS, min_size=1, max_size=2 * WALLETS_AT_ONCE + 3))
def test_columns_say_what_the_recipe_says(funds: list[tuple[Code, D]]) -> None:
    together = drawn(funds)
    facts = [
        WalletDrawn(
            f"41:{customer}",
            customer,
            "USD",
            amount if code is Code.PREPAID else D(0),
            amount if code is Code.PROMOTIONAL_CREDIT else D(0),
            AT,
        )
        for customer, (code, amount) in enumerate(funds, start=7)
    ]
    begins = range(0, len(facts), WALLETS_AT_ONCE)
    recipes = [drawn_together(facts[at].draw, facts[at : at + WALLETS_AT_ONCE]) for at in begins]
    check_transfers(recipes)
    check_draws([together])
    assert rows_of_draws(together, account_names(together)) == batch_of(recipes).rows


@pytest.mark.parametrize(
    ("funds", "currency", "code"),
    [
        ([(Code.PREPAID, D(1)), (Code.PREPAID, D(0))], "USD", "invalid_amount"),
        ([(Code.PREPAID, D(-1))], "USD", "invalid_amount"),
        ([(Code.PREPAID, D("1e-37"))], "USD", "too_many_digits"),
        ([(Code.PREPAID, D(1))], "XXZ", "invalid_currency"),
    ],
)
def test_what_no_transfer_may_say_they_may_not_either(
    funds: list[tuple[Code, D]], currency: str, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_draws([drawn(funds, currency)])
    assert refused.value.code == code
