"""Invoices, as JSON and as PDF, explained down to the event."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from farthing.api.documents.invoice import (
    ExplanationDocument,
    InvoiceDocument,
    InvoicePage,
    InvoiceState,
    IssuedDocument,
)
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.services import Services
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    found,
    page_json,
)
from farthing.invoicing.drafts.service import issue_early, list_drafts
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.paper.pdf import render_pdf
from farthing.invoicing.service import get_invoice, get_seller, invoices_named, list_invoices
from farthing.payments.content import balance_json
from farthing.payments.service import balances_of, overdue_invoices

EVENTS_SHOWN_DEFAULT = 20
EVENTS_SHOWN_MAX = 1000
LINE_MAX = 2**31 - 1
SHOWN_MAX = 1000
"""How many numbers of issued invoices, and how many reasons for none, one answer lists; the counts are whole."""

_PDF = "application/pdf"
_AS_PDF: dict[int | str, dict[str, Any]] = {
    200: {"content": {_PDF: {"schema": {"type": "string", "format": "binary"}}}}
}

router = APIRouter(prefix="/v1/invoices", tags=["Invoices"])


class InvoiceQuery(PageQuery):
    """Which page of the invoices."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    state: InvoiceState | None = Field(
        None, description="Only such ones. `draft`: due, and not issued before its grace is over."
    )


@shows(router, "", InvoicePage, "List invoices", refused=READ_ONE)
def list_all_invoices(
    tenant_id: TenantId, services: House, query: Annotated[InvoiceQuery, Query()]
) -> object:
    """In order of issue, without their lines; with how far each is paid, now. Drafts as usage is now."""
    if query.state is InvoiceState.DRAFT:
        return _drafts(tenant_id, services, query)
    after = read_cursor(query.cursor, "invoices")
    if query.state is InvoiceState.OVERDUE:
        numbers = overdue_invoices(
            services.books, tenant_id, services.now(), after, query.limit + 1, query.customer
        )
        items = invoices_named(services.books, tenant_id, numbers)
    else:
        void = None if query.state is None else query.state is InvoiceState.VOID
        items = list_invoices(services.books, tenant_id, after, query.limit + 1, query.customer, void=void)
    balances = balances_of(services.books, tenant_id, [invoice["number"] for invoice in items])
    now = services.now()
    return page_json(
        items,
        query.limit,
        "invoices",
        lambda invoice: invoice["number"],
        lambda invoice: invoice | balance_json(balances[invoice["number"]], now),
    )


def _drafts(tenant_id: int, services: Services, query: InvoiceQuery) -> object:
    after = read_cursor(query.cursor, "drafts")
    items = list_drafts(
        services.books, services.store, tenant_id, services.now(), after, query.limit + 1, query.customer
    )
    return page_json(items, query.limit, "drafts", lambda draft: str(draft["draft"]), lambda draft: draft)


@changes(router, "POST", "/issue", IssuedDocument, "Issue drafts", body_name="IssueBody", refused=WRITE_ONE)
def issue_drafts(write: JsonWrite) -> object:
    """What is due of a customer or a subscription, now: without its grace."""
    services = write.services
    result = issue_early(services.books, services.store, write.tenant_id, write.body, services.now())
    return {
        "issued_count": len(result.issued),
        "issued": result.issued[:SHOWN_MAX],
        "skipped_count": len(result.skipped),
        "skipped": result.skipped[:SHOWN_MAX],
    }


@router.get(
    "/{number}.pdf",
    response_class=Response,
    responses={**READ_ONE, **_AS_PDF},
    summary="Get an invoice as PDF",
)
def get_invoice_pdf(number: PathText, tenant_id: TenantId, services: House) -> Response:
    """An invoice as a PDF."""
    return _pdf(services, tenant_id, number)


@router.get(
    "/{number}",
    response_model=None,
    responses={
        **READ_ONE,
        200: {
            "model": InvoiceDocument,
            "content": {_PDF: {"schema": {"type": "string", "format": "binary"}}},
        },
    },
    summary="Get an invoice",
)
def get_one_invoice(number: PathText, tenant_id: TenantId, services: House, request: Request) -> Response:
    """As JSON, or as PDF for `Accept: application/pdf`."""
    accepted = request.headers.get("accept", "")
    if _PDF in accepted and "json" not in accepted:
        return _pdf(services, tenant_id, number)
    invoice = get_invoice(services.books, tenant_id, number)
    balance = balances_of(services.books, tenant_id, [number])[number]
    return found(invoice | balance_json(balance, services.now()))


class ExplainQuery(QueryDocument):
    """How much of the explanation."""

    limit: int = Field(EVENTS_SHOWN_DEFAULT, ge=1, le=EVENTS_SHOWN_MAX, description="Events shown.")


@shows(router, "/{number}/lines/{line}/explain", ExplanationDocument, "Explain a line")
def explain(
    number: PathText,
    line: Annotated[int, Path(ge=1, le=LINE_MAX)],
    tenant_id: TenantId,
    services: House,
    query: Annotated[ExplainQuery, Query()],
) -> object:
    """The price, the charges and the events behind one line."""
    return explain_line(services.books, services.store, tenant_id, number, line, query.limit)


def _pdf(services: Services, tenant_id: int, number: str) -> Response:
    document = get_invoice(services.books, tenant_id, number)
    content = render_pdf(document, get_seller(services.books, tenant_id))
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'inline; filename="{document["number"]}.pdf"',
        "vary": "accept",
    }
    return Response(content, media_type=_PDF, headers=headers)
