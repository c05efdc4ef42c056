"""The shapes of authorisations and spending limits, and the description of the desk, which is no framework route."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from farthing.api.authorizations_route import CHECK_PATH
from farthing.api.documents.shapes import Body, Count, EventBody, Exact, Instant, Key, Subject, Text
from farthing.api.front import AUTHORIZATIONS_PATH
from farthing.api.problems import MEDIA_TYPE
from farthing.api.web import problems, reference
from farthing.kernel.period import Interval
from farthing.wallets.holds.content import (
    COUNT_MAX,
    KEY_LENGTH_MAX,
    TTL_SECONDS_DEFAULT,
    TTL_SECONDS_MAX,
    USAGE_MAX,
)
from farthing.wallets.holds.model import Level

HoldStatus = Literal["held", "settled", "released", "expired"]


class BoundBody(Body):
    """Usage that may happen at most."""

    meter: Key
    quantity: Exact
    dimensions: dict[str, str] | None = Field(None, examples=[{"model": "opus"}])
    count: int = Field(1, ge=1, le=COUNT_MAX, description="How many times: prices may look at single events.")


class WouldBeBody(Body):
    """The event that the call would send; its numbers are upper bounds."""

    type: Text
    data: Any = None


class AuthorizationLimitsBody(Body):
    """Whose spending limits it counts against, beside the customer's."""

    project: Text | None = None
    api_key: Text | None = None


class AuthorizationBody(Body):
    """A call that is about to be made: for whom, and an upper bound of what it uses (`usage` or `event`)."""

    customer: Subject
    key: str | None = Field(
        None,
        pattern="^[!-~]+$",
        max_length=KEY_LENGTH_MAX,
        description="Names it; absent: the Idempotency-Key, else one is made.",
    )
    subscription: Subject | None = Field(
        None, description="The only one to look at; absent: all of the customer's."
    )
    usage: list[BoundBody] | None = Field(None, min_length=1, max_length=USAGE_MAX)
    event: WouldBeBody | None = None
    ttl_seconds: int = Field(TTL_SECONDS_DEFAULT, ge=1, le=TTL_SECONDS_MAX)
    limits: AuthorizationLimitsBody | None = None


class SettleBody(Body):
    """The event of the call, as `/v1/events` takes it. Its subject is the customer or an alias."""

    event: EventBody


class EventName(BaseModel):
    """What an event is known by."""

    source: Text
    id: Text


class HeldUnits(BaseModel):
    """Units of a meter that an authorisation holds, or that pay for its event, before anything is priced."""

    unit: Key
    held: Exact
    settled: Exact | None


class WantedUnits(BaseModel):
    """How much usage units may pay, and how many there are for it. The shortfall is priced, and paid with money."""

    unit: Key
    required: Exact
    available: Exact
    shortfall: Exact


class AuthorizationDocument(BaseModel):
    """An authorisation. From `settled` to `counted_at` only once it is settled, `units` only where units pay."""

    key: str
    customer: Subject
    status: HoldStatus
    currency: str
    amount: Exact = Field(description="What is, or was, held.")
    created_at: Instant
    expires_at: Instant
    ended_at: Instant | None = None
    settled: Exact | None = Field(None, description="The most that the event comes to.")
    covered: Exact | None = Field(None, description="How much of that is set aside for it.")
    owed: Exact | None = Field(None, description="The rest, which goes on the invoice.")
    event: EventName | None = None
    counted_at: Instant | None = Field(
        None, description="When the event was counted, and its exact price drawn."
    )
    units: list[HeldUnits] | None = None


class HeldPart(BaseModel):
    """So much of a grant, for the usage of a rate card in a period."""

    grant: Subject
    rate_card: Key
    period_start: Instant
    amount: Exact
    unit: Key | None = Field(None, description="Of a grant of units, their meter; absent: money.")


class WholeAuthorizationDocument(AuthorizationDocument):
    """An authorisation with the grants that it is set aside on."""

    held_on: list[HeldPart]
    settled_on: list[HeldPart]


class AuthorizationPage(BaseModel):
    """A page of authorisations, in order of key."""

    items: list[AuthorizationDocument]
    next_cursor: str | None


