"""How terms of collection are read."""

from decimal import Decimal

import pytest

from farthing.catalog.collection import (
    AT_PERIOD_END,
    Collection,
    CollectionMode,
    ComputedThreshold,
    collection_json,
    parse_collection,
)
from farthing.kernel.errors import InvalidInput

COMPUTED = {"computed": {"fee_per_charge": "0.3", "cost_percent_per_day": "0.1"}}
AS_IT_GOES = {"mode": "pay_as_you_go"}


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ({"mode": "at_period_end"}, AT_PERIOD_END),
        (AS_IT_GOES | {"threshold": "50"}, Collection(CollectionMode.PAY_AS_YOU_GO, Decimal(50))),
        (AS_IT_GOES | {"charge_within_days": 7}, Collection(CollectionMode.PAY_AS_YOU_GO, None, 7)),
        (
            AS_IT_GOES | {"threshold": COMPUTED, "least": "5", "most": "500", "charge_within_days": 6},
            Collection(
                CollectionMode.PAY_AS_YOU_GO,
                ComputedThreshold(Decimal("0.3"), Decimal("0.1"), Decimal(5), Decimal(500)),
                6,
            ),
        ),
    ],
)
def test_what_is_read_is_written_the_same(raw: dict[str, object], read: Collection) -> None:
    assert parse_collection(raw) == read
    assert collection_json(read) == raw


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ([], "must be an object, not a list"),
        ({}, "mode is missing"),
        ({"mode": "sometimes"}, "mode"),
        (AS_IT_GOES, "threshold or charge_within_days must be given"),
        (AS_IT_GOES | {"threshold": "0"}, "threshold must be greater than zero"),
        (AS_IT_GOES | {"threshold": "-5"}, "threshold must be greater than zero"),
        (AS_IT_GOES | {"threshold": "1e16"}, "threshold must be at most"),
        (AS_IT_GOES | {"threshold": "0.0000000000001"}, "threshold has more than 12 digits after the point"),
        (AS_IT_GOES | {"threshold": True}, "threshold"),
        (AS_IT_GOES | {"threshold": {}}, "threshold.computed is missing"),
        (AS_IT_GOES | {"threshold": COMPUTED}, "least stands beside a computed threshold"),
        (AS_IT_GOES | {"threshold": COMPUTED, "least": "5", "most": "4"}, "most must not be less than least"),
        (AS_IT_GOES | {"threshold": "50", "least": "5"}, "least stands beside a computed threshold"),
        (
            AS_IT_GOES | {"threshold": {"computed": {"fee_per_charge": "1", "cost_percent_per_day": "101"}}},
            "threshold.computed.cost_percent_per_day must be at most 100",
        ),
        (AS_IT_GOES | {"charge_within_days": 0}, "charge_within_days must be a whole number from 1 to 366"),
        (AS_IT_GOES | {"charge_within_days": "7"}, "charge_within_days must be a whole number from 1 to 366"),
        (AS_IT_GOES | {"threshold": "5", "every": 3}, "every is not a known field"),
        (
            {"mode": "at_period_end", "threshold": "50"},
            "threshold stands beside the mode pay_as_you_go, and only there",
        ),
    ],
)
def test_what_is_wrong_is_named(raw: object, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_collection(raw)
    assert complaint in str(refused.value)
    assert refused.value.code == "invalid_collection"


def test_the_place_within_a_plan_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"plans\[2\]\.collection\.threshold must be greater than zero"):
        parse_collection(AS_IT_GOES | {"threshold": "0"}, "plans[2].collection")
