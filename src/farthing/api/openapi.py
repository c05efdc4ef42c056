"""The OpenAPI 3.1 description, at /openapi.json: made from the routes, finished here.

Routes read their bodies themselves (exactly, see `json_body.py`), so their schemas are named in
`openapi_extra` and added to the components here, together with the ingest door, which is no
framework route, and the API key.
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from farthing.api.documents.authorization import (
    DESK_MODELS,
    DESK_PATHS,
    AuthorizationBody,
    SettleBody,
    SpendingLimitBody,
)
from farthing.api.documents.credit import CorrectionPolicyBody
from farthing.api.documents.credit_note import CreditNoteBody, InvoiceVoidBody
from farthing.api.documents.event import CorrectionBody
from farthing.api.documents.finance import ClosingBody, RecognitionBody
from farthing.api.documents.invoice import BillingRunBody, IssueBody, SellerBody
from farthing.api.documents.keeping import ErasureBody, RetentionBody
from farthing.api.documents.payment import (
    AnswerBody,
    DisputeBody,
    DunningPolicyBody,
    PaymentBody,
    PaymentMethodBody,
    RefundBody,
    WriteOffBody,
)
from farthing.api.documents.payout import ArrivalBody
from farthing.api.documents.shapes import (
    AliasBody,
    ApiKeyBody,
    BillingTermsBody,
    CollectionBody,
    CustomerBody,
    CustomerPatch,
    EventBody,
    EventsAccepted,
    MeterBody,
    PlanBody,
    ProblemDocument,
)
from farthing.api.documents.subscription import (
    CancelBody,
    ChangeBody,
    MigrationBody,
    OneOffBody,
    SubscriptionBody,
)
from farthing.api.documents.tax import CustomerTaxBody, TaxRatesBody
from farthing.api.documents.terms import (
    CommitmentBody,
    CouponBody,
    EstimateBody,
    RedemptionBody,
)
from farthing.api.documents.wallet import (
    GrantBody,
    TopUpBody,
    TopUpSettlement,
    VoidBody,
    WalletBody,
    WalletPatch,
)
from farthing.api.events_route import EVENTS_BYTES_MAX, EVENTS_PATH
from farthing.api.front import OPEN_PATHS, SIGNED_PATHS
from farthing.api.web import problems, reference
from farthing.events.intake.formats import BODY_BYTES_MAX, EVENTS_PER_REQUEST_MAX, TABLE_TYPES

OPENAPI_PATH = "/openapi.json"

BODIES: tuple[type[BaseModel], ...] = (
    EventBody,
    CorrectionBody,
    MeterBody,
    PlanBody,
    CollectionBody,
    BillingTermsBody,
    CustomerBody,
    CustomerPatch,
    AliasBody,
    ErasureBody,
    RetentionBody,
    SubscriptionBody,
    CancelBody,
    ChangeBody,
    OneOffBody,
    MigrationBody,
    CouponBody,
    RedemptionBody,
    CommitmentBody,
    BillingRunBody,
    IssueBody,
    EstimateBody,
    SellerBody,
    CreditNoteBody,
    InvoiceVoidBody,
    CorrectionPolicyBody,
    TaxRatesBody,
    CustomerTaxBody,
    ApiKeyBody,
    ClosingBody,
    RecognitionBody,
    WalletBody,
    WalletPatch,
    GrantBody,
    VoidBody,
    TopUpBody,
    TopUpSettlement,
    AuthorizationBody,
    SettleBody,
    SpendingLimitBody,
    PaymentMethodBody,
    PaymentBody,
    WriteOffBody,
    RefundBody,
    DisputeBody,
    AnswerBody,
    ArrivalBody,
    DunningPolicyBody,
)
"""What is sent, and so stands in no route's answer."""

