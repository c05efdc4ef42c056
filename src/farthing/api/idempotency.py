"""Writes that may be sent twice: `Idempotency-Key`.

The key and a hash of the input are committed before the effect, the answer after it:

    reserve (key, hash)  ->  effect (the room's own transaction)  ->  answer

A repeat with the same input gets the first answer; with another input it is a conflict, at every
moment, also while the first is still running and after a crash in the middle. Where a crash or a
second caller comes between reserve and answer, the effect runs again, which is safe because every
write here is idempotent by the key of what it makes: creating the same customer, publishing the
same plan, billing up to the same day again changes nothing. Making an API key is not, so there
record and effect are one transaction (`keys.py`).

A request that was refused (4xx) changed nothing and gives its key back. Answered keys are kept for good.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b

import msgspec

from farthing.api import store
from farthing.api.store import IdempotentWrite
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, FarthingError, Fault, InvalidInput, Unavailable

IDEMPOTENCY_KEY_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What a write answered: the status and the document, or for a repeat the text of the first one."""

    status: int
    document: object
    headers: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return msgspec.json.encode(self.document).decode()


@dataclass(frozen=True, slots=True)
class Request:
    """One write as a client asked for it."""

    tenant_id: int
    operation: str
    idempotency_key: str | None
    input_hash: bytes


def read_idempotency_key(header: str | None) -> str | None:
    """The header's value. Raises `invalid_header` unless it is 1 to 256 visible ASCII characters."""
    if header is None:
        return None
    if not 1 <= len(header) <= IDEMPOTENCY_KEY_LENGTH_MAX or not all("!" <= sign <= "~" for sign in header):
        complaint = f"must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters"
        raise InvalidInput.of("invalid_header", [Fault("Idempotency-Key", complaint)])
    return header


def hash_input(operation: str, body: object) -> bytes:
    """The same for the same JSON value, however it was spaced and ordered."""
    canonical = json.dumps([operation, body], sort_keys=True, separators=(",", ":"), default=_exact_text)
    return blake2b(canonical.encode(), digest_size=32).digest()


def once(books: Books, request: Request, now: datetime, effect: Callable[[], Answer]) -> Answer:
    """Run a write, or give the answer that it got when it was asked for first.

    Raises `Conflict` `idempotency_conflict` where the key was used with another input.
    """
    if request.idempotency_key is None:
        return effect()
    reserved, earlier = _reserve(books, request, now)
    if earlier is not None:
        return earlier
    try:
        answer = effect()
    except Unavailable:
        raise  # It may have happened: the input stays bound to the key.
    except FarthingError:
        if reserved:
            _settle(books, request, None, now)
        raise
    _settle(books, request, answer, now)
    return answer


def earlier_write(conn: BooksConnection, request: Request) -> IdempotentWrite | None:
    """What stands under this idempotency key. Raises the conflict where that is another input."""
    assert request.idempotency_key is not None
    write = store.find_write(conn, request.tenant_id, request.idempotency_key)
    if write is not None and write.input_hash != request.input_hash:
        raise Conflict(
            "idempotency_conflict",
            f"this Idempotency-Key was used for another input ({write.operation})",
            path="Idempotency-Key",
        )
    return write


def _reserve(books: Books, request: Request, now: datetime) -> tuple[bool, Answer | None]:
    """Whether this caller bound the key to the input, and the answer where there already is one."""
    assert request.idempotency_key is not None
    opened = IdempotentWrite(request.operation, request.input_hash, 0, "")
    with books.transaction(request.tenant_id) as conn:
        if store.insert_write(conn, request.tenant_id, request.idempotency_key, opened, now):
            return True, None
        write = earlier_write(conn, request)
    if write is None or not write.status:
        return False, None
    return False, Answer(write.status, msgspec.Raw(write.response.encode()), {"idempotent-replayed": "true"})


def _settle(books: Books, request: Request, answer: Answer | None, now: datetime) -> None:
    """Record the answer, or give the key back where nothing was done."""
    assert request.idempotency_key is not None
    with books.transaction(request.tenant_id) as conn:
        store.delete_open_write(conn, request.tenant_id, request.idempotency_key, request.input_hash)
        if answer is not None:
            write = IdempotentWrite(request.operation, request.input_hash, answer.status, answer.text())
            store.insert_write(conn, request.tenant_id, request.idempotency_key, write, now)


def _exact_text(value: object) -> object:
    assert isinstance(value, Decimal), "a JSON body holds nothing else that json cannot write"
    return {"number": str(value)}
