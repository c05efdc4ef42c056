"""The worst case of a price, against trying every place by brute force."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_prices import MODELS, random_price

from farthing.kernel.quantity import exact
from farthing.rating import Price, parse_price, rate
from farthing.wallets.holds.ladders import ladders_of
from farthing.wallets.holds.worst_case import STEP, is_proportional, worst_cost, worst_event_cost

D = Decimal
ZERO = D(0)


def total(price: Price, quantity: Decimal) -> Decimal:
    return rate(price, quantity=quantity, final=False).amount


def brute(price: Price, low: int, high: int, quantity: int, *, exactly: bool) -> Decimal:
    """The largest difference of totals over every half unit, and the quantities right beside it."""
    grid = [
        D(number) / 2 + beside
        for number in range(2 * (high + quantity) + 1)
        for beside in (-STEP, ZERO, STEP)
    ]
    starts = [place for place in grid if low <= place <= high]
    with exact():
        totals = {place: total(price, place) for place in grid if place >= 0}
        most = ZERO
        for start in starts:
            ends = (
                [start + quantity]
                if exactly
                else [place for place in grid if start <= place <= start + quantity]
            )
            for end in ends:
                after = totals[end] if end in totals else total(price, end)
                most = max(most, after - totals[start])
    return most


SMALL = st.integers(min_value=0, max_value=12)


def small_price(random: Random) -> dict[str, object]:
    """A price whose bounds lie where the brute force looks: at half units."""
    halves = lambda most: str(D(random.randint(1, most)) / 2)  # noqa: E731
    amounts = ("0", "0.5", "1", "3", "7")
    model = random.choice(
        ("graduated", "volume", "stair_step", "package", "block", "capacity", "graduated_percentage")
    )
    price: dict[str, object] = {"model": model}
    bounds = sorted({D(random.randint(1, 30)) / 2 for _ in range(random.randint(0, 3))})
    tiers: list[dict[str, object]] = [{"up_to": str(bound)} for bound in bounds] + [{}]
    match model:
        case "graduated" | "volume":
            for tier in tiers:
                tier |= {"unit_price": random.choice(amounts), "flat_fee": random.choice(amounts)}
            price["tiers"] = tiers
        case "graduated_percentage":
            for tier in tiers:
                tier |= {"rate": random.choice(("0", "50", "100")), "flat_fee": random.choice(amounts)}
            price["tiers"] = tiers
        case "stair_step":
            price["tiers"] = [tier | {"flat_fee": random.choice(amounts)} for tier in tiers]
        case "package":
            price |= {
                "package_price": random.choice(amounts),
                "package_size": halves(8),
                "round": random.choice(("up", "down")),
            }
        case "block":
            price["policy"] = random.choice(("all_tiers", "top_tier"))
            price["tiers"] = [
                {
                    "block_size": halves(6),
                    "block_price": random.choice(amounts),
                    "max_blocks": str(random.randint(1, 4)),
                }
                for _ in range(random.randint(1, 3))
            ]
        case "capacity":
            limits = sorted({random.randint(1, 15) for _ in range(3)})
            price["tiers"] = [
                {"limits": {"calls": str(limit)}, "price": random.choice(amounts)} for limit in limits
            ]
    if random.random() < 0.4:
        price["free_units"] = halves(10)
    if random.random() < 0.3:
        price["discount_percent"] = random.choice(("10", "50"))
    if random.random() < 0.2:
        price["convert"] = {
            "operation": "multiply",
            "factor": "0.5",
            "round": random.choice(("up", "down", "none")),
        }
    return price


@given(st.randoms(use_true_random=False), SMALL, SMALL, st.integers(1, 8), st.booleans())
def test_it_is_what_trying_every_place_finds(
    random: Random, low: int, wide: int, quantity: int, exactly: bool
) -> None:
    raw = small_price(random)
    price = parse_price(raw)
    found = worst_cost(price, D(low), D(low + wide), D(quantity), exactly=exactly)
    expected = brute(price, low, low + wide, quantity, exactly=exactly)
    falls = raw["model"] in ("volume", "stair_step", "capacity") or raw.get("policy") == "top_tier"
    if falls and "discount_percent" in raw:
        assert found >= expected  # with a discount a total that can fall is bounded from above
    else:
        assert found == expected, raw


@given(
    st.randoms(use_true_random=False),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 400),
    st.data(),
)
def test_no_place_costs_more(random: Random, low: int, wide: int, quantity: int, data: st.DataObject) -> None:
    """Any price of one quantity, with any modifiers, at any place within the range."""
    raw = random_price(random, tuple(model for model in MODELS if model != "flat"))
    price = parse_price(raw)
    before = D(low) + D(data.draw(st.integers(0, 4 * wide))) / 4
    after = D(data.draw(st.integers(0, 4 * quantity))) / 4
    with exact():
        owed = rate(price, before=before, quantity=after, final=False).amount
    most = worst_cost(price, D(low), D(low + wide), D(quantity))
    # A total is divided at 18 digits, once at each end.
    assert owed <= most + D("1e-17"), raw


@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(0, 30),
)
def test_holds_that_are_open_together_sum_to_enough(random: Random, bounds: list[int], sealed: int) -> None:
    """Each is priced behind those before it; whichever are settled, and for how much, they cover the total."""
    raw = random_price(random, tuple(model for model in MODELS if model != "flat"))
    price = parse_price(raw)
    climbing, held = ZERO, []
    with exact():
        for bound in bounds:
            held.append(worst_cost(price, D(sealed), D(sealed) + climbing, D(bound)))
            climbing += bound
        used = [D(random.randint(0, 2 * bound)) / 2 if random.random() < 0.7 else ZERO for bound in bounds]
        cost = total(price, sealed + sum(used, ZERO)) - total(price, D(sealed))
        kept = sum((amount for amount, one in zip(held, used, strict=True) if one), ZERO)
    assert cost <= kept + D("1e-16"), raw


def test_prices_that_fall_and_rise_by_hand() -> None:
    falling = parse_price(
        {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "2"}, {"unit_price": "1"}]}
    )
    assert worst_cost(falling, D(0), D(0), D(150)) == D(250)
    assert worst_cost(falling, D(0), D(90), D(20)) == D(40)  # where it begins at 0, ..., 80
    assert worst_cost(falling, D(95), D(120), D(20)) == D(25)
    rising = parse_price(
        {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "1"}, {"unit_price": "2"}]}
    )
    assert worst_cost(rising, D(0), D(90), D(20)) == D(30)  # at 90: 10 x 1 + 10 x 2
    step = parse_price(
        {"model": "stair_step", "tiers": [{"up_to": "100", "flat_fee": "5"}, {"flat_fee": "9"}]}
    )
    assert worst_cost(step, D(0), D(0), D(1)) == D(5)
    assert worst_cost(step, D(50), D(100), D(1)) == D(4)
    assert worst_cost(step, D(50), D(98), D(1)) == ZERO
    free = parse_price({"model": "per_unit", "unit_price": "1", "free_units": "10"})
    assert worst_cost(free, D(0), D(0), D(8)) == ZERO
    assert worst_cost(free, D(0), D(5), D(8)) == D(3)
    capped = parse_price({"model": "per_unit", "unit_price": "1", "maximum": "10"})
    assert worst_cost(capped, D(8), D(8), D(5)) == D(2)
    volume = parse_price(
        {"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5"}]}
    )
    # Eight more from 8 cost 0 in the end, but if it is two of them, 2.
    assert worst_cost(volume, D(8), D(8), D(8)) == D(2)
    assert worst_cost(volume, D(8), D(8), D(8), exactly=True) == ZERO


def test_nothing_costs_nothing_and_packages_cost_one_more_where_they_may() -> None:
    package = parse_price({"model": "package", "package_price": "5", "package_size": "1000"})
    assert worst_cost(package, D(0), D(0), D(0)) == ZERO
    assert worst_cost(package, D(1), D(1), D(999)) == ZERO
    assert worst_cost(package, D(1), D(1_000_000), D(1)) == D(5)
    assert worst_cost(package, D(1), D(1_000_000), D(1001)) == D(10)


@pytest.mark.parametrize(
    ("raw", "value", "count", "cost"),
    [
        ({"model": "percentage", "rate": "10", "fixed_fee": "1", "free_events": 5}, "100", 2, "22"),
        ({"model": "percentage", "rate": "10", "event_max": "3"}, "100", 2, "6"),
        (
            {"model": "percentage", "rate": "10", "free_amount": "1000", "discount_percent": "50"},
            "100",
            1,
            "5",
        ),
        (
            {"model": "timed", "connect_fee": "0.1", "steps": [{"price": "1", "increment": "60"}]},
            "61",
            1,
            "120.1",
        ),
        ({"model": "timed", "steps": [{"price": "1"}], "free_units": "1000"}, "61", 1, "61"),
    ],
)
def test_single_events_are_reckoned_beyond_all_that_is_free(
    raw: dict, value: str, count: int, cost: str
) -> None:
    assert worst_event_cost(parse_price(raw), D(value), count) == D(cost)


def test_ladders_of_a_matrix_are_its_cells() -> None:
    tiers = {"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "2"}, {"unit_price": "1"}]}
    raw = {
        "model": "matrix", "dimensions": ["model"], "discount_percent": "50",
        "convert": {"operation": "divide", "factor": "1000"},
        "cells": [{"when": {"model": "opus"}, "price": tiers}], "default": {"model": "per_unit", "unit_price": "3"},
    }  # fmt: skip
    price = parse_price(raw)
    (opus,) = ladders_of(price, {"model": "opus"}, None)
    (other,) = ladders_of(price, {"model": "haiku"}, None)
    assert (opus.name, opus.has_places) == ("0/", True)
    assert (other.name, other.has_places) == ("default/", False)
    with exact():
        assert opus.worst(ZERO, ZERO, D(11_000)) == D("10.5")
        assert other.worst(ZERO, ZERO, D(2_000)) == D(3)


def test_a_price_is_proportional_or_climbs() -> None:
    assert is_proportional(parse_price({"model": "per_unit", "unit_price": "1"}))
    assert not is_proportional(parse_price({"model": "per_unit", "unit_price": "1", "free_units": "1"}))
