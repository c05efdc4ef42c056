"""Credit notes, and the void of invoices."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from farthing.api.documents.credit_note import CreditNoteDocument, CreditNotePage, VoidDocument
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.services import Services
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    found,
    page_json,
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


@makes(
    router,
    "/credit-notes",
    CreditNoteDocument,
    "CreditNoteBody",
    "Create a credit note",
    standing="It was issued under this key already.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """Never over what was billed; tax comes back at the invoice's own rates."""
    services = write.services
    document, outcome = issue_credit_note(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, document)


class CreditNoteQuery(PageQuery):
    """Which page of the credit notes."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    invoice: str | None = Field(None, max_length=256, description="Only those of this invoice.")


@shows(router, "/credit-notes", CreditNotePage, "List credit notes")
def list_all(tenant_id: TenantId, services: House, query: Annotated[CreditNoteQuery, Query()]) -> object:
    """In order of issue, without their lines."""
    after = read_cursor(query.cursor, "credit-notes")
    items = list_credit_notes(
        services.books, tenant_id, after, query.limit + 1, customer=query.customer, invoice=query.invoice
    )
    return page_json(items, query.limit, "credit-notes", lambda one: one["number"], lambda one: one)


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


@changes(
    router, "POST", "/invoices/{number}/void", VoidDocument, "Void an invoice", body_name="InvoiceVoidBody"
)
def void(number: PathText, write: JsonWrite) -> object:
    """Only the last one of its subscription, and not where a credit note gave back some of it. Wallets get back what
    they paid."""
    services = write.services
    reason = parse_void(write.body)
    return void_invoice(services.books, write.tenant_id, number, reason, services.now())[0]


def _pdf(services: Services, tenant_id: int, number: str) -> Response:
    document = get_credit_note(services.books, tenant_id, number)
    content = render_credit_note(document, get_seller(services.books, tenant_id))
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'inline; filename="{document["number"]}.pdf"',
        "vary": "accept",
    }
    return Response(content, media_type=_PDF, headers=headers)
