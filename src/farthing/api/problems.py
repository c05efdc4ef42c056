"""Which error is which HTTP status, and how every error looks: RFC 9457 problem details.

This is the one table. Routes raise `kernel.errors`; nothing else in the room names a status for a
failure. The body is always

    {"type", "title", "status", "code", "detail"} and, where known, "path" and "faults": [{"path", "message"}]
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
import psycopg

from farthing.kernel.errors import (
    Conflict,
    Corrupt,
    FarthingError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
TEXT_LENGTH_MAX = 2000
"""How much of one message is shown; a message may quote the input."""
FAULTS_MAX = 100
"""How many faults are listed; `detail` says how many more there are."""

_BY_CLASS: Mapping[type[FarthingError], tuple[int, str]] = {
    InvalidInput: (422, "The input is not valid"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict with what already stands"),
    LimitExceeded: (413, "A limit was crossed"),
    Unauthorized: (401, "A valid API key is needed"),
    Unavailable: (503, "Not now"),
    Corrupt: (500, "Stored data is damaged"),
}

# What could not be read at all is 400; what was read and is wrong stays 422.
_BY_CODE: Mapping[str, int] = {
    "malformed_http": 400,
    "malformed_json": 400,
    "invalid_utf8": 400,
    "too_deep": 400,
    "duplicate_key": 400,
    "broken_compression": 400,
    "broken_table": 400,
    "no_event_accepted": 400,
    "incomplete_body": 400,
    "invalid_header": 400,
    "insufficient_funds": 402,
    "spending_limit_reached": 402,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "body_too_slow": 408,
    "unsupported_media_type": 415,
    "unsupported_encoding": 415,
    "headers_too_slow": 408,
    "log_busy": 429,
    "too_busy": 429,
    "too_many_pipelined": 429,
    "headers_too_large": 431,
    "too_many_rows": 422,
    "internal_error": 500,
}

# After these the rest of the body is still on its way: the connection cannot be used again.
_BODY_NOT_READ = frozenset({"body_too_large", "body_too_slow", "too_busy"})

_BROKEN = "Farthing could not complete this request. The reason is in its log."

_log = logging.getLogger("farthing.api")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is answered."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


def status_of(error: FarthingError) -> int:
    """The HTTP status for an error: by its code where the table has it, else by its class."""
    return _BY_CODE.get(error.code) or _class_row(error)[0]


def problem(error: BaseException, *, headers: Mapping[str, str] | None = None, **members: object) -> Problem:
    """Any exception as the problem that a client is shown; what is our own fault is logged, not told.

    `members` are further members of the document, for one route alone.
    """
    known = _known(error)
    status = status_of(known)
    detail = known.message
    if status == 500:
        _log.error("request failed: %s", known.code, exc_info=error)
        detail = _BROKEN
    document: dict[str, object] = {
        "type": f"urn:farthing:problem:{known.code}",
        "title": HTTPStatus(status).phrase if known.code in _BY_CODE else _class_row(known)[1],
        "status": status,
        "code": known.code,
        "detail": _shown(detail),
    }
    if known.path is not None:
        document["path"] = _shown(known.path)
    if known.faults:
        document["faults"] = [
            {"path": _shown(fault.path), "message": _shown(fault.message)}
            for fault in known.faults[:FAULTS_MAX]
        ]
    document.update(members)
    sent = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **(headers or {})}
    if status == 401:
        sent["www-authenticate"] = 'Bearer realm="farthing"'
    if status in (429, 503):
        sent.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
    if known.code in _BODY_NOT_READ:
        sent["connection"] = "close"
    return Problem(status, msgspec.json.encode(document), tuple(sent.items()))


def _known(error: BaseException) -> FarthingError:
    """The error in terms of the one tree."""
    outage = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if outage or (isinstance(error, Unavailable) and error.code == "database_unavailable"):
        # What the driver says names hosts and paths.
        _log.warning("the books do not answer: %s", error)
        return Unavailable("books_unavailable", "the books do not answer; try again")
    if isinstance(error, FarthingError):
        return error
    return _Broken("internal_error", _BROKEN)


class _Broken(FarthingError):
    """An exception that nobody expected."""


def _class_row(error: FarthingError) -> tuple[int, str]:
    for error_class, row in _BY_CLASS.items():
        if isinstance(error, error_class):
            return row
    return 500, "Internal error"


def _shown(text: str) -> str:
    """The text, cut to a bounded length and always encodable: it may quote lone surrogates."""
    cut = text if len(text) <= TEXT_LENGTH_MAX else text[: TEXT_LENGTH_MAX - 1] + "…"
    return cut.encode("utf-8", "replace").decode()
