"""How usage reaches a price and becomes lines: one bill at a time, meters side by side, nothing left out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.model import RateCard
from farthing.catalog.plan import parse_plan
from farthing.invoicing.drafting.usage_lines import (
    PARTS_BITS,
    UsageOfBills,
    described,
    meter_queries,
    name_of,
    usage_lines,
    usage_rows,
)
from farthing.kernel.period import Period
from farthing.rating import Events, Row, Run
from farthing.usage.model import NO_DETAIL, Detail, UsageRow

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
PER_UNIT = {"model": "per_unit", "unit_price": "0.5"}
PERCENTAGE = {"model": "percentage", "rate": "1", "event_max": "2"}
SEATS = {
    "model": "capacity",
    "tiers": [{"limits": {"seats": "5", "projects": "2"}, "price": "10"}, {"price": "30"}],
}


def card(price: dict[str, Any], **counted: Any) -> RateCard:
    raw = {"key": "c", "name": "Energy", "price": price, **(counted or {"meter": "kwh"})}
    plan = {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": [raw]}
    return parse_plan(plan).rate_cards[0]


def test_a_fee_asks_nothing_and_a_price_what_it_needs() -> None:
    fee = {"key": "f", "name": "F", "price": {"model": "flat", "amount": "1"}}
    plan = {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": [fee]}
    assert meter_queries(parse_plan(plan).rate_cards[0]) == ()
    assert meter_queries(card(PER_UNIT)) == (("kwh", NO_DETAIL),)
    assert meter_queries(card({"model": "percentage", "rate": "1"})) == (("kwh", NO_DETAIL),)
    assert meter_queries(card(PERCENTAGE)) == (("kwh", Detail(events=Events.EVERY)),)
    assert meter_queries(card(SEATS, meters=["seats", "projects"])) == (
        ("projects", NO_DETAIL),
        ("seats", NO_DETAIL),
    )


def test_single_events_are_told_to_the_price_that_looks_at_them() -> None:
    used = UsageRow(0, {}, Decimal(500), 3, (Run(Decimal(100), 2), Run(Decimal(300))))
    (line,) = usage_lines(
        card(PERCENTAGE),
        JANUARY,
        usage_rows(card(PERCENTAGE), {("kwh", Detail(events=Events.EVERY)): [used]}),
    )
    assert (line.amount_exact, line.quantity, line.measure) == (Decimal(4), Decimal(500), "amount")


def test_the_meters_of_a_combination_stand_in_one_row() -> None:
    priced = {
        "model": "matrix",
        "dimensions": ["team"],
        "cells": [{"when": {"team": "a"}, "price": SEATS}],
        "default": SEATS,
    }
    of_two = card(priced, meters=["seats", "projects"])
    projects, seats = meter_queries(of_two)
    rows = usage_rows(
        of_two,
        {
            seats: [UsageRow(0, {"team": "a"}, Decimal(4), 1), UsageRow(0, {}, Decimal(6), 1)],
            projects: [UsageRow(0, {"team": "a"}, Decimal(2), 1)],
        },
    )  # fmt: skip
    assert rows == [
        Row({"team": "a"}, quantities={"projects": Decimal(2), "seats": Decimal(4)}),
        Row({}, quantities={"seats": Decimal(6)}),
    ]
    lines = usage_lines(of_two, JANUARY, rows)
    assert [(line.amount_exact, dict(line.quantities)) for line in lines] == [
        (Decimal(10), {"projects": 2, "seats": 4}),
        (Decimal(30), {"projects": 0, "seats": 6}),
    ]


def test_what_a_price_adds_to_its_lines_says_so() -> None:
    windows = [{"name": "night", "from": "22:00", "to": "06:00", "price": PERCENTAGE}]
    by_time = card({"model": "time_of_use", "timezone": "UTC", "windows": windows, "minimum": "5"})
    refunded = Row.of_runs({"time of use": "night"}, [Run(Decimal(7)), Run(Decimal(-7))])
    lines = usage_lines(by_time, JANUARY, [refunded])
    assert [(line.description, line.quantity, line.adjusts) for line in lines] == [
        ("Energy (night)", 0, False),
        ("Energy", 0, True),
    ]


def test_a_window_is_told_in_the_description_and_can_be_taken_off_again() -> None:
    dimensions = {"model": "opus", "time of use": "peak"}
    assert described("Energy", dimensions) == "Energy (peak)"
    assert name_of("Energy (peak)", dimensions) == "Energy"
    assert described("Energy", {"model": "opus"}) == "Energy"


def test_no_more_than_one_bill_is_taken_at_a_time() -> None:
    taken: list[int] = []

    def rows(*spans: int) -> Iterator[UsageRow]:
        for span in spans:
            taken.append(span)
            yield UsageRow(span, {}, Decimal(span), 1)

    def of(position: int, part: int = 0) -> int:
        return (position << PARTS_BITS) + part

    spans = [of(0), of(0, 1), of(2), of(5), of(6)]
    usage = UsageOfBills({("a", NO_DETAIL): rows(*spans), ("b", NO_DETAIL): rows(of(2))})
    assert [len(found) for found in usage.of(0).values()] == [2]
    assert sorted(taken) == sorted([*spans[:3], of(2)])
    assert usage.of(1) == {}
    assert {query[0]: len(found) for query, found in usage.of(2).items()} == {"a": 1, "b": 1}
    # What was not asked for is passed over.
    assert [row.span_id for row in usage.of(6)["a", NO_DETAIL]] == [of(6)]
    assert usage.of(7) == {}
