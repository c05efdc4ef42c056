"""Use cases of terms, one subscription (or customer) at a time. `customers/apply.py` writes those of whole files."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from farthing.catalog import store as catalog_store
from farthing.catalog.collection import collection_json, parse_collection
from farthing.catalog.coupon import Coupon
from farthing.catalog.model import Outcome, PlanRef
from farthing.catalog.service import plan_versions_by_id
from farthing.customers import store as customer_rows
from farthing.customers.changes import SubscriptionChange, plans_by_version
from farthing.customers.model import Subscription
from farthing.customers.terms import store
from farthing.customers.terms.billing import billing_terms_json, parse_billing_terms
from farthing.customers.terms.billing_store import insert_billing_terms, select_billing_terms
from farthing.customers.terms.collecting import collection_in_force, version_at
from farthing.customers.terms.collecting_store import (
    OwnCollection,
    insert_collections,
    select_own_collections,
)
from farthing.customers.terms.content import parse_commitment
from farthing.customers.terms.decide import (
    CommitmentWanted,
    CouponWanted,
    Subscribed,
    TermsChange,
    TermsWanted,
    decide_terms,
)
from farthing.customers.terms.model import NO_TERMS, Commitment, Redemption, Terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import Faults, Fields, parse_key, shown


def redeem_coupon(
    books: Books, tenant_id: int, subscription: str, raw: object, now: datetime
) -> tuple[Redemption, Outcome]:
    """Redeem a coupon for a subscription: `{"coupon": "launch", "start": ...}`, or say that it is.

    It reduces the invoices that fall due at or after `start`, which is now unless given.

    Raises InvalidInput; NotFound `subscription_not_found`, `coupon_not_found`; Conflict (see `decide_terms`).
    """
    faults = Faults("invalid_redemption")
    fields = Fields(raw, "", faults)
    key = fields.required("coupon", parse_key)
    start = fields.optional("start", parse_instant, None)
    fields.refuse_unknown()
    faults.refuse()
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        customer_rows.lock_subscriptions(conn, tenant_id, [subscription])
        subscribed = _subscribed(conn, tenant_id, subscription)
        coupons = catalog_store.select_coupons(conn, tenant_id, [key])
        if key not in coupons:
            raise NotFound("coupon_not_found", f"there is no coupon {shown(key)}", path="coupon")
        wanted = CouponWanted(key, start or max(now, subscribed.start), start is not None, "coupon")
        redeemed = catalog_store.select_redeemed(conn, tenant_id, [key])
        (change,) = decide_terms([TermsWanted(subscribed, [wanted], [])], coupons, redeemed, now)
        store.insert_terms(conn, tenant_id, [change], now)
    if change:
        return change.redemptions[0], Outcome.CREATED
    (standing,) = (one for one in subscribed.standing.redemptions if one.coupon.key == key)
    return standing, Outcome.UNCHANGED


def add_commitment(
    books: Books, tenant_id: int, subscription: str, raw: object, now: datetime
) -> tuple[Commitment, Outcome]:
    """Commit a subscription to an amount, or say that it is.

    Raises InvalidInput; NotFound `subscription_not_found`; Conflict (see `decide_terms`).
    """
    content = parse_commitment(raw)
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        customer_rows.lock_subscriptions(conn, tenant_id, [subscription])
        subscribed = _subscribed(conn, tenant_id, subscription)
        wanted = TermsWanted(subscribed, [], [CommitmentWanted(content, "")])
        (change,) = decide_terms([wanted], {}, {}, now)
        store.insert_terms(conn, tenant_id, [change], now)
    if change:
        return change.commitments[0], Outcome.CREATED
    (standing,) = (one for one in subscribed.standing.commitments if one.key == content.key)
    return standing, Outcome.UNCHANGED


def get_terms(books: Books, tenant_id: int, subscription: str) -> tuple[Subscription, Terms]:
    """A subscription and what it agreed. Raises NotFound `subscription_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = _found(conn, tenant_id, subscription)
        terms = store.select_terms(conn, tenant_id, [found.subscription_id])
    return found, terms.get(found.subscription_id, NO_TERMS)


def all_terms(
    books: Books, tenant_id: int, subscription_ids: Collection[int] | None = None
) -> dict[int, Terms]:
    """The terms of every subscription that has any, or of these, by subscription id."""
    with books.read_only(tenant_id) as conn:
        return store.select_terms(conn, tenant_id, subscription_ids)


def set_collection(
    books: Books, tenant_id: int, subscription: str, raw: object, now: datetime
) -> tuple[dict[str, Any], Outcome]:
    """Give a subscription terms of its own; None takes them away.

    Raises InvalidInput `invalid_collection`; NotFound `subscription_not_found`.
    """
    wanted = None if raw is None else parse_collection(raw)
    with books.transaction(tenant_id) as conn:
        customer_rows.lock_subscriptions(conn, tenant_id, [subscription])
        found = _found(conn, tenant_id, subscription)
        standing = select_own_collections(conn, tenant_id, [found.subscription_id])
        before = standing.get(found.subscription_id)
        if wanted != (None if before is None else before.collection):
            insert_collections(conn, tenant_id, {subscription: wanted}, now)
            outcome = Outcome.CHANGED
        else:
            outcome = Outcome.UNCHANGED
    return get_collection(books, tenant_id, subscription, now), outcome


def get_collection(books: Books, tenant_id: int, subscription: str, now: datetime) -> dict[str, Any]:
    """The terms in force for a subscription, and whose they are: `subscription` or `plan`.

    Raises NotFound `subscription_not_found`.
    """
    with books.read_only(tenant_id) as conn:
        found = _found(conn, tenant_id, subscription)
        own = select_own_collections(conn, tenant_id, [found.subscription_id])
    version = version_at(found, now)
    plan = plan_versions_by_id(books, tenant_id, [version])[version]
    held = own.get(found.subscription_id)
    source = "plan" if held is None or held.collection is None else "subscription"
    return {
        "subscription": found.key,
        "source": source,
        "collection": collection_json(collection_in_force(held, plan)),
    }


def _found(conn: BooksConnection, tenant_id: int, key: str) -> Subscription:
    found = customer_rows.select_subscriptions(conn, tenant_id, [key]).get(key)
    if found is None:
        raise NotFound("subscription_not_found", f"there is no subscription {shown(key)}")
    return found


def terms_with_subscriptions(
    conn: BooksConnection,
    tenant_id: int,
    changes: Sequence[SubscriptionChange],
    paths: Sequence[str],
    now: datetime,
    *,
    new_coupons: Mapping[str, Coupon],
    new_timezones: Mapping[str, str],
) -> list[TermsChange]:
    """What writing subscriptions, here and in a moment, makes of the coupons, commitments and terms they name.

    A coupon that is named with a new subscription counts from its start, one that is added later from
    now. `new_coupons` and `new_timezones` (by customer) are about to be written. Raises as `decide_terms`.
    """
    naming = [
        (change, path)
        for change, path in zip(changes, paths, strict=True)
        if change.content.coupons or change.content.commitments or change.content.collection
    ]
    if not naming:
        return []
    standing = [change.before for change, _ in naming if change.before is not None]
    plans = {change.content.key: change.plan for change, _ in naming}
    subscribed = _subscribed_of(conn, tenant_id, standing, plans)
    customers = {change.content.customer for change, _ in naming}
    timezones = {**store.select_timezones(conn, tenant_id, customers), **new_timezones}
    wanted = []
    for change, path in naming:
        content = change.content
        before = subscribed.get(content.key)
        one = (
            replace(before, end=content.end or before.end)
            if before is not None
            else _not_yet(change, timezones[content.customer])
        )
        at = f"{path}." if path else ""
        start = one.start if before is None else max(now, one.start)
        wanted.append(
            TermsWanted(
                one,
                [
                    CouponWanted(key, start, False, f"{at}coupons[{index}]")
                    for index, key in enumerate(content.coupons)
                ],
                [
                    CommitmentWanted(commitment, f"{at}commitments[{index}]")
                    for index, commitment in enumerate(content.commitments)
                ],
            )
        )
    keys = {key for change, _ in naming for key in change.content.coupons}
    coupons = {**catalog_store.select_coupons(conn, tenant_id, keys), **new_coupons}
    decided = decide_terms(wanted, coupons, catalog_store.select_redeemed(conn, tenant_id, keys), now)
    own = select_own_collections(conn, tenant_id, [one.subscription_id for one in standing])
    return [
        _with_collection(
            one, change, None if change.before is None else own.get(change.before.subscription_id)
        )
        for one, (change, _) in zip(decided, naming, strict=True)
    ]


def _with_collection(
    terms: TermsChange, change: SubscriptionChange, own: OwnCollection | None
) -> TermsChange:
    """With the terms of collection that are named, unless they are the subscription's already."""
    before = None if own is None else own.collection
    wanted = change.content.collection
    return terms if wanted == before else replace(terms, collection=wanted, collection_before=before)


def _not_yet(change: SubscriptionChange, timezone: str) -> Subscribed:
    """A subscription that is about to be created."""
    content, plan = change.content, change.plan
    return Subscribed(
        content.key,
        content.start,
        content.end,
        plan.currency,
        timezone,
        plan.rate_cards,
        NO_TERMS,
        None,
    )


def _subscribed(conn: BooksConnection, tenant_id: int, key: str) -> Subscribed:
    found = _found(conn, tenant_id, key)
    refs = plans_by_version(catalog_store.select_plan_refs(conn, tenant_id, [found.plan]))
    return _subscribed_of(conn, tenant_id, [found], {key: refs[found.plan, found.version]})[key]


def _subscribed_of(
    conn: BooksConnection,
    tenant_id: int,
    subscriptions: Sequence[Subscription],
    plans: Mapping[str, PlanRef],
) -> dict[str, Subscribed]:
    """What bears on the terms of standing subscriptions, by key; `plans` are theirs, by the same keys."""
    ids = [one.subscription_id for one in subscriptions]
    terms = store.select_terms(conn, tenant_id, ids)
    until = store.select_period_invoiced_until(conn, tenant_id, ids)
    timezones = store.select_timezones(conn, tenant_id, {one.customer for one in subscriptions})
    return {
        one.key: Subscribed(
            one.key,
            one.start,
            one.end,
            plans[one.key].currency,
            timezones[one.customer],
            plans[one.key].rate_cards,
            terms.get(one.subscription_id, NO_TERMS),
            until.get(one.subscription_id),
        )
        for one in subscriptions
    }


# ---- How invoices come about


def get_billing_terms(books: Books, tenant_id: int, customer: str | None = None) -> dict[str, Any]:
    """The billing terms in force for the tenant, or for a customer: `own` is what it said itself, if anything.

    Raises NotFound `customer_not_found`.
    """
    with books.read_only(tenant_id) as conn:
        return _billing_terms(conn, tenant_id, customer)


def put_billing_terms(
    books: Books, tenant_id: int, customer: str | None, raw: object, now: datetime
) -> dict[str, Any]:
    """From now on these hold: for the tenant's customers, or for the one, in place of what was said before.

    raw: None takes a customer's own away. What is issued stays as it is; what was carried forward is brought.

    Raises InvalidInput `invalid_billing_terms` with every fault; NotFound `customer_not_found`.
    """
    terms = None if raw is None and customer is not None else parse_billing_terms(raw)
    with books.transaction(tenant_id) as conn:
        customer_id = None if customer is None else _customer_id(conn, tenant_id, customer)
        insert_billing_terms(conn, tenant_id, customer_id, terms, now)
        return _billing_terms(conn, tenant_id, customer)


def _billing_terms(conn: BooksConnection, tenant_id: int, customer: str | None) -> dict[str, Any]:
    customer_id = None if customer is None else _customer_id(conn, tenant_id, customer)
    said = select_billing_terms(conn, tenant_id, [] if customer_id is None else [customer_id])
    own = said.tenant if customer_id is None else said.own.get(customer_id)
    held = said.tenant if customer_id is None else said.of(customer_id)
    return {
        "customer": customer,
        "own": None if own is None else billing_terms_json(own),
        "billing_terms": billing_terms_json(held),
    }


def _customer_id(conn: BooksConnection, tenant_id: int, key: str) -> int:
    found = customer_rows.select_customers(conn, tenant_id, [key])
    if key not in found:
        raise NotFound("customer_not_found", f"there is no customer {shown(key)}", path="customer")
    return found[key].customer_id
