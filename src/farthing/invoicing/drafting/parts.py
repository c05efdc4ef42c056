"""Whose usage a bill counts, from when to when, by which price. Pure.

Usage is rated by the price in force when it happened. Within a period all usage of a rate card under one
price and meter is a part of its own and is rated together, from zero: more seats do not begin the tiers
anew, nor does a pause; another price does.

    calls at 0.01 until 12 January, at 0.008 from then on:   two parts, two lines
    calls at 0.01, paused from 10 to 20 January:             one part of two times, and one that is paused

- Usage while the subscription is paused, or free in a trial, is counted and shown on a line that owes
  nothing and says why.
- What a price owes without usage (a minimum, a flat fee on zero) is owed once in a period, whole, by the
  price in force when the period ends. A price that was in force only before owes what was used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from farthing.catalog.model import Plan, RateCard
from farthing.customers.timeline import Mode, Stretch
from farthing.invoicing.drafting.usage_lines import MeterQuery, meter_queries
from farthing.invoicing.model import Bill, Reason
from farthing.kernel.memo import Memo
from farthing.kernel.period import Period
from farthing.usage.model import NO_DETAIL

_SIMPLE: "Memo[tuple[UsagePart, ...]]" = Memo(1_000)
"""The parts of bills of one plan version and period, which a run has thousands of."""


@dataclass(frozen=True, slots=True)
class UsagePart:
    """Usage that is rated together.

    queries: what is asked of each of the card's meters.
    number: of its times among those of the bill; parts over the same times share one.
    final: whether the period ends under this price, so that what it owes without usage is due.
    unbilled: why it costs nothing, if it does: paused, or trial.
    """

    card: RateCard
    plan: Plan
    version: int
    queries: tuple[MeterQuery, ...]
    times: tuple[Period, ...]
    number: int = 0
    final: bool = True
    own_price: bool = False
    unbilled: str | None = None


def unbilled_queries(card: RateCard) -> tuple[MeterQuery, ...]:
    """What is asked of usage that costs nothing: how much of it there is."""
    return tuple((meter, NO_DETAIL) for meter in card.meters)


def is_simple(bill: Bill) -> bool:
    """Whether one plan version holds for the whole period, at its own prices: the bill of nearly everybody."""
    first = bill.stretches[0]
    return (
        first.plain
        and first.start <= bill.period.start
        and (first.end is None or first.end >= bill.period.end)
    )


def usage_parts(bill: Bill) -> Sequence[UsagePart]:
    """The parts of a bill's usage, in the order in which they begin, then of the rate cards.

    On an interim invoice none is final: its period goes on.
    """
    if not bill.bills_usage:
        return []
    if is_simple(bill):
        alike = bill.version, bill.period.start, bill.period.end, bill.reason.value
        return _SIMPLE.of(bill.plan, alike, lambda: _simple_parts(bill))
    return _numbered(list(_collected(bill).values()))


def _simple_parts(bill: Bill) -> tuple[UsagePart, ...]:
    times, over = (bill.period,), bill.reason is Reason.PERIOD
    return tuple(
        UsagePart(card, bill.plan, bill.version, meter_queries(card), times, final=over)
        for card in bill.plan.rate_cards
        if card.meters
    )


def _collected(bill: Bill) -> Mapping[object, UsagePart]:
    found: dict[object, UsagePart] = {}
    for stretch in bill.stretches:
        period = bill.period.clipped(stretch.start, stretch.end)
        if period is None:
            continue
        plan = bill.plans[stretch.plan_version_id]
        for place, card in enumerate(stretch.rate_cards(plan)):
            part = _part(card, plan, stretch, period, own_price=place >= len(plan.rate_cards), bill=bill)
            if part is None:
                continue
            key = (card.key, card.meters, part.unbilled or card.price)
            earlier = found.get(key)
            found[key] = part if earlier is None else _continued(earlier, part)
    return found


def _part(
    card: RateCard, plan: Plan, stretch: Stretch, period: Period, *, own_price: bool, bill: Bill
) -> UsagePart | None:
    if not card.meters:
        return None
    queries, unbilled = meter_queries(card), None
    if not stretch.mode.charges_usage:
        queries, unbilled = unbilled_queries(card), "paused" if stretch.mode is Mode.PAUSED else "trial"
    own = own_price or card.key in stretch.overrides
    final = period.end == bill.period.end and bill.reason is Reason.PERIOD
    return UsagePart(card, plan, stretch.version, queries, (period,), 0, final, own, unbilled)


def _continued(earlier: UsagePart, later: UsagePart) -> UsagePart:
    """Two parts that are rated together, under the plan version that held last."""
    *before, last = earlier.times
    (time,) = later.times
    times = (*before, Period(last.start, time.end)) if last.end == time.start else (*earlier.times, time)
    return replace(later, times=times)


def _numbered(parts: list[UsagePart]) -> list[UsagePart]:
    numbers: dict[tuple[Period, ...], int] = {}
    return [replace(part, number=numbers.setdefault(part.times, len(numbers))) for part in parts]
