"""One request and its answer, as they are metered."""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

USAGE = "farthing.usage"
"""Where a request's scope (ASGI) or environ (WSGI) keeps what `add_usage` was told."""


@dataclass(slots=True)
class Exchange:
    """A request and its answer. `scope` is the ASGI scope or the WSGI environ."""

    scope: MutableMapping[str, Any]
    method: str
    path: str
    read_header: Callable[[str], str | None]
    began_ns: int
    status: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    route: str | None = None
    usage: Mapping[str, object] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """A header of the request."""
        return self.read_header(name)


Subject = Callable[[Exchange], str | None]
"""Says whose request it was: a customer's key or alias."""


def header(name: str) -> Subject:
    """The subject is what a header of the request says."""
    return lambda exchange: exchange.header(name)


def add_usage(scope: MutableMapping[str, Any], **quantities: object) -> None:
    """Put more into the event of the request under way; `scope` is its ASGI scope or WSGI environ.

    Numbers (int, Decimal) and text. Where the request is not metered, this does nothing that anyone sees.
    """
    scope.setdefault(USAGE, {}).update(quantities)
