"""Corrections below zero: what becomes of them, and giving them back at once."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.credit import (
    CorrectedDocument,
    CorrectionEventsDocument,
    CorrectionPolicyDocument,
)
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
    QueryDocument,
    TenantId,
    body,
    found,
)
from farthing.invoicing.late.correcting import correct_at_once, effects_behind, get_policy, put_policy

EVENTS_SHOWN_MAX = 1_000

router = APIRouter(prefix="/v1", tags=["Invoices"])


@router.post(
    "/invoices/{number}/correct",
    response_model=None,
    responses={200: {"model": CorrectedDocument}, **WRITE_ONE},
    summary="Correct an invoice at once",
)
def correct(number: PathText, write: BodilessWrite) -> Response:
    """What usage that was voided or replaced since takes off it is given back by a credit note, line by line.

    The next invoice does not carry it again. Without this, it does, unless the correction policy says otherwise.
    """
    services = write.services

    def effect() -> Answer:
        made = correct_at_once(services.books, services.store, write.tenant_id, services.now(), number=number)
        return Answer(200, {"invoice": number, "credit_notes": made})

    return write.once(effect)


@router.get(
    "/correction-policy",
    response_model=None,
    responses={200: {"model": CorrectionPolicyDocument}, **READ},
    summary="Get the correction policy",
)
def get_correction_policy(tenant_id: TenantId, services: House) -> Response:
    """What becomes of a correction below zero."""
    return found(get_policy(services.books, tenant_id))


@router.put(
    "/correction-policy",
    response_model=None,
    responses={200: {"model": CorrectionPolicyDocument}, **WRITE},
    openapi_extra=body("CorrectionPolicyBody"),
    summary="Set the correction policy",
)
def put_correction_policy(write: JsonWrite) -> Response:
    """With `credit_note` the engine gives back within minutes what late corrections take off issued invoices."""
    services = write.services

    def effect() -> Answer:
        return Answer(200, put_policy(services.books, write.tenant_id, write.body))

    return write.once(effect)


class BehindQuery(QueryDocument):
    """How many."""

    limit: int = Field(100, ge=1, le=EVENTS_SHOWN_MAX, description="At most so many events.")


@router.get(
    "/credit-notes/{number}/events",
    response_model=None,
    responses={200: {"model": CorrectionEventsDocument}, **READ_ONE},
    summary="Get the events behind a credit note",
)
def get_events(
    number: PathText, tenant_id: TenantId, services: House, query: Annotated[BehindQuery, Query()]
) -> Response:
    """Of one that corrects: the events that came late to the invoice's period, or were voided, before it was issued."""
    return found(effects_behind(services.books, services.store, tenant_id, number, query.limit))
