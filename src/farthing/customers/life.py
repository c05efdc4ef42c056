"""The use cases of a subscription's life: change it, call a change off, charge something once."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from farthing.catalog import store as catalog_store
from farthing.catalog.model import Meter, Outcome, Plan, PlanRef
from farthing.customers import store
from farthing.customers.changes import plans_by_version
from farthing.customers.facts import parse_change
from farthing.customers.model import (
    Customer,
    Fact,
    FactContent,
    FactKind,
    NewFact,
    OneOffCharge,
    Subscription,
)
from farthing.customers.rules import Ground, clashes, decide_change, refuse, withdrawal_complaints
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import parse_decimal
from farthing.kernel.reading import Faults, Fields, parse_flag, parse_subject, parse_text, shown
from farthing.kernel.rounding import round_money

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


def change_subscription(
    books: Books, tenant_id: int, key: str, raw: object, now: datetime
) -> tuple[Subscription, Fact, Outcome]:
    """Change a subscription from a moment on. The fact that it became, or the one made under this key before.

    Raises InvalidInput; NotFound `subscription_not_found`; Conflict; see `rules.py`.
    """
    asked = parse_change(raw)
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before, customer = locked(conn, tenant_id, key)
        plans = [asked.content.plan] if asked.content.plan is not None else []
        meters = asked.content.rate_card.meters if asked.content.rate_card is not None else ()
        ground = ground_of(conn, tenant_id, before, customer, plans, meters)
        fact, standing = decide_change(before, asked, ground, now)
        if standing is not None:
            return before, standing, Outcome.UNCHANGED
        store.insert_facts(conn, tenant_id, [(key, fact)], now)
        after = store.select_subscriptions(conn, tenant_id, [key])[key]
    return after, after.facts[-1], Outcome.CREATED


def withdraw_change(
    books: Books, tenant_id: int, key: str, change_id: int, now: datetime
) -> tuple[Subscription, Fact, Outcome]:
    """Call a change off, as if it had never been made: one that is to come, or whose time is not invoiced yet.

    Raises NotFound `subscription_not_found`, `change_not_found`; Conflict `already_invoiced`,
    `change_withdrawn` (it is the calling off of another itself), `rate_card_taken`.
    """
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before, customer = locked(conn, tenant_id, key)
        fact = next((one for one in before.facts if one.change_id == change_id), None)
        if fact is None:
            raise NotFound(
                "change_not_found", f"there is no change {change_id} of the subscription {shown(key)}"
            )
        if fact.withdraws is not None:
            raise Conflict("change_withdrawn", "it calls another change off: make that change anew instead")
        for other in before.facts:
            if other.withdraws == change_id:
                return before, other, Outcome.UNCHANGED
        ground = ground_of(conn, tenant_id, before, customer, (), ())
        started = store.select_last_start(conn, tenant_id, before.subscription_id)
        refuse(list(withdrawal_complaints(fact, ground.invoiced_until, started)))
        off = NewFact(f"withdraw-{change_id}", fact.effective_at, FactContent(FactKind.WITHDRAW), change_id)
        made = Fact(before.last_change_id + 1, off.key, off.effective_at, off.content, now, None, change_id)
        refuse(list(clashes(replace(before, facts=(*before.facts, made)), ground.plans)))
        store.insert_facts(conn, tenant_id, [(key, off)], now)
        after = store.select_subscriptions(conn, tenant_id, [key])[key]
    return after, after.facts[-1], Outcome.CREATED


def charge_once(
    books: Books, tenant_id: int, key: str, raw: object, now: datetime
) -> tuple[OneOffCharge, Outcome]:
    """An amount that is billed once, with the period that it falls in.

    {"key": "setup", "description": "Setup", "amount": "250", "at": "2024-01-10T00:00:00Z", "credit": false}

    Raises InvalidInput `invalid_charge`, `before_start`, `invalid_number`; NotFound
    `subscription_not_found`; Conflict `charge_exists` (with other content), `subscription_ended`.
    """
    asked = _parse_charge(raw, now)
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before, customer = locked(conn, tenant_id, key)
        charge = replace(asked, subscription=key, subscription_id=before.subscription_id)
        for standing in store.select_one_offs(conn, tenant_id, keys=[charge.key]):
            said_at = isinstance(raw, dict) and raw.get("at") is not None
            same = replace(
                standing, made_at=now, charged_at=standing.charged_at if said_at else charge.charged_at
            )
            if same != charge:
                raise Conflict("charge_exists", f"{shown(charge.key)} is another charge already", path="key")
            return standing, Outcome.UNCHANGED
        _check_charge(conn, tenant_id, before, customer, charge)
        store.insert_one_off(conn, tenant_id, charge)
    return charge, Outcome.CREATED


def list_changes(
    books: Books, tenant_id: int, key: str, after: int, limit: int
) -> list[tuple[Fact, int | None]]:
    """The changes of a subscription in the order they were made, those after `after`, each with what called it off."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = subscription_named(conn, tenant_id, key)
    off = {fact.withdraws: fact.change_id for fact in found.facts if fact.withdraws is not None}
    return [(fact, off.get(fact.change_id)) for fact in found.facts if fact.change_id > after][:limit]