_DESCRIPTION = """\
Send events, read usage, publish plans, bill, and check every invoice down to the event.

Amounts and quantities are decimal strings; numbers in a body are read exactly. Times are RFC 3339
with an offset. Errors are RFC 9457 problem details with a stable `code`. Every write takes an
`Idempotency-Key`: a repeat with the same input is answered as the first time, one with another
input is refused with 409 `idempotency_conflict`. Lists come in pages: pass `next_cursor` as
`cursor` until it is null.
"""

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names this write, so that it can be sent again without being done again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"},
}


def operation_id(route: APIRoute) -> str:
    """A name for clients, from the summary: "Create a customer" is `create_customer`."""
    assert route.summary is not None, f"{route.path} has no summary"
    return "_".join(word for word in route.summary.lower().split() if word not in ("a", "an", "the"))


def describe(app: FastAPI) -> None:
    """Serve the description of an application's routes."""

    @lru_cache(maxsize=1)
    def description() -> bytes:
        return msgspec.json.encode(description_of(app))

    @app.get(OPENAPI_PATH, include_in_schema=False, operation_id="openapi")
    async def openapi() -> Response:
        return Response(description(), media_type="application/json")


def description_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's routes."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=_DESCRIPTION,
        routes=app.routes,
        openapi_version="3.1.0",
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(_schemas([*BODIES, *DESK_MODELS, EventsAccepted, ProblemDocument]))
    # The framework describes its own error bodies, which no route of ours answers with.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "api_key": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer fk_...`"}
    }
    document["security"] = [{"api_key": []}]
    paths = document["paths"]
    document["paths"] = {EVENTS_PATH: {"post": _EVENTS, **paths.pop(EVENTS_PATH, {})}, **paths}
    for path, operations in DESK_PATHS.items():
        document["paths"][path] = document["paths"].get(path, {}) | deepcopy(operations)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _finish(path, method, operation)
    return document


def _finish(path: str, method: str, operation: dict[str, Any]) -> None:
    if path in OPEN_PATHS or path.startswith(SIGNED_PATHS):
        operation["security"] = []
    keyed = path != EVENTS_PATH and not path.startswith(SIGNED_PATHS)
    if method in ("post", "patch", "put", "delete") and keyed:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    refused = operation["responses"].get("422", {}).get("content", {})
    if "application/json" in refused:
        operation["responses"].pop("422")


def _schemas(models: list[type[BaseModel]]) -> dict[str, Any]:
    _, document = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    return dict(document["$defs"])


_EVENTS: dict[str, Any] = {
    "tags": ["Events"],
    "summary": "Send events",
    "operationId": "send_events",
    "description": (
        "One CloudEvent, an array of them, NDJSON, or a table (Arrow IPC, Parquet) with the columns id, source, "
        "type, subject, time, and data as JSON text or a struct, or a column for each member of data (data.model); "
        "a NULL leaves its field out, binary floats are refused. gzip and zstd are taken. "
        f"At most {EVENTS_BYTES_MAX} bytes as sent, {BODY_BYTES_MAX} unpacked, {EVENTS_PER_REQUEST_MAX} events. "
        "202 means that the accepted events are on disk. Repeating a request is safe: an event counts once by "
        "(source, id)."
    ),
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "description": "`return=minimal` leaves accepted events out of `outcomes`.",
            "schema": {"type": "string"},
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "schema": {"type": "string", "enum": ["identity", "gzip", "zstd"]},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": reference("EventBody")},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": reference("EventBody")}
            },
            "application/json": {
                "schema": {
                    "anyOf": [reference("EventBody"), {"type": "array", "items": reference("EventBody")}]
                }
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
            **{
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in sorted(TABLE_TYPES)
            },
        },
    },
    "responses": {
        "202": {
            "description": "The accepted events are on disk.",
            "content": {"application/json": {"schema": reference("EventsAccepted")}},
        },
        **{str(status): answer for status, answer in problems(400, 408, 413, 415, 422, 429).items()},
    },
}
