"""How authorisations are read and written.

    {"customer": "acme", "key": "call-1", "ttl_seconds": 300, "limits": {"project": "chat"},
     "usage": [{"meter": "output_tokens", "quantity": "8000", "dimensions": {"model": "opus"}}]}

or in place of `usage` the event that the call would send, with the most that its numbers can be:
`"event": {"type": "llm.completion", "data": {"model": "opus", "output_tokens": 8000}}`.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, TypeVar

import msgspec

from farthing.catalog.event_data import read_data
from farthing.events.intake.formats import parse_single
from farthing.events.model import Event
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, parse_decimal, trimmed
from farthing.wallets.holds.model import (
    Authorize,
    Bound,
    Document,
    HappenedEvent,
    Hold,
    Insufficient,
    Level,
    LimitReached,
    Part,
    Priced,
    Settle,
    SpendingLimit,
    Spent,
    Status,
    UnitsWanted,
    WouldBe,
)
from farthing.wallets.holds.pricing import INVALID_AUTHORIZATION

KEY_LENGTH_MAX = 128
USAGE_MAX = 100
"""Items of usage in one authorisation."""
TTL_SECONDS_DEFAULT = 300
TTL_SECONDS_MAX = 86_400
COUNT_MAX = 10**9
DIMENSION_LENGTH_MAX = 1024
QUANTITIES_KEPT = 1_000
"""Upper bounds that were read before: calls ask for the same few again and again."""
INSTANTS_KEPT = 100
"""Moments that were written before: all that one batch decides has the same."""

_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH_MAX}}}\Z", re.ASCII)
_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Value = Annotated[str, msgspec.Meta(max_length=DIMENSION_LENGTH_MAX)]


class _UsageBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    meter: _Name
    quantity: msgspec.Raw
    dimensions: dict[str, _Value] = {}
    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)] = 1


class _EventBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: _Name
    data: msgspec.Raw = msgspec.Raw(b"null")


class _LimitsBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    project: _Name | None = None
    api_key: _Name | None = None


class _AuthorizeBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    customer: _Name
    key: str | None = None
    subscription: _Name | None = None
    usage: Annotated[list[_UsageBody], msgspec.Meta(max_length=USAGE_MAX)] | None = None
    event: _EventBody | None = None
    ttl_seconds: Annotated[int, msgspec.Meta(ge=1, le=TTL_SECONDS_MAX)] = TTL_SECONDS_DEFAULT
    limits: _LimitsBody | None = None


class _SettleBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event: msgspec.Raw


_T = TypeVar("_T")
_authorize_body = msgspec.json.Decoder(_AuthorizeBody)
_settle_body = msgspec.json.Decoder(_SettleBody)
_event = msgspec.json.Decoder(Event)
_hashed = msgspec.json.Encoder(order="deterministic")


def parse_hold_key(key: str, path: str) -> str:
    """The key of an authorisation: 1 to 128 visible ASCII characters. Raises InvalidInput `invalid_key`."""
    if _KEY.match(key):
        return key
    complaint = f"must be 1 to {KEY_LENGTH_MAX} visible ASCII characters"
    raise InvalidInput.of("invalid_key", [Fault(path, complaint)])


def parse_authorize(body: bytes, otherwise: str | Callable[[], str], *, check: bool = False) -> Authorize:
    """What a body asks for. `otherwise`: the key where the body has none, or who makes one.

    Raises InvalidInput `malformed_json`, `invalid_utf8`, `too_deep`, `invalid_key`, `invalid_authorization`.
    """
    read = _decoded(_authorize_body, body)
    if (read.usage is None) is (read.event is None):
        raise _invalid("usage", "or an event must be given, and not both")
    if read.usage == []:
        raise _invalid("usage", "must have at least one item")
    key = read.key
    if key is None:
        key = otherwise if isinstance(otherwise, str) else otherwise()
    key = parse_hold_key(key, "key")
    read.key = None
    limits = {}
    if read.limits is not None:
        named = ((Level.PROJECT, read.limits.project), (Level.API_KEY, read.limits.api_key))
        limits = {level: name for level, name in named if name is not None}
    return Authorize(
        key,
        blake2b(_hashed.encode(read), digest_size=16).digest(),
        _storable(read.customer, "customer"),
        read.subscription,
        tuple(_bound(item, f"usage[{index}]") for index, item in enumerate(read.usage or ())),
        None if read.event is None else WouldBe(read.event.type, _data(read.event.data, "event.data")),
        read.ttl_seconds,
        limits,
        check,
    )


def parse_settle(key: str, body: bytes) -> Settle:
    """The event that happened. Raises InvalidInput as `parse_authorize`, or what is wrong with the event."""
    return Settle(key, parse_happened(bytes(_decoded(_settle_body, body).event)))


def parse_release(body: bytes) -> None:
    """The address of a release says everything. Raises InvalidInput `unexpected_body`."""
    if body.strip():
        raise InvalidInput("unexpected_body", "this request takes no body")


def parse_happened(raw: bytes) -> HappenedEvent:
    """One event, as the door for events reads it. Raises InvalidInput with what the door would say."""
    if raw.startswith(b"["):
        raise _invalid("event", "must be one event")
    batch = parse_single(raw)
    if batch.rejected:
        refused = batch.rejected[0]
        path = "event" if refused.path is None else f"event.{refused.path}"
        raise InvalidInput(refused.code, refused.message, path=path)
    event = _event.decode(batch.lines)
    for name, text in (("id", event.id), ("source", event.source)):
        _storable(text, f"event.{name}")
    return HappenedEvent(
        batch.lines,
        blake2b(batch.lines, digest_size=16).digest(),
        event.source,
        event.id,
        event.type,
        event.subject,
        event.time,
        _data(event.data, "event.data"),
    )


def _decoded(decoder: "msgspec.json.Decoder[_T]", body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        said = str(error)
        place = _PATH.search(said)
        path = place[1] if place else ""
        raise _invalid(path, _PATH.sub("", said)[:1].lower() + _PATH.sub("", said)[1:]) from None
    except RecursionError:
        raise InvalidInput("too_deep", "the body nests too deep") from None
    except msgspec.DecodeError as error:
        raise InvalidInput("malformed_json", f"the body is not valid JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the body is not UTF-8 at byte {error.start}") from None


def _bound(item: _UsageBody, path: str) -> Bound:
    return Bound(item.meter, _quantity(bytes(item.quantity), f"{path}.quantity"), item.dimensions, item.count)


@lru_cache(QUANTITIES_KEPT)
def _quantity(raw: bytes, path: str) -> Decimal:
    text = raw.decode("utf-8", "replace")
    if text.startswith('"'):
        text = text[1:-1]
    quantity = parse_decimal(text, path, code=INVALID_AUTHORIZATION)
    if quantity < ZERO:
        raise _invalid(path, "must not be negative")
    return quantity


def _data(raw: msgspec.Raw, path: str) -> object:
    try:
        return read_data(bytes(raw).decode())
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the body is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise InvalidInput("too_deep", f"{path} nests too deep", path=path) from None
    except ValueError:  # NaN, which msgspec lets stand in a part that it does not decode
        raise _invalid(path, "is not valid JSON") from None


def _storable(text: str, path: str) -> str:
    if _UNSTORABLE.search(text):
        raise _invalid(path, "holds a NUL character or half a surrogate pair")
    return text


def _invalid(path: str, complaint: str) -> InvalidInput:
    return InvalidInput.of(INVALID_AUTHORIZATION, [Fault(path, complaint)])


# ---- Documents

_instant = lru_cache(INSTANTS_KEPT)(format_instant)


def hold_json(hold: Hold) -> Document:
    """An authorisation as it is shown. Counted is a settled one whose event is counted."""
    document: Document = {
        "key": hold.key,
        "customer": hold.customer,
        "status": Status.SETTLED.value if hold.status is Status.COUNTED else hold.status.value,
        "currency": hold.currency,
        "amount": trimmed(hold.amount),
        "created_at": _instant(hold.created_at),
        "expires_at": _instant(hold.expires_at),
    }
    if hold.ended_at is not None:
        document["ended_at"] = _instant(hold.ended_at)
    if hold.cost is not None and hold.covered is not None:
        document |= {
            "settled": trimmed(hold.cost),
            "covered": trimmed(hold.covered),
            "owed": trimmed(hold.cost - hold.covered),
            "event": {"source": hold.event_source, "id": hold.event_id},
            "counted_at": None if hold.counted_at is None else format_instant(hold.counted_at),
        }
    if units := _units_of(hold):
        document["units"] = units
    return document


def _units_of(hold: Hold) -> list[Document]:
    """The units that are held and settled, by meter."""
    settled = None if hold.cost is None else _by_unit(hold.settled_parts)
    held = _by_unit(hold.held_parts)
    return [
        {
            "unit": unit,
            "held": trimmed(held.get(unit, ZERO)),
            "settled": None if settled is None else trimmed(settled.get(unit, ZERO)),
        }
        for unit in dict.fromkeys([*held, *(settled or {})])
    ]


def _by_unit(parts: Sequence[Part]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for part in parts:
        if part.unit is not None:
            with exact():
                found[part.unit] = found.get(part.unit, ZERO) + part.amount
    return found


def whole_json(hold: Hold, grants: dict[int, str]) -> Document:
    """The same with the grants that it is set aside on, by their keys."""
    return hold_json(hold) | {
        "held_on": [_part_json(part, grants) for part in hold.held_parts],
        "settled_on": [_part_json(part, grants) for part in hold.settled_parts],
    }


def _part_json(part: Part, grants: dict[int, str]) -> Document:
    document = {
        "grant": grants[part.grant_id],
        "rate_card": part.rate_card,
        "period_start": format_instant(part.period_start),
        "amount": trimmed(part.amount),
    }
    return document if part.unit is None else document | {"unit": part.unit}


def priced_json(priced: Priced) -> Document:
    """What an authorisation would hold."""
    reached = priced.reached
    return {
        "customer": priced.customer,
        "currency": priced.currency,
        "amount": trimmed(priced.amount),
        "available": trimmed(priced.available),
        "shortfall": trimmed(max(priced.amount - priced.available, ZERO)),
        "would_hold": priced.amount <= priced.available and reached is None,
        "limit": None if reached is None else reached_json(reached),
    } | _wanted_json(priced.units)


def insufficient_json(refused: Insufficient) -> Document:
    """Why there is not enough: of money, for what units do not pay."""
    return {
        "currency": refused.currency,
        "required": trimmed(refused.required),
        "available": trimmed(refused.available),
        "shortfall": trimmed(refused.required - refused.available),
    } | _wanted_json(refused.units)


def _wanted_json(wanted: Sequence[UnitsWanted]) -> Document:
    if not wanted:
        return {}
    return {
        "units": [
            {
                "unit": one.unit,
                "required": trimmed(one.required),
                "available": trimmed(one.available),
                "shortfall": trimmed(max(one.required - one.available, ZERO)),
            }
            for one in wanted
        ]
    }


def reached_json(refused: LimitReached) -> Document:
    """Which budget is used up."""
    limit = refused.limit
    return {
        "level": limit.level.value,
        "name": limit.name or None,
        "interval": limit.interval.value,
        "amount": trimmed(limit.amount),
        "left": trimmed(refused.left),
        "required": trimmed(refused.required),
        "resets_at": format_instant(refused.resets_at),
    }


def limit_json(limit: SpendingLimit, spent: Spent | None = None) -> Document:
    """A budget as it is shown, with what counts against it in its present period."""
    spent = spent or Spent(ZERO, ZERO)
    return {
        "limit_id": limit.limit_id,
        "customer": limit.customer,
        "level": limit.level.value,
        "name": limit.name or None,
        "interval": limit.interval.value,
        "currency": limit.currency,
        "amount": trimmed(limit.amount),
        "held": trimmed(spent.held),
        "spent": trimmed(spent.spent),
        "created_at": format_instant(limit.created_at),
    }
