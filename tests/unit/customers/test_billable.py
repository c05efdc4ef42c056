"""Which periods a subscription is billed for."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.model import Plan, RoundingScope
from farthing.customers.billable import Term, billable_periods, full_period, started_periods, term_of
from farthing.customers.model import SubscriptionAnchor
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.period import Interval, Period
from farthing.kernel.rounding import Rounding

PLAN = Plan("payg", "Payg", "USD", Interval.MONTH, 1, RoundingScope.INVOICE, Rounding.HALF_UP, ())


def at(text: str) -> datetime:
    return parse_instant(text if "T" in text else f"{text}T00:00:00Z", "at")


def term(
    start: str, end: str | None = None, anchor: SubscriptionAnchor = "calendar", timezone: str = "UTC"
) -> Term:
    return term_of(at(start), at(end) if end else None, anchor, PLAN, timezone)


def share(part: Period, full: Period) -> Fraction:
    assert full.start <= part.start
    assert part.end <= full.end
    return Fraction(part.length, full.length)


def shown(periods: list[Period]) -> list[str]:
    return [f"{period.start:%Y-%m-%d}..{period.end:%Y-%m-%d}" for period in periods]


def test_a_calendar_subscription_begins_with_a_part_of_a_month() -> None:
    assert shown(billable_periods(term("2024-01-10"), at("2024-03-15"))) == [
        "2024-01-10..2024-02-01",
        "2024-02-01..2024-03-01",
    ]


def test_it_ends_where_it_ends() -> None:
    ended = term("2024-01-10", "2024-03-05")
    assert shown(billable_periods(ended, at("2030-01-01"))) == [
        "2024-01-10..2024-02-01",
        "2024-02-01..2024-03-01",
        "2024-03-01..2024-03-05",
    ]
    assert len(billable_periods(ended, at("2024-03-05"))) == 3
    assert len(billable_periods(ended, at("2024-03-04T23:59:59Z"))) == 2
    within = term("2024-01-10", "2024-01-20")
    assert shown(billable_periods(within, at("2030-01-01"))) == ["2024-01-10..2024-01-20"]


def test_anniversaries_are_always_full() -> None:
    yearly = term("2024-01-31T18:30:00Z", "2024-05-01", "anniversary")
    assert [
        (format_instant(period.start), format_instant(period.end))
        for period in billable_periods(yearly, at("2024-04-30"))
    ] == [
        ("2024-01-31T18:30:00Z", "2024-02-29T18:30:00Z"),
        ("2024-02-29T18:30:00Z", "2024-03-31T18:30:00Z"),
    ]


def test_a_day_as_anchor_is_a_local_day() -> None:
    anchored = term("2024-01-10", None, date(2023, 12, 15), "Asia/Kolkata")
    periods = billable_periods(anchored, at("2024-02-20"))
    assert [format_instant(period.end) for period in periods] == [
        "2024-01-14T18:30:00Z",
        "2024-02-14T18:30:00Z",
    ]


def test_nothing_before_the_first_period_is_over() -> None:
    assert billable_periods(term("2024-01-10"), at("2024-01-31T23:59:59Z")) == []
    assert billable_periods(term("2024-01-10"), at("2020-01-01")) == []


def test_since_continues_where_an_earlier_run_stopped() -> None:
    whole = billable_periods(term("2024-01-10"), at("2025-01-01"))
    for index, period in enumerate(whole):
        for since in (period.start, period.start + timedelta(days=3)):
            rest = billable_periods(term("2024-01-10"), at("2025-01-01"), since=since)
            assert rest == whole[index:]
    ended = term("2024-01-10", "2024-03-05")
    assert billable_periods(ended, at("2025-01-01"), since=at("2024-03-05")) == []


def test_started_periods_are_due_in_advance() -> None:
    ended = term("2024-01-10", "2024-02-05")
    assert shown(started_periods(ended, at("2024-01-10"))) == []
    assert shown(started_periods(ended, at("2024-01-11"))) == ["2024-01-10..2024-02-01"]
    assert shown(started_periods(ended, at("2024-02-01T00:00:00.000001Z"))) == [
        "2024-01-10..2024-02-01",
        "2024-02-01..2024-02-05",
    ]


def test_the_share_of_a_part_is_exact() -> None:
    part = billable_periods(term("2024-01-10"), at("2024-02-01"))[0]
    full = full_period(term("2024-01-10"), part.start)
    assert full == Period(at("2024-01-01"), at("2024-02-01"))
    assert share(part, full) == Fraction(22, 31)
    assert (full.length, full_period(term("2024-01-10"), full.start)) == (31 * 86_400_000_000, full)


def test_the_share_counts_the_hour_that_summer_time_takes() -> None:
    begun = term("2024-03-30T23:00:00Z", timezone="Europe/Berlin")  # midnight of 31 March, a day of 23 hours
    part = billable_periods(begun, at("2024-04-02"))[0]
    assert share(part, full_period(begun, part.start)) == Fraction(23, 31 * 24 - 1)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(
    start=moments,
    days=st.none() | st.integers(1, 800),
    until=moments,
    anchor=st.sampled_from(["calendar", "anniversary", date(2020, 1, 31)]),
    interval=st.sampled_from([Interval.WEEK, Interval.MONTH, Interval.QUARTER]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_periods_tile_the_term(
    start: datetime,
    days: int | None,
    until: datetime,
    anchor: SubscriptionAnchor,
    interval: Interval,
    zone: str,
) -> None:
    end = None if days is None else start + timedelta(days=days)
    subject = term_of(start, end, anchor, replace(PLAN, interval=interval), zone)
    periods = billable_periods(subject, until)
    for earlier, later in pairwise(periods):
        assert earlier.end == later.start
    if periods:
        assert periods[0].start == start
        assert periods[-1].end <= until
        assert end is None or periods[-1].end <= end
    # Inside, periods are whole; at the ends they are parts.
    for period in periods[1:-1]:
        assert full_period(subject, period.start) == period
    for period in periods:
        assert share(period, full_period(subject, period.start)) <= 1
