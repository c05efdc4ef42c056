"""Lago's `POST /api/v1/events` and `/events/batch`.

    {"event": {"transaction_id": "tx_1", "external_subscription_id": "sub_1", "code": "storage",
               "timestamp": 1651240791.123, "properties": {"gb": 10}}}

becomes an event of type `code` about the subject `external_subscription_id`, with the properties, as they are
written, as its data; `precise_total_amount_cents` is put beside them. Identity is what it is in Lago's own
tables: the subscription and `transaction_id`, so the source is `lago:` and the subscription.

`timestamp` counts seconds, as a number or a string of digits; without it the receipt's time counts. A time in
milliseconds, which Lago takes for a day far ahead, is refused. A batch is taken whole or not at all, and has at
most 100 events, as there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

import msgspec

from farthing.events.doors.translated import Untranslatable, as_batch, from_unix_seconds, read_object
from farthing.events.model import Event, ParsedBatch
from farthing.kernel.errors import InvalidInput, LimitExceeded

BATCH_EVENTS_MAX = 100

MANDATORY = "value_is_mandatory"
INVALID_FORMAT = "invalid_format"

_NAMES = {
    "id": "transaction_id",
    "source": "external_subscription_id",
    "subject": "external_subscription_id",
    "type": "code",
    "time": "timestamp",
    "data": "properties",
}
_NULL = b"null"
_NUMBER = re.compile(rb"-?[0-9]{1,20}(\.[0-9]{1,40})?(e[+-]?[0-9]{1,2})?", re.ASCII | re.IGNORECASE)
_NOTHING = msgspec.Raw(_NULL)
_AMOUNT = "precise_total_amount_cents"


@dataclass(frozen=True, slots=True)
class LagoEvents:
    """A request's events, and each of them with what the client is told back."""

    batch: ParsedBatch
    events: tuple["LagoEvent", ...]


@dataclass(frozen=True, slots=True)
class LagoEvent:
    """An event, and its properties and amount as they were written."""

    event: Event
    properties: msgspec.Raw
    amount: msgspec.Raw


def is_lago(body: bytes) -> bool:
    """Whether a body on the path that Lago and OpenMeter share is Lago's. Raises as `read_object` does."""
    if not body.lstrip().startswith(b"{"):
        return False
    members = read_object(body)
    return "specversion" not in members and ("event" in members or "events" in members)


def read_lago_event(body: bytes) -> LagoEvents:
    """One event. Raises InvalidInput `missing_event` where the body has none, and as `read_object` does."""
    raw = read_object(body).get("event", _NOTHING)
    if not bytes(raw).startswith(b"{"):
        raise InvalidInput("missing_event", "param is missing or the value is empty: event", path="event")
    return _read([raw])


def read_lago_batch(body: bytes) -> LagoEvents:
    """A batch.

    Raises InvalidInput `no_events`; LimitExceeded `too_many_events`; as `read_object` does.
    """
    raw = bytes(read_object(body).get("events", _NOTHING))
    raws = msgspec.json.decode(raw, type=list[msgspec.Raw]) if raw.startswith(b"[") else []
    if not raws:
        raise InvalidInput("no_events", "the batch holds no event", path="events")
    if len(raws) > BATCH_EVENTS_MAX:
        raise LimitExceeded(
            "too_many_events", f"a batch has at most {BATCH_EVENTS_MAX} events", path="events"
        )
    return _read(raws)


def lago_id(event: Event) -> str:
    """The id that Lago would give the event; here it follows from its identity."""
    name = f"{len(event.source)}:{event.source}{event.id}"
    return str(UUID(bytes=blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest(), version=4))


def _read(raws: Sequence[msgspec.Raw]) -> LagoEvents:
    translated = [_translate(raw) for raw in raws]
    events = tuple(found for found in translated if isinstance(found, LagoEvent))
    plain = [found.event if isinstance(found, LagoEvent) else found for found in translated]
    return LagoEvents(as_batch(plain, _NAMES), events)


def _translate(raw: msgspec.Raw) -> LagoEvent | Untranslatable:
    text = bytes(raw)
    if not text.startswith(b"{"):
        return Untranslatable(INVALID_FORMAT, "an event must be an object", "event", text)
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    found: dict[str, str] = {}
    for name in ("transaction_id", "external_subscription_id", "code"):
        value = _text(fields.get(name, _NOTHING))
        if value is None and name == "external_subscription_id":
            value = _text(fields.get("external_customer_id", _NOTHING))
        if not value:
            return Untranslatable(MANDATORY, f"{name} is missing", name, text)
        found[name] = value
    moment = _moment(bytes(fields.get("timestamp", _NOTHING)))
    if isinstance(moment, Untranslatable):
        return moment
    properties = fields.get("properties", _NOTHING)
    if bytes(properties) == _NULL:
        properties = msgspec.Raw(b"{}")
    if not bytes(properties).startswith(b"{"):
        return Untranslatable(INVALID_FORMAT, "properties must be an object", "properties", text)
    amount = fields.get(_AMOUNT, _NOTHING)
    event = Event(
        id=found["transaction_id"],
        source=f"lago:{found['external_subscription_id']}",
        type=found["code"],
        subject=found["external_subscription_id"],
        time=moment,
        data=_data(properties, amount),
    )
    return LagoEvent(event, properties, amount)


def _text(raw: msgspec.Raw) -> str | None:
    """A string, or a number as it is written; None for anything else."""
    text = bytes(raw)
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return text.decode() if _NUMBER.fullmatch(text) else None


def _moment(raw: bytes) -> datetime | Untranslatable | None:
    digits = raw[1:-1] if raw.startswith(b'"') else raw
    if digits in (_NULL, b""):
        return None
    moment = from_unix_seconds(Decimal(digits.decode())) if _NUMBER.fullmatch(digits) else None
    if moment is None:
        return Untranslatable(
            INVALID_FORMAT, "timestamp must be seconds since 1970, as a number or digits", "timestamp", raw
        )
    return moment


def _data(properties: msgspec.Raw, amount: msgspec.Raw) -> msgspec.Raw:
    """The properties as they are written; with the amount beside them where there is one."""
    if bytes(amount) == _NULL:
        return properties
    members = msgspec.json.decode(properties, type=dict[str, msgspec.Raw])
    return msgspec.Raw(msgspec.json.encode({**members, _AMOUNT: amount}))
