"""Which periods are drawn as they are sealed, and for how long that stays known. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from farthing.catalog.meter import parse_meter
from farthing.catalog.plan import parse_plan
from farthing.customers.content import ANCHOR_DEFAULT
from farthing.customers.model import Subscription, SubscriptionAnchor
from farthing.wallets.schedule import Alike, DrawnPeriod, Schedule

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
METER = parse_meter({"key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "data.tokens"})
CARD = {"key": "t", "name": "T", "meter": "tokens", "price": {"model": "per_unit", "unit_price": "0.01"}}
PLAN = parse_plan({"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": [CARD]})


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


def began(number: int, start: datetime, anchor: SubscriptionAnchor = ANCHOR_DEFAULT) -> Subscription:
    return Subscription(number, f"s{number}", number, f"c{number}", 1, "p", 1, anchor, start, None)


def schedule(start: datetime, end: datetime, *subscriptions: Subscription) -> Schedule:
    alike = [
        Alike(one.plan_version_id, one.anchor, one.start, "UTC", [one.subscription_id], [one.customer_id])
        for one in subscriptions
    ]
    return Schedule(alike, [], {}, {1: PLAN}, {"tokens": METER}, start, end)


def told(periods: Iterable[DrawnPeriod]) -> list[tuple[int, int, datetime, datetime]]:
    """Subscription, customer, start and end of each, in the order of their places."""
    return [
        (subscription_id, customer_id, one.period.start, one.period.end)
        for one in periods
        for subscription_id, customer_id in zip(
            one.subscription_ids.tolist(), one.customer_ids.tolist(), strict=True
        )
    ]


def test_one_made_for_a_day_holds_for_its_whole_month() -> None:
    made = schedule(at(3, 9), at(3, 11), began(1, at(1, 5)), began(2, at(1, 5)), began(3, at(2, 1)))
    assert told(made.periods) == [(number, number, at(3, 1), at(4, 1)) for number in (1, 2, 3)]
    assert (made.start, made.end) == (at(3, 1), at(4, 1) - MOMENT)
    assert made.holds_for(at(3, 1), at(4, 1) - MOMENT)
    assert not made.holds_for(at(3, 1) - MOMENT, at(3, 2))
    assert not made.holds_for(at(3, 2), at(4, 1))


def test_it_holds_no_further_than_the_period_that_ends_first() -> None:
    made = schedule(at(3, 9), at(3, 11), began(1, at(1, 1)), began(2, at(1, 20), "anniversary"))
    assert (made.start, made.end) == (at(3, 1), at(3, 20) - MOMENT)


def test_one_that_begins_later_ends_what_is_known_and_one_that_began_within_bounds_nothing_before() -> None:
    made = schedule(at(3, 9), at(3, 11), began(1, at(3, 10)), began(2, at(3, 25)))
    assert [number for number, *_ in told(made.periods)] == [1]
    assert (made.start, made.end) == (datetime.min.replace(tzinfo=UTC), at(3, 25) - MOMENT)


def test_whatever_it_holds_for_it_knows_all_periods_of() -> None:
    """Against one made anew for each day."""
    every = [began(1, at(1, 1)), began(2, at(1, 20), "anniversary"), began(3, at(3, 25)), began(4, at(3, 10))]
    made = schedule(at(3, 9), at(3, 11), *every)
    for days in range(90):
        first = at(1, 15) + days * DAY
        if made.holds_for(first, first):
            fresh = schedule(first, first, *every)
            (query,) = {*fresh.asked(first, first), *made.asked(first, first)}
            assert told(made.asked(first, first)[query]) == told(fresh.asked(first, first)[query])


def test_those_that_began_alike_are_told_together_as_they_would_be_one_by_one() -> None:
    every = [began(number, at(1, 5)) for number in (1, 2, 3)]
    one_by_one = schedule(at(3, 9), at(4, 11), *every)
    alike = [Alike(1, ANCHOR_DEFAULT, at(1, 5), "UTC", [1, 2, 3], [1, 2, 3])]
    together = Schedule(alike, [], {}, {1: PLAN}, {"tokens": METER}, at(3, 9), at(4, 11))
    changed = Schedule(
        [], every, dict.fromkeys((1, 2, 3), "UTC"), {1: PLAN}, {"tokens": METER}, at(3, 9), at(4, 11)
    )
    assert [(one.first_place, one.end_place) for one in together.periods] == [(0, 3), (3, 6)]
    assert sorted(told(together.periods)) == sorted(told(one_by_one.periods)) == sorted(told(changed.periods))
    assert (together.start, together.end) == (one_by_one.start, one_by_one.end)
