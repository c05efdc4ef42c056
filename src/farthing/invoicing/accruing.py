"""Usage that cannot be drawn as it is sealed is reckoned up now and then, by the code that would bill it.

A price that looks at single events, a meter of maxima, a subscription that changed within its period, a coupon, a
commitment, a meter that the customer holds units of: what such usage comes to is known when the whole period so far
is rated. So the open period is drafted as a preview drafts it, and what was drawn is brought to what the draft says.
What a price owes only because its period ends (a minimum) is not drawn before that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from farthing.catalog.model import Meter, RateCard
from farthing.catalog.service import all_meters
from farthing.customers.model import Subscription
from farthing.customers.timeline import Stretch, lives_of
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.ahead.preview import is_open, pending_alone
from farthing.invoicing.batches import draft_batches
from farthing.invoicing.model import Bill, BillKey, Draft, Reason
from farthing.invoicing.service import Subscribed, subscribed_by
from farthing.invoicing.units.paying import unit_draft
from farthing.invoicing.wallets import card_totals, drawn_as_of
from farthing.ledger.model import Transfer
from farthing.ledger.service import post_all
from farthing.usage.service import prepare_usage
from farthing.wallets.draw_store import (
    fund_charges,
    hold_accruing,
    hold_invoicing,
    select_invoiced,
)
from farthing.wallets.draws import draw_to
from farthing.wallets.model import Cause, ChargeKey, UsageCharge
from farthing.wallets.schedule import drawn_when_sealed, of_one_stretch
from farthing.wallets.schedule_store import select_holders
from farthing.wallets.unit_draws import UnitDraft, draw_units
from farthing.wallets.unit_store import lock_grants_of, select_unit_meters


def accrue(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int:
    """Draw the usage of open periods that sealing leaves to this. How many charges it looked at.

    Safe to run at any time, several at once, and to kill: it draws the difference to what was drawn so far.
    """
    with books.read_only(tenant_id) as conn:
        of_money = select_holders(conn, tenant_id).keys()
        unit_meters = select_unit_meters(conn, tenant_id)
    if not of_money and not unit_meters:
        return 0
    with books.transaction(tenant_id) as conn:
        fund_charges(conn)  # What sealing has drawn meanwhile, so that never much of it gathers.
    billed = subscribed_by(books, tenant_id, now, of_money | unit_meters.keys())
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    left_to_this = {
        one.subscription_id: one
        for one in billed.subscriptions
        if billed.terms.get(one.subscription_id)
        or len(one.facts)
        or _has_others(billed, one, meters, unit_meters.get(one.customer_id, frozenset()))
    }
    if not left_to_this:
        return 0
    billed = billed.of(list(left_to_this.values()))
    prepare_usage(books, store, tenant_id, now)
    bills, _ = pending_alone(
        books, tenant_id, billed, now
    )  # Wallets pay for no late usage of issued periods.
    # All bills of a subscription or none: what a later one comes to may depend on those before.
    left = {
        bill.subscription.subscription_id
        for bill in bills
        if bill.customer.customer_id in unit_meters
        or (is_open(bill, now) and _leaves_any(bill, billed, meters))
    }
    bills = [bill for bill in bills if bill.subscription.subscription_id in left]
    found: dict[BillKey, list[UsageCharge]] = {}
    of_units: dict[BillKey, UnitDraft] = {}
    for batch in draft_batches(books, store, tenant_id, bills, billed.terms, now):
        for draft in batch.drafts:
            key, customer_id = draft.bill.key, draft.bill.customer.customer_id
            if customer_id in unit_meters and draft.bill.reason is Reason.PERIOD:
                of_units[key] = unit_draft(draft.bill)
            if customer_id in of_money and is_open(draft.bill, now):
                own = unit_meters.get(customer_id, frozenset())
                found[key] = _charges(draft, billed, meters, now, own)
    if not found and not of_units:
        return 0
    with books.transaction(tenant_id) as conn:
        fallen, transfers = _draw_units(conn, tenant_id, found, of_units, now) if of_units else (set(), [])
        charges = [charge for key, some in found.items() if key not in fallen for charge in some]
        if charges:
            transfers += draw_to(conn, tenant_id, charges, now)
        post_all(conn, tenant_id, transfers, now)
    return len(charges) + len(of_units)


def _draw_units(
    conn: BooksConnection,
    tenant_id: int,
    found: Mapping[BillKey, Sequence[UsageCharge]],
    of_units: Mapping[BillKey, UnitDraft],
    now: datetime,
) -> tuple[set[BillKey], list[Transfer]]:
    """Draw what units pay of periods that have no invoice yet; the transfers, and the drafts that no longer stand,
    which the next time brings up to date."""
    hold_accruing(conn, tenant_id)
    hold_invoicing(conn, tenant_id)
    customers = {one.customer_id for one in of_units.values()}
    lock_grants_of(
        conn, tenant_id, customers | {charge.customer_id for some in found.values() for charge in some}
    )
    periods = {(one.subscription_id, one.period_start) for one in of_units.values()}
    invoiced = select_invoiced(conn, tenant_id, periods)
    going_on = {
        key: one for key, one in of_units.items() if (one.subscription_id, one.period_start) not in invoiced
    }
    stand, transfers = draw_units(conn, tenant_id, list(going_on.values()), Cause.ACCRUED, now)
    return {key for key, stands in zip(going_on, stand, strict=True) if not stands}, transfers


def _has_others(
    billed: Subscribed,
    subscription: Subscription,
    meters: Mapping[str, Meter],
    unit_meters: frozenset[str],
) -> bool:
    """Whether a subscription without a history has a rate card whose usage is not drawn when it is sealed."""
    cards = billed.plans[subscription.plan_version_id].rate_cards
    return _leaves_any_of(cards, meters, unit_meters)


def _leaves_any_of(
    cards: Iterable[RateCard], meters: Mapping[str, Meter], unit_meters: frozenset[str] = frozenset()
) -> bool:
    """Whether sealing leaves usage of any of these rate cards to this."""
    return any(card.meters and not _is_sealed(card, meters, unit_meters) for card in cards)


def _is_sealed(card: RateCard, meters: Mapping[str, Meter], unit_meters: frozenset[str]) -> bool:
    return drawn_when_sealed(card, meters) and not unit_meters.intersection(card.meters)


def _charges(
    draft: Draft,
    billed: Subscribed,
    meters: Mapping[str, Meter],
    now: datetime,
    unit_meters: frozenset[str],
) -> list[UsageCharge]:
    """What the usage of an open period comes to, by rate card, but for what sealing draws."""
    bill = draft.bill
    sealed = _sealed_cards(bill, billed, meters, unit_meters)
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
    """Whether sealing leaves anything of a period's usage to this, for a customer without units."""
    stretch = _drawn_stretch(bill, billed)
    if stretch is None:
        return True
    return _leaves_any_of(stretch.rate_cards(bill.plans[stretch.plan_version_id]), meters)


def _sealed_cards(
    bill: Bill, billed: Subscribed, meters: Mapping[str, Meter], unit_meters: frozenset[str]
) -> set[str]:
    stretch = _drawn_stretch(bill, billed)
    if stretch is None:
        return set()
    cards = stretch.rate_cards(bill.plans[stretch.plan_version_id])
    return {card.key for card in cards if _is_sealed(card, meters, unit_meters)}


def _drawn_stretch(bill: Bill, billed: Subscribed) -> Stretch | None:
    """The stretch that sealing draws a period's usage by; None where it draws nothing of it."""
    if billed.terms.get(bill.subscription.subscription_id):
        return None
    return of_one_stretch(lives_of(bill.subscription), bill.period)
