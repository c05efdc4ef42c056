"""Billing periods: worked examples, and the laws on generated anchors."""

import time
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant, parse_instant, parse_timezone
from farthing.kernel.period import CALENDAR, Anchor, Interval, Period, billing_periods


def instant(text: str) -> datetime:
    return parse_instant(text, "at")


def starts(
    anchor: Anchor, interval: str, zone: str, at: str, count: int, *, interval_count: int = 1
) -> list[str]:
    periods = billing_periods(anchor, Interval(interval), interval_count, zone, instant(at))
    return [format_instant(period.start) for period in islice(periods, count)]


def test_the_anchor_day_comes_back_after_a_short_month() -> None:
    assert starts(instant("2024-01-31T00:00:00Z"), "month", "UTC", "2024-01-31T00:00:00Z", 5) == [
        "2024-01-31T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2024-03-31T00:00:00Z",
        "2024-04-30T00:00:00Z",
        "2024-05-31T00:00:00Z",
    ]


def test_the_anchor_is_kept_on_the_customers_clock() -> None:
    # 30 January 18:30 in UTC is midnight of the 31st in Kolkata.
    assert starts(instant("2024-01-30T18:30:00Z"), "month", "Asia/Kolkata", "2024-02-15T00:00:00Z", 3) == [
        "2024-01-30T18:30:00Z",
        "2024-02-28T18:30:00Z",
        "2024-03-30T18:30:00Z",
    ]


def test_29_february_returns_in_leap_years_only() -> None:
    assert starts(instant("2024-02-29T12:00:00Z"), "year", "UTC", "2024-02-29T12:00:00Z", 5) == [
        "2024-02-29T12:00:00Z",
        "2025-02-28T12:00:00Z",
        "2026-02-28T12:00:00Z",
        "2027-02-28T12:00:00Z",
        "2028-02-29T12:00:00Z",
    ]
    # 2100 is not a leap year, 2000 was.
    assert starts(instant("2000-02-29T00:00:00Z"), "year", "UTC", "2100-06-01T00:00:00Z", 1) == [
        "2100-02-28T00:00:00Z"
    ]


def test_summer_time_makes_days_of_23_and_25_hours() -> None:
    spring = billing_periods(CALENDAR, Interval.DAY, 1, "Europe/Berlin", instant("2024-03-31T12:00:00Z"))
    autumn = billing_periods(CALENDAR, Interval.DAY, 1, "Europe/Berlin", instant("2024-10-27T12:00:00Z"))
    assert next(spring).length == 23 * 3_600_000_000
    assert next(autumn).length == 25 * 3_600_000_000


def test_a_boundary_in_a_gap_is_as_late_as_it_would_have_been() -> None:
    # 02:30 does not exist in Berlin on 31 March 2024: the clock goes from 02:00 to 03:00 at 01:00 UTC.
    assert starts(instant("2024-01-31T01:30:00Z"), "month", "Europe/Berlin", "2024-03-01T00:00:00Z", 3) == [
        "2024-02-29T01:30:00Z",
        "2024-03-31T01:30:00Z",
        "2024-04-30T00:30:00Z",
    ]


def test_a_boundary_in_an_overlap_is_the_first_of_the_two() -> None:
    # 02:30 comes twice in Berlin on 27 October 2024: at 00:30 and at 01:30 UTC.
    assert starts(instant("2024-09-27T00:30:00Z"), "month", "Europe/Berlin", "2024-10-27T00:30:00Z", 1) == [
        "2024-10-27T00:30:00Z"
    ]


def test_an_anchor_in_the_second_showing_of_an_overlap_stays_where_it_is() -> None:
    assert starts(instant("2024-10-27T01:30:00Z"), "day", "Europe/Berlin", "2024-10-27T01:29:59Z", 3) == [
        "2024-10-26T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2024-10-28T01:30:00Z",
    ]


def test_midnight_itself_may_be_in_the_gap() -> None:
    # Sao Paulo went from 00:00 to 01:00 on 4 November 2018.
    assert starts(CALENDAR, "day", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 3) == [
        "2018-11-03T03:00:00Z",
        "2018-11-04T03:00:00Z",
        "2018-11-05T02:00:00Z",
    ]


def test_apia_has_no_30_december_2011() -> None:
    # Midnight after the 29th is 10:00 UTC on the 30th, and it is already the 31st.
    assert starts(CALENDAR, "day", "Pacific/Apia", "2011-12-29T12:00:00Z", 3) == [
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z",
        "2011-12-31T10:00:00Z",
    ]
    # Anchored at noon of a 30th: noon of the 30th of December is noon of the 31st.
    assert starts(instant("2011-10-30T22:00:00Z"), "month", "Pacific/Apia", "2011-12-01T00:00:00Z", 3) == [
        "2011-11-30T22:00:00Z",
        "2011-12-30T22:00:00Z",
        "2012-01-29T22:00:00Z",
    ]