def list_one_offs(
    books: Books, tenant_id: int, key: str, after: str | None, limit: int
) -> list[tuple[OneOffCharge, str | None]]:
    """The one-off charges of a subscription in order of key, those after `after`, each with its invoice's number."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = subscription_named(conn, tenant_id, key)
        return store.select_one_offs_after(conn, tenant_id, found.subscription_id, after, limit)


def locked(conn: BooksConnection, tenant_id: int, key: str) -> tuple[Subscription, Customer]:
    """A subscription that nobody else changes or invoices until this transaction is over, and its customer."""
    store.lock_subscriptions(conn, tenant_id, [key])
    found = subscription_named(conn, tenant_id, key)
    return found, store.select_customers_by_id(conn, tenant_id, [found.customer_id])[found.customer_id]


def subscription_named(conn: BooksConnection, tenant_id: int, key: str) -> Subscription:
    """Raises NotFound `subscription_not_found`."""
    found = store.select_subscriptions(conn, tenant_id, [key]).get(key)
    if found is None:
        raise NotFound("subscription_not_found", f"there is no subscription {shown(key)}")
    return found


def ground_of(
    conn: BooksConnection,
    tenant_id: int,
    subscription: Subscription,
    customer: Customer,
    plans: Collection[str],
    meters: Collection[str],
) -> Ground:
    """What the books hold that bears on a change to this subscription to these plans and meters."""
    refs = catalog_store.select_plan_refs(conn, tenant_id, plans)
    definitions = definitions_of(conn, tenant_id, refs, [subscription])
    known = meters_of(conn, tenant_id, definitions.values(), [subscription], meters)
    invoiced = store.select_invoiced_until(conn, tenant_id, [subscription.subscription_id])
    return Ground(
        customer.currency,
        customer.timezone,
        plans_by_version(refs),
        definitions,
        known,
        invoiced.get(subscription.key),
    )


def definitions_of(
    conn: BooksConnection, tenant_id: int, refs: Iterable[PlanRef], subscriptions: Iterable[Subscription]
) -> dict[tuple[str, int], Plan]:
    """The plans of these versions, and of those that these subscriptions have to do with, by key and version."""
    ids = {ref.plan_version_id for ref in refs if ref.plan_version_id is not None}
    for subscription in subscriptions:
        ids.add(subscription.plan_version_id)
        ids |= {fact.plan_version_id for fact in subscription.facts if fact.plan_version_id is not None}
    found = catalog_store.select_plan_versions(conn, tenant_id, ids).values()
    return {(version.plan.key, version.version): version.plan for version in found}


def meters_of(
    conn: BooksConnection,
    tenant_id: int,
    plans: Iterable[Plan],
    subscriptions: Iterable[Subscription],
    names: Iterable[str],
) -> dict[str, Meter]:
    """These meters, and those of the rate cards of these plans and add-ons, by key."""
    cards = [card for plan in plans for card in plan.rate_cards]
    cards += [
        fact.content.rate_card
        for subscription in subscriptions
        for fact in subscription.facts
        if fact.content.rate_card is not None
    ]
    wanted = {*names, *(meter for card in cards for meter in card.meters)}
    return catalog_store.select_meters(conn, tenant_id, wanted)


def _parse_charge(raw: object, now: datetime) -> OneOffCharge:
    faults = Faults("invalid_charge")
    fields = Fields(raw, "", faults)
    key = fields.required("key", parse_subject)
    description = fields.required("description", parse_text)
    amount = fields.required("amount", parse_decimal)
    at = fields.optional("at", parse_instant, now)
    credit = fields.optional("credit", _parse_flag, False)
    fields.refuse_unknown()
    if amount is not None and amount == 0:
        faults.add("amount", "must not be zero")
    if amount is not None and (amount < 0) != credit:
        faults.add("amount", "is below zero exactly where it is said to be a credit")
    faults.refuse()
    return OneOffCharge(key, "", 0, description, amount, at, now)


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code="invalid_charge")


def _check_charge(
    conn: BooksConnection,
    tenant_id: int,
    subscription: Subscription,
    customer: Customer,
    charge: OneOffCharge,
) -> None:
    if charge.charged_at < subscription.start:
        complaint = f"must not be before the start, {format_instant(subscription.start)}"
        raise InvalidInput.of("before_start", [Fault("at", complaint)])
    digits = MINOR_UNITS[customer.currency]
    if round_money(charge.amount, digits) != charge.amount:
        complaint = f"has more digits than {customer.currency}, which has {digits} after the point"
        raise InvalidInput.of("invalid_number", [Fault("amount", complaint)])
    end = subscription.end
    if end is not None and charge.charged_at >= end:
        complaint = f"the subscription ends on {format_instant(end)}"
        raise Conflict("subscription_ended", complaint, path="at")
    invoiced = store.select_invoiced_until(conn, tenant_id, [subscription.subscription_id])
    if end is not None and invoiced.get(subscription.key, subscription.start) >= end:
        raise Conflict("subscription_ended", "the subscription is invoiced to its end", path="at")
