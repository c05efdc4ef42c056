"""The one error tree.

    FarthingError            code, message, path, faults
    |- InvalidInput          the caller sent something that can never be right
    |- NotFound              the thing named does not exist for this tenant
    |- Conflict              it contradicts what already stands (same key, other content)
    |- LimitExceeded         a named limit was crossed; smaller input would pass
    |- Unauthorized          no credential, or one that does not count
    |- Unavailable           try again later: disk full, database down, shutting down
    `- Corrupt               stored bytes are not what was written; nothing may be computed from them

Codes are stable snake_case strings that clients may match on. HTTP status and exit codes are
given at the doors (`api/problems.py`, `cli`), never here. Expected outcomes (a duplicate event,
a skipped period) are values, not exceptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: `rate_cards[2].price.tiers[1].up_to`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}" if self.path else self.message


class FarthingError(Exception):
    """Something that Farthing will not do, with a stable code and, where known, the offending path."""

    def __init__(
        self, code: str, message: str, *, path: str | None = None, faults: Sequence[Fault] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path if path is not None else (faults[0].path if faults else None)
        self.faults = tuple(faults)


class InvalidInput(FarthingError):
    """The input can never be accepted as it is."""

    @classmethod
    def of(cls, code: str, faults: Sequence[Fault]) -> "InvalidInput":
        """All faults of one input at once, the first of them leading the message."""
        assert faults, "an InvalidInput needs at least one fault"
        return cls(code, "; ".join(str(fault) for fault in faults), faults=faults)


class NotFound(FarthingError):
    """The named thing does not exist, or not for this tenant: the two are never told apart."""


class Conflict(FarthingError):
    """The input contradicts something that already stands."""


class LimitExceeded(FarthingError):
    """A named limit was crossed."""


class Unauthorized(FarthingError):
    """The credential is missing, malformed, unknown or revoked."""


class Unavailable(FarthingError):
    """Not now: the same request may succeed later."""


class Corrupt(FarthingError):
    """Stored bytes fail their checksum."""
