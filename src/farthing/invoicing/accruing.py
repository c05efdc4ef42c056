"""Usage that cannot be drawn as it is sealed is reckoned up now and then, by the code that would bill it.

A price that looks at single events, a meter of maxima, a subscription that changed within its period, a coupon, a
commitment: what such usage comes to is known when the whole period so far is rated. So the open period is drafted as
a preview drafts it, and what was drawn is brought to what the draft says. What a price owes only because its period
ends (a minimum) is not drawn before that.
"""

from collections.abc import Mapping
from datetime import datetime

from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters
from farthing.customers.model import Subscription
from farthing.customers.timeline import Stretch, lives_of
from farthing.db import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.model import Bill, Draft
from farthing.invoicing.preview import is_open, pending_alone
from farthing.invoicing.service import Subscribed, draft_batches, subscribed_by
from farthing.invoicing.wallets import card_totals, drawn_as_of
from farthing.ledger.service import post_all
from farthing.usage.service import prepare_usage
from farthing.wallets.draw_store import fund_charges, select_holders
from farthing.wallets.draws import draw_to
from farthing.wallets.model import ChargeKey, UsageCharge
from farthing.wallets.schedule import drawn_when_sealed, of_one_stretch


def accrue(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int:
    """Draw the usage of open periods that sealing leaves to this. How many charges it looked at.

    Safe to run at any time, several at once, and to kill: it draws the difference to what was drawn so far.
    """
    with books.read_only(tenant_id) as conn:
        holders = select_holders(conn, tenant_id)
    if not holders:
        return 0
    with books.transaction(tenant_id) as conn:
        fund_charges(conn)  # What sealing has drawn meanwhile, so that never much of it gathers.
    billed = subscribed_by(books, tenant_id, now, holders)
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    left_to_this = {
        one.subscription_id: one
        for one in billed.subscriptions
        if billed.terms.get(one.subscription_id) or len(one.facts) or _has_others(billed, one, meters)
    }
    if not left_to_this:
        return 0
    billed = Subscribed(list(left_to_this.values()), billed.customers, billed.plans, billed.terms)
    prepare_usage(books, store, tenant_id, now)
    bills, _ = pending_alone(
        books, tenant_id, billed, now
    )  # Wallets pay for no late usage of issued periods.
    # All bills of a subscription or none: what a later one comes to may depend on those before.
    left = {
        bill.subscription.subscription_id
        for bill in bills
        if is_open(bill, now) and _leaves_any(bill, billed, meters)
    }
    bills = [bill for bill in bills if bill.subscription.subscription_id in left]
    charges: list[UsageCharge] = []
    for batch in draft_batches(books, store, tenant_id, bills, billed.terms):
        for draft in batch.drafts:
            if is_open(draft.bill, now):
                charges += _charges(draft, billed, meters, now)
    if charges:
        with books.transaction(tenant_id) as conn:
            post_all(conn, tenant_id, draw_to(conn, tenant_id, charges, now), now)
    return len(charges)


def _has_others(billed: Subscribed, subscription: Subscription, meters: Mapping[str, Meter]) -> bool:
    """Whether a subscription without a history has a rate card whose usage is not drawn when it is sealed."""
    cards = billed.plans[subscription.plan_version_id].rate_cards
    return any(card.meters and not drawn_when_sealed(card, meters) for card in cards)


def _charges(
    draft: Draft, billed: Subscribed, meters: Mapping[str, Meter], now: datetime
) -> list[UsageCharge]:
    """What the usage of an open period comes to, by rate card, but for what sealing draws."""
    bill = draft.bill
    sealed = _sealed_cards(bill, billed, meters)
    return [
        UsageCharge(
            ChargeKey(bill.subscription.subscription_id, bill.period.start, total.rate_card),
            bill.customer.customer_id,
            bill.plan.currency,
            total.meters,
            total.amount,
            drawn_as_of(bill, now),
        )
        for total in card_totals(draft.lines, final=False)
        if total.rate_card not in sealed
    ]


def _leaves_any(bill: Bill, billed: Subscribed, meters: Mapping[str, Meter]) -> bool:
    """Whether sealing leaves anything of a period's usage to this."""
    stretch = _drawn_stretch(bill, billed)
    if stretch is None:
        return True
    cards = stretch.rate_cards(bill.plans[stretch.plan_version_id])
    return any(card.meters and not drawn_when_sealed(card, meters) for card in cards)


def _sealed_cards(bill: Bill, billed: Subscribed, meters: Mapping[str, Meter]) -> set[str]:
    stretch = _drawn_stretch(bill, billed)
    if stretch is None:
        return set()
    cards = stretch.rate_cards(bill.plans[stretch.plan_version_id])
    return {card.key for card in cards if drawn_when_sealed(card, meters)}


def _drawn_stretch(bill: Bill, billed: Subscribed) -> Stretch | None:
    """The stretch that sealing draws a period's usage by; None where it draws nothing of it."""
    if billed.terms.get(bill.subscription.subscription_id):
        return None
    return of_one_stretch(lives_of(bill.subscription), bill.period)
