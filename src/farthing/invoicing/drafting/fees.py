"""Fixed fees: what a bill charges and what it credits. Pure.

Fees are declared, not moved about. What a subscription owes for a time follows from its stretches as they
stand now; what was billed for that time stands on its invoices. A bill holds the difference:

    owed     Pro  [1 Jan, 13 Jan)        Team [13 Jan, 1 Feb)
    billed   Pro  [1 Jan, 1 Feb)
    bill     Pro -[13 Jan, 1 Feb)        Team [13 Jan, 1 Feb)     a credit, and a charge

So one rule serves upgrades, downgrades, seats, pauses and cancellations, in whatever order they were made
and billed; and because a credit is only ever given for a time that was charged, less the share of it that coupons had
taken off the charge, it never exceeds what was paid for it.

A fee is told from another by what decides its amount: rate card, plan, amount, how many, the full period
and the proration (`FeeKey`). In a part [start, end) of its full period it owes

    upto(end) - upto(start)       upto(t) = fee * how many * time from the full period's start to t / its length

exactly, except where a quotient does not end: then `upto` has 18 digits, half up. As a difference, the
parts of a period sum to the whole, however it is parted. Time counts in microseconds (`proration: second`)
or in whole local days (`day`): a day belongs to what holds when it ends, so that a change counts from the
beginning of the day that it falls on. (A full period within one local day is shared by time.)

Example, 49 a month, 10 January to 1 February:   49 - 49 * 9/31 = 34.774193548387096774
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

from farthing.catalog.model import Plan, Proration, RateCard, Timing
from farthing.customers.billable import Term, full_period, term_of
from farthing.customers.model import Subscription
from farthing.customers.timeline import Stretch
from farthing.invoicing.model import Bill, Cover, FeeKey, FeePeriod, FeeSource, Line, LineKind, Reason
from farthing.kernel.instant import microseconds, zone_named
from farthing.kernel.memo import Memo
from farthing.kernel.period import Interval, Period
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import quotient
from farthing.rating import Charge, Price, Rated, parse_price, rate

_DAY = 86_400_000_000
_SECOND = 1_000_000
_DAYS_MAX = {
    Interval.DAY: 1,
    Interval.WEEK: 7,
    Interval.MONTH: 31,
    Interval.QUARTER: 92,
    Interval.HALF_YEAR: 184,
    Interval.YEAR: 366,
}
_FEES: Memo[Rated] = Memo(10_000)
_ALL = (Timing.ARREARS, Timing.ADVANCE)
_ADVANCE = (Timing.ADVANCE,)


def fee_lines(bill: Bill, covers: Sequence[Cover]) -> list[Line]:
    """The lines of fixed fees, in order of their time, credits before charges.

    covers: what is billed already of the fees of this subscription.
    """
    owed = _owed(bill)
    billed = _billed(bill, covers) if covers else {}
    lines = [
        _line(bill, key, period, source, sign, credited)
        for key in dict.fromkeys((*billed, *owed))
        for sign, period, source, credited in _differences(owed.get(key, ()), billed.get(key, ()))
    ]
    found = [line for line in lines if line is not None]
    return sorted(found, key=lambda line: (line.service_period.start, line.quantity > 0))


def covers_of(lines: Iterable[Line]) -> list[Cover]:
    """What these lines bill of fees, for the bills that come after them."""
    lines = list(lines)
    taken: dict[int, Decimal] = {}
    for line in lines:
        if line.adjustment is not None and line.kind is LineKind.COUPON:
            with exact():
                for share in line.adjustment.of:
                    taken[share.line] = taken.get(share.line, ZERO) - share.amount
    return [
        Cover(
            line.fee,
            line.service_period,
            1 if line.quantity > 0 else -1,
            line.source,
            line.amount_exact,
            taken.get(place, ZERO),
        )
        for place, line in enumerate(lines, start=1)
        if line.fee is not None and line.source is not None
    ]


def fee_key(stretch_plan: Plan, card: RateCard, quantity: Decimal, full: Period, *, add_on: bool) -> FeeKey:
    """What tells this fee from others. An add-on is the same whatever the plan beside it."""
    plan = "" if add_on else stretch_plan.key
    return FeeKey(card.key, plan, fee_of(card.price).amount, quantity, full, stretch_plan.proration)


def fee_of(price: Price) -> Rated:
    """What one of a fixed fee owes for a full period."""
    return _FEES.of(price, None, lambda: rate(price, quantity=ONE))


@dataclass(frozen=True, slots=True)
class _Owed:
    """A time that a fee is owed for, and whether this is the bill that charges it."""

    period: Period
    source: FeeSource
    charged_here: bool


_Billed = tuple[Period, Cover]
"""A time that a line billed, and the line."""


def _owed(bill: Bill) -> dict[FeeKey, list[_Owed]]:
    """All that is owed in the periods that the bill has to do with, so that nothing owed is ever credited."""
    found: dict[FeeKey, list[_Owed]] = {}
    timings = _ALL if bill.reason is Reason.PERIOD else _ADVANCE
    for fee_period, here in ((bill.own, timings), (bill.coming, _ADVANCE)):
        if fee_period is not None:
            for stretch in bill.stretches:
                _add_owed(bill, fee_period, stretch, here, found)
    return found


def _add_owed(
    bill: Bill,
    fee_period: FeePeriod,
    stretch: Stretch,
    timings: Sequence[Timing],
    found: dict[FeeKey, list[_Owed]],
) -> None:
    """What one stretch owes of the fees of one period."""
    period = fee_period.part.clipped(stretch.start, stretch.end)
    if period is None or not stretch.mode.charges_fees:
        return
    plan = bill.plans[stretch.plan_version_id]
    for place, card in enumerate(stretch.rate_cards(plan)):
        if card.meters:
            continue
        add_on = place >= len(plan.rate_cards)
        key = fee_key(plan, card, stretch.quantity(card.key), fee_period.full, add_on=add_on)
        if key.amount and key.quantity:
            own_price = add_on or card.key in stretch.overrides
            source = FeeSource(plan.key, plan.name, stretch.version, card, own_price)
            found.setdefault(key, []).append(_Owed(period, source, card.timing in timings))


def _billed(bill: Bill, covers: Sequence[Cover]) -> dict[FeeKey, list[_Billed]]:
    """What stands of earlier lines, within the time that this bill may put right.

    It puts right what was billed for its own full period and the coming one. Beside that it credits what
    was billed for full periods that are none any more, because a change of interval, or the end, has put
    others or nothing in their place: the first bill to come does.
    """
    fulls = {fee_period.full for fee_period in (bill.own, bill.coming) if fee_period is not None}
    found: dict[FeeKey, list[_Billed]] = {}
    for cover in covers:
        period = cover.period.clipped(bill.period.start, bill.credits_until)
        if period is not None:
            parts = [period] if cover.key.full in fulls else _replaced(bill.terms, cover.key.full, period)
            for part in parts:
                found.setdefault(cover.key, []).append((part, cover))
    return found


def _replaced(terms: Iterable[Term], full: Period, period: Period) -> Iterator[Period]:
    """The parts of a period, within a full one, in which the full one is no period of the subscription any more."""
    since = period.start
    for term in terms:
        kept = period.clipped(term.start, term.end)
        if kept is not None and full_period(term, kept.start) == full:
            if since < kept.start:
                yield Period(since, kept.start)
            since = kept.end
    if since < period.end:
        yield Period(since, period.end)


_Difference = tuple[int, Period, FeeSource, Cover | None]


def _differences(owed: Sequence[_Owed], billed: Sequence[_Billed]) -> Iterator[_Difference]:
    """Where owed and billed differ: maximal times with a sign, +1 to charge and -1 to credit, in order.

    A credit is of the one charge that stands for its time, which is told with it.
    """
    if not billed:
        yield from ((1, period, source, None) for period, source in _joined(owed))
        return
    periods = [part.period for part in owed] + [period for period, _ in billed]
    bounds = sorted({bound for period in periods for bound in (period.start, period.end)})
    run: tuple[int, datetime, FeeSource, Cover | None] | None = None
    for start, _ in pairwise(bounds):
        part = next((part for part in owed if start in part.period), None)
        standing = [cover for period, cover in billed if start in period]
        source = part.source if part is not None else standing[0].source if standing else None
        sign = (part is not None) - sum(cover.sign for cover in standing)
        assert -1 <= sign <= 1, "no time of a fee is ever billed twice"
        if sign > 0 and part is not None and not part.charged_here:
            sign = 0
        # Charges of one fee are never charged twice for one time, so the last charge is the one that stands.
        credited = next(cover for cover in reversed(standing) if cover.sign > 0) if sign < 0 else None
        if run is not None and run[0] == sign and _alike(run[3], credited):
            run = (sign, run[1], source or run[2], run[3])
            continue
        if run is not None and run[0]:
            yield run[0], Period(run[1], start), run[2], run[3]
        run = None if source is None else (sign, start, source, credited)
    if run is not None and run[0]:
        yield run[0], Period(run[1], bounds[-1]), run[2], run[3]


def _alike(one: Cover | None, other: Cover | None) -> bool:
    """Whether credits of two charges may stand on one line: coupons took nothing off either, or it is one charge."""
    return one is other or not ((one and one.taken) or (other and other.taken))


def _joined(parts: Iterable[_Owed]) -> Iterator[tuple[Period, FeeSource]]:
    """What is charged here, neighbours as one under what was last in force."""
    last: tuple[Period, FeeSource] | None = None
    for part in parts:
        if not part.charged_here:
            continue
        if last is not None and last[0].end == part.period.start:
            last = (Period(last[0].start, part.period.end), part.source)
            continue
        if last is not None:
            yield last
        last = (part.period, part.source)
    if last is not None:
        yield last


def _line(
    bill: Bill, key: FeeKey, period: Period, source: FeeSource, sign: int, credited: Cover | None
) -> Line | None:
    rated = fee_of(source.card.price)
    whole = _whole(key, bill.customer.timezone)
    start, end = (_time(key, bound, bill.customer.timezone, whole) for bound in (period.start, period.end))
    with exact():
        many = key.quantity * sign
        charges = rated.charges
        if many != ONE:
            charges = tuple(
                Charge(charge.quantity * many, charge.unit_price, charge.amount * many, charge.reason)
                for charge in charges
            )
    words = _share(end - start, whole, key.proration)
    amount, charges = prorated(
        key.amount, charges, many, start, end, whole, f"{'unused' if sign < 0 else 'prorated to'} {words}"
    )
    if not amount:
        return None
    if credited is not None and credited.taken:
        amount, charges = _less_coupons(amount, charges, credited)
    return Line(
        rate_card=key.rate_card,
        description=_description(bill, key, period, source, sign, words),
        meter=None,
        dimensions={},
        service_period=period,
        quantity=many,
        amount_exact=amount,
        charges=charges,
        fee=key,
        source=source,
    )


def _less_coupons(
    amount: Decimal, charges: tuple[Charge, ...], credited: Cover
) -> tuple[Decimal, tuple[Charge, ...]]:
    """A credit without the share that coupons had taken off what it credits: that was never paid.

    Credits of the parts of a charge take their shares of the whole (18 digits, half up), and never more than
    the credit itself.
    """
    with exact():
        share = min(quotient(-amount * credited.taken, credited.amount), -amount)
        return amount + share, (*charges, Charge(ONE, share, share, "coupons had taken off"))


def _description(bill: Bill, key: FeeKey, period: Period, source: FeeSource, sign: int, words: str) -> str:
    """`Base`; where a period is parted `Base, 19 of 31 days of Team` and `Base, unused 19 of 31 days of Pro`."""
    whole = {fee_period.part for fee_period in (bill.own, bill.coming) if fee_period is not None}
    if sign > 0 and period in whole and bill.reason is not Reason.CHANGE:
        return source.card.name
    what = words if words.endswith(" days") else "part of a period"
    where = f" of {source.plan_name}" if key.plan else ""
    return f"{source.card.name}, {'unused ' if sign < 0 else ''}{what}{where}"


def prorated(
    amount: Decimal,
    charges: tuple[Charge, ...],
    many: Decimal,
    start: int,
    end: int,
    whole: int,
    reason: str,
) -> tuple[Decimal, tuple[Charge, ...]]:
    """What `many` of a fee owe from `start` to `end` of `whole`, and the charges with one more that takes off the rest.

    The charges given are those of the full period; with the one more they sum to the amount.
    """
    with exact():
        full = amount * many
        if end - start == whole or not full:
            return full, charges
        share = (_upto(abs(full), end, whole) - _upto(abs(full), start, whole)).copy_sign(full)
        if not share:
            return share.copy_abs(), charges
        rest = share - full
        side = ONE.copy_sign(many)
        return share, (*charges, Charge(side, rest * side, rest, reason))


def _upto(amount: Decimal, part: int, whole: int) -> Decimal:
    return amount if part == whole else quotient(amount * part, Decimal(whole))


def _whole(key: FeeKey, timezone: str) -> int:
    """The length of the full period: in local days, or in microseconds."""
    return _days(key.full, timezone) if key.proration is Proration.DAY else key.full.length


def _time(key: FeeKey, moment: datetime, timezone: str, whole: int) -> int:
    """How much of the full period is over at a moment, in the same unit."""
    if key.proration is Proration.SECOND:
        return microseconds(moment - key.full.start)
    if whole == key.full.length:  # within one local day
        return microseconds(moment - key.full.start)
    if moment == key.full.start:
        return 0
    return _local_days(key.full.start, moment, timezone)


@lru_cache(maxsize=4096)
def _days(full: Period, timezone: str) -> int:
    return _local_days(full.start, full.end, timezone) or full.length


def _local_days(start: datetime, end: datetime, timezone: str) -> int:
    zone = zone_named(timezone)
    return (end.astimezone(zone).date() - start.astimezone(zone).date()).days


def _share(part: int, whole: int, proration: Proration) -> str:
    """`16 of 31 days`; in seconds or microseconds where that is no whole number."""
    if proration is Proration.DAY and whole < _DAY:
        return f"{part} of {whole} days"
    for unit, name in ((_DAY, "days"), (_SECOND, "seconds")):
        if part % unit == whole % unit == 0:
            return f"{part // unit} of {whole // unit} {name}"
    return f"{part} of {whole} microseconds"


# ---- What issued invoices say


def may_bill_in_advance(plans: Mapping[int, Plan], subscription: Subscription) -> bool:
    """Whether fees of this subscription can have been billed before their time was over."""
    return any(
        card.timing is Timing.ADVANCE
        for version in _versions_of(subscription)
        for card in plans[version].rate_cards
    ) or any(
        fact.content.rate_card is not None and fact.content.rate_card.timing is Timing.ADVANCE
        for fact in subscription.facts
    )


def longest_full_period(plans: Mapping[int, Plan], subscription: Subscription) -> timedelta:
    """At least as long as any full period that this subscription was ever billed a fee for."""
    return max(
        timedelta(days=_DAYS_MAX[plans[version].interval] * plans[version].interval_count + 2)
        for version in _versions_of(subscription)
    )


def cover_of_row(row: Mapping[str, Any], bill: Bill) -> Cover | None:
    """A line of an issued invoice as what it bills of a fee; None for one of usage of several meters.

    bill: another one of the same subscription.

    Lines from before fees were told apart do not say their full period: it is that of the grid that the
    subscription began with.
    """
    subscription = bill.subscription
    named = {(subscription.plan, subscription.version): subscription.plan_version_id} | {
        (known.plan, known.version): known.plan_version_id for known in _plans_named(subscription)
    }
    if row["plan"] is None:
        version_id = row["plan_version_id"]
        version = next(number for (_, number), known in named.items() if known == version_id)
    else:
        version = row["plan_version"]
        version_id = named[row["plan"], version]
    plan = bill.plans[version_id]
    period = Period(row["service_start"], row["service_end"])
    if row["fee_start"] is None:
        term = term_of(subscription.start, None, subscription.anchor, plan, bill.customer.timezone)
        full = full_period(term, period.start)
    else:
        full = Period(row["fee_start"], row["fee_end"])
    own = {card.key: card for card in plan.rate_cards}
    add_ons = {
        fact.content.rate_card.key: fact.content.rate_card
        for fact in subscription.facts
        if fact.content.rate_card is not None
    }
    key = row["rate_card"]
    card = own.get(key) or add_ons[key]
    if card.meters:
        return None
    if row["price"] is not None:
        card = replace(card, price=parse_price(row["price"]))
    fee = fee_key(plan, card, abs(row["quantity"]), full, add_on=key not in own)
    source = FeeSource(plan.key, plan.name, version, card, row["price"] is not None)
    sign = 1 if row["quantity"] > 0 else -1
    return Cover(fee, period, sign, source, row["amount_exact"], row["taken"])


def _versions_of(subscription: Subscription) -> list[int]:
    return [subscription.plan_version_id, *(named.plan_version_id for named in _plans_named(subscription))]


@dataclass(frozen=True, slots=True)
class _PlanNamed:
    plan: str
    version: int
    plan_version_id: int


def _plans_named(subscription: Subscription) -> list[_PlanNamed]:
    return [
        _PlanNamed(fact.content.plan, fact.content.version, fact.plan_version_id)
        for fact in subscription.facts
        if fact.plan_version_id is not None
        and fact.content.plan is not None
        and fact.content.version is not None
    ]
