"""As Stripe answers: a `billing.meter_event`, or `{"error": {"type", "code", "message", "param"}}`."""

import base64
import binascii
import os

from farthing.api.doors.manners import JSON, Refusal, Sent, json_answer
from farthing.api.events_route import Answer
from farthing.events.door import Door
from farthing.events.doors.stripe import MeterEvent, read_meter_event
from farthing.kernel.instant import unix_microseconds

PATH = "/v1/billing/meter_events"


class Stripe:
    """Stripe's ways."""

    def authorization(self, sent: bytes | None) -> bytes | None:
        """The key may be the user of Basic authentication, with no password."""
        if sent is None or sent[:6].lower() != b"basic ":
            return sent
        try:
            return b"Bearer " + base64.b64decode(sent[6:].strip(), validate=True).partition(b":")[0]
        except binascii.Error:
            return sent

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """The one event of the request."""

        def read(body: bytes) -> MeterEvent:
            return read_meter_event(body, sent.content_type, sent.header(b"idempotency-key"), _fresh_id)

        found = await door.read(sent.body, read)
        if found.batch.rejected:
            one = found.batch.rejected[0]
            return _error(Refusal(400, one.code, one.message, one.path, ()))
        await door.keep(tenant_id, found.batch, sent.now)
        return json_answer(200, _document(found, sent))

    def refused(self, _path: str, _content_type: str, refusal: Refusal) -> Answer:
        """An error object."""
        return _error(refusal)


def _fresh_id() -> str:
    return f"mtrev_{os.urandom(16).hex()}"


def _document(found: MeterEvent, sent: Sent) -> dict[str, object]:
    event, created = found.event, unix_microseconds(sent.now) // 1_000_000
    assert event is not None, "a form that is no event was rejected"
    return {
        "object": "billing.meter_event",
        "created": created,
        "event_name": event.type,
        "identifier": event.id,
        "livemode": True,
        "payload": found.payload,
        "timestamp": created if event.time is None else unix_microseconds(event.time) // 1_000_000,
    }


def _error(refusal: Refusal) -> Answer:
    # What is not valid has one status there, whatever is wrong with it.
    status = 400 if refusal.status in (413, 415) else refusal.status
    kind = "api_error" if status >= 500 else "invalid_request_error"
    error: dict[str, object] = {"type": kind, "message": refusal.detail}
    if status == 401:
        error["message"] = "Invalid API Key provided: send an API key of Farthing, fk_..."
    else:
        error["code"] = "rate_limit" if status == 429 else refusal.code
    if refusal.path is not None:
        error["param"] = refusal.path
    return json_answer(status, {"error": error}, (JSON, *refusal.headers))
