"""Looking ahead: the next invoices of a customer, and what usage would cost before it happens."""

from fastapi import APIRouter

from farthing.api.documents.terms import EstimateDocument, UpcomingInvoices
from farthing.api.routes import changes, shows
from farthing.api.web import WRITE_ONE, House, JsonWrite, PathText, TenantId
from farthing.invoicing.ahead.estimate import parse_question
from farthing.invoicing.ahead.preview import estimate_usage, preview_billing

UPCOMING_MAX = 1000
"""Most upcoming invoices in one answer; `farthing invoices upcoming` shows any number."""

router = APIRouter(prefix="/v1", tags=["Invoices"])


@shows(router, "/customers/{key}/upcoming-invoices", UpcomingInvoices, "Preview the next invoices")
def preview(key: PathText, tenant_id: TenantId, services: House) -> object:
    """As they stand now: `due` ones as billing would issue them, `open` ones as if their period ended now."""
    ahead = preview_billing(
        services.books, services.store, tenant_id, services.now(), customer=key, most=UPCOMING_MAX
    )
    return {"items": ahead.upcoming, "skipped": ahead.skipped}


@changes(
    router,
    "POST",
    "/estimates",
    EstimateDocument,
    "Estimate usage",
    body_name="EstimateBody",
    refused=WRITE_ONE,
)
def estimate(write: JsonWrite) -> object:
    """What usage would add to the next invoice, at the customer's own place in tiers and free units."""
    services = write.services
    question = parse_question(write.body)
    return estimate_usage(services.books, services.store, write.tenant_id, question, services.now())
