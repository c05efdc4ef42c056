"""When a customer has subscriptions, and which meters their rate cards count then. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from farthing.catalog.model import Plan
from farthing.customers.model import Subscription
from farthing.customers.timeline import Stretch, lives_of
from farthing.usage.unbilled_store import Claim


def claims_of(subscriptions: Iterable[Subscription], plans: Mapping[int, Plan]) -> list[Claim]:
    """The claims of all customers; those of one do not overlap. Usage in a pause or a trial is claimed as well."""
    by_customer: dict[int, list[Stretch]] = {}
    for subscription in subscriptions:
        stretches = by_customer.setdefault(subscription.customer_id, [])
        stretches += [stretch for life in lives_of(subscription) for stretch in life.stretches]
    claims: list[Claim] = []
    for customer_id, stretches in by_customer.items():
        if len(stretches) == 1:  # nearly everybody
            (one,) = stretches
            claims.append(Claim(customer_id, one.start, one.end, _meters(one, plans)))
        else:
            claims += _without_overlap(customer_id, stretches, plans)
    return claims


def _without_overlap(customer_id: int, stretches: list[Stretch], plans: Mapping[int, Plan]) -> list[Claim]:
    edges = sorted(
        {stretch.start for stretch in stretches} | {one.end for one in stretches if one.end is not None}
    )
    claims = []
    ends: list[datetime | None] = [*edges[1:], None]
    for start, end in zip(edges, ends, strict=True):
        met = [one for one in stretches if one.start <= start and (one.end is None or start < one.end)]
        if met:
            meters = frozenset[str]().union(*(_meters(one, plans) for one in met))
            claims.append(Claim(customer_id, start, end, meters))
    return claims


def _meters(stretch: Stretch, plans: Mapping[int, Plan]) -> frozenset[str]:
    cards = stretch.rate_cards(plans[stretch.plan_version_id])
    return frozenset(meter for card in cards for meter in card.meters)
