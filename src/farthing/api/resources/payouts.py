"""Payouts: what gateways transfer to the bank, and what each of them sums."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.payout import MovementPage, PayoutDocument, PayoutPage
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    page_json,
)
from farthing.payments.paying_out.service import confirm_arrival, get_payout, list_movements, list_payouts

router = APIRouter(prefix="/v1", tags=["Payments"])


class PayoutQuery(PageQuery):
    """Which page of the payouts."""

    gateway: str | None = Field(None, max_length=64, description="Only this one's.")
    in_transit: bool = Field(False, description="Only those that have neither come to the bank nor failed.")


@shows(router, "/payouts", PayoutPage, "List payouts")
def list_some(tenant_id: TenantId, services: House, query: Annotated[PayoutQuery, Query()]) -> object:
    """In the order in which they were learnt of."""
    after = int(read_cursor(query.cursor, "payouts", numeric=True) or 0)
    items = list_payouts(
        services.books, tenant_id, after, query.limit + 1, query.gateway, awaited=query.in_transit
    )
    return page_json(items, query.limit, "payouts", lambda one: str(one[0]), lambda one: one[1])


@shows(router, "/payouts/{gateway}/{payout}", PayoutDocument, "Get a payout")
def get_one(gateway: PathText, payout: PathText, tenant_id: TenantId, services: House) -> object:
    """By the gateway's name for it."""
    return get_payout(services.books, tenant_id, gateway, payout)


@shows(router, "/payouts/{gateway}/{payout}/movements", MovementPage, "List the movements of a payout")
def list_moved(
    gateway: PathText,
    payout: PathText,
    tenant_id: TenantId,
    services: House,
    query: Annotated[PageQuery, Query()],
) -> object:
    """What it sums: payments less fees, refunds, disputes, each with what it is here. In the order of kind and name."""
    kind, _, name = (read_cursor(query.cursor, "movements") or "").partition(" ")
    items = list_movements(services.books, tenant_id, gateway, payout, (kind, name), query.limit + 1)
    return page_json(
        items, query.limit, "movements", lambda one: f"{one['kind']} {one['movement']}", lambda one: one
    )


@changes(
    router,
    "POST",
    "/payouts/{gateway}/{payout}/arrival",
    PayoutDocument,
    "Say that a payout arrived",
    body_name="ArrivalBody",
)
def confirm(gateway: PathText, payout: PathText, write: JsonWrite) -> object:
    """Where no statement of the bank's says so: it is booked as cash from that moment on."""
    services = write.services
    return confirm_arrival(services.books, write.tenant_id, gateway, payout, write.body, services.now())
