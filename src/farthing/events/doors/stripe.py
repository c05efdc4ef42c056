"""Stripe's `POST /v1/billing/meter_events`, form encoded.

    event_name=api_requests&payload[stripe_customer_id]=cus_1&payload[value]=25&identifier=req_1&timestamp=1700000000

becomes an event of type `event_name` about the subject `payload[stripe_customer_id]`, with the whole payload as
its data, its values strings as they are there. Identity is `identifier`, for good and not for a day only; where a
request has none, its Idempotency-Key stands for it (Stripe's own clients always send one), and where there is
neither, each request is an event of its own, as at Stripe. `timestamp` is in whole seconds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from urllib.parse import parse_qsl

import msgspec

from farthing.events.doors.translated import Untranslatable, as_batch, from_unix_seconds
from farthing.events.model import Event, ParsedBatch
from farthing.kernel.errors import InvalidInput

SOURCE = "stripe"
FIELDS_MAX = 200
TEXT_LENGTH_MAX = 100
"""Of `event_name` and `identifier`, as at Stripe."""
CUSTOMER = "stripe_customer_id"

_NAMES = {"id": "identifier", "type": "event_name", "subject": f"payload[{CUSTOMER}]", "data": "payload"}
_PAYLOAD = re.compile(r"payload\[([^\[\]]+)\]\Z")
_WHOLE = re.compile(r"[0-9]{1,20}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """A request's one event, and what Stripe's answer repeats of it. `event` is None where it is none."""

    batch: ParsedBatch
    event: Event | None
    payload: dict[str, str]


def read_meter_event(
    body: bytes, content_type: str, idempotency_key: str | None, fresh_id: Callable[[], str]
) -> MeterEvent:
    """A form as one event.

    Raises InvalidInput `unsupported_media_type`, `malformed_form`.
    """
    if content_type.partition(";")[0].strip().lower() not in ("application/x-www-form-urlencoded", ""):
        raise InvalidInput("unsupported_media_type", "the request must be form encoded")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise InvalidInput("malformed_form", f"the form cannot be read: {error}") from None
    payload: dict[str, str] = {}
    fields: dict[str, str] = {}
    for name, value in pairs:
        if found := _PAYLOAD.match(name):
            payload[found[1]] = value
        elif not name.startswith("expand"):
            fields[name] = value
    translated = _translate(fields, payload, idempotency_key, fresh_id)
    event = translated if isinstance(translated, Event) else None
    return MeterEvent(as_batch([translated], _NAMES), event, payload)


def _translate(
    fields: dict[str, str], payload: dict[str, str], idempotency_key: str | None, fresh_id: Callable[[], str]
) -> Event | Untranslatable:
    for name in fields:
        if name not in ("event_name", "identifier", "timestamp"):
            return Untranslatable(
                "parameter_unknown", f"Received unknown parameter: {name[:100]}", name[:100]
            )
    for name, value in (
        ("event_name", fields.get("event_name")),
        (f"payload[{CUSTOMER}]", payload.get(CUSTOMER)),
    ):
        if not value:
            return Untranslatable("parameter_missing", f"Missing required param: {name}.", name)
    for name in ("event_name", "identifier"):
        if len(fields.get(name, "")) > TEXT_LENGTH_MAX:
            complaint = f"Invalid string: {name} must be at most {TEXT_LENGTH_MAX} characters"
            return Untranslatable("parameter_invalid_string", complaint, name)
    moment = None
    if stamp := fields.get("timestamp", ""):
        if not _WHOLE.match(stamp):
            return Untranslatable("parameter_invalid_integer", f"Invalid integer: {stamp[:40]}", "timestamp")
        moment = from_unix_seconds(Decimal(stamp))
        if moment is None:
            complaint = "The timestamp is too far in the future; it counts seconds since the Unix epoch."
            return Untranslatable("timestamp_too_far_in_future", complaint, "timestamp")
    return Event(
        id=fields.get("identifier") or _identifier(idempotency_key) or fresh_id(),
        source=SOURCE,
        type=fields["event_name"],
        subject=payload[CUSTOMER],
        time=moment,
        data=msgspec.Raw(msgspec.json.encode(payload)),
    )


def _identifier(idempotency_key: str | None) -> str | None:
    """A request's Idempotency-Key as the identifier of its event."""
    if not idempotency_key:
        return None
    return f"idem_{blake2b(idempotency_key.encode(), digest_size=16).hexdigest()}"
