"""Billing terms: how invoices come about, for the tenant and for customers of its."""

from fastapi import APIRouter, Response

from farthing.api.documents.terms import BillingTermsDocument
from farthing.api.idempotency import Answer
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
    WRITE_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PathText,
    TenantId,
    body,
    found,
)
from farthing.customers.terms.service import get_billing_terms, put_billing_terms
from farthing.kernel.reading import Faults, Fields

OF_A_CUSTOMER = "/v1/customers/{key}/billing-terms"

router = APIRouter(tags=["Invoices"])


@router.get(
    "/v1/billing-terms",
    response_model=None,
    responses={200: {"model": BillingTermsDocument}, **READ},
    summary="Get the billing terms",
)
def get_terms(tenant_id: TenantId, services: House) -> Response:
    """What holds for customers without terms of their own."""
    return found(get_billing_terms(services.books, tenant_id))


@router.put(
    "/v1/billing-terms",
    response_model=None,
    responses={200: {"model": BillingTermsDocument}, **WRITE},
    openapi_extra=body("BillingTermsBody"),
    summary="Set the billing terms",
)
def put_terms(write: JsonWrite) -> Response:
    """In place of what was said before; for every invoice that is issued from now on."""
    return _put(write, None)


@router.get(
    OF_A_CUSTOMER,
    response_model=None,
    responses={200: {"model": BillingTermsDocument}, **READ_ONE},
    summary="Get the billing terms of a customer",
)
def get_terms_of_customer(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """What it says itself, and what holds for it."""
    return found(get_billing_terms(services.books, tenant_id, key))


@router.put(
    OF_A_CUSTOMER,
    response_model=None,
    responses={200: {"model": BillingTermsDocument}, **WRITE_ONE},
    openapi_extra=body("BillingTermsBody"),
    summary="Set the billing terms of a customer",
)
def put_terms_of_customer(key: PathText, write: JsonWrite) -> Response:
    """What it says holds before what the tenant says, field by field."""
    return _put(write, key)


@router.delete(
    OF_A_CUSTOMER,
    response_model=None,
    responses={200: {"model": BillingTermsDocument}, **WRITE_ONE},
    summary="Bill a customer as everybody",
)
def delete_terms_of_customer(key: PathText, write: BodilessWrite) -> Response:
    """Its own terms are taken away; the answer is what holds now."""
    services = write.services
    return write.once(
        lambda: Answer(200, put_billing_terms(services.books, write.tenant_id, key, None, services.now()))
    )


def _put(write: JsonWrite, customer: str | None) -> Response:
    services = write.services
    faults = Faults("invalid_billing_terms")
    Fields(write.body, "", faults)  # null would take the terms away, which DELETE is for
    faults.refuse()
    return write.once(
        lambda: Answer(
            200, put_billing_terms(services.books, write.tenant_id, customer, write.body, services.now())
        )
    )
