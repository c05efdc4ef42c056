"""Erasures: the personal data of one customer is replaced by a pseudonym; what is counted and owed stands."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from farthing.api.documents.keeping import ErasureDocument, ErasurePage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import makes, shows
from farthing.api.web import (
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    TenantId,
    page_json,
)
from farthing.keeping.erasing.content import parse_erasure
from farthing.keeping.erasing.model import erasure_json
from farthing.keeping.erasing.service import get_erasure, list_erasures, request_erasure

ID_MAX = 2**63 - 1

router = APIRouter(prefix="/v1/erasures", tags=["Customers"])


@makes(
    router,
    "",
    ErasureDocument,
    "ErasureBody",
    "Erase a customer",
    standing="It was asked for before.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """From now on its events do not count. The engine does the rest, and the list says how far it came."""
    services = write.services
    wanted = parse_erasure(write.body)
    erasure, new = request_erasure(
        services.books,
        services.store,
        write.tenant_id,
        wanted.customer,
        services.now(),
        documents=wanted.documents,
    )
    return Answer(201 if new else 200, erasure_json(erasure))


@shows(router, "", ErasurePage, "List erasures")
def list_all_erasures(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """In the order in which they were asked for."""
    after = int(read_cursor(query.cursor, "erasures", numeric=True) or 0)
    items = list_erasures(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "erasures", lambda one: str(one.erasure_id), erasure_json)


@shows(router, "/{erasure_id}", ErasureDocument, "Get an erasure")
def get_one_erasure(
    erasure_id: Annotated[int, Path(ge=1, le=ID_MAX)], tenant_id: TenantId, services: House
) -> object:
    """How far it came."""
    return erasure_json(get_erasure(services.books, tenant_id, erasure_id))
