"""Which periods a subscription is billed for. Pure.

The plan's interval lays a grid over time (`kernel/period.py`), anchored at the calendar, at the
subscription's start, or at a day. The subscription is billed for that grid from its start to its
end: its first and last periods may be parts of a full one, and a fixed fee owes `fraction` of itself.

    calendar, monthly, from 10 January:   [10 Jan, 1 Feb)  [1 Feb, 1 Mar)  ...
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile

from farthing.catalog.model import Plan
from farthing.customers.model import Customer, Subscription
from farthing.kernel.period import Anchor, Period
from farthing.kernel.period import billing_periods as grid_periods


def billable_periods(
    subscription: Subscription,
    plan: Plan,
    customer: Customer,
    until: datetime,
    *,
    since: datetime | None = None,
) -> list[Period]:
    """The periods of the subscription that are over by `until`, in order; with `since`, those that end after it.

    They tile the time from the subscription's start without gap or overlap. One that is still open
    at `until` is left out, also where the subscription is not over.
    """
    return list(takewhile(lambda part: part.end <= until, _parts(subscription, plan, customer, since)))


def started_periods(
    subscription: Subscription,
    plan: Plan,
    customer: Customer,
    until: datetime,
    *,
    since: datetime | None = None,
) -> list[Period]:
    """The periods that begin before `until`: what is paid in advance is due when its period begins."""
    return list(takewhile(lambda part: part.start < until, _parts(subscription, plan, customer, since)))


def full_period(subscription: Subscription, plan: Plan, customer: Customer, period: Period) -> Period:
    """The whole period of the grid that a billable period is, or is a part of."""
    full = next(_grid(subscription, plan, customer, period.start))
    assert full.start <= period.start
    assert period.end <= full.end
    return full


def fraction(period: Period, full: Period) -> tuple[int, int]:
    """The share of a full period that a part of it is: microseconds of the part, and of the whole.

    Two whole numbers, so that a fee of 100 for 22 of 31 days is 100 * 22/31 exactly, rounded once.
    """
    assert full.start <= period.start
    assert period.end <= full.end
    return period.length, full.length


def _parts(
    subscription: Subscription, plan: Plan, customer: Customer, since: datetime | None
) -> Iterator[Period]:
    """The periods of the subscription that end after `since`, in order."""
    first = subscription.start if since is None else max(subscription.start, since)
    for full in _grid(subscription, plan, customer, first):
        part = full.clipped(subscription.start, subscription.end)
        if part is None:
            return
        if part.end > first:  # The last one may end before the grid's period that `since` lies in does.
            yield part


def _grid(subscription: Subscription, plan: Plan, customer: Customer, at: datetime) -> Iterator[Period]:
    anchor: Anchor = subscription.start if subscription.anchor == "anniversary" else subscription.anchor
    return grid_periods(anchor, plan.interval, plan.interval_count, customer.timezone, at)
