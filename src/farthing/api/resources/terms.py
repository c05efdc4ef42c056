"""What subscriptions agreed beyond their plans: redeemed coupons, commitments."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from farthing.api.documents.terms import (
    CommitmentDocument,
    CommitmentPage,
    RedemptionDocument,
    RedemptionPage,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    created,
    creates,
    found_page,
)
from farthing.customers.terms.service import add_commitment, redeem_coupon
from farthing.invoicing.service import list_commitments, list_redemptions

router = APIRouter(prefix="/v1/subscriptions/{key}", tags=["Coupons and commitments"])


@router.post(
    "/coupons",
    status_code=201,
    response_model=None,
    responses={
        **creates(RedemptionDocument, "The subscription redeemed it already."),
        **WRITE_ONE,
    },
    openapi_extra=body("RedemptionBody"),
    summary="Redeem a coupon",
)
def redeem(key: PathText, write: JsonWrite) -> Response:
    """Once by a subscription; it reduces the invoices that fall due at or after `start` (now, if absent)."""
    services = write.services

    def effect() -> Answer:
        redemption, outcome = redeem_coupon(services.books, write.tenant_id, key, write.body, services.now())
        states = list_redemptions(services.books, write.tenant_id, key)
        (state,) = (one for one in states if one["coupon"] == redemption.coupon.key)
        return created(outcome, state)

    return write.once(effect)


@router.get(
    "/coupons",
    response_model=None,
    responses={200: {"model": RedemptionPage}, **READ_ONE},
    summary="List redeemed coupons",
)
def list_redeemed(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """In the order of redemption, which is the order in which they apply, with what they took off."""
    return _page(list_redemptions(services.books, tenant_id, key), query, "redeemed_coupons", "coupon")


@router.post(
    "/commitments",
    status_code=201,
    response_model=None,
    responses={
        **creates(CommitmentDocument, "The same commitment stands already."),
        **WRITE_ONE,
    },
    openapi_extra=body("CommitmentBody"),
    summary="Make a commitment",
)
def commit(key: PathText, write: JsonWrite) -> Response:
    """For a term that begins no earlier than what is invoiced. A commitment never changes."""
    services = write.services

    def effect() -> Answer:
        commitment, outcome = add_commitment(services.books, write.tenant_id, key, write.body, services.now())
        states = list_commitments(services.books, write.tenant_id, key)
        (state,) = (one for one in states if one["key"] == commitment.key)
        return created(outcome, state)

    return write.once(effect)


@router.get(
    "/commitments",
    response_model=None,
    responses={200: {"model": CommitmentPage}, **READ_ONE},
    summary="List commitments",
)
def list_committed(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """In order of their terms, with how far issued invoices used them."""
    return _page(list_commitments(services.books, tenant_id, key), query, "commitments", "key")


def _page(items: list[dict[str, Any]], query: PageQuery, list_name: str, name: str) -> Response:
    """The page after the cursor, of a list that is short enough to be read whole (and only ever grows)."""
    after = read_cursor(query.cursor, list_name)
    keys = [item[name] for item in items]
    first = keys.index(after) + 1 if after in keys else 0 if after is None else len(keys)
    rest = items[first : first + query.limit + 1]
    return found_page(rest, query.limit, list_name, lambda item: str(item[name]), lambda item: item)
