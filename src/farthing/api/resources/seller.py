"""The seller: the party that invoices come from."""

from fastapi import APIRouter, Response

from farthing.api.documents.invoice import SellerDocument
from farthing.api.idempotency import Answer
from farthing.api.web import READ, WRITE, House, JsonWrite, TenantId, body, found
from farthing.invoicing.service import get_seller, put_seller

router = APIRouter(prefix="/v1/seller", tags=["Invoices"])


@router.get(
    "", response_model=None, responses={200: {"model": SellerDocument}, **READ}, summary="Get the seller"
)
def get(tenant_id: TenantId, services: House) -> Response:
    """Who invoices come from."""
    return found(get_seller(services.books, tenant_id))


@router.put(
    "",
    response_model=None,
    responses={200: {"model": SellerDocument}, **WRITE},
    openapi_extra=body("SellerBody"),
    summary="Set the seller",
)
def put(write: JsonWrite) -> Response:
    """On every invoice from now on; those that are issued stay as they are."""
    return write.once(lambda: Answer(200, put_seller(write.services.books, write.tenant_id, write.body)))
