"""Money that goes back: refunds, and disputes with the evidence for their answer."""

from typing import Annotated

from fastapi import APIRouter, Query
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
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    created,
    page_json,
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


@makes(
    router,
    "/refunds",
    RefundDocument,
    "RefundBody",
    "Create a refund",
    standing="The same refund stands already.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """Never more than is left of the payment. Where a gateway took the money, the engine sends it back."""
    services = write.services
    refund, outcome = create_refund(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, refund_json(refund))


class RefundQuery(PageQuery):
    """Which page of the refunds."""

    payment: str | None = Field(None, max_length=256, description="Only of this payment.")


@shows(router, "/refunds", RefundPage, "List refunds")
def list_some(tenant_id: TenantId, services: House, query: Annotated[RefundQuery, Query()]) -> object:
    """In the order of their making."""
    after = int(read_cursor(query.cursor, "refunds", numeric=True) or 0)
    items = list_refunds(services.books, tenant_id, after, query.limit + 1, query.payment)
    return page_json(items, query.limit, "refunds", lambda one: str(one[0]), lambda one: refund_json(one[1]))


@shows(router, "/refunds/{key}", RefundDocument, "Get a refund")
def get_one(key: PathText, tenant_id: TenantId, services: House) -> object:
    """One refund."""
    return refund_json(get_refund(services.books, tenant_id, key))


class DisputeQuery(PageQuery):
    """Which page of the disputes."""

    state: DisputeState | None = Field(None, description="Only those in this state.")


@shows(router, "/disputes", DisputePage, "List disputes")
def list_disputed(tenant_id: TenantId, services: House, query: Annotated[DisputeQuery, Query()]) -> object:
    """In the order of their opening."""
    after = int(read_cursor(query.cursor, "disputes", numeric=True) or 0)
    items = list_disputes(services.books, tenant_id, after, query.limit + 1, query.state)
    return page_json(
        items, query.limit, "disputes", lambda one: str(one[0]), lambda one: dispute_json(one[1])
    )


@shows(router, "/disputes/{key}", DisputeDocument, "Get a dispute")
def get_disputed(key: PathText, tenant_id: TenantId, services: House) -> object:
    """One dispute."""
    return dispute_json(get_dispute(services.books, tenant_id, key))


@changes(
    router, "POST", "/disputes/{key}/decision", DisputeDocument, "Decide a dispute", body_name="DisputeBody"
)
def decide(key: PathText, write: JsonWrite) -> object:
    """Write down what became of it, where the gateway does not tell by itself."""
    services = write.services
    state = parse_decision(write.body)
    decided = decide_dispute(services.books, write.tenant_id, key, state, services.now())
    return dispute_json(decided)


@makes(
    router,
    "/disputes/{key}/answer",
    AnswerDocument,
    "AnswerBody",
    "Answer a dispute",
    standing="The dispute has this answer already.",
)
def answer(key: PathText, write: JsonWrite) -> Answer:
    """Written from the evidence; the engine sends it to the gateway, once. Another one only after a refusal."""
    services = write.services
    made, outcome = answer_dispute(
        services.books, services.store, write.tenant_id, key, write.body, services.now()
    )
    return created(outcome, made)


@shows(router, "/disputes/{key}/answer", AnswerDocument, "Get the answer to a dispute")
def get_answered(key: PathText, tenant_id: TenantId, services: House) -> object:
    """The last one, and what became of it."""
    return get_answer(services.books, tenant_id, key)


class EvidenceQuery(QueryDocument):
    """How much evidence."""

    events: int = Field(
        EVENTS_SHOWN_DEFAULT, ge=1, le=EVENTS_SHOWN_MAX, description="Events shown of each line, at most."
    )


@shows(router, "/disputes/{key}/evidence", EvidenceDocument, "Get the evidence of a dispute")
def get_evidence(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[EvidenceQuery, Query()]
) -> object:
    """The invoices that were paid, their lines and charges, and the first events behind each of them."""
    return evidence_of(services.books, services.store, tenant_id, key, query.events)
