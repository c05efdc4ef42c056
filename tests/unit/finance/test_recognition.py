"""Revenue invoiced in advance: months add up to the line, and each is what had been rendered, rounded once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from farthing.finance.model import DeferredLine
from farthing.finance.recognition import earned_by, recognition_points, recognitions, still_to_come

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def line(amount: str, start: str, end: str, issued: str = "2025-12-01") -> DeferredLine:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end, issued)]
    return DeferredLine("INV-1", 1, 7, "USD", D(amount), *moments)


def test_a_quarter_is_earned_by_days_at_the_end_of_each_month() -> None:
    """90.00 over the 90 days of the first quarter: 31, 28 and 31 days."""
    facts = list(
        recognitions(line("90.00", "2026-01-01", "2026-04-01"), None, datetime(2026, 5, 1, tzinfo=UTC))
    )
    assert [(fact.line, fact.amount, fact.rendered_at) for fact in facts] == [
        ("1:2026-02-01T00:00:00Z", D("31.00"), datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("1:2026-03-01T00:00:00Z", D("28.00"), datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)),
        ("1:2026-04-01T00:00:00Z", D("31.00"), datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ]


def test_what_does_not_divide_is_rounded_once_and_the_rest_comes_later() -> None:
    """10.00 over 62 days, half of them in each month, and 0.01 that cannot be shared."""
    earned = [
        [
            fact.amount
            for fact in recognitions(
                line(amount, "2026-07-01", "2026-09-01"), None, JANUARY.replace(year=2027)
            )
        ]
        for amount in ("10.01", "0.01", "-10.01")
    ]
    assert earned == [[D("5.01"), D("5.00")], [D("0.01")], [D("-5.01"), D("-5.00")]]


def test_nothing_takes_effect_before_the_invoice_was_issued() -> None:
    """Service of January and February, invoiced on 10 February: January is earned on that day."""
    facts = list(
        recognitions(
            line("59.00", "2026-01-01", "2026-03-01", "2026-02-10"), None, datetime(2026, 3, 1, tzinfo=UTC)
        )
    )
    assert [(fact.amount, fact.rendered_at.date().isoformat()) for fact in facts] == [
        (D("31.00"), "2026-02-10"),
        (D("28.00"), "2026-02-28"),
    ]


def test_only_what_fell_due_since_the_last_run() -> None:
    quarter = line("90.00", "2026-01-01", "2026-04-01")
    february, march = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    assert [fact.amount for fact in recognitions(quarter, february, march)] == [D("28.00")]
    assert list(recognitions(quarter, None, february - timedelta(microseconds=1))) == []


def test_a_line_within_one_month_is_earned_at_its_end() -> None:
    assert [
        fact.rendered_at.isoformat()
        for fact in recognitions(line("5", "2026-01-03", "2026-01-10"), None, JANUARY.replace(month=2))
    ] == ["2026-01-09T23:59:59.999999+00:00"]


moments = st.integers(0, 3 * 366 * 86_400_000_000).map(lambda count: JANUARY + timedelta(microseconds=count))
lines = st.builds(
    lambda amount, one, other, issued: DeferredLine(
        "INV-1",
        1,
        7,
        "USD",
        D(amount) / 100,
        min(one, other),
        max(one, other) + timedelta(microseconds=1),
        issued,
    ),
    st.integers(-10_000_000, 10_000_000),
    moments,
    moments,
    moments,
)


@given(lines, st.lists(moments, max_size=4))
def test_however_often_it_is_run_the_line_is_earned_once_and_whole(
    one: DeferredLine, runs: list[datetime]
) -> None:
    booked: dict[str, D] = {}
    last = None
    for until in [*sorted(runs), one.service_end + timedelta(days=1)]:
        for fact in recognitions(one, last, until):
            assert booked.setdefault(fact.line, fact.amount) == fact.amount
            assert fact.rendered_at >= one.issued_at
        last = until
    assert sum(booked.values(), D(0)) == one.amount
    assert all(amount * one.amount > 0 for amount in booked.values())


@given(lines, moments)
def test_earned_is_the_share_of_time_to_the_nearest_cent(one: DeferredLine, moment: datetime) -> None:
    elapsed = min(max(moment - one.service_start, timedelta()), one.service_end - one.service_start)
    share = Fraction(one.amount) * Fraction(
        elapsed // timedelta(microseconds=1),
        (one.service_end - one.service_start) // timedelta(microseconds=1),
    )
    assert abs(Fraction(earned_by(one, moment)) - share) <= Fraction(1, 200)


@given(st.lists(lines, max_size=4), moments)
def test_what_is_to_come_is_what_was_not_earned(some: list[DeferredLine], moment: datetime) -> None:
    """Earned at the last point up to the moment, and what is to come, are the lines."""
    earned = D(0)
    for one in some:
        points = [point for point in recognition_points(one) if point <= moment]
        earned += earned_by(one, points[-1]) if points else D(0)
    assert sum(still_to_come(some, moment).values(), D(0)) == sum((one.amount for one in some), D(0)) - earned
