"""Which periods a subscription is billed for. Pure.

The plan's interval lays a grid over time (`kernel/period.py`), anchored at the calendar, at the start of
the term, or at a day. A term is a time over which that grid stays the same: a life of the subscription
(`timeline.py`), or the part of one between two changes to a plan of another interval. It is billed for
the grid from its start to its end: its first and last periods may be parts of a full one.

    calendar, monthly, from 10 January:   [10 Jan, 1 Feb)  [1 Feb, 1 Mar)  ...

A change between plans of one interval leaves the grid alone, also the period that it falls in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from farthing.catalog.model import Plan
from farthing.customers.model import SubscriptionAnchor
from farthing.customers.timeline import Life
from farthing.kernel.period import Anchor, Interval, Period
from farthing.kernel.period import billing_periods as grid_periods


@dataclass(frozen=True, slots=True)
class Term:
    """A time `[start, end)` over which periods follow one interval from one anchor; end None is open."""

    start: datetime
    end: datetime | None
    anchor: Anchor
    interval: Interval
    interval_count: int
    timezone: str


def term_of(
    start: datetime, end: datetime | None, anchor: SubscriptionAnchor, plan: Plan, timezone: str
) -> Term:
    """The term of a plan. An anniversary is that of the term's own start."""
    at: Anchor = start if anchor == "anniversary" else anchor
    return Term(start, end, at, plan.interval, plan.interval_count, timezone)


def terms_of(
    life: Life, anchor: SubscriptionAnchor, plans: Mapping[int, Plan], timezone: str
) -> tuple[Term, ...]:
    """The terms that tile a life."""
    starts = [life.stretches[0]]
    for stretch in life.stretches[1:]:
        before, after = plans[starts[-1].plan_version_id], plans[stretch.plan_version_id]
        if (before.interval, before.interval_count) != (after.interval, after.interval_count):
            starts.append(stretch)
    ends = [*(stretch.start for stretch in starts[1:]), life.end]
    return tuple(
        term_of(first.start, end, anchor, plans[first.plan_version_id], timezone)
        for first, end in zip(starts, ends, strict=True)
    )


def billable_periods(term: Term, until: datetime, *, since: datetime | None = None) -> list[Period]:
    """The periods of the term that are over by `until`, in order; with `since`, those that end after it.

    They tile the time from the term's start without gap or overlap. One that is still open at `until` is
    left out, also where the term is not over.
    """
    return list(takewhile(lambda part: part.end <= until, periods_from(term, since)))


def started_periods(term: Term, until: datetime, *, since: datetime | None = None) -> list[Period]:
    """The periods that begin before `until`: what is paid in advance is due when its period begins."""
    return list(takewhile(lambda part: part.start < until, periods_from(term, since)))


def periods_from(term: Term, since: datetime | None = None) -> Iterator[Period]:
    """The periods of the term that end after `since`, in order, without end where the term has none."""
    first = term.start if since is None else max(term.start, since)
    for full in _grid(term, first):
        part = full.clipped(term.start, term.end)
        if part is None:
            return
        if part.end > first:  # The last one may end before the grid's period that `since` lies in does.
            yield part


def full_period(term: Term, at: datetime) -> Period:
    """The whole period of the term's grid that contains a moment."""
    return next(_grid(term, at))


def _grid(term: Term, at: datetime) -> Iterator[Period]:
    return grid_periods(term.anchor, term.interval, term.interval_count, term.timezone, at)
