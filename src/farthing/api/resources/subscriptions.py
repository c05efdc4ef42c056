"""Subscriptions: a customer on a plan, from a start until an end, and every change in between."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from farthing.api.documents.subscription import (
    ChangeDocument,
    ChangePage,
    OneOffDocument,
    OneOffPage,
    SubscriptionDocument,
    SubscriptionPage,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
)
from farthing.customers.content import one_off_json, subscription_document
from farthing.customers.facts import fact_json, parse_refund
from farthing.customers.life import (
    change_subscription,
    charge_once,
    list_changes,
    list_one_offs,
    withdraw_change,
)
from farthing.customers.service import (
    cancel_subscription,
    create_subscription,
    get_subscription,
    list_subscriptions,
)
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import Faults, Fields

ChangeId = Annotated[int, Path(ge=1, le=2**63 - 1)]

router = APIRouter(prefix="/v1/subscriptions", tags=["Subscriptions"])


@makes(
    router,
    "",
    SubscriptionDocument,
    "SubscriptionBody",
    "Create a subscription",
    standing="The same subscription stands already.",
)
def create(write: JsonWrite) -> Answer:
    """On the latest version of the plan, unless one is named; it stays on that version until it is changed."""
    services = write.services
    subscription, outcome = create_subscription(services.books, write.tenant_id, write.body, services.now())
    document = subscription_document(subscription, services.now())
    return created(outcome, document)


class SubscriptionQuery(PageQuery):
    """Which page of the subscriptions."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@shows(router, "", SubscriptionPage, "List subscriptions")
def list_all_subscriptions(
    tenant_id: TenantId, services: House, query: Annotated[SubscriptionQuery, Query()]
) -> object:
    """In order of their keys."""
    after = read_cursor(query.cursor, "subscriptions")
    now = services.now()
    items = list_subscriptions(services.books, tenant_id, after, query.limit + 1, query.customer)
    return page_json(
        items,
        query.limit,
        "subscriptions",
        lambda subscription: subscription.key,
        lambda subscription: subscription_document(subscription, now),
    )


@shows(router, "/{key}", SubscriptionDocument, "Get a subscription")
def get_one_subscription(key: PathText, tenant_id: TenantId, services: House) -> object:
    """A subscription by its key, with its timeline."""
    subscription = get_subscription(services.books, tenant_id, key)
    return subscription_document(subscription, services.now())


@changes(router, "POST", "/{key}/cancel", SubscriptionDocument, "End a subscription", body_name="CancelBody")
def cancel(key: PathText, write: JsonWrite) -> object:
    """It ends at `end`, and that never before what is invoiced. A later call may move the end."""
    services = write.services
    end, refund_unused = _parse_cancellation(write.body)
    now = services.now()
    subscription, _ = cancel_subscription(
        services.books, write.tenant_id, key, end, now, refund_unused=refund_unused
    )
    return subscription_document(subscription, now)


@makes(
    router,
    "/{key}/changes",
    ChangeDocument,
    "ChangeBody",
    "Change a subscription",
    standing="The change was made already.",
)
def change(key: PathText, write: JsonWrite) -> Answer:
    """Plan, quantities, prices, add-ons, pause, resume, cancel, reactivate, trial: from a moment on."""
    services = write.services
    _, fact, outcome = change_subscription(services.books, write.tenant_id, key, write.body, services.now())
    return created(outcome, fact_json(fact))


@shows(router, "/{key}/changes", ChangePage, "List changes of a subscription")
def list_all_changes(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """In the order in which they were made, also those that were called off."""
    after = int(read_cursor(query.cursor, "changes", numeric=True) or 0)
    items = list_changes(services.books, tenant_id, key, after, query.limit + 1)
    return page_json(
        items, query.limit, "changes", lambda item: str(item[0].change_id), lambda item: fact_json(*item)
    )


@changes(router, "POST", "/{key}/changes/{change_id}/withdraw", ChangeDocument, "Call a change off")
def withdraw(key: PathText, change_id: ChangeId, write: BodilessWrite) -> object:
    """As if it had never been made: one that is to come, or whose time is not invoiced yet."""
    services = write.services
    _, fact, _ = withdraw_change(services.books, write.tenant_id, key, change_id, services.now())
    return fact_json(fact)


@makes(
    router,
    "/{key}/charges",
    OneOffDocument,
    "OneOffBody",
    "Charge something once",
    standing="The same charge stands already.",
)
def charge(key: PathText, write: JsonWrite) -> Answer:
    """On the invoice of the period that it falls in, or on the next one that is issued."""
    services = write.services
    made, outcome = charge_once(services.books, write.tenant_id, key, write.body, services.now())
    return created(outcome, one_off_json(made, None))


@shows(router, "/{key}/charges", OneOffPage, "List one-off charges")
def list_all_charges(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """In order of their keys, each with the number of its invoice."""
    after = read_cursor(query.cursor, "charges")
    items = list_one_offs(services.books, tenant_id, key, after, query.limit + 1)
    return page_json(
        items, query.limit, "charges", lambda item: item[0].key, lambda item: one_off_json(*item)
    )


def _parse_cancellation(raw: object) -> tuple[datetime, bool]:
    faults = Faults("invalid_cancellation")
    fields = Fields(raw, "", faults)
    end = fields.required("end", parse_instant)
    refund = fields.optional("refund", parse_refund, True)
    fields.refuse_unknown()
    faults.refuse()
    return end, refund
