"""The use cases of customers and subscriptions, one at a time. `apply.py` writes whole files of them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from farthing.catalog import store as catalog_store
from farthing.catalog.model import Outcome, PlanRef
from farthing.customers import store
from farthing.customers.changes import (
    CustomerChange,
    CustomersStanding,
    SubscriptionsStanding,
    customer_differences,
    decide_customers,
    plans_by_version,
)
from farthing.customers.content import customer_json, parse_customer, parse_subscription
from farthing.customers.life import definitions_of, ground_of, locked, meters_of, subscription_named
from farthing.customers.model import (
    Customer,
    CustomerContent,
    FactContent,
    FactKind,
    Subscription,
    SubscriptionContent,
)
from farthing.customers.opening import opens_with_facts
from farthing.customers.subscribing import decide_subscriptions, end_complaint, made_as, new_end
from farthing.customers.terms.service import terms_with_subscriptions
from farthing.customers.terms.store import insert_terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import kind, shown

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


def create_customer(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Customer, Outcome]:
    """A new customer, or the standing one where it has this content already.

    Raises InvalidInput; Conflict `customer_exists` (with other content), `alias_taken`.
    """
    content = parse_customer(raw)
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before = store.select_customers(conn, tenant_id, [content.key]).get(content.key)
        if before is not None and (differences := customer_differences(before, content)):
            names = ", ".join(difference.field for difference in differences)
            complaint = f"{shown(content.key)} stands with another {names}"
            raise Conflict("customer_exists", complaint, path="key")
        return _written(conn, tenant_id, content, now)


def update_customer(
    books: Books, tenant_id: int, key: str, raw: object, now: datetime
) -> tuple[Customer, Outcome]:
    """The customer with the given fields changed; null clears a field, fields not named stay.

    Raises InvalidInput; NotFound `customer_not_found`; Conflict `alias_taken`, `currency_fixed`, `timezone_fixed`.
    """
    if not isinstance(raw, dict):
        raise InvalidInput.of("invalid_customer", [Fault("", f"must be an object, not {kind(raw)}")])
    if raw.get("key", key) != key:
        raise InvalidInput.of("invalid_customer", [Fault("key", "never changes")])
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before = _customer(conn, tenant_id, key)
        content = parse_customer({**customer_json(before), **raw})
        return _written(conn, tenant_id, content, now)


def add_alias(
    books: Books, tenant_id: int, key: str, alias: object, now: datetime
) -> tuple[Customer, Outcome]:
    """Events with this subject are the customer's, also those that came before.

    Raises InvalidInput; NotFound `customer_not_found`; Conflict `alias_taken`.
    """
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before = _customer(conn, tenant_id, key)
        aliases = sorted({*before.aliases, alias}) if isinstance(alias, str) else [alias]
        content = parse_customer({**customer_json(before), "aliases": aliases})
        return _written(conn, tenant_id, content, now)


def remove_alias(books: Books, tenant_id: int, key: str, alias: str, now: datetime) -> Customer:
    """Events with this subject are nobody's. Raises NotFound `customer_not_found`, `alias_not_found`."""
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before = _customer(conn, tenant_id, key)
        if alias not in before.aliases:
            complaint = f"{shown(alias)} is not an alias of the customer {shown(key)}"
            raise NotFound("alias_not_found", complaint)
        aliases = [other for other in before.aliases if other != alias]
        content = parse_customer({**customer_json(before), "aliases": aliases})
        return _written(conn, tenant_id, content, now)[0]


def get_customer(books: Books, tenant_id: int, key: str) -> Customer:
    """Raises NotFound `customer_not_found`."""
    with books.read_only(tenant_id) as conn:
        return _customer(conn, tenant_id, key)


def list_customers(books: Books, tenant_id: int, after: str | None, limit: int) -> list[Customer]:
    """Customers in order of key, the first after `after`."""
    with books.read_only(tenant_id) as conn:
        return store.select_customers_after(conn, tenant_id, after, _bounded(limit))


