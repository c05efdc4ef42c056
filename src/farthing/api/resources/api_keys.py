"""API keys: made, listed, revoked."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from farthing.api import keys
from farthing.api.documents.shapes import ApiKeyDocument, ApiKeyPage, NewApiKeyDocument
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.store import ApiKey
from farthing.api.web import (
    WRITE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    answered,
    body,
    page_json,
)
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import Faults, Fields, parse_text

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={201: {"model": NewApiKeyDocument}, **WRITE},
    openapi_extra=body("ApiKeyBody"),
    summary="Make an API key",
)
def create_api_key(write: JsonWrite) -> Response:
    """The key stands in this answer and in no other: repeated with its Idempotency-Key, it is null."""
    name = _parse_name(write.body)
    services = write.services
    api_key, text = keys.create_key_once(services.books, services.pepper, write.request, name, services.now())
    return answered(Answer(201, _document(api_key) | {"key": text}))


@shows(router, "", ApiKeyPage, "List API keys")
def list_api_keys(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """Revoked ones included. The keys themselves cannot be read again."""
    after = read_cursor(query.cursor, "api_keys") or ""
    items = keys.list_keys(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "api_keys", lambda key: key.api_key_id, _document)


@changes(router, "POST", "/{api_key_id}/revoke", ApiKeyDocument, "Revoke an API key")
def revoke_api_key(api_key_id: PathText, write: BodilessWrite) -> object:
    """Refused from now on by every worker, after at most a second."""
    services = write.services
    revoked = keys.revoke_key(services.books, write.tenant_id, api_key_id, services.now())
    return _document(revoked)


def _parse_name(raw: object) -> str:
    faults = Faults("invalid_api_key")
    fields = Fields(raw, "", faults)
    name = fields.required("name", parse_text)
    fields.refuse_unknown()
    faults.refuse()
    return name


def _document(api_key: ApiKey) -> dict[str, Any]:
    return {
        "api_key_id": api_key.api_key_id,
        "name": api_key.name,
        "created_at": format_instant(api_key.created_at),
        "revoked_at": format_instant(api_key.revoked_at) if api_key.revoked_at else None,
    }
