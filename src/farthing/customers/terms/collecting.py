"""Whose terms of collection hold for a subscription. Pure.

Its own replace those of its plan, whole, until they are taken away. They hold from the moment they are given:
what was charged before stays charged.
"""

from datetime import datetime

from farthing.catalog.collection import Collection
from farthing.catalog.model import Plan
from farthing.customers.model import Subscription
from farthing.customers.terms.collecting_store import OwnCollection
from farthing.customers.timeline import lives_of, stretch_at


def collection_in_force(own: OwnCollection | None, plan: Plan) -> Collection:
    """A subscription's own terms, or else those of its plan."""
    return plan.collection if own is None or own.collection is None else own.collection


def version_at(subscription: Subscription, now: datetime) -> int:
    """The plan version in force; before the start and after the end that of the start."""
    stretch = stretch_at(lives_of(subscription), now)
    return subscription.plan_version_id if stretch is None else stretch.plan_version_id
