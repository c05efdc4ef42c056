"""Coupons: so much off the invoices of subscriptions that redeem them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from farthing.api.documents.terms import CouponDocument, CouponPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import makes, shows
from farthing.api.web import (
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
)
from farthing.catalog.coupon import Coupon, coupon_json
from farthing.catalog.service import get_coupon, list_coupons, put_coupon

router = APIRouter(prefix="/v1/coupons", tags=["Coupons and commitments"])


@makes(
    router, "", CouponDocument, "CouponBody", "Create a coupon", standing="The same coupon stands already."
)
def create(write: JsonWrite) -> Answer:
    """A coupon never changes; another offer is another coupon."""
    services = write.services
    coupon, outcome = put_coupon(services.books, write.tenant_id, write.body, services.now())
    redeemed = get_coupon(services.books, write.tenant_id, coupon.key)[1]
    return created(outcome, _document((coupon, redeemed)))


@shows(router, "", CouponPage, "List coupons")
def list_all_coupons(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """In order of their keys, each with how often it was redeemed."""
    after = read_cursor(query.cursor, "coupons")
    items = list_coupons(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "coupons", lambda item: item[0].key, _document)


@shows(router, "/{key}", CouponDocument, "Get a coupon")
def get_one_coupon(key: PathText, tenant_id: TenantId, services: House) -> object:
    """A coupon by its key, with how often it was redeemed."""
    return _document(get_coupon(services.books, tenant_id, key))


def _document(item: tuple[Coupon, int]) -> dict[str, Any]:
    coupon, redeemed = item
    return coupon_json(coupon) | {"redeemed": redeemed}