@pytest.mark.parametrize(
    ("interval", "interval_count", "expected"),
    [
        ("day", 1, ["2024-05-15T00:00:00Z", "2024-05-16T00:00:00Z"]),
        ("week", 1, ["2024-05-13T00:00:00Z", "2024-05-20T00:00:00Z"]),  # a Monday
        ("month", 1, ["2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z"]),
        ("quarter", 1, ["2024-04-01T00:00:00Z", "2024-07-01T00:00:00Z"]),
        ("half_year", 1, ["2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"]),
        ("year", 1, ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
        ("month", 3, ["2024-04-01T00:00:00Z", "2024-07-01T00:00:00Z"]),
        ("month", 12, ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
        ("month", 5, ["2024-03-01T00:00:00Z", "2024-08-01T00:00:00Z"]),  # month 650 since 1970
        ("year", 5, ["2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
        ("week", 2, ["2024-05-06T00:00:00Z", "2024-05-20T00:00:00Z"]),
    ],
)
def test_calendar_periods(interval: str, interval_count: int, expected: list[str]) -> None:
    found = starts(CALENDAR, interval, "UTC", "2024-05-15T09:00:00Z", 2, interval_count=interval_count)
    assert found == expected


def test_calendar_periods_before_1970_follow_the_same_grid() -> None:
    assert starts(CALENDAR, "month", "UTC", "1969-11-15T00:00:00Z", 2, interval_count=3) == [
        "1969-10-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ]
    assert starts(CALENDAR, "day", "UTC", "1969-12-30T00:00:00Z", 2, interval_count=5) == [
        "1969-12-27T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ]


def test_a_local_day_is_an_anchor_at_its_midnight() -> None:
    assert starts(date(2024, 1, 31), "month", "America/New_York", "2024-03-20T00:00:00Z", 2) == [
        "2024-02-29T05:00:00Z",
        "2024-03-31T04:00:00Z",
    ]


def test_periods_extend_backwards_from_the_anchor() -> None:
    assert starts(instant("2024-03-31T00:00:00Z"), "month", "UTC", "2024-02-10T00:00:00Z", 3) == [
        "2024-01-31T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2024-03-31T00:00:00Z",
    ]


def test_a_boundary_belongs_to_the_period_that_it_starts() -> None:
    anchor = instant("2024-01-31T00:00:00Z")
    edge = instant("2024-02-29T00:00:00Z")
    before = next(billing_periods(anchor, Interval.MONTH, 1, "UTC", edge - timedelta(microseconds=1)))
    after = next(billing_periods(anchor, Interval.MONTH, 1, "UTC", edge))
    assert before == Period(anchor, edge)
    assert after.start == edge


def test_the_cost_does_not_grow_with_the_distance() -> None:
    anchor, at = instant("1970-01-01T00:00:00Z"), instant("2100-12-31T12:00:00Z")
    began = time.perf_counter()
    for _ in range(200):
        next(billing_periods(anchor, Interval.DAY, 1, "Europe/Berlin", at))
    assert time.perf_counter() - began < 0.5  # A walk over 47,000 days would take minutes.


def test_a_period_beyond_the_calendar_is_refused() -> None:
    periods = billing_periods(CALENDAR, Interval.YEAR, 1000, "UTC", instant("2024-01-01T00:00:00Z"))
    with pytest.raises(InvalidInput) as refused:
        list(islice(periods, 9))
    assert refused.value.code == "period_out_of_range"


def test_clipping() -> None:
    may = Period(instant("2024-05-01T00:00:00Z"), instant("2024-06-01T00:00:00Z"))
    middle = instant("2024-05-10T00:00:00Z")
    assert may.clipped(middle, None) == Period(middle, may.end)
    assert may.clipped(may.start, middle) == Period(may.start, middle)
    assert may.clipped(may.end, None) is None
    assert may.clipped(instant("2024-01-01T00:00:00Z"), may.start) is None


zones = st.sampled_from(sorted(available_timezones() - {"Factory", "localtime"}))
moments = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=st.just(UTC))
intervals = st.sampled_from(list(Interval))


@settings(max_examples=400, deadline=None)
@given(st.one_of(moments, st.just(CALENDAR)), intervals, st.integers(1, 40), zones, moments)
def test_periods_tile_time(anchor: Anchor, interval: Interval, count: int, zone: str, at: datetime) -> None:
    parse_timezone(zone, "timezone")
    found = list(islice(billing_periods(anchor, interval, count, zone, at), 6))
    assert at in found[0]
    for earlier, later in pairwise(found):
        assert earlier.end == later.start
    # Wherever one asks inside a period, the answer is that period.
    for period in found:
        for inside in (period.start, period.end - timedelta(microseconds=1)):
            assert next(billing_periods(anchor, interval, count, zone, inside)) == period
