"""What a price must be told of usage, and what happens if it is not told."""

from decimal import Decimal
from typing import Any

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.rating import Events, Row, Run, needs_of, parse_price, rate, rate_rows
from farthing.rating.needs import ALL_EVENTS
from farthing.rating.price import Measure

PER_UNIT = {"model": "per_unit", "unit_price": "1"}
PERCENTAGE = {"model": "percentage", "rate": "1", "fixed_fee": "0.5"}
CAPACITY = {"model": "capacity", "tiers": [{"limits": {"seats": "5", "projects": "5"}, "price": "1"}]}
TIMED = {"model": "timed", "steps": [{"price": "1"}]}
HUNDREDTHS = {"operation": "divide", "factor": "100"}


def matrix(price: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "matrix", "dimensions": ["a"], "cells": [{"when": {"a": "x"}, "price": price}], **more}


@pytest.mark.parametrize(
    ("raw", "events", "first_events", "first_amount"),
    [
        (PER_UNIT, Events.NONE, 0, 0),
        ({"model": "dynamic"}, Events.NONE, 0, 0),
        (PERCENTAGE, Events.COUNT, 0, 0),
        ({**PERCENTAGE, "free_events": 3, "free_amount": "10"}, Events.FIRST, 3, 10),
        ({**PERCENTAGE, "event_max": "10"}, Events.EVERY, 0, 0),
        ({**PERCENTAGE, "minimum": "5", "discount_percent": "5"}, Events.COUNT, 0, 0),
        ({**PERCENTAGE, "convert": {"operation": "divide", "factor": "100"}}, Events.COUNT, 0, 0),
        (
            {**PERCENTAGE, "convert": {"operation": "divide", "factor": "100", "round": "up"}},
            Events.EVERY,
            0,
            0,
        ),
        ({**PERCENTAGE, "free_units": "5"}, Events.EVERY, 0, 5),
        ({**PERCENTAGE, "free_units": "5", "free_events": 2, "free_amount": "10"}, Events.EVERY, 2, 15),
        ({**PERCENTAGE, "free_events": 2, "event_max": "10"}, Events.EVERY, 2, 0),
        ({**PERCENTAGE, "free_units": "5", "convert": HUNDREDTHS}, Events.EVERY, ALL_EVENTS, 0),
        ({**PERCENTAGE, "free_amount": "5", "convert": HUNDREDTHS}, Events.EVERY, ALL_EVENTS, 0),
        ({**PERCENTAGE, "free_events": 5, "convert": HUNDREDTHS}, Events.FIRST, 5, 0),
        (TIMED, Events.EVERY, 0, 0),
        (matrix({**PERCENTAGE, "free_events": 3}, default=PER_UNIT), Events.FIRST, 3, 0),
        (matrix(PERCENTAGE, free_units="5"), Events.EVERY, 0, 5),
    ],
)
def test_how_much_of_single_events(
    raw: dict[str, Any], events: Events, first_events: int, first_amount: int
) -> None:
    needs = needs_of(parse_price(raw))
    assert (needs.events, needs.first_events, needs.first_amount) == (events, first_events, first_amount)


def test_dimensions_clocks_meters_and_measures() -> None:
    by_time = {"model": "time_of_use", "timezone": "UTC", "windows": [{"name": "all", "price": TIMED}]}
    needs = needs_of(parse_price(matrix(by_time, default={"model": "dynamic"})))
    assert needs.dimensions == ("a",)
    assert [(clock.dimension, clock.timezone) for clock in needs.clocks] == [("time of use", "UTC")]
    assert needs.measures == (Measure.SECONDS, Measure.AMOUNT)
    assert needs_of(parse_price(CAPACITY)).meters == ("projects", "seats")


def test_what_is_enough_owes_what_everything_owes() -> None:
    """Free events and amount: the first events told apart, the rest as a sum, or all of them."""
    price = parse_price({**PERCENTAGE, "free_events": 2, "free_amount": "30"})
    runs = [Run(Decimal(value)) for value in (100, 7, 20, 15, 3, 4, 5)]
    all_told = Row.of_runs({}, runs)
    first_told = Row({}, all_told.quantity, events=7, runs=runs[:4])
    assert rate_rows(price, [first_told]) == rate_rows(price, [all_told])
    later = Row({}, Decimal(50), all_told.quantity, events=4, events_before=7, runs_before=runs[:4])
    told = [Run(Decimal(10)), Run(Decimal(20), 2), Run(Decimal(0))]
    assert rate_rows(price, [later]) == rate_rows(price, [Row.of_runs({}, told, runs)])


def test_a_sum_of_unlike_events_is_refused_where_each_counts() -> None:
    price = parse_price({**PERCENTAGE, "event_min": "1"})
    with pytest.raises(InvalidInput) as caught:
        rate_rows(price, [Row({}, Decimal(10), events=3)])
    assert caught.value.code == "events_missing"


def test_a_quantity_without_its_events_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        rate_rows(parse_price(PERCENTAGE), [Row({}, Decimal(10))])
    assert caught.value.code == "events_missing"
    assert rate_rows(parse_price(PERCENTAGE), [Row({})])[0].amount == 0


def test_runs_that_hold_more_than_there_is_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        rate_rows(parse_price(PERCENTAGE), [Row({}, Decimal(10), events=1, runs=[Run(Decimal(5), 2)])])
    assert caught.value.code == "events_missing"


def test_a_quantity_where_several_meters_count_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        rate(parse_price(CAPACITY), quantity=Decimal(3))
    assert caught.value.code == "meters_missing"


def test_a_line_of_several_meters_says_how_much_of_each() -> None:
    (line,) = rate_rows(
        parse_price(CAPACITY), [Row({}, quantities={"seats": Decimal(3), "else": Decimal(9)})]
    )
    assert line.quantities == {"projects": 0, "seats": 3}
    assert (line.quantity, line.amount) == (1, 1)


@pytest.mark.parametrize(
    "changed",
    [{"convert": {"operation": "divide", "factor": "3", "round": "up", "scale": 0}}, {"free_units": "35"}],
)
def test_a_price_that_looks_at_no_events_does_not_mind_what_one_beside_it_is_told_of_them(
    changed: dict[str, Any],
) -> None:
    inner = {**matrix(PER_UNIT), **changed}
    beside = {"when": {"b": "events"}, "price": {**PERCENTAGE, "free_events": 1}}
    cells = [{"when": {"b": "sum"}, "price": inner}, beside]
    price = parse_price({"model": "matrix", "dimensions": ["b"], "cells": cells})
    assert (needs_of(price).events, needs_of(price).first_events) == (Events.FIRST, 1)
    told = Row({"a": "x", "b": "sum"}, quantity=Decimal(110), events=4, runs=[Run(Decimal(10))])
    alone = rate_rows(parse_price(inner), [Row({"a": "x"}, quantity=Decimal(110))])
    assert sum(line.amount for line in rate_rows(price, [told])) == sum(line.amount for line in alone) > 0
