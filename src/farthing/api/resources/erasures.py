"""Erasures: the personal data of one customer is replaced by a pseudonym; what is counted and owed stands."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from farthing.api.documents.keeping import ErasureDocument, ErasurePage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    TenantId,
    body,
    creates,
    found,
    found_page,
)
from farthing.keeping.erasing.content import parse_erasure
from farthing.keeping.erasing.model import erasure_json
from farthing.keeping.erasing.service import get_erasure, list_erasures, request_erasure

ID_MAX = 2**63 - 1

router = APIRouter(prefix="/v1/erasures", tags=["Customers"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={**creates(ErasureDocument, "It was asked for before."), **WRITE_ONE},
    openapi_extra=body("ErasureBody"),
    summary="Erase a customer",
)
def create(write: JsonWrite) -> Response:
    """From now on its events do not count. The engine does the rest, and the list says how far it came."""
    services = write.services
    wanted = parse_erasure(write.body)

    def effect() -> Answer:
        erasure, new = request_erasure(
            services.books,
            services.store,
            write.tenant_id,
            wanted.customer,
            services.now(),
            documents=wanted.documents,
        )
        return Answer(201 if new else 200, erasure_json(erasure))

    return write.once(effect)


@router.get("", response_model=None, responses={200: {"model": ErasurePage}, **READ}, summary="List erasures")
def list_all_erasures(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> Response:
    """In the order in which they were asked for."""
    after = int(read_cursor(query.cursor, "erasures", numeric=True) or 0)
    items = list_erasures(services.books, tenant_id, after, query.limit + 1)
    return found_page(items, query.limit, "erasures", lambda one: str(one.erasure_id), erasure_json)


@router.get(
    "/{erasure_id}",
    response_model=None,
    responses={200: {"model": ErasureDocument}, **READ_ONE},
    summary="Get an erasure",
)
def get_one_erasure(
    erasure_id: Annotated[int, Path(ge=1, le=ID_MAX)], tenant_id: TenantId, services: House
) -> Response:
    """How far it came."""
    return found(erasure_json(get_erasure(services.books, tenant_id, erasure_id)))