def customers_by_id(books: Books, tenant_id: int, customer_ids: Collection[int]) -> dict[int, Customer]:
    """These customers."""
    with books.read_only(tenant_id) as conn:
        return store.select_customers_by_id(conn, tenant_id, customer_ids)


def create_subscription(
    books: Books, tenant_id: int, raw: object, now: datetime
) -> tuple[Subscription, Outcome]:
    """A new subscription, or the standing one where it was made with this content.

    The coupons and commitments that it names are redeemed and made with it, or added to those of the
    standing one.

    Raises InvalidInput, also `unknown_customer` and `unknown_plan`; Conflict `currency_mismatch` and,
    where another stands under the key, `subscription_immutable` or `subscription_exists`; as `decide_terms`.
    """
    content = parse_subscription(raw)
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        standing = subscriptions_standing(conn, tenant_id, [content], now)
        before = standing.by_key.get(content.key)
        # What it has become since does not matter: asked for again, it is the one that was made.
        as_made = {} if before is None else {content.key: made_as(before)}
        (change,) = decide_subscriptions(
            replace(standing, by_key=as_made, invoiced_until={}), [content], [""]
        )
        if change.outcome is Outcome.CHANGED:
            names = ", ".join(dict.fromkeys(difference.field for difference in change.fields))
            complaint = f"{shown(content.key)} stands with another {names}"
            raise Conflict("subscription_exists", complaint, path="key")
        # What it agreed is compared with what it has become: a term may end where it does.
        terms = terms_with_subscriptions(
            conn, tenant_id, [replace(change, before=before)], [""], now, new_coupons={}, new_timezones={}
        )
        if change.outcome is Outcome.CREATED:
            store.write_subscriptions(conn, tenant_id, [change], now)
        insert_terms(conn, tenant_id, terms, now)
        outcome = Outcome.CHANGED if any(terms) and before is not None else change.outcome
        return subscription_named(conn, tenant_id, content.key), outcome


def cancel_subscription(
    books: Books, tenant_id: int, key: str, end: datetime, now: datetime, *, refund_unused: bool = True
) -> tuple[Subscription, Outcome]:
    """End a subscription, or move its end.

    Raises NotFound `subscription_not_found`; InvalidInput `invalid_end` where that is not after its
    start; Conflict `already_invoiced` where it is before what is invoiced.
    """
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        before, customer = locked(conn, tenant_id, key)
        if end == before.end:
            return before, Outcome.UNCHANGED
        if end <= before.start:
            complaint = f"must be later than the start, {format_instant(before.start)}"
            raise InvalidInput.of("invalid_end", [Fault("end", complaint)])
        ground = ground_of(conn, tenant_id, before, customer, (), ())
        if complaint := end_complaint(before, end, ground.invoiced_until):
            raise Conflict("already_invoiced", f"end {complaint}", path="end")
        content = FactContent(
            FactKind.CANCEL, refund_unused=refund_unused, invoice_now=end == ground.invoiced_until
        )
        facts = [(key, fact) for fact in new_end(before, end, content)]
        store.insert_facts(conn, tenant_id, facts, now)
        return subscription_named(conn, tenant_id, key), Outcome.CHANGED


