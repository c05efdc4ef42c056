"""Windows of local time, against a calendar that is walked through minute by minute."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from farthing.rating import parse_price
from farthing.rating.clock import OTHER_TIMES, Clock
from farthing.rating.time_of_use import TimeOfUse

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC")
PER_UNIT = {"model": "per_unit", "unit_price": "1"}


def clock_of(timezone: str, windows: list[dict[str, Any]]) -> Clock:
    raw = {"model": "time_of_use", "timezone": timezone}
    model = parse_price({**raw, "windows": [{**window, "price": PER_UNIT} for window in windows]}).model
    assert isinstance(model, TimeOfUse)
    return model.clock


def minute_of(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def label_by_hand(windows: list[dict[str, Any]], local: datetime) -> str:
    """Each window asked whether it has the minute, today or since yesterday."""
    minute = local.hour * 60 + local.minute
    for window in windows:
        begins, ends = minute_of(window["from"]), minute_of(window["to"])
        today = local.isoweekday() in window["days"]
        yesterday = (local.isoweekday() - 2) % 7 + 1 in window["days"]
        if begins < ends and today and begins <= minute < ends:
            return str(window["name"])
        if begins > ends and ((today and minute >= begins) or (yesterday and minute < ends)):
            return str(window["name"])
    return OTHER_TIMES


def random_windows(random: Random) -> list[dict[str, Any]]:
    windows = []
    for number in range(random.randint(1, 5)):
        begins, ends = random.sample(range(0, 1440, 10), 2)
        windows.append(
            {
                "name": f"w{number}",
                "days": sorted(random.sample(range(1, 8), random.randint(1, 7))),
                "from": f"{begins // 60:02}:{begins % 60:02}",
                "to": f"{ends // 60:02}:{ends % 60:02}",
            }
        )
    return windows


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("month", [(2026, 3, 20), (2026, 10, 20), (2011, 12, 25), (2026, 4, 1)])
def test_windows_agree_with_a_calendar_walked_by_minutes(zone: str, month: tuple[int, int, int]) -> None:
    random = Random(f"{zone} {month}")
    windows = random_windows(random)
    clock = clock_of(zone, windows)
    start = datetime(*month, tzinfo=UTC) + timedelta(minutes=random.randint(0, 1440))
    end = start + timedelta(minutes=random.randint(1, 14 * 1440))
    minutes: Counter[str] = Counter()
    moment = start
    while moment < end:
        label = label_by_hand(windows, moment.astimezone(ZoneInfo(zone)))
        assert clock.label_at(moment) == label, moment
        minutes[label] += 1
        moment += timedelta(minutes=1)
    assert clock.seconds(start, end) == {label: Decimal(count * 60) for label, count in minutes.items()}


def test_parts_of_a_century_sum_to_it() -> None:
    """To the microsecond, and across all the years that are looked up."""
    random = Random(7)
    start, end = datetime(1905, 3, 4, 5, 6, 7, 8, tzinfo=UTC), datetime(2105, 9, 8, 7, 6, 5, 4, tzinfo=UTC)
    clock = clock_of("Europe/Berlin", random_windows(random))
    length = (end - start) // timedelta(microseconds=1)
    cuts = [0, *sorted(random.randint(0, length) for _ in range(30)), length]
    edges = [start + timedelta(microseconds=cut) for cut in cuts]
    whole = clock.seconds(start, end)
    parts: Counter[str] = Counter()
    for first, last in pairwise(edges):
        parts.update(clock.seconds(first, last))
    assert dict(parts) == whole
    assert sum(whole.values()) * 10**6 == length


def test_the_week_is_told_in_pieces() -> None:
    """What whoever groups events by window goes by."""
    clock = clock_of("UTC", [{"days": [7], "from": "22:00", "to": "06:00"}])
    day, hour = 86_400, 3_600
    assert [(piece.start, piece.label) for piece in clock.week] == [
        (0, "Sun 22:00-06:00"),
        (6 * hour, OTHER_TIMES),
        (6 * day + 22 * hour, "Sun 22:00-06:00"),
    ]


def test_clocks_that_differ_have_different_names() -> None:
    def by_time(timezone: str) -> dict[str, Any]:
        return {"model": "time_of_use", "timezone": timezone, "windows": [{"price": PER_UNIT}]}

    cells = [
        {"when": {"a": name}, "price": by_time(zone)}
        for name, zone in (("1", "UTC"), ("2", "Asia/Tokyo"), ("3", "UTC"))
    ]
    matrix: Any = parse_price({"model": "matrix", "dimensions": ["a"], "cells": cells}).model
    names = [cell.price.model.clock.dimension for cell in matrix.cells]
    assert names == ["time of use", "time of use 2", "time of use"]
