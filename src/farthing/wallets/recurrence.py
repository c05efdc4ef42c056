"""Which grants a promise asks for, and what one leaves to the next. Pure.

A promise has periods of its interval, counted from its start in the customer's time zone. Each period that has
begun gets one grant, named after the promise and the day: `monthly@2026-02-01T00:00:00Z`. It takes effect when the
period begins and, unless the promise says otherwise, expires when it ends. Periods of the past that are already
over are made up for only if their grants would not have expired: nobody could draw on the others.

What is left of a grant when it expires goes into the next one by so many percent, at most up to a maximum. It is a
grant of its own beside the next one that expires with it. What was rolled over once is rolled
over again in the same way.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from farthing.kernel.instant import format_instant
from farthing.kernel.period import Period, billing_periods
from farthing.kernel.quantity import ZERO
from farthing.wallets.model import GrantContent, Recurring

PERIODS_AT_ONCE = 1_000
"""A promise that begins long ago is kept so many periods at a time."""


def due_periods(promise: Recurring, now: datetime) -> list[Period]:
    """The periods that have begun since the promise was last kept, in order, at most a thousand."""
    content = promise.content
    found: list[Period] = []
    for period in _periods(promise):
        if period.start > now or (content.end is not None and period.start >= content.end):
            break
        found.append(period)
        if len(found) == PERIODS_AT_ONCE:
            break
    return found


def _periods(promise: Recurring) -> Iterator[Period]:
    content = promise.content
    return billing_periods(
        promise.start, content.interval, content.interval_count, promise.timezone, promise.next_start
    )


def grant_of(promise: Recurring, period: Period, now: datetime) -> GrantContent | None:
    """The grant of a period; None where it has expired before it could be made."""
    content = promise.content
    if content.expires and period.end <= now:
        return None
    return GrantContent(
        f"{content.key}@{format_instant(period.start)}",
        content.paid,
        content.amount,
        content.priority,
        content.scope,
        period.start,
        period.end if content.expires else None,
        "",
        content.unit_price,
    )


def rolled_over(left: Decimal, percent: Decimal, maximum: Decimal | None) -> Decimal:
    """How much of what is left goes into the next grant. `exact()` is in force."""
    share = left * percent.scaleb(-2) if percent else ZERO
    return share if maximum is None else min(share, maximum)
