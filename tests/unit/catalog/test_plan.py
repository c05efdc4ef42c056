"""Plans: what is let in, every fault with its full path, and that the stored form reads back the same."""

import json
from decimal import Decimal

import pytest

from farthing.catalog.meter import parse_meter
from farthing.catalog.model import Plan, RoundingScope, Timing
from farthing.catalog.plan import meters_mentioned, parse_plan, plan_json
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.period import Interval
from farthing.kernel.rounding import Rounding

METERS = {
    "input_tokens": parse_meter(
        {
            "key": "input_tokens",
            "event_type": "llm.completion",
            "aggregation": "sum",
            "value": "data.input_tokens",
            "dimensions": {"model": "data.model"},
        }
    )
}


def matrix(*dimensions: str) -> dict[str, object]:
    when = dict.fromkeys(dimensions, "gpt-4o")
    price = {"model": "per_unit", "unit_price": "0.0000025"}
    return {"model": "matrix", "dimensions": list(dimensions), "cells": [{"when": when, "price": price}]}


def plan(**changes: object) -> dict[str, object]:
    cards = [
        {"key": "input", "name": "Input tokens", "meter": "input_tokens", "price": matrix("model")},
        {
            "key": "base",
            "name": "Base fee",
            "timing": "advance",
            "price": {"model": "flat", "amount": "49.90"},
        },
    ]
    return {
        "key": "payg", "name": "Pay as you go", "currency": "USD", "interval": "month", "rate_cards": cards,
    } | changes  # fmt: skip


def refused(raw: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(raw, "plans[0]", METERS)
    return caught.value


def test_the_plan_of_the_contract() -> None:
    parsed = parse_plan(plan(), "", METERS)
    assert (parsed.key, parsed.name, parsed.currency) == ("payg", "Pay as you go", "USD")
    assert (parsed.interval, parsed.interval_count) == (Interval.MONTH, 1)
    assert (parsed.rounding, parsed.rounding_mode) == (RoundingScope.INVOICE, Rounding.HALF_UP)
    assert [(card.key, card.meter, card.timing) for card in parsed.rate_cards] == [
        ("input", "input_tokens", Timing.ARREARS),
        ("base", None, Timing.ADVANCE),
    ]


def test_the_stored_form_reads_back_as_the_same_plan() -> None:
    cards = [
        {"key": "a", "name": "A", "meter": "input_tokens", "price": matrix("model")},
        {"key": "b", "name": "B", "price": {"model": "flat", "amount": Decimal("10.50")}},
        {
            "key": "c",
            "name": "C",
            "meter": "input_tokens",
            "price": {
                "model": "graduated",
                "tiers": [
                    {"up_to": 1000, "unit_price": "0.01", "flat_fee": "5"},
                    {"unit_price": Decimal("0.005")},
                ],
                "minimum": "20",
            },
        },
    ]
    parsed = parse_plan(
        plan(
            interval="quarter", interval_count=2, rounding="line", rounding_mode="half_even", rate_cards=cards
        )
    )
    stored = json.loads(json.dumps(plan_json(parsed)), parse_float=Decimal)
    assert parse_plan(stored) == parsed
    assert plan_json(parse_plan(stored)) == stored


def test_spelling_is_no_difference() -> None:
    one = parse_plan(
        plan(rate_cards=[{"key": "b", "name": "B", "price": {"model": "flat", "amount": "10.50"}}])
    )
    other = plan(
        interval_count=1,
        rounding="invoice",
        rate_cards=[
            {
                "price": {"amount": Decimal("10.5"), "model": "flat"},
                "name": "B",
                "timing": "arrears",
                "key": "b",
            }
        ],
    )
    assert parse_plan(other) == one


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"key": "pay as you go"}, "invalid_key", "plans[0].key"),
        ({"name": ""}, "invalid_text", "plans[0].name"),
        ({"currency": "usd"}, "invalid_currency", "plans[0].currency"),
        ({"currency": "XAU"}, "invalid_currency", "plans[0].currency"),
        ({"interval": "fortnight"}, "invalid_interval", "plans[0].interval"),
        ({"interval_count": 0}, "invalid_interval_count", "plans[0].interval_count"),
        ({"rounding": "up"}, "invalid_rounding", "plans[0].rounding"),
        ({"rounding_mode": "down"}, "invalid_rounding", "plans[0].rounding_mode"),
        ({"rate_cards": []}, "invalid_plan", "plans[0].rate_cards"),
        ({"rate_cards": None}, "invalid_plan", "plans[0].rate_cards"),
        ({"rate_cards": {}}, "invalid_plan", "plans[0].rate_cards"),
        ({"trial_days": 7}, "invalid_plan", "plans[0].trial_days"),
    ],
)
def test_faults_of_the_plan(changes: dict[str, object], code: str, path: str) -> None:
    error = refused(plan(**changes))
    assert (error.code, error.path) == (code, path)


