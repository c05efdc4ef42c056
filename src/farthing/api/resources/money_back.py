"""Money that goes back: refunds, and disputes with the evidence for their answer."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.payment import (
    AnswerDocument,
    DisputeDocument,
    DisputePage,
    EvidenceDocument,
    RefundDocument,
    RefundPage,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    body,
    created,
    creates,
    found,
    found_page,
)
from farthing.payments.answering.service import answer_dispute, get_answer
from farthing.payments.content import dispute_json, refund_json
from farthing.payments.evidence import evidence_of, parse_decision
from farthing.payments.model import DisputeState
from farthing.payments.money_back.service import (
    create_refund,
    decide_dispute,
    get_dispute,
    get_refund,
    list_disputes,
    list_refunds,
)

EVENTS_SHOWN_DEFAULT = 20
EVENTS_SHOWN_MAX = 1000

router = APIRouter(prefix="/v1", tags=["Payments"])


@router.post(
    "/refunds",
    status_code=201,
    response_model=None,
    responses={
        **creates(RefundDocument, "The same refund stands already."),
        **WRITE_ONE,
    },
    openapi_extra=body("RefundBody"),
    summary="Create a refund",
)
def create(write: JsonWrite) -> Response:
    """Never more than is left of the payment. Where a gateway took the money, the engine sends it back."""
    services = write.services

    def effect() -> Answer:
        refund, outcome = create_refund(services.books, write.tenant_id, write.body, services.now())
        return created(outcome, refund_json(refund))

    return write.once(effect)


class RefundQuery(PageQuery):
    """Which page of the refunds."""

    payment: str | None = Field(None, max_length=256, description="Only of this payment.")


@router.get(
    "/refunds", response_model=None, responses={200: {"model": RefundPage}, **READ}, summary="List refunds"
)
def list_some(tenant_id: TenantId, services: House, query: Annotated[RefundQuery, Query()]) -> Response:
    """In the order of their making."""
    after = int(read_cursor(query.cursor, "refunds", numeric=True) or 0)
    items = list_refunds(services.books, tenant_id, after, query.limit + 1, query.payment)
    return found_page(items, query.limit, "refunds", lambda one: str(one[0]), lambda one: refund_json(one[1]))


@router.get(
    "/refunds/{key}",
    response_model=None,
    responses={200: {"model": RefundDocument}, **READ_ONE},
    summary="Get a refund",
)
def get_one(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """One refund."""
    return found(refund_json(get_refund(services.books, tenant_id, key)))


class DisputeQuery(PageQuery):
    """Which page of the disputes."""

    state: DisputeState | None = Field(None, description="Only those in this state.")


@router.get(
    "/disputes", response_model=None, responses={200: {"model": DisputePage}, **READ}, summary="List disputes"
)
def list_disputed(tenant_id: TenantId, services: House, query: Annotated[DisputeQuery, Query()]) -> Response:
    """In the order of their opening."""
    after = int(read_cursor(query.cursor, "disputes", numeric=True) or 0)
    items = list_disputes(services.books, tenant_id, after, query.limit + 1, query.state)
    return found_page(
        items, query.limit, "disputes", lambda one: str(one[0]), lambda one: dispute_json(one[1])
    )


@router.get(
    "/disputes/{key}",
    response_model=None,
    responses={200: {"model": DisputeDocument}, **READ_ONE},
    summary="Get a dispute",
)
def get_disputed(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """One dispute."""
    return found(dispute_json(get_dispute(services.books, tenant_id, key)))


@router.post(
    "/disputes/{key}/decision",
    response_model=None,
    responses={200: {"model": DisputeDocument}, **WRITE_ONE},
    openapi_extra=body("DisputeBody"),
    summary="Decide a dispute",
)
def decide(key: PathText, write: JsonWrite) -> Response:
    """Write down what became of it, where the gateway does not tell by itself."""
    services = write.services
    state = parse_decision(write.body)

    def effect() -> Answer:
        decided = decide_dispute(services.books, write.tenant_id, key, state, services.now())
        return Answer(200, dispute_json(decided))

    return write.once(effect)


@router.post(
    "/disputes/{key}/answer",
    status_code=201,
    response_model=None,
    responses={**creates(AnswerDocument, "The dispute has this answer already."), **WRITE_ONE},
    openapi_extra=body("AnswerBody"),
    summary="Answer a dispute",
)
def answer(key: PathText, write: JsonWrite) -> Response:
    """Written from the evidence; the engine sends it to the gateway, once. Another one only after a refusal."""
    services = write.services

    def effect() -> Answer:
        made, outcome = answer_dispute(
            services.books, services.store, write.tenant_id, key, write.body, services.now()
        )
        return created(outcome, made)

    return write.once(effect)


@router.get(
    "/disputes/{key}/answer",
    response_model=None,
    responses={200: {"model": AnswerDocument}, **READ_ONE},
    summary="Get the answer to a dispute",
)
def get_answered(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """The last one, and what became of it."""
    return found(get_answer(services.books, tenant_id, key))


class EvidenceQuery(QueryDocument):
    """How much evidence."""

    events: int = Field(
        EVENTS_SHOWN_DEFAULT, ge=1, le=EVENTS_SHOWN_MAX, description="Events shown of each line, at most."
    )


@router.get(
    "/disputes/{key}/evidence",
    response_model=None,
    responses={200: {"model": EvidenceDocument}, **READ_ONE},
    summary="Get the evidence of a dispute",
)
def get_evidence(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[EvidenceQuery, Query()]
) -> Response:
    """The invoices that were paid, their lines and charges, and the first events behind each of them."""
    return found(evidence_of(services.books, services.store, tenant_id, key, query.events))
