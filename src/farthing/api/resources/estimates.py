"""Looking ahead: the next invoices of a customer, and what usage would cost before it happens."""

from fastapi import APIRouter, Response

from farthing.api.documents.terms import EstimateDocument, UpcomingInvoices
from farthing.api.idempotency import Answer
from farthing.api.web import READ_ONE, WRITE_ONE, House, JsonWrite, PathText, TenantId, body, found
from farthing.invoicing.ahead.estimate import parse_question
from farthing.invoicing.ahead.preview import estimate_usage, preview_billing

UPCOMING_MAX = 1000
"""Most upcoming invoices in one answer; `farthing invoices upcoming` shows any number."""

router = APIRouter(prefix="/v1", tags=["Invoices"])


@router.get(
    "/customers/{key}/upcoming-invoices",
    response_model=None,
    responses={200: {"model": UpcomingInvoices}, **READ_ONE},
    summary="Preview the next invoices",
)
def preview(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """As they stand now: `due` ones as billing would issue them, `open` ones as if their period ended now."""
    ahead = preview_billing(
        services.books, services.store, tenant_id, services.now(), customer=key, most=UPCOMING_MAX
    )
    return found({"items": ahead.upcoming, "skipped": ahead.skipped})


@router.post(
    "/estimates",
    response_model=None,
    responses={200: {"model": EstimateDocument}, **WRITE_ONE},
    openapi_extra=body("EstimateBody"),
    summary="Estimate usage",
)
def estimate(write: JsonWrite) -> Response:
    """What usage would add to the next invoice, at the customer's own place in tiers and free units."""
    services = write.services
    question = parse_question(write.body)

    def effect() -> Answer:
        answer = estimate_usage(services.books, services.store, write.tenant_id, question, services.now())
        return Answer(200, answer)

    return write.once(effect)
