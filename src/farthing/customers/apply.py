"""`farthing apply`: a whole catalog file becomes what stands, in one transaction, or nothing does.

The file says what is to be there; what it does not name stays. Applying it twice changes nothing the
second time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from farthing.catalog import store as catalog_store
from farthing.catalog.changes import meter_outcomes, plan_outcome
from farthing.catalog.collection import collection_json
from farthing.catalog.coupon import Coupon, coupon_outcomes, parse_coupon
from farthing.catalog.meter import parse_meter
from farthing.catalog.model import Meter, Outcome, Plan, PlanRef, PlanVersion
from farthing.catalog.plan import meters_mentioned, parse_plan, plan_json
from farthing.customers import store
from farthing.customers.changes import (
    CustomerChange,
    CustomersStanding,
    SubscriptionChange,
    customer_differences,
    decide_customers,
)
from farthing.customers.content import parse_customer, parse_subscription
from farthing.customers.model import Change, CustomerContent, FieldChange, SubscriptionContent
from farthing.customers.service import subscriptions_standing
from farthing.customers.subscribing import decide_subscriptions
from farthing.customers.terms.content import commitment_json, redemption_json
from farthing.customers.terms.decide import TermsChange
from farthing.customers.terms.service import terms_with_subscriptions
from farthing.customers.terms.store import insert_terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.reading import Faults, Fields, parse_list, refuse_repeated

_T = TypeVar("_T")

METERS_MAX = 10_000
PLANS_MAX = 10_000
COUPONS_MAX = 10_000
CUSTOMERS_MAX = 200_000
SUBSCRIPTIONS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """What applying a file does, or would do: one change for each thing in it, in the order of the file."""

    changes: tuple[Change, ...]

    def changing(self) -> tuple[Change, ...]:
        """Those that are not unchanged."""
        return tuple(change for change in self.changes if change.outcome is not Outcome.UNCHANGED)

    def count(self, kind: str, outcome: Outcome) -> int:
        """How many things of a kind have an outcome."""
        return sum(change.kind == kind and change.outcome is outcome for change in self.changes)


@dataclass(frozen=True, slots=True)
class CatalogContent:
    """A catalog file, read. Keys are distinct within each list."""

    meters: tuple[Meter, ...]
    plans: tuple[Plan, ...]
    coupons: tuple[Coupon, ...]
    customers: tuple[CustomerContent, ...]
    subscriptions: tuple[SubscriptionContent, ...]


def plan_apply(books: Books, tenant_id: int, document: object, now: datetime) -> ApplyPlan:
    """What applying a document (the values of `read_catalog_file`) would do. Nothing is written.

    Raises what `apply` raises.
    """
    with books.read_only(tenant_id) as conn:
        return _decide(conn, tenant_id, _content(conn, tenant_id, document), now).plan()


def apply(books: Books, tenant_id: int, document: object, now: datetime) -> ApplyPlan:
    """Apply a document (the values of `read_catalog_file`), all of it or nothing.

    Raises:
        InvalidInput: `invalid_catalog`, or the code of its parts where they are the only ones, with
            every fault and its path: `plans[0].rate_cards[2].price.tiers[1].up_to`.
        Conflict: what contradicts what stands (see `catalog/changes.py`, `customers/changes.py`).
    """
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        content = _content(conn, tenant_id, document)
        # What changes is not known yet; a new one has no row to hold.
        store.lock_subscriptions(conn, tenant_id, [one.key for one in content.subscriptions])
        decided = _decide(conn, tenant_id, content, now)
        _write(conn, tenant_id, decided, now)
    return decided.plan()


def parse_catalog(raw: object, standing_meters: Mapping[str, Meter]) -> CatalogContent:
    """A document, read whole. Plans may name its own meters and the standing ones.

    Raises InvalidInput `invalid_catalog` (see `apply`).
    """
    faults = Faults("invalid_catalog")
    fields = Fields(raw, "", faults)

    def section(name: str, most: int, parse: Callable[[object, str], _T]) -> tuple[_T, ...]:
        def parse_section(items: object, path: str) -> tuple[_T, ...]:
            refuse_repeated(items, path, faults)
            return tuple(parse_list(items, path, parse, most=most, faults=faults))

        return fields.optional(name, parse_section, ())

    meters = section("meters", METERS_MAX, parse_meter)
    # With a faulty meter it is not known which meters there will be.
    known = None if len(faults) else {**standing_meters, **{meter.key: meter for meter in meters}}
    plans = section("plans", PLANS_MAX, lambda item, path: parse_plan(item, path, known))
    coupons = section("coupons", COUPONS_MAX, parse_coupon)
    customers = section("customers", CUSTOMERS_MAX, parse_customer)
    subscriptions = section("subscriptions", SUBSCRIPTIONS_MAX, parse_subscription)
    fields.refuse_unknown()
    faults.refuse()
    return CatalogContent(meters, plans, coupons, customers, subscriptions)


@dataclass(frozen=True, slots=True)
class _Decided:
    """Everything that a document does, decided and not yet written."""

    meters: Sequence[tuple[Meter, Outcome]]
    plans: Sequence[tuple[Plan, Outcome, PlanVersion | None]]
    coupons: Sequence[tuple[Coupon, Outcome]]
    customers: Sequence[CustomerChange]
    subscriptions: Sequence[SubscriptionChange]
    terms: Sequence[TermsChange]

    def plan(self) -> ApplyPlan:
        return ApplyPlan(
            (
                *(Change("meter", meter.key, outcome) for meter, outcome in self.meters),
                *(
                    Change("plan", plan.key, outcome, _plan_differences(latest, plan, outcome))
                    for plan, outcome, latest in self.plans
                ),
                *(Change("coupon", coupon.key, outcome) for coupon, outcome in self.coupons),
                *(_customer_change(change) for change in self.customers),
                *self._subscription_changes(),
            )
        )

    def _subscription_changes(self) -> Iterator[Change]:
        terms = {change.subscription: change for change in self.terms}
        for change in self.subscriptions:
            yield _subscription_change(change, terms.get(change.content.key))


def _content(conn: BooksConnection, tenant_id: int, raw: object) -> CatalogContent:
    plans = raw.get("plans") if isinstance(raw, dict) else None
    mentioned: set[str] = set()
    for plan in plans if isinstance(plans, list) else []:
        mentioned |= meters_mentioned(plan)
    return parse_catalog(raw, catalog_store.select_meters(conn, tenant_id, mentioned))


def _decide(conn: BooksConnection, tenant_id: int, content: CatalogContent, now: datetime) -> _Decided:
    standing_meters = catalog_store.select_meters(conn, tenant_id, [meter.key for meter in content.meters])
    meters = list(zip(content.meters, meter_outcomes(standing_meters, content.meters), strict=True))
    latest = catalog_store.select_latest_plans(conn, tenant_id, [plan.key for plan in content.plans])
    plans = [(plan, plan_outcome(latest.get(plan.key), plan), latest.get(plan.key)) for plan in content.plans]
    standing_coupons = catalog_store.select_coupons(
        conn, tenant_id, [coupon.key for coupon in content.coupons]
    )
    coupons = list(zip(content.coupons, coupon_outcomes(standing_coupons, content.coupons), strict=True))
    customers = _decide_customers(conn, tenant_id, content.customers)
    subscriptions = _decide_subscriptions(conn, tenant_id, content, plans, now)
    terms = terms_with_subscriptions(
        conn,
        tenant_id,
        subscriptions,
        [f"subscriptions[{index}]" for index in range(len(subscriptions))],
        now,
        new_coupons={coupon.key: coupon for coupon in content.coupons},
        new_timezones={customer.key: customer.timezone for customer in content.customers},
    )
    return _Decided(meters, plans, coupons, customers, subscriptions, terms)


def _decide_customers(
    conn: BooksConnection, tenant_id: int, wanted: Sequence[CustomerContent]
) -> list[CustomerChange]:
    by_key = store.select_customers(conn, tenant_id, [content.key for content in wanted])
    subjects = [subject for content in wanted for subject in (content.key, *(content.aliases or ()))]
    standing = CustomersStanding(
        by_key=by_key,
        holders=store.select_holders(conn, tenant_id, subjects),
        subscribed=store.select_subscribed(conn, tenant_id, [one.customer_id for one in by_key.values()]),
    )
    return decide_customers(standing, wanted, [f"customers[{index}]" for index in range(len(wanted))])


def _decide_subscriptions(
    conn: BooksConnection,
    tenant_id: int,
    content: CatalogContent,
    plans: Sequence[tuple[Plan, Outcome, PlanVersion | None]],
    now: datetime,
) -> list[SubscriptionChange]:
    wanted = content.subscriptions
    coming = [
        (plan, _next_version(latest)) for plan, outcome, latest in plans if outcome is not Outcome.UNCHANGED
    ]
    refs = [
        PlanRef(plan.key, version, plan.currency, rate_cards=tuple(card.key for card in plan.rate_cards))
        for plan, version in coming
    ]
    standing = subscriptions_standing(conn, tenant_id, wanted, now, refs)
    standing = replace(
        standing,
        currencies={**standing.currencies, **{one.key: one.currency for one in content.customers}},
        timezones={**standing.timezones, **{one.key: one.timezone for one in content.customers}},
        definitions={**standing.definitions, **{(plan.key, version): plan for plan, version in coming}},
        meters={**standing.meters, **{meter.key: meter for meter in content.meters}},
    )
    return decide_subscriptions(standing, wanted, [f"subscriptions[{index}]" for index in range(len(wanted))])


def _write(conn: BooksConnection, tenant_id: int, decided: _Decided, now: datetime) -> None:
    meters = [meter for meter, outcome in decided.meters if outcome is Outcome.CREATED]
    if meters:
        catalog_store.insert_meters(conn, tenant_id, meters, now)
    versions: dict[int, list[Plan]] = {}
    for plan, outcome, latest in decided.plans:
        if outcome is not Outcome.UNCHANGED:
            versions.setdefault(_next_version(latest), []).append(plan)
    if versions:
        catalog_store.insert_plan_versions(conn, tenant_id, versions, now)
    coupons = [coupon for coupon, outcome in decided.coupons if outcome is Outcome.CREATED]
    if coupons:
        catalog_store.insert_coupons(conn, tenant_id, coupons, now)
    store.write_customers(conn, tenant_id, decided.customers, now)
    store.write_subscriptions(conn, tenant_id, decided.subscriptions, now)
    insert_terms(conn, tenant_id, decided.terms, now)


def _next_version(latest: PlanVersion | None) -> int:
    return 1 if latest is None else latest.version + 1


def _plan_differences(latest: PlanVersion | None, plan: Plan, outcome: Outcome) -> tuple[FieldChange, ...]:
    """What a new version changes, rate card by rate card: `rate_cards.input`."""
    if latest is None or outcome is Outcome.UNCHANGED:
        return ()
    was, will_be = _by_rate_card(latest.plan), _by_rate_card(plan)
    names = [*will_be, *(name for name in was if name not in will_be)]
    return tuple(
        FieldChange(name, was.get(name), will_be.get(name))
        for name in names
        if was.get(name) != will_be.get(name)
    )


def _by_rate_card(plan: Plan) -> dict[str, object]:
    definition = plan_json(plan)
    cards = definition.pop("rate_cards")
    assert isinstance(cards, list)
    order = {"rate_cards": [card["key"] for card in cards]}
    return {**definition, **order, **{f"rate_cards.{card['key']}": card for card in cards}}


def _customer_change(change: CustomerChange) -> Change:
    fields = customer_differences(change.before, change.content) if change.before else ()
    return Change("customer", change.content.key, change.outcome, fields)


def _subscription_change(change: SubscriptionChange, terms: TermsChange | None) -> Change:
    fields = change.fields
    if change.before is not None and terms is not None:
        fields += tuple(
            FieldChange(f"coupons.{one.coupon.key}", None, redemption_json(one)) for one in terms.redemptions
        )
        fields += tuple(
            FieldChange(f"commitments.{one.key}", None, commitment_json(one)) for one in terms.commitments
        )
        if terms.collection is not None:
            before = terms.collection_before
            was = None if before is None else collection_json(before)
            fields += (FieldChange("collection", was, collection_json(terms.collection)),)
    outcome = Outcome.CHANGED if change.before is not None and fields else change.outcome
    return Change("subscription", change.content.key, outcome, fields)
