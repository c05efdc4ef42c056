"""What every translation comes to: events, and what cannot be one, in the order of the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import msgspec

from farthing.events.intake.formats import EVENTS_PER_REQUEST_MAX, REJECTED_RAW_BYTES_MAX, parse_made
from farthing.events.model import Event, ParsedBatch, Rejected
from farthing.kernel.errors import InvalidInput, LimitExceeded
from farthing.kernel.instant import YEAR_MAX, from_unix_microseconds, unix_microseconds

_LATEST_US = unix_microseconds(datetime.fromisoformat(f"{YEAR_MAX}-12-31T23:59:59+00:00"))


@dataclass(frozen=True, slots=True)
class Untranslatable:
    """A part of the request that is no event, and why. `path` is a path in the other system's words."""

    code: str
    message: str
    path: str | None
    raw: bytes = b""


def as_batch(translated: Sequence[Event | Untranslatable], names: Mapping[str, str]) -> ParsedBatch:
    """The events as canonical lines, each within the bounds that hold at every door.

    names: what the other system calls the attributes of an event, for the complaints.
    Raises LimitExceeded `too_many_events`.
    """
    if len(translated) > EVENTS_PER_REQUEST_MAX:
        raise LimitExceeded("too_many_events", f"more than {EVENTS_PER_REQUEST_MAX} events in one request")
    places = [place for place, found in enumerate(translated) if isinstance(found, Event)]
    batch = parse_made([found for found in translated if isinstance(found, Event)])
    rejected = [_renamed(replace(one, index=places[one.index]), names) for one in batch.rejected]
    rejected += [
        Rejected(place, found.code, found.message, found.path, found.raw[:REJECTED_RAW_BYTES_MAX])
        for place, found in enumerate(translated)
        if isinstance(found, Untranslatable)
    ]
    return ParsedBatch(batch.lines, batch.accepted, tuple(sorted(rejected, key=lambda one: one.index)))


def _renamed(rejected: Rejected, names: Mapping[str, str]) -> Rejected:
    if (name := names.get(rejected.path or "")) is None:
        return rejected
    return replace(
        rejected, path=name, message=f"{name} {rejected.message.removeprefix(f'{rejected.path} ')}"
    )


def from_unix_seconds(seconds: Decimal) -> datetime | None:
    """The instant, digits beyond microseconds dropped; None where it lies before 1970 or beyond every calendar.

    Milliseconds given for seconds land thousands of years ahead, and so are found out.
    """
    if not seconds.is_finite() or not 0 <= seconds * 1_000_000 <= _LATEST_US:
        return None
    return from_unix_microseconds(int(seconds * 1_000_000))


def read_object(body: bytes) -> dict[str, msgspec.Raw]:
    """A JSON object with its members as they were written.

    Raises InvalidInput `malformed_json`, `invalid_utf8`.
    """
    try:
        body.decode()
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the body is not UTF-8 at byte {error.start}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput("malformed_json", f"the body is not a JSON object: {error}") from None
