"""Who is asking: the tenant of a presented key, known for a second at a time.

Laws: a revoked key is refused after at most `KNOWN_SECONDS`. While the books do not answer, keys
that were good a moment ago stay good, so that events are still taken (no key can be revoked then,
because revoking needs the books too). Unknown keys always ask the books, a few at a time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic

import psycopg

from farthing.api.key_format import key_id
from farthing.api.keys import refused_key
from farthing.kernel.errors import Unauthorized, Unavailable

KNOWN_SECONDS = 1.0
REFRESH_SECONDS = 0.5
"""From this age on the books are asked again, while the key still counts: nobody has to wait for them."""
KNOWN_MAX = 10_000
BOOKS_SECONDS_MAX = 2.0
"""How long a request waits for the books to say whether its key is good."""
WITHOUT_BOOKS_SECONDS_MAX = 600.0
LOOKUPS_AT_ONCE = 4


@dataclass(slots=True)
class _Known:
    tenant_id: int
    fresh_until: float
    proven_at: float


@dataclass(frozen=True, slots=True)
class _Lookup:
    answer: asyncio.Future[int]
    began_at: float


class Authenticator:
    """Turns the `Authorization` header into a tenant id."""

    def __init__(self, look_up: Callable[[str], int], clock: Callable[[], float] = monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._under_way: dict[bytes, _Lookup] = {}
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def tenant_of(self, authorization: bytes | None) -> int:
        """The tenant of a `Bearer fk_...` header.

        Raises:
            Unauthorized: `missing_api_key`, `invalid_api_key`.
            Unavailable: `books_unavailable` where the key is new to this worker and the books do not answer.
        """
        if authorization is None:
            raise Unauthorized("missing_api_key", "send the header `Authorization: Bearer fk_...`")
        tenant_id = self.known(authorization)
        if tenant_id is not None:
            return tenant_id
        return await self._learn(_presented(authorization), _digest(authorization))

    def known(self, authorization: bytes) -> int | None:
        """The tenant where the key was good a moment ago; None where the books must be asked first."""
        digest = _digest(authorization)
        known = self._known.get(digest)
        if known is None or (left := known.fresh_until - self._clock()) <= 0:
            return None
        if left < KNOWN_SECONDS - REFRESH_SECONDS and digest not in self._under_way:
            self._look_up_beside(_presented(authorization), digest)
        return known.tenant_id

    def _look_up_beside(self, presented: str, digest: bytes) -> _Lookup:
        answer = asyncio.ensure_future(self._ask_the_books(presented, digest))
        lookup = self._under_way[digest] = _Lookup(answer, self._clock())
        answer.add_done_callback(lambda done: self._forget(digest, done))
        return lookup

    async def _learn(self, presented: str, digest: bytes) -> int:
        """Ask the books, once for all who wait for the same answer, and not for long."""
        lookup = self._under_way.get(digest) or self._look_up_beside(presented, digest)
        # Books that hang are waited for once, not again by every request that comes while they do.
        patience = max(lookup.began_at + BOOKS_SECONDS_MAX - self._clock(), 0.0)
        try:
            return await asyncio.wait_for(asyncio.shield(lookup.answer), patience)
        except TimeoutError:
            return self._without_books(digest)
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable) as error:
            return self._without_books(digest, error)

    async def _ask_the_books(self, presented: str, digest: bytes) -> int:
        async with self._lookups:
            asked_at = self._clock()
            tenant_id = await asyncio.to_thread(self._look_up, presented)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[digest] = _Known(tenant_id, asked_at + KNOWN_SECONDS, asked_at)
        return tenant_id

    def _forget(self, digest: bytes, lookup: asyncio.Future[int]) -> None:
        del self._under_way[digest]
        if not lookup.cancelled() and isinstance(lookup.exception(), Unauthorized):
            self._known.pop(digest, None)

    def _without_books(self, digest: bytes, error: Exception | None = None) -> int:
        known = self._known.get(digest)
        now = self._clock()
        if known is None or now - known.proven_at > WITHOUT_BOOKS_SECONDS_MAX:
            raise Unavailable("books_unavailable", "the books do not answer; try again") from error
        known.fresh_until = now + KNOWN_SECONDS
        return known.tenant_id


def _digest(authorization: bytes) -> bytes:
    """Kept by a hash, so that a memory dump shows no key and a lookup's time tells nothing of one."""
    return blake2b(authorization, digest_size=32).digest()


def _presented(authorization: bytes) -> str:
    scheme, _, presented = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or key_id(presented.strip()) is None:
        raise refused_key()
    return presented.strip()
