"""Credit notes, and the void of invoices."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from farthing.api.documents.credit_note import CreditNoteDocument, CreditNotePage, VoidDocument
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.services import Services
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
    created,
    creates,
    found,
    found_page,
)
from farthing.invoicing.credit_notes.content import parse_void
from farthing.invoicing.credit_notes.paper import render_credit_note
from farthing.invoicing.credit_notes.service import (
    get_credit_note,
    issue_credit_note,
    list_credit_notes,
    void_invoice,
)
from farthing.invoicing.service import get_seller

_PDF = "application/pdf"
_BINARY: dict[str, Any] = {_PDF: {"schema": {"type": "string", "format": "binary"}}}
_AS_PDF: dict[int | str, dict[str, Any]] = {200: {"content": _BINARY}}

router = APIRouter(prefix="/v1", tags=["Invoices"])


@router.post(
    "/credit-notes",
    status_code=201,
    response_model=None,
    responses={
        **creates(CreditNoteDocument, "It was issued under this key already."),
        **WRITE_ONE,
    },
    openapi_extra=body("CreditNoteBody"),
    summary="Create a credit note",
)
def create(write: JsonWrite) -> Response:
    """Never over what was billed; tax comes back at the invoice's own rates."""
    services = write.services

    def effect() -> Answer:
        document, outcome = issue_credit_note(services.books, write.tenant_id, write.body, services.now())
        return created(outcome, document)

    return write.once(effect)


class CreditNoteQuery(PageQuery):
    """Which page of the credit notes."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    invoice: str | None = Field(None, max_length=256, description="Only those of this invoice.")


@router.get(
    "/credit-notes",
    response_model=None,
    responses={200: {"model": CreditNotePage}, **READ},
    summary="List credit notes",
)
def list_all(tenant_id: TenantId, services: House, query: Annotated[CreditNoteQuery, Query()]) -> Response:
    """In order of issue, without their lines."""
    after = read_cursor(query.cursor, "credit-notes")
    items = list_credit_notes(
        services.books, tenant_id, after, query.limit + 1, customer=query.customer, invoice=query.invoice
    )
    return found_page(items, query.limit, "credit-notes", lambda one: one["number"], lambda one: one)


@router.get(
    "/credit-notes/{number}.pdf",
    response_class=Response,
    responses={**READ_ONE, **_AS_PDF},
    summary="Get a credit note as PDF",
)
def get_pdf(number: PathText, tenant_id: TenantId, services: House) -> Response:
    """A credit note as a PDF."""
    return _pdf(services, tenant_id, number)


@router.get(
    "/credit-notes/{number}",
    response_model=None,
    responses={**READ_ONE, 200: {"model": CreditNoteDocument, "content": _BINARY}},
    summary="Get a credit note",
)
def get_one(number: PathText, tenant_id: TenantId, services: House, request: Request) -> Response:
    """As JSON, or as PDF for `Accept: application/pdf`."""
    accepted = request.headers.get("accept", "")
    if _PDF in accepted and "json" not in accepted:
        return _pdf(services, tenant_id, number)
    return found(get_credit_note(services.books, tenant_id, number))


@router.post(
    "/invoices/{number}/void",
    response_model=None,
    responses={200: {"model": VoidDocument}, **WRITE_ONE},
    openapi_extra=body("InvoiceVoidBody"),
    summary="Void an invoice",
)
def void(number: PathText, write: JsonWrite) -> Response:
    """Only the last one of its subscription, and not where a credit note gave back some of it. Wallets get back what
    they paid."""
    services = write.services
    reason = parse_void(write.body)

    def effect() -> Answer:
        return Answer(200, void_invoice(services.books, write.tenant_id, number, reason, services.now())[0])

    return write.once(effect)


def _pdf(services: Services, tenant_id: int, number: str) -> Response:
    document = get_credit_note(services.books, tenant_id, number)
    content = render_credit_note(document, get_seller(services.books, tenant_id))
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'inline; filename="{document["number"]}.pdf"',
        "vary": "accept",
    }
    return Response(content, media_type=_PDF, headers=headers)
