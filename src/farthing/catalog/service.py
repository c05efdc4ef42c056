"""The use cases of the catalog. Writes are idempotent: the same definition again changes nothing."""

from collections.abc import Collection, Sequence
from datetime import datetime

from farthing.catalog import store
from farthing.catalog.changes import meter_outcomes, plan_outcome
from farthing.catalog.coupon import Coupon, coupon_outcomes, parse_coupon
from farthing.catalog.meter import parse_meter
from farthing.catalog.model import Meter, Outcome, Plan, PlanVersion
from farthing.catalog.plan import meters_mentioned, parse_plan
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import NotFound

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


def put_meter(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Meter, Outcome]:
    """Write one meter: created or unchanged. Raises InvalidInput; Conflict `meter_immutable`."""
    meter = parse_meter(raw)
    with books.transaction(tenant_id) as conn:
        store.lock_catalog(conn, tenant_id)
        (outcome,) = meter_outcomes(store.select_meters(conn, tenant_id, [meter.key]), [meter], path="")
        if outcome is Outcome.CREATED:
            store.insert_meters(conn, tenant_id, [meter], now)
    return meter, outcome


def get_meter(books: Books, tenant_id: int, key: str) -> Meter:
    """Raises NotFound `meter_not_found`."""
    with books.read_only(tenant_id) as conn:
        return meter_of(conn, tenant_id, key)


def meter_of(conn: BooksConnection, tenant_id: int, key: str) -> Meter:
    """The meter, for whoever reads more in the same transaction. Raises NotFound `meter_not_found`."""
    found = store.select_meters(conn, tenant_id, [key])
    if key not in found:
        raise NotFound("meter_not_found", f"there is no meter {key[:80]!r}")
    return found[key]


def list_meters(books: Books, tenant_id: int, after: str | None, limit: int) -> list[Meter]:
    """Meters in order of key, the first after `after`."""
    with books.read_only(tenant_id) as conn:
        return store.select_meters_after(conn, tenant_id, after, _bounded(limit))


def all_meters(books: Books, tenant_id: int) -> Sequence[Meter]:
    """Every meter of the tenant, in order of key."""
    with books.read_only(tenant_id) as conn:
        return store.select_meters_after(conn, tenant_id, None, None)


def publish_plan(books: Books, tenant_id: int, raw: object, now: datetime) -> PlanVersion:
    """Publish a plan: created, a new version of it, or unchanged (`outcome` says which).

    Raises InvalidInput where the definition is wrong or names meters or dimensions that do not exist.
    """
    with books.transaction(tenant_id) as conn:
        store.lock_catalog(conn, tenant_id)
        plan = parse_plan(raw, "", store.select_meters(conn, tenant_id, meters_mentioned(raw)))
        latest = store.select_latest_plans(conn, tenant_id, [plan.key]).get(plan.key)
        outcome = plan_outcome(latest, plan)
        if latest is not None and outcome is Outcome.UNCHANGED:
            return latest
        version = 1 if latest is None else latest.version + 1
        ids = store.insert_plan_versions(conn, tenant_id, {version: [plan]}, now)
    return PlanVersion(ids[plan.key], version, plan, now, outcome)


def get_plan(books: Books, tenant_id: int, key: str, version: int | None = None) -> PlanVersion:
    """A version of a plan, the latest unless one is named. Raises NotFound `plan_not_found`."""
    with books.read_only(tenant_id) as conn:
        if version is None:
            found = store.select_latest_plans(conn, tenant_id, [key]).get(key)
        else:
            found = store.select_plan_version(conn, tenant_id, key, version)
    if found is None:
        which = "" if version is None else f" version {version}"
        raise NotFound("plan_not_found", f"there is no plan {key[:80]!r}{which}")
    return found


def list_plans(books: Books, tenant_id: int, after: str | None, limit: int) -> list[PlanVersion]:
    """The latest version of each plan in order of key, the first after `after`."""
    with books.read_only(tenant_id) as conn:
        return store.select_plans_after(conn, tenant_id, after, _bounded(limit))


def plan_versions_by_id(books: Books, tenant_id: int, plan_version_ids: Collection[int]) -> dict[int, Plan]:
    """The plans as they were published under these ids."""
    with books.read_only(tenant_id) as conn:
        found = store.select_plan_versions(conn, tenant_id, plan_version_ids)
    return {plan_version_id: version.plan for plan_version_id, version in found.items()}


def put_coupon(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Coupon, Outcome]:
    """Write one coupon: created or unchanged. Raises InvalidInput; Conflict `coupon_immutable`."""
    coupon = parse_coupon(raw)
    with books.transaction(tenant_id) as conn:
        store.lock_catalog(conn, tenant_id)
        (outcome,) = coupon_outcomes(store.select_coupons(conn, tenant_id, [coupon.key]), [coupon], path="")
        if outcome is Outcome.CREATED:
            store.insert_coupons(conn, tenant_id, [coupon], now)
    return coupon, outcome


def get_coupon(books: Books, tenant_id: int, key: str) -> tuple[Coupon, int]:
    """A coupon, and how often it was redeemed. Raises NotFound `coupon_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = store.select_coupons(conn, tenant_id, [key]).get(key)
        redeemed = store.select_redeemed(conn, tenant_id, [key])
    if found is None:
        raise NotFound("coupon_not_found", f"there is no coupon {key[:80]!r}")
    return found, redeemed[key]


def list_coupons(books: Books, tenant_id: int, after: str | None, limit: int) -> list[tuple[Coupon, int]]:
    """Coupons in order of key, the first after `after`, and how often each was redeemed."""
    with books.read_only(tenant_id) as conn:
        return store.select_coupons_after(conn, tenant_id, after, _bounded(limit))


def _bounded(limit: int) -> int:
    assert 1 <= limit <= LIST_LIMIT_MAX
    return limit