FLAT = {"model": "flat", "amount": "1"}
PER_UNIT = {"model": "per_unit", "unit_price": "1"}
UNORDERED = [{"up_to": "10", "unit_price": "1"}, {"up_to": "10", "unit_price": "1"}, {"unit_price": "1"}]


@pytest.mark.parametrize(
    ("card", "code", "path"),
    [
        ({"name": "A", "price": FLAT}, "invalid_plan", "rate_cards[0].key"),
        ({"key": "a", "price": FLAT}, "invalid_plan", "rate_cards[0].name"),
        ({"key": "a", "name": "A"}, "invalid_plan", "rate_cards[0].price"),
        ({"key": "a", "name": "A", "price": PER_UNIT}, "invalid_plan", "rate_cards[0].price.model"),
        ({"key": "a", "name": "A", "price": FLAT, "timing": "now"}, "invalid_timing", "rate_cards[0].timing"),
        ({"key": "a", "name": "A", "price": FLAT, "quantity": 2}, "invalid_plan", "rate_cards[0].quantity"),
        (
            {"key": "a", "name": "A", "meter": "input_tokens", "price": PER_UNIT, "timing": "advance"},
            "invalid_plan",
            "rate_cards[0].timing",
        ),
        ({"key": "a", "name": "A", "meter": "nope", "price": PER_UNIT}, "unknown_meter", "rate_cards[0].meter"),
        (
            {"key": "a", "name": "A", "meter": "input_tokens", "price": matrix("model", "region")},
            "invalid_plan",
            "rate_cards[0].price.dimensions",
        ),
        (
            {"key": "a", "name": "A", "meter": "input_tokens", "price": {"model": "graduated", "tiers": UNORDERED}},
            "invalid_price",
            "rate_cards[0].price.tiers[1].up_to",
        ),
    ],
)  # fmt: skip
def test_faults_of_a_rate_card(card: dict[str, object], code: str, path: str) -> None:
    error = refused(plan(rate_cards=[card]))
    assert (error.code, error.path) == (code, f"plans[0].{path}")


def test_all_faults_at_once_with_full_paths() -> None:
    cards = [
        {"key": "a", "name": "A", "price": FLAT},
        {"key": "a", "name": "", "meter": "nope", "price": {"model": "per_unit", "unit_price": 0.5}},
        {"key": "b", "name": "B", "meter": "input_tokens", "price": matrix("region")},
    ]
    error = refused(plan(currency="EURO", rate_cards=cards))
    assert error.code == "invalid_plan"
    assert error.faults == (
        Fault("plans[0].currency", "'EURO' is not an ISO 4217 currency code"),
        Fault("plans[0].rate_cards[1].name", "must have 1 to 256 characters"),
        Fault("plans[0].rate_cards[1].price.unit_price", "must be a decimal string, not a binary float"),
        Fault("plans[0].rate_cards[1].meter", "'nope' is not a meter of this catalog"),
        Fault(
            "plans[0].rate_cards[2].price.dimensions",
            "names 'region', which is not a dimension of the meter 'input_tokens'",
        ),
        Fault("plans[0].rate_cards[1].key", "'a' stands at plans[0].rate_cards[0] already"),
    )  # fmt: skip


def test_meters_mentioned_reads_anything() -> None:
    assert meters_mentioned(plan()) == {"input_tokens"}
    for raw in (None, [], {"rate_cards": 5}, {"rate_cards": [5, {"meter": ["x"]}, {"meter": "a b\x00"}]}):
        assert meters_mentioned(raw) == set()


def test_the_number_of_rate_cards_is_bounded() -> None:
    cards = [{"key": f"k{i}", "name": "K", "price": FLAT} for i in range(501)]
    assert isinstance(parse_plan(plan(rate_cards=cards[:500])), Plan)
    assert refused(plan(rate_cards=cards)).path == "plans[0].rate_cards"


