"""What a plan says of tax and of when its invoices are due: read, written, refused."""

import pytest

from farthing.catalog.plan import parse_plan, plan_json
from farthing.kernel.errors import InvalidInput

CARD = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "1"}}
PLAN = {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": [CARD]}


def test_what_says_nothing_is_not_written() -> None:
    plan = parse_plan(PLAN | {"net_days": 30, "prices_include_tax": False})
    assert (plan.net_days, plan.prices_include_tax, plan.rate_cards[0].tax_category) == (
        30,
        False,
        "standard",
    )
    assert not {"net_days", "prices_include_tax"} & set(plan_json(plan))


def test_it_is_read_back_as_it_was_written() -> None:
    said = PLAN | {
        "net_days": 0,
        "prices_include_tax": True,
        "rate_cards": [CARD | {"tax_category": "reduced"}],
    }
    plan = parse_plan(said)
    assert (plan.net_days, plan.prices_include_tax, plan.rate_cards[0].tax_category) == (0, True, "reduced")
    assert parse_plan(plan_json(plan)) == plan


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"net_days": -1}, "net_days"),
        ({"net_days": 367}, "net_days"),
        ({"net_days": "30"}, "net_days"),
        ({"net_days": True}, "net_days"),
        ({"prices_include_tax": "yes"}, "prices_include_tax"),
        ({"rate_cards": [CARD | {"tax_category": "a b"}]}, "rate_cards[0].tax_category"),
    ],
)
def test_a_fault_names_its_place(more: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_plan(PLAN | more)
    assert refused.value.path == path
