"""Which invoices are due. Pure.

An invoice for a period is due when the period is over. It holds what is billed in arrears for that
period, and what is billed in advance for the next one, if the subscription goes on. Only the first
period's fee in advance has no such invoice before it: it gets one of its own, due as soon as the
subscription starts, is reactivated, or its trial ends inside a period. The same invoice holds a prepaid
commitment that begins with the subscription.

    monthly from 1 January, a fee in advance:   start   1 January    fee for January
                                                period  1 February   usage of January, fee for February

A change may ask for an invoice at once of what it does to fees in advance (reason `change`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from farthing.catalog.model import Plan, Timing
from farthing.customers.billable import Term, full_period, periods_from, term_of, terms_of
from farthing.customers.model import Customer, OneOffCharge, Subscription
from farthing.customers.terms.model import NO_TERMS, Commitment, Terms
from farthing.customers.timeline import Life, Mode, Stretch, lives_of, standing_facts
from farthing.invoicing.model import Bill, BillKey, FeePeriod, Reason
from farthing.kernel.period import Period

_IN_TRIAL = (Mode.TRIAL, Mode.USAGE_CHARGED)
_AT_THE_END = (Reason.PERIOD, Reason.SETTLEMENT)
_NOTHING_AGREED: Mapping[int, Terms] = {}


def due_bills(
    subscriptions: Iterable[Subscription],
    customers: Mapping[int, Customer],
    plans: Mapping[int, Plan],
    until: datetime,
    agreed: Mapping[int, Terms] = _NOTHING_AGREED,
    waited_for: Collection[int] = (),
) -> list[Bill]:
    """Every invoice that is due by `until`, in the order of issue: moment, customer, subscription.

    A subscription that has ended also has one to settle its commitments on, and to bring what it carried forward;
    it is empty, and not issued, where the invoice of the last period did that. Whether a bill was issued is not
    looked at.

    agreed: the coupons and commitments of subscriptions, by id. waited_for: those that have carried something forward.
    """
    bills: list[Bill] = []
    schedules = _Schedules(until)
    in_advance = {version: bills_in_advance(plan) for version, plan in plans.items()}
    for subscription in subscriptions:
        customer = customers[subscription.customer_id]
        lives = lives_of(subscription)
        terms = [_terms_of(subscription, life, plans, customer.timezone) for life in lives]
        every_term = terms[0] if len(terms) == 1 else tuple(term for some in terms for term in some)
        for place, (life, of_life) in enumerate(zip(lives, terms, strict=True)):
            following = lives[place + 1].start if place + 1 < len(lives) else None
            dues = _LifeBills(subscription, customer, life, following, of_life, every_term, plans, schedules)
            bills += dues.of_periods()
            commitments = agreed.get(subscription.subscription_id, NO_TERMS).commitments
            bills += dues.of_start(in_advance, commitments)
            if subscription.facts:
                bills += dues.of_changes()
            if commitments or subscription.subscription_id in waited_for:
                bills += dues.of_settlement()
    return sorted(bills, key=_order)


def open_bills(
    subscriptions: Iterable[Subscription],
    customers: Mapping[int, Customer],
    plans: Mapping[int, Plan],
    now: datetime,
    agreed: Mapping[int, Terms] = _NOTHING_AGREED,
) -> list[Bill]:
    """For each subscription that is going on, the bill of the period that it is in, in the order of issue."""
    by_end: dict[datetime, list[Subscription]] = {}
    for subscription in subscriptions:
        for life in lives_of(subscription):
            for term in _terms_of(subscription, life, plans, customers[subscription.customer_id].timezone):
                if term.start <= now and (term.end is None or now < term.end):
                    by_end.setdefault(next(periods_from(term, now)).end, []).append(subscription)
    bills = [
        bill
        for end, some in by_end.items()
        for bill in due_bills(some, customers, plans, end, agreed)
        if bill.reason is Reason.PERIOD and now in bill.period
    ]
    return sorted(bills, key=_order)


def parted(bills: Iterable[Bill], issued: Collection[BillKey]) -> tuple[list[Bill], list[Bill]]:
    """The bills that have no invoice yet, and those that have one."""
    missing: list[Bill] = []
    standing: list[Bill] = []
    for bill in bills:
        (standing if bill.key in issued else missing).append(bill)
    return missing, standing


def with_one_offs(bills: Sequence[Bill], unbilled: Iterable[OneOffCharge]) -> list[Bill]:
    """These bills, in order of issue, with the one-off charges that belong on them.

    A charge is on the invoice of the period that it falls in, or on the next one to be issued; where the
    subscription has ended before, on its last.
    """
    places: dict[int, list[int]] = {}
    for place, bill in enumerate(bills):
        if bill.reason is Reason.PERIOD:
            places.setdefault(bill.subscription.subscription_id, []).append(place)
    found = list(bills)
    for charge in unbilled:
        of_subscription = places.get(charge.subscription_id, [])
        fitting = [place for place in of_subscription if found[place].period.end > charge.charged_at]
        if not fitting and of_subscription and found[of_subscription[-1]].coming is None:
            fitting = of_subscription[-1:]
        if fitting:
            bill = found[fitting[0]]
            found[fitting[0]] = replace(bill, one_offs=(*bill.one_offs, charge))
    return found


def bills_in_advance(plan: Plan) -> bool:
    """Whether the plan has a fee that is due before its period."""
    return any(card.timing is Timing.ADVANCE for card in plan.rate_cards)


class _Schedules:
    """The periods of terms, worked out once for all that share a term: customers that began together."""

    def __init__(self, until: datetime) -> None:
        self.until = until
        self._found: dict[Term, tuple[list[FeePeriod], FeePeriod | None]] = {}

    def of(self, term: Term) -> tuple[list[FeePeriod], FeePeriod | None]:
        """The periods of the term that are over, and the one after them if the term goes on."""
        if term not in self._found:
            over: list[FeePeriod] = []
            after: FeePeriod | None = None
            for part in periods_from(term):
                period = FeePeriod(part, full_period(term, part.start))
                if part.end > self.until:
                    after = period
                    break
                over.append(period)
            self._found[term] = over, after
        return self._found[term]


class _LifeBills:
    """The bills of one life of one subscription."""

    def __init__(
        self,
        subscription: Subscription,
        customer: Customer,
        life: Life,
        next_start: datetime | None,
        terms: tuple[Term, ...],
        every_term: tuple[Term, ...],
        plans: Mapping[int, Plan],
        schedules: _Schedules,
    ) -> None:
        self._subscription = subscription
        self._customer = customer
        self._life = life
        self._next_start = next_start
        self._terms = terms
        self._every_term = every_term
        self._plans = plans
        self._until = schedules.until
        self._over: list[FeePeriod] = []
        self._after: FeePeriod | None = None
        for term in terms:
            over, self._after = schedules.of(term)
            self._over += over
            if self._after is not None:
                break

    def of_periods(self) -> list[Bill]:
        """One for each period that is over, with the fees in advance of the one after it."""
        following = (*self._over[1:], self._after)
        return [
            self._bill(Reason.PERIOD, own.part, own, coming)
            for own, coming in zip(self._over, following, strict=False)
        ]

    def of_start(self, in_advance: Mapping[int, bool], commitments: Sequence[Commitment]) -> list[Bill]:
        """The one for the first fees in advance, which are due when they begin to be charged.

        A commitment that is paid in advance from the start on is on it as well.
        """
        stretch = next((one for one in self._life.stretches if one.mode not in _IN_TRIAL), None)
        if stretch is None or stretch.start > self._until:
            return []
        start = self._subscription.start
        pays_first = self._life.start == start and any(
            one.prepaid and one.term.start <= start for one in commitments
        )
        if not (pays_first or _in_advance(stretch, in_advance)):
            return []
        periods = self._over if self._after is None else (*self._over, self._after)
        period = next(period for period in periods if stretch.start in period.part)
        if stretch.start == period.part.start != self._life.start:
            return []  # The invoice of the period before has them.
        part = Period(stretch.start, period.part.end)
        return [self._bill(Reason.START, part, FeePeriod(part, period.full), None)]

    def of_settlement(self) -> list[Bill]:
        """The one to settle commitments on once the subscription has ended for good."""
        if self._next_start is not None or not self._over or self._over[-1].part.end != self._life.end:
            return []
        return [self._bill(Reason.SETTLEMENT, self._over[-1].part, None, None)]

    def of_changes(self) -> list[Bill]:
        """One for each moment of a change that asks for an invoice at once."""
        facts = standing_facts(self._subscription.facts)
        moments = {fact.effective_at for fact in facts if fact.content.invoice_now}
        found: list[Bill] = []
        for moment in sorted(moments):
            if moment > self._until or moment <= self._life.start:
                continue
            for term in self._terms:
                if term.start <= moment and (term.end is None or moment < term.end):
                    end = next(periods_from(term, moment)).end
                    part = Period(moment, end)
                    own = FeePeriod(part, full_period(term, moment))
                    found.append(self._bill(Reason.CHANGE, part, own, None))
                elif moment == term.end == self._life.end:
                    # Nothing runs any more: what was paid for the time from here on is credited.
                    part = Period(moment, full_period(term, moment).end)
                    found.append(self._bill(Reason.CHANGE, part, None, None))
        return found

    def _bill(self, reason: Reason, period: Period, own: FeePeriod | None, coming: FeePeriod | None) -> Bill:
        stretches = self._life.stretches
        if len(stretches) > 1:
            end = period.end if coming is None else coming.part.end
            met = [
                one for one in stretches if one.start < end and (one.end is None or one.end > period.start)
            ]
            stretches = tuple(met) or stretches[-1:]
            if coming is not None and _stretch_at(stretches, coming.part.start).mode in _IN_TRIAL:
                coming = None  # Its fees begin when the trial ends, and are billed then.
        held = stretches[0]
        if reason in (Reason.PERIOD, Reason.SETTLEMENT) and len(stretches) > 1:
            held = [one for one in stretches if one.start < period.end][-1]
        return Bill(
            self._subscription,
            self._customer,
            self._plans[held.plan_version_id],
            reason,
            period,
            held.plan_version_id,
            held.version,
            stretches,
            self._plans,
            self._every_term,
            own,
            coming,
            self._credits_until(period),
            last=reason in _AT_THE_END and self._next_start is None and period.end == self._life.end,
        )

    def _credits_until(self, period: Period) -> datetime | None:
        if period.end == self._life.end and not self._life.refund_unused:
            return period.end
        return self._next_start


def _terms_of(
    subscription: Subscription, life: Life, plans: Mapping[int, Plan], timezone: str
) -> tuple[Term, ...]:
    if len(life.stretches) == 1:
        plan = plans[life.stretches[0].plan_version_id]
        return (term_of(life.start, life.end, subscription.anchor, plan, timezone),)
    return terms_of(life, subscription.anchor, plans, timezone)


def _stretch_at(stretches: Sequence[Stretch], moment: datetime) -> Stretch:
    return next(one for one in stretches if one.start <= moment and (one.end is None or moment < one.end))


def _in_advance(stretch: Stretch, in_advance: Mapping[int, bool]) -> bool:
    return in_advance[stretch.plan_version_id] or any(
        card.timing is Timing.ADVANCE for card in stretch.add_ons
    )


def _order(bill: Bill) -> tuple[datetime, str, str]:
    """Bills of one moment of one subscription stay as they were made: life by life, a settlement last."""
    return bill.due_since, bill.customer.key, bill.subscription.key