SEVERAL = {"model": "capacity", "tiers": [{"limits": {"seats": "10", "projects": "3"}, "price": "5"}]}
PERCENTAGE = {"model": "percentage", "rate": "2.9"}
TIMED = {"model": "timed", "steps": [{"price": "1"}]}
BY_TIME = {
    "model": "time_of_use",
    "timezone": "UTC",
    "windows": [{"name": "night", "from": "22:00", "to": "06:00", "price": PER_UNIT}],
    "default": PER_UNIT,
}
FITTING = METERS | {
    key: parse_meter({"key": key, "event_type": "e", **taken})
    for key, taken in {
        "seats": {"aggregation": "max", "value": "data.seats"},
        "projects": {"aggregation": "max", "value": "data.projects"},
        "calls": {"aggregation": "count"},
        "amounts": {"aggregation": "sum", "value": "data.amount"},
    }.items()
}


def fitted(**card: object) -> Plan:
    return parse_plan(plan(rate_cards=[{"key": "a", "name": "A", **card}]), "", FITTING)


@pytest.mark.parametrize(
    ("card", "meters"),
    [
        ({"meters": ["seats", "projects"], "price": SEVERAL}, ("projects", "seats")),
        ({"meter": "amounts", "price": PERCENTAGE}, ("amounts",)),
        ({"meter": "amounts", "price": TIMED}, ("amounts",)),
        ({"meter": "calls", "price": BY_TIME}, ("calls",)),
        ({"meter": "seats", "price": BY_TIME}, ("seats",)),  # the most seats by night, the most by day
    ],
)
def test_meters_that_fit_their_price(card: dict[str, object], meters: tuple[str, ...]) -> None:
    parsed = fitted(**card)
    (read,) = parsed.rate_cards
    assert read.meters == meters
    assert read.meter == (meters[0] if len(meters) == 1 else None)
    assert parse_plan(plan_json(parsed)) == parsed
    assert meters_mentioned(plan(rate_cards=[card])) == set(meters)


@pytest.mark.parametrize(
    ("card", "path", "complaint"),
    [
        ({"meter": "seats", "price": SEVERAL}, "meter", "must be meters: [projects, seats], which the price counts"),
        ({"meters": ["calls", "seats"], "price": SEVERAL}, "meters",
         "must be meters: [projects, seats], which the price counts"),
        ({"meters": ["calls", "seats"], "price": PER_UNIT}, "meters",
         "must be one meter, under meter: the price does not count several"),
        ({"meters": ["seats"], "price": SEVERAL}, "meters", "must name at least two meters: one stands under meter"),
        ({"meters": ["seats", "seats"], "price": SEVERAL}, "meters", "must not name a meter twice"),
        ({"meters": ["projects", "seats"], "meter": "calls", "price": SEVERAL}, "meters",
         "must be left out beside meter"),
        ({"price": SEVERAL}, "price.model", "must be flat for a rate card without a meter"),
        ({"meters": ["projects", "seats"], "timing": "advance", "price": SEVERAL}, "timing",
         "must be arrears: usage is known when the period is over"),
        ({"meter": "calls", "price": PERCENTAGE}, "meter",
         "must sum a value of its events: the price is one of amounts of money, and 'calls' is a count"),
        ({"meter": "seats", "price": {"model": "dynamic"}}, "meter",
         "must sum a value of its events: the price is one of amounts of money, and 'seats' is a max"),
        ({"meter": "calls", "price": TIMED}, "meter",
         "must sum a value of its events: the price is one of seconds, and 'calls' is a count"),
        ({"meter": "calls", "price": BY_TIME | {"default": PERCENTAGE}}, "meter",
         "must sum a value of its events: the price is one of amounts of money, and 'calls' is a count"),
        ({"meters": ["projects", "seats"], "price": {
            "model": "matrix", "dimensions": ["model"], "cells": [{"when": {"model": "x"}, "price": SEVERAL}]}},
         "price.dimensions", "names 'model', which is not a dimension of the meter 'projects'"),
    ],
)  # fmt: skip
def test_meters_that_do_not_fit_their_price(card: dict[str, object], path: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fitted(**card)
    assert (f"rate_cards[0].{path}", complaint) in {
        (fault.path, fault.message) for fault in caught.value.faults
    }


def test_a_meter_among_several_that_is_not_known() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(
            plan(rate_cards=[{"key": "a", "name": "A", "meters": ["projects", "seats"], "price": SEVERAL}]),
            "",
            {},
        )
    assert caught.value.code == "unknown_meter"
    assert [fault.path for fault in caught.value.faults] == ["rate_cards[0].meters"] * 2
