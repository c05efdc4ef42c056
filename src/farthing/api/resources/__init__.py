"""The resources under /v1, one file for each. A route parses, calls one service and renders."""

from farthing.api.resources import (
    account,
    api_keys,
    billing_runs,
    coupons,
    customers,
    estimates,
    health,
    invoices,
    ledger,
    meters,
    plans,
    quarantine,
    seller,
    subscriptions,
    terms,
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
    coupons.router,
    terms.router,
    billing_runs.router,
    invoices.router,
    ledger.router,
    estimates.router,
    seller.router,
    api_keys.router,
    health.router,
)
