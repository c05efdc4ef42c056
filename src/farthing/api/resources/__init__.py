"""The resources under /v1, one file for each. A route parses, calls one service and renders."""

from farthing.api.resources import account, api_keys, health, meters, plans, quarantine, usage

ROUTERS = (
    usage.router,
    account.router,
    quarantine.router,
    meters.router,
    plans.router,
    api_keys.router,
    health.router,
)
