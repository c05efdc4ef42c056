"""Payouts: what gateways transfer to the bank, and what each of them sums."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.payout import MovementPage, PayoutDocument, PayoutPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
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
from farthing.payments.paying_out.service import confirm_arrival, get_payout, list_movements, list_payouts

router = APIRouter(prefix="/v1", tags=["Payments"])


class PayoutQuery(PageQuery):
    """Which page of the payouts."""

    gateway: str | None = Field(None, max_length=64, description="Only this one's.")
    in_transit: bool = Field(False, description="Only those that have neither come to the bank nor failed.")


@router.get(
    "/payouts", response_model=None, responses={200: {"model": PayoutPage}, **READ}, summary="List payouts"
)
def list_some(tenant_id: TenantId, services: House, query: Annotated[PayoutQuery, Query()]) -> Response:
    """In the order in which they were learnt of."""
    after = int(read_cursor(query.cursor, "payouts", numeric=True) or 0)
    items = list_payouts(
        services.books, tenant_id, after, query.limit + 1, query.gateway, awaited=query.in_transit
    )
    return found_page(items, query.limit, "payouts", lambda one: str(one[0]), lambda one: one[1])


@router.get(
    "/payouts/{gateway}/{payout}",
    response_model=None,
    responses={200: {"model": PayoutDocument}, **READ_ONE},
    summary="Get a payout",
)
def get_one(gateway: PathText, payout: PathText, tenant_id: TenantId, services: House) -> Response:
    """By the gateway's name for it."""
    return found(get_payout(services.books, tenant_id, gateway, payout))


@router.get(
    "/payouts/{gateway}/{payout}/movements",
    response_model=None,
    responses={200: {"model": MovementPage}, **READ_ONE},
    summary="List the movements of a payout",
)
def list_moved(
    gateway: PathText,
    payout: PathText,
    tenant_id: TenantId,
    services: House,
    query: Annotated[PageQuery, Query()],
) -> Response:
    """What it sums: payments less fees, refunds, disputes, each with what it is here. In the order of kind and name."""
    kind, _, name = (read_cursor(query.cursor, "movements") or "").partition(" ")
    items = list_movements(services.books, tenant_id, gateway, payout, (kind, name), query.limit + 1)
    return found_page(
        items, query.limit, "movements", lambda one: f"{one['kind']} {one['movement']}", lambda one: one
    )


@router.post(
    "/payouts/{gateway}/{payout}/arrival",
    response_model=None,
    responses={200: {"model": PayoutDocument}, **WRITE_ONE},
    openapi_extra=body("ArrivalBody"),
    summary="Say that a payout arrived",
)
def confirm(gateway: PathText, payout: PathText, write: JsonWrite) -> Response:
    """Where no statement of the bank's says so: it is booked as cash from that moment on."""
    services = write.services

    def effect() -> Answer:
        arrived = confirm_arrival(
            services.books, write.tenant_id, gateway, payout, write.body, services.now()
        )
        return Answer(200, arrived)

    return write.once(effect)
