"""What differs between the doors for other systems' clients: how each is asked, and how it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from farthing.api.events_route import Answer
from farthing.events.door import Door
from farthing.events.model import Rejected

JSON = (b"content-type", b"application/json")
_CARRIED = (b"retry-after", b"connection", b"www-authenticate", b"allow")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, its body unpacked."""

    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    now: datetime

    def header(self, name: bytes) -> str:
        """A header's text; empty where there is none."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def content_type(self) -> str:
        """As the client wrote it."""
        return self.header(b"content-type")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused, in Farthing's own words. `headers` go with every answer."""

    status: int
    code: str
    detail: str
    path: str | None
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def phrase(self) -> str:
        """What HTTP calls the status."""
        return HTTPStatus(self.status).phrase

    @classmethod
    def of(cls, status: int, document: Mapping[str, Any], headers: Sequence[tuple[str, str]]) -> "Refusal":
        """From a problem. What is not valid (422) is a bad request (400) to all of these systems."""
        sent = [(name.encode(), value.encode()) for name, value in headers]
        return cls(
            status=400 if status == 422 else status,
            code=document["code"],
            detail=document["detail"],
            path=document.get("path"),
            headers=tuple(header for header in sent if header[0] in _CARRIED),
        )


class Manners(Protocol):
    """One system's ways. `take` puts the events in the log; what it raises goes to `refused`."""

    def authorization(self, sent: bytes | None) -> bytes | None:
        """The `Authorization` header as Farthing reads it: `Bearer` and a key."""

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """Translate the request, have its events on disk, and answer."""

    def refused(self, path: str, content_type: str, refusal: Refusal) -> Answer:
        """An error in the system's own shape."""


class AsIs:
    """Keys that come as `Bearer` already."""

    def authorization(self, sent: bytes | None) -> bytes | None:
        """The header, untouched."""
        return sent


def json_answer(status: int, document: object, headers: tuple[tuple[bytes, bytes], ...] = (JSON,)) -> Answer:
    """A document as an answer."""
    return Answer(status, headers, msgspec.json.encode(document))


def first_and_more(rejected: Sequence[Rejected]) -> str:
    """What is wrong with the first of them, and how many more there are."""
    more = len(rejected) - 1
    return f"{rejected[0].message}; and {more} more" if more else rejected[0].message