class ReachedLimit(BaseModel):
    """The budget that would be exceeded."""

    level: Level
    name: Text | None
    interval: Interval
    amount: Exact
    left: Exact
    required: Exact
    resets_at: Instant


class PricedDocument(BaseModel):
    """What an authorisation would hold; nothing is held."""

    customer: Subject
    currency: str
    amount: Exact
    available: Exact
    shortfall: Exact
    would_hold: bool
    limit: ReachedLimit | None
    units: list[WantedUnits] | None = None


class SpendingLimitBody(Body):
    """A budget for each period: of the customer in all, of one of its projects, of one of its API keys."""

    customer: Subject
    level: Level = Level.CUSTOMER
    name: Text | None = Field(None, description="Of the project or API key.")
    interval: Interval
    amount: Exact


class SpendingLimitDocument(BaseModel):
    """A budget, and what counts against it in its present period."""

    limit_id: Count
    customer: Subject
    level: Level
    name: Text | None
    interval: Interval
    currency: str
    amount: Exact
    held: Exact
    spent: Exact
    created_at: Instant


class SpendingLimitPage(BaseModel):
    """A page of spending limits, in the order in which they were set first."""

    items: list[SpendingLimitDocument]
    next_cursor: str | None


DESK_MODELS: tuple[type[BaseModel], ...] = (AuthorizationDocument, PricedDocument)
"""What the desk answers with, and so stands in no framework route."""

_KEY_PARAMETER = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
_REFUSED = {
    "402": {
        "description": (
            "There is not enough: `insufficient_funds` with `required`, `available` and `shortfall`, and `units` where "
            "the customer holds units of what is used, or `spending_limit_reached` with the `limit`."
        ),
        "content": {MEDIA_TYPE: {"schema": reference("ProblemDocument")}},
    }
}


def _operation(
    summary: str, operation_id: str, description: str, body: str | None, answers: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": ["Authorizations"],
        "summary": summary,
        "operationId": operation_id,
        "description": description,
        "responses": {
            status: {"description": said, "content": {"application/json": {"schema": reference(model)}}}
            for status, (said, model) in answers.items()
        },
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference(body)}},
        }
    operation["responses"] |= {
        str(status): answer for status, answer in problems(400, 404, 409, 413, 415, 422, 429).items()
    }
    return operation


_AGAIN = ("It was so before, by the same request.", "AuthorizationDocument")

DESK_PATHS: dict[str, dict[str, Any]] = {
    AUTHORIZATIONS_PATH: {
        "post": _operation(
            "Authorize a call",
            "authorize_call",
            "Sets aside the most that the call can come to, on the customer's own plan and place in it, or refuses. "
            "Its `key` is its idempotency key, too.",
            "AuthorizationBody",
            {"201": ("The money is held.", "AuthorizationDocument"), "200": _AGAIN},
        )
    },
    CHECK_PATH: {
        "post": _operation(
            "Check what a call would hold",
            "check_authorization",
            "Prices the call in the same way; nothing is held.",
            "AuthorizationBody",
            {"200": ("What it would be.", "PricedDocument")},
        )
    },
    f"{AUTHORIZATIONS_PATH}/{{key}}/settle": {
        "post": _operation(
            "Settle an authorization",
            "settle_authorization",
            "The call has happened: what its event comes to stays set aside until it is counted, the rest is free. The "
            "event counts once; it need not be sent by itself. What is not covered is owed on the invoice.",
            "SettleBody",
            {"200": ("It is settled.", "AuthorizationDocument")},
        )
        | {"parameters": [_KEY_PARAMETER]}
    },
    f"{AUTHORIZATIONS_PATH}/{{key}}/release": {
        "post": _operation(
            "Release an authorization",
            "release_authorization",
            "The call has not happened: all that was held is free.",
            None,
            {"200": ("It holds nothing.", "AuthorizationDocument")},
        )
        | {"parameters": [_KEY_PARAMETER]}
    },
}
for _path in (AUTHORIZATIONS_PATH,):
    DESK_PATHS[_path]["post"]["responses"] |= _REFUSED
