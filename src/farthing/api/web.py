"""How every resource reads a request and answers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from farthing.api import idempotency
from farthing.api.body import Intake
from farthing.api.idempotency import Answer
from farthing.api.json_body import JSON_BYTES_MAX, check_media_type, read_json
from farthing.api.paging import CURSOR_LENGTH_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, page
from farthing.api.problems import MEDIA_TYPE
from farthing.api.services import Services
from farthing.catalog.model import Outcome
from farthing.kernel.errors import InvalidInput


def tenant_of(request: Request) -> int:
    """The tenant that the front found behind the key."""
    return int(request.scope["state"]["tenant_id"])


def services_of(request: Request) -> Services:
    """The rooms, as this request's worker holds them."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


TenantId = Annotated[int, Depends(tenant_of)]
House = Annotated[Services, Depends(services_of)]


# The front writes an encoded slash in the address as NUL, which nothing else can hold.
PathText = Annotated[str, AfterValidator(lambda text: text.replace("\x00", "/"))]


class QueryDocument(BaseModel):
    """Query parameters; one that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(QueryDocument):
    """Which page of a list."""

    limit: int = Field(PAGE_ITEMS_DEFAULT, ge=1, le=PAGE_ITEMS_MAX, description="Items on the page.")
    cursor: str | None = Field(
        None,
        max_length=CURSOR_LENGTH_MAX,
        description="`next_cursor` of the page before; absent for the first.",
    )


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something: its JSON value, and the key under which it may be repeated."""

    services: Services
    request: idempotency.Request
    body: object

    @property
    def tenant_id(self) -> int:
        return self.request.tenant_id

    def once(self, effect: Callable[[], Answer]) -> Response:
        """Do it, or answer as the first time."""
        answer = idempotency.once(self.services.books, self.request, self.services.now(), effect)
        return answered(answer)


async def raw_body(request: Request) -> bytes:
    """The body as it came, within the bounds."""
    intake = request.app.state.intake
    assert isinstance(intake, Intake)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidInput("unsupported_encoding", "only /v1/events takes a body that is compressed")
    with intake.place() as place:
        return await place.read(request.receive, dict(request.scope["headers"]), JSON_BYTES_MAX)


RawBody = Annotated[bytes, Depends(raw_body)]


# Not async: the framework runs these on a thread, so that a large body does not hold up the events.


def write_of(request: Request, tenant_id: TenantId, services: House, raw: RawBody) -> Write:
    """A write with its JSON body."""
    check_media_type(request.headers.get("content-type", ""))
    return _write(request, tenant_id, services, read_json(raw))


def bodiless_write_of(request: Request, tenant_id: TenantId, services: House, raw: RawBody) -> Write:
    """A write whose address says everything."""
    if raw.strip():
        raise InvalidInput("unexpected_body", "this request takes no body")
    return _write(request, tenant_id, services, None)


def _write(request: Request, tenant_id: int, services: Services, body: object) -> Write:
    operation = f"{request.method} {request.scope['path']}".replace("\x00", "%2F")
    key = idempotency.read_idempotency_key(request.headers.get("idempotency-key"))
    return Write(
        services,
        idempotency.Request(tenant_id, operation, key, idempotency.hash_input(operation, body)),
        body,
    )


JsonWrite = Annotated[Write, Depends(write_of)]
BodilessWrite = Annotated[Write, Depends(bodiless_write_of)]


def answered(answer: Answer) -> Response:
    """An answer as it goes over the wire."""
    return Response(
        msgspec.json.encode(answer.document),
        answer.status,
        {"cache-control": "no-store", **answer.headers},
        media_type="application/json",
    )


def created(outcome: Outcome, document: object) -> Answer:
    """201 with what was made; 200 with it where the same stood already."""
    return Answer(201 if outcome is Outcome.CREATED else 200, document)


def found(document: object) -> Response:
    """200 with a document."""
    return answered(Answer(200, document))


def page_json(
    items: Sequence[Any],
    limit: int,
    list_name: str,
    key_of: Callable[[Any], str],
    show: Callable[[Any], object],
) -> dict[str, object]:
    """A page of a list, from up to `limit` + 1 items."""
    shown, next_cursor = page(items, limit, list_name, key_of)
    return {"items": [show(item) for item in shown], "next_cursor": next_cursor}


def reference(model: str) -> dict[str, str]:
    """A schema by name, in the OpenAPI description."""
    return {"$ref": f"#/components/schemas/{model}"}


def body(model: str) -> dict[str, Any]:
    """The request body of a route, in the OpenAPI description."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference(model)}}}}


_MEANINGS = {
    400: "The request cannot be read.",
    401: "There is no API key, or one that does not count.",
    404: "There is no such thing for this tenant.",
    408: "The body did not arrive in time.",
    409: "It contradicts what already stands.",
    413: "A named limit was crossed.",
    415: "The body has another media type than this address takes.",
    422: "The request was read and is not valid; `faults` names every place.",
    429: "Too much at once; see Retry-After.",
    503: "Not now; see Retry-After.",
}


def problems(*statuses: Literal[400, 404, 408, 409, 413, 415, 422, 429]) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for its OpenAPI description."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": reference("ProblemDocument")}},
        }
        for status in (*statuses, 401, 503)
    }


INSTANT: JsonDict = {"format": "date-time"}
"""What the OpenAPI description says of a text in a query that is an instant."""


READ = problems(400, 422)
READ_ONE = problems(400, 404, 422)
WRITE = problems(400, 409, 413, 415, 422)
WRITE_ONE = problems(400, 404, 409, 413, 415, 422)
