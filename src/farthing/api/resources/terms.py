"""What subscriptions agreed beyond their plans: redeemed coupons, commitments."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from farthing.api.documents.terms import (
    CommitmentDocument,
    CommitmentPage,
    RedemptionDocument,
    RedemptionPage,
)
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
from farthing.customers.terms.service import add_commitment, redeem_coupon
from farthing.invoicing.service import list_commitments, list_redemptions

router = APIRouter(prefix="/v1/subscriptions/{key}", tags=["Coupons and commitments"])


@makes(
    router,
    "/coupons",
    RedemptionDocument,
    "RedemptionBody",
    "Redeem a coupon",
    standing="The subscription redeemed it already.",
)
def redeem(key: PathText, write: JsonWrite) -> Answer:
    """Once by a subscription; it reduces the invoices that fall due at or after `start` (now, if absent)."""
    services = write.services
    redemption, outcome = redeem_coupon(services.books, write.tenant_id, key, write.body, services.now())
    states = list_redemptions(services.books, write.tenant_id, key)
    (state,) = (one for one in states if one["coupon"] == redemption.coupon.key)
    return created(outcome, state)


@shows(router, "/coupons", RedemptionPage, "List redeemed coupons")
def list_redeemed(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """In the order of redemption, which is the order in which they apply, with what they took off."""
    return _page(list_redemptions(services.books, tenant_id, key), query, "redeemed_coupons", "coupon")


@makes(
    router,
    "/commitments",
    CommitmentDocument,
    "CommitmentBody",
    "Make a commitment",
    standing="The same commitment stands already.",
)
def commit(key: PathText, write: JsonWrite) -> Answer:
    """For a term that begins no earlier than what is invoiced. A commitment never changes."""
    services = write.services
    commitment, outcome = add_commitment(services.books, write.tenant_id, key, write.body, services.now())
    states = list_commitments(services.books, write.tenant_id, key)
    (state,) = (one for one in states if one["key"] == commitment.key)
    return created(outcome, state)


@shows(router, "/commitments", CommitmentPage, "List commitments")
def list_committed(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """In order of their terms, with how far issued invoices used them."""
    return _page(list_commitments(services.books, tenant_id, key), query, "commitments", "key")


def _page(items: list[dict[str, Any]], query: PageQuery, list_name: str, name: str) -> object:
    """The page after the cursor, of a list that is short enough to be read whole (and only ever grows)."""
    after = read_cursor(query.cursor, list_name)
    keys = [item[name] for item in items]
    first = keys.index(after) + 1 if after in keys else 0 if after is None else len(keys)
    rest = items[first : first + query.limit + 1]
    return page_json(rest, query.limit, list_name, lambda item: str(item[name]), lambda item: item)
