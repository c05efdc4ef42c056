"""Subscriptions: a customer on one version of a plan, from a start until an end."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents import SubscriptionDocument, SubscriptionPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    found,
    found_page,
)
from farthing.catalog.model import Outcome
from farthing.customers.content import subscription_json
from farthing.customers.service import (
    cancel_subscription,
    create_subscription,
    get_subscription,
    list_subscriptions,
)
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import Faults, Fields

router = APIRouter(prefix="/v1/subscriptions", tags=["Subscriptions"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        200: {"model": SubscriptionDocument, "description": "The same subscription stands already."},
        201: {"model": SubscriptionDocument},
        **WRITE,
    },
    openapi_extra=body("SubscriptionBody"),
    summary="Create a subscription",
)
def create(write: JsonWrite) -> Response:
    """On the latest version of the plan, unless one is named; it stays on that version."""
    services = write.services

    def effect() -> Answer:
        subscription, outcome = create_subscription(
            services.books, write.tenant_id, write.body, services.now()
        )
        return Answer(201 if outcome is Outcome.CREATED else 200, subscription_json(subscription))

    return write.once(effect)


class SubscriptionQuery(PageQuery):
    """Which page of the subscriptions."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@router.get(
    "",
    response_model=None,
    responses={200: {"model": SubscriptionPage}, **READ},
    summary="List subscriptions",
)
def list_all_subscriptions(
    tenant_id: TenantId, services: House, query: Annotated[SubscriptionQuery, Query()]
) -> Response:
    """In order of their keys."""
    after = read_cursor(query.cursor, "subscriptions")
    items = list_subscriptions(services.books, tenant_id, after, query.limit + 1, query.customer)
    return found_page(
        items, query.limit, "subscriptions", lambda subscription: subscription.key, subscription_json
    )


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": SubscriptionDocument}, **READ_ONE},
    summary="Get a subscription",
)
def get_one_subscription(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """A subscription by its key."""
    return found(subscription_json(get_subscription(services.books, tenant_id, key)))


@router.post(
    "/{key}/cancel",
    response_model=None,
    responses={200: {"model": SubscriptionDocument}, **WRITE_ONE},
    openapi_extra=body("CancelBody"),
    summary="End a subscription",
)
def cancel(key: PathText, write: JsonWrite) -> Response:
    """It ends at `end`, and that never before what is invoiced. A later call may move the end."""
    services = write.services
    end = _parse_end(write.body)

    def effect() -> Answer:
        subscription, _ = cancel_subscription(services.books, write.tenant_id, key, end)
        return Answer(200, subscription_json(subscription))

    return write.once(effect)


def _parse_end(raw: object) -> datetime:
    faults = Faults("invalid_cancellation")
    fields = Fields(raw, "", faults)
    end = fields.required("end", parse_instant)
    fields.refuse_unknown()
    faults.refuse()
    return end