def subscriptions_standing(
    conn: BooksConnection,
    tenant_id: int,
    wanted: Sequence[SubscriptionContent],
    now: datetime,
    refs: Sequence[PlanRef] = (),
) -> SubscriptionsStanding:
    """What the books hold that bears on these subscriptions. `refs`: plan versions that are about to be published."""
    by_key = store.select_subscriptions(conn, tenant_id, [one.key for one in wanted])
    customers = store.select_currencies(conn, tenant_id, {one.customer for one in wanted})
    named = {one.plan for one in wanted} | {phase.plan for one in wanted for phase in one.phases}
    known = [*catalog_store.select_plan_refs(conn, tenant_id, named), *refs]
    plans = plans_by_version(known)
    # Definitions are needed only where there is something to compare or to check.
    full = [one for one in wanted if one.key in by_key or opens_with_facts(one)]
    to_check = [by_key[one.key] for one in full if one.key in by_key]
    asked = [(one.plan, version) for one in full for version in (one.version, None)]
    asked += [(phase.plan, phase.version) for one in full for phase in one.phases]
    chosen = [plans[plan, version] for plan, version in asked if (plan, version) in plans]
    definitions = definitions_of(conn, tenant_id, chosen, to_check)
    meters = [meter for one in full for card in one.add_ons or () for meter in card.meters]
    ids = [one.subscription_id for one in by_key.values()]
    return SubscriptionsStanding(
        by_key=by_key,
        currencies={key: currency for key, (currency, _) in customers.items()},
        plans=plans,
        invoiced_until=store.select_invoiced_until(conn, tenant_id, ids) if ids else {},
        definitions=definitions,
        meters=meters_of(conn, tenant_id, definitions.values(), to_check, meters) if full else {},
        timezones={key: timezone for key, (_, timezone) in customers.items()},
        now=now,
    )


def get_subscription(books: Books, tenant_id: int, key: str) -> Subscription:
    """Raises NotFound `subscription_not_found`."""
    with books.read_only(tenant_id) as conn:
        return subscription_named(conn, tenant_id, key)


def list_subscriptions(
    books: Books, tenant_id: int, after: str | None, limit: int, customer: str | None = None
) -> list[Subscription]:
    """Subscriptions in order of key, the first after `after`, of one customer where one is named."""
    with books.read_only(tenant_id) as conn:
        return store.select_subscriptions_after(conn, tenant_id, after, _bounded(limit), customer)


def subscriptions_begun(
    books: Books, tenant_id: int, until: datetime, customer_ids: Collection[int] | None = None
) -> tuple[list[Subscription], dict[int, Customer]]:
    """Every subscription that begins before `until`, or those of these customers, and their customers by id.

    The subscriptions are in order of key.
    """
    with books.read_only(tenant_id) as conn:
        subscriptions = store.select_subscriptions_begun(conn, tenant_id, until, customer_ids)
        ids = {subscription.customer_id for subscription in subscriptions}
        return subscriptions, store.select_customers_by_id(conn, tenant_id, ids)


def _written(
    conn: BooksConnection, tenant_id: int, content: CustomerContent, now: datetime
) -> tuple[Customer, Outcome]:
    by_key = store.select_customers(conn, tenant_id, [content.key])
    subjects = [content.key, *(content.aliases or ())]
    standing = CustomersStanding(
        by_key=by_key,
        holders=store.select_holders(conn, tenant_id, subjects),
        subscribed=store.select_subscribed(conn, tenant_id, [one.customer_id for one in by_key.values()]),
    )
    (change,) = decide_customers(standing, [content], [""])
    ids = store.write_customers(conn, tenant_id, [change], now)
    return _as_written(change, ids), change.outcome


def _as_written(change: CustomerChange, ids: dict[str, int]) -> Customer:
    if change.outcome is Outcome.UNCHANGED and change.before is not None:
        return change.before
    content = change.content
    return Customer(
        customer_id=ids[content.key],
        key=content.key,
        name=content.name,
        currency=content.currency,
        timezone=content.timezone,
        email=content.email,
        address=content.address,
        aliases=change.aliases,
    )


def _customer(conn: BooksConnection, tenant_id: int, key: str) -> Customer:
    found = store.select_customers(conn, tenant_id, [key]).get(key)
    if found is None:
        raise NotFound("customer_not_found", f"there is no customer {shown(key)}")
    return found


def _bounded(limit: int) -> int:
    assert 1 <= limit <= LIST_LIMIT_MAX
    return limit
