"""Billing terms: how invoices come about, for the tenant and for customers of its."""

from fastapi import APIRouter

from farthing.api.documents.terms import BillingTermsDocument
from farthing.api.routes import changes, shows
from farthing.api.web import (
    BodilessWrite,
    House,
    JsonWrite,
    PathText,
    TenantId,
)
from farthing.customers.terms.service import get_billing_terms, put_billing_terms
from farthing.kernel.reading import Faults, Fields

OF_A_CUSTOMER = "/v1/customers/{key}/billing-terms"

router = APIRouter(tags=["Invoices"])


@shows(router, "/v1/billing-terms", BillingTermsDocument, "Get the billing terms")
def get_terms(tenant_id: TenantId, services: House) -> object:
    """What holds for customers without terms of their own."""
    return get_billing_terms(services.books, tenant_id)


@changes(
    router,
    "PUT",
    "/v1/billing-terms",
    BillingTermsDocument,
    "Set the billing terms",
    body_name="BillingTermsBody",
)
def put_terms(write: JsonWrite) -> object:
    """In place of what was said before; for every invoice that is issued from now on."""
    return _put(write, None)


@shows(router, OF_A_CUSTOMER, BillingTermsDocument, "Get the billing terms of a customer")
def get_terms_of_customer(key: PathText, tenant_id: TenantId, services: House) -> object:
    """What it says itself, and what holds for it."""
    return get_billing_terms(services.books, tenant_id, key)


@changes(
    router,
    "PUT",
    OF_A_CUSTOMER,
    BillingTermsDocument,
    "Set the billing terms of a customer",
    body_name="BillingTermsBody",
)
def put_terms_of_customer(key: PathText, write: JsonWrite) -> object:
    """What it says holds before what the tenant says, field by field."""
    return _put(write, key)


@changes(router, "DELETE", OF_A_CUSTOMER, BillingTermsDocument, "Bill a customer as everybody")
def delete_terms_of_customer(key: PathText, write: BodilessWrite) -> object:
    """Its own terms are taken away; the answer is what holds now."""
    services = write.services
    return put_billing_terms(services.books, write.tenant_id, key, None, services.now())


def _put(write: JsonWrite, customer: str | None) -> object:
    services = write.services
    faults = Faults("invalid_billing_terms")
    Fields(write.body, "", faults)  # null would take the terms away, which DELETE is for
    faults.refuse()
    return put_billing_terms(services.books, write.tenant_id, customer, write.body, services.now())
