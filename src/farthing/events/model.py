"""The event: one API call, in CloudEvents 1.0 terms.

Identity is `(tenant, source, id)`: whatever else a repeated event says, it is the same event.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

ID_LENGTH_MAX = 256
EVENT_BYTES_MAX = 256 * 1024
DATA_DEPTH_MAX = 32
"""Levels of nesting in one event, its own braces included."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH_MAX)]
Reason = Annotated[str, msgspec.Meta(max_length=ID_LENGTH_MAX)]

VOID_TYPE = "farthing.void"
"""The type of an event that says of another one that it shall not count."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event as it crosses the door; `data` stays the bytes that the client wrote.

    The field order is the order in which the event log writes them, all of them but corrections' extension
    attributes, which stand where they were said: `data` always and last, so that its bytes can be cut from the
    line without parsing it (`events/store/decoding.py`).

    corrects: the id of an earlier event that this one takes the place of or, of type `farthing.void`, voids.
    correctssource: its source, where that is not this event's own. correctsreason: why.
    """

    id: Name
    source: Name
    type: Name
    specversion: Literal["1.0"] = "1.0"
    subject: Name | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    corrects: Name | msgspec.UnsetType = msgspec.UNSET
    correctssource: Name | msgspec.UnsetType = msgspec.UNSET
    correctsreason: Reason | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that the door did not take, and why. `index` counts from zero within the request."""

    index: int
    code: str
    message: str
    path: str | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """What a request body held: the events in canonical NDJSON, and what was refused.

    lines: one canonical line per accepted event, in order, each ending in a newline.
    accepted: how many lines that is.
    """

    lines: bytes
    accepted: int
    rejected: tuple[Rejected, ...]
