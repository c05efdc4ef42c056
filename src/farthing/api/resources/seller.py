"""The seller: the party that invoices come from."""

from fastapi import APIRouter

from farthing.api.documents.invoice import SellerDocument
from farthing.api.routes import changes, shows
from farthing.api.web import House, JsonWrite, TenantId
from farthing.invoicing.service import get_seller, put_seller

router = APIRouter(prefix="/v1/seller", tags=["Invoices"])


@shows(router, "", SellerDocument, "Get the seller")
def get(tenant_id: TenantId, services: House) -> object:
    """Who invoices come from."""
    return get_seller(services.books, tenant_id)


@changes(router, "PUT", "", SellerDocument, "Set the seller", body_name="SellerBody")
def put(write: JsonWrite) -> object:
    """On every invoice from now on; those that are issued stay as they are."""
    return put_seller(write.services.books, write.tenant_id, write.body)
