"""Coupons: so much off the invoices of subscriptions that redeem them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from farthing.api.documents.terms import CouponDocument, CouponPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    created,
    creates,
    found,
    found_page,
)
from farthing.catalog.coupon import Coupon, coupon_json
from farthing.catalog.service import get_coupon, list_coupons, put_coupon

router = APIRouter(prefix="/v1/coupons", tags=["Coupons and commitments"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(CouponDocument, "The same coupon stands already."),
        **WRITE,
    },
    openapi_extra=body("CouponBody"),
    summary="Create a coupon",
)
def create(write: JsonWrite) -> Response:
    """A coupon never changes; another offer is another coupon."""
    services = write.services

    def effect() -> Answer:
        coupon, outcome = put_coupon(services.books, write.tenant_id, write.body, services.now())
        redeemed = get_coupon(services.books, write.tenant_id, coupon.key)[1]
        return created(outcome, _document((coupon, redeemed)))

    return write.once(effect)


@router.get("", response_model=None, responses={200: {"model": CouponPage}, **READ}, summary="List coupons")
def list_all_coupons(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> Response:
    """In order of their keys, each with how often it was redeemed."""
    after = read_cursor(query.cursor, "coupons")
    items = list_coupons(services.books, tenant_id, after, query.limit + 1)
    return found_page(items, query.limit, "coupons", lambda item: item[0].key, _document)


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": CouponDocument}, **READ_ONE},
    summary="Get a coupon",
)
def get_one_coupon(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """A coupon by its key, with how often it was redeemed."""
    return found(_document(get_coupon(services.books, tenant_id, key)))


def _document(item: tuple[Coupon, int]) -> dict[str, Any]:
    coupon, redeemed = item
    return coupon_json(coupon) | {"redeemed": redeemed}
