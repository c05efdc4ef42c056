"""Corrections below zero: what becomes of them, and giving them back at once."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.credit import (
    CorrectedDocument,
    CorrectionEventsDocument,
    CorrectionPolicyDocument,
)
from farthing.api.routes import changes, shows
from farthing.api.web import (
    BodilessWrite,
    House,
    JsonWrite,
    PathText,
    QueryDocument,
    TenantId,
)
from farthing.invoicing.late.correcting import correct_at_once, effects_behind, get_policy, put_policy

EVENTS_SHOWN_MAX = 1_000

router = APIRouter(prefix="/v1", tags=["Invoices"])


@changes(router, "POST", "/invoices/{number}/correct", CorrectedDocument, "Correct an invoice at once")
def correct(number: PathText, write: BodilessWrite) -> object:
    """What usage that was voided or replaced since takes off it is given back by a credit note, line by line.

    The next invoice does not carry it again. Without this, it does, unless the correction policy says otherwise.
    """
    services = write.services
    made = correct_at_once(services.books, services.store, write.tenant_id, services.now(), number=number)
    return {"invoice": number, "credit_notes": made}


@shows(router, "/correction-policy", CorrectionPolicyDocument, "Get the correction policy")
def get_correction_policy(tenant_id: TenantId, services: House) -> object:
    """What becomes of a correction below zero."""
    return get_policy(services.books, tenant_id)


@changes(
    router,
    "PUT",
    "/correction-policy",
    CorrectionPolicyDocument,
    "Set the correction policy",
    body_name="CorrectionPolicyBody",
)
def put_correction_policy(write: JsonWrite) -> object:
    """With `credit_note` the engine gives back within minutes what late corrections take off issued invoices."""
    return put_policy(write.services.books, write.tenant_id, write.body)


class BehindQuery(QueryDocument):
    """How many."""

    limit: int = Field(100, ge=1, le=EVENTS_SHOWN_MAX, description="At most so many events.")


@shows(
    router, "/credit-notes/{number}/events", CorrectionEventsDocument, "Get the events behind a credit note"
)
def get_events(
    number: PathText, tenant_id: TenantId, services: House, query: Annotated[BehindQuery, Query()]
) -> object:
    """Of one that corrects: the events that came late to the invoice's period, or were voided, before it was issued."""
    return effects_behind(services.books, services.store, tenant_id, number, query.limit)
