"""Which invoices are due. Pure.

An invoice for a period is due when the period is over. It holds what is billed in arrears for that
period, and what is billed in advance for the next one, if the subscription goes on. Only the first
period's fee in advance has no such invoice before it: it gets one of its own, due as soon as the
subscription starts. The same invoice holds a prepaid commitment that begins with the subscription.

    monthly from 1 January, a fee in advance:   start   1 January    fee for January
                                                period  1 February   usage of January, fee for February
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from farthing.catalog.model import Plan, Timing
from farthing.customers.billable import billable_periods, started_periods
from farthing.customers.model import Customer, Subscription
from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.invoicing.model import Bill, BillKey, Reason
from farthing.kernel.period import Period

_MICROSECOND = timedelta(microseconds=1)
_NO_TERMS: Mapping[int, Terms] = {}
_ORDER = {Reason.START: 0, Reason.PERIOD: 1, Reason.SETTLEMENT: 2}


def due_bills(
    subscriptions: Iterable[Subscription],
    customers: Mapping[int, Customer],
    plans: Mapping[int, Plan],
    until: datetime,
    terms: Mapping[int, Terms] = _NO_TERMS,
) -> list[Bill]:
    """Every invoice that is due by `until`, in the order of issue: moment, customer, subscription.

    A subscription with commitments that has ended also has one to settle them on; it is empty, and not
    issued, where the invoice of the last period did that. Whether a bill was issued is not looked at.
    """
    bills: list[Bill] = []
    ended: dict[object, list[Period]] = {}
    for subscription in subscriptions:
        plan, customer = plans[subscription.plan_version_id], customers[subscription.customer_id]
        # Whatever decides the periods; customers that began together share them.
        grid = (subscription.anchor, subscription.start, subscription.end, customer.timezone, plan.interval)
        key = (*grid, plan.interval_count)
        if key not in ended:
            ended[key] = billable_periods(subscription, plan, customer, until)
        bills += [Bill(subscription, customer, plan, Reason.PERIOD, period) for period in ended[key]]
        commitments = terms.get(subscription.subscription_id, NO_TERMS).commitments
        if commitments and ended[key] and ended[key][-1].end == subscription.end:
            bills.append(Bill(subscription, customer, plan, Reason.SETTLEMENT, ended[key][-1]))
        pays_first = any(one.prepaid and one.term.start <= subscription.start for one in commitments)
        if (pays_first or bills_in_advance(plan)) and subscription.start <= until:
            (first,) = started_periods(subscription, plan, customer, subscription.start + _MICROSECOND)
            bills.append(Bill(subscription, customer, plan, Reason.START, first))
    return sorted(bills, key=_order)


def parted(bills: Iterable[Bill], issued: Collection[BillKey]) -> tuple[list[Bill], list[Bill]]:
    """The bills that have no invoice yet, and those that have one."""
    missing: list[Bill] = []
    standing: list[Bill] = []
    for bill in bills:
        (standing if bill.key in issued else missing).append(bill)
    return missing, standing


def next_period(bill: Bill) -> Period | None:
    """The period that a fee in advance on this invoice is for; None where the subscription ends before."""
    after = bill.period.end
    if bill.subscription.end is not None and bill.subscription.end <= after:
        return None
    (period,) = started_periods(
        bill.subscription, bill.plan, bill.customer, after + _MICROSECOND, since=after
    )
    return period


def bills_in_advance(plan: Plan) -> bool:
    """Whether the plan has a fee that is due before its period."""
    return any(card.timing is Timing.ADVANCE for card in plan.rate_cards)


def _order(bill: Bill) -> tuple[datetime, str, str, int]:
    return bill.due_since, bill.customer.key, bill.subscription.key, _ORDER[bill.reason]
