"""The resources under /v1, one file for each. A route parses, calls one service and renders."""

from farthing.api.resources import (
    account,
    api_keys,
    customers,
    health,
    meters,
    plans,
    quarantine,
    subscriptions,
    usage,
)

ROUTERS = (
    usage.router,
    account.router,
    quarantine.router,
    meters.router,
    plans.router,
    customers.router,
    subscriptions.router,
    api_keys.router,
    health.router,
)
