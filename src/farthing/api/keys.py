"""API keys: made once, shown once, kept as a keyed hash, revoked for good."""

import hmac
import os
from collections.abc import Sequence
from datetime import datetime

from farthing.api import store
from farthing.api.idempotency import Request, earlier_write
from farthing.api.key_format import ID_BITS, SECRET_BITS, Minted, key_id, mint, secret_hash
from farthing.api.store import ApiKey, IdempotentWrite
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import NotFound, Unauthorized

NO_TENANT = 0
"""No tenant has this id: a transaction under it sees the presented key and nothing else."""


def create_key(books: Books, pepper: bytes, tenant_id: int, name: str, now: datetime) -> str:
    """Make a key for a tenant and return it. This is the only time that it can be read."""
    minted = _mint(pepper)
    with books.transaction(tenant_id) as conn:
        store.insert_key(conn, tenant_id, _record(minted, name, now), minted.secret_hash)
    return minted.text


def create_key_once(
    books: Books, pepper: bytes, request: Request, name: str, now: datetime
) -> tuple[ApiKey, str | None]:
    """The same under an idempotency key: repeated, it gives the record of the first time and no key.

    Key and idempotency record are one transaction, because making a key twice makes two.
    """
    minted = _mint(pepper)
    record = _record(minted, name, now)
    with books.transaction(request.tenant_id) as conn:
        if request.idempotency_key is not None:
            done = IdempotentWrite(request.operation, request.input_hash, 201, minted.api_key_id)
            if not store.insert_write(conn, request.tenant_id, request.idempotency_key, done, now):
                return _made_before(conn, request), None
        store.insert_key(conn, request.tenant_id, record, minted.secret_hash)
    return record, minted.text


def _made_before(conn: BooksConnection, request: Request) -> ApiKey:
    write = earlier_write(conn, request)
    assert write is not None
    made = store.select_key(conn, request.tenant_id, write.response)
    assert made is not None, "a key and the record of its making are one transaction"
    return made


def create_first_key(books: Books, pepper: bytes, tenant_id: int, now: datetime) -> str | None:
    """A key for a tenant that never had one; None where it has, even if all of them are revoked."""
    minted = _mint(pepper)
    with books.transaction(tenant_id) as conn:
        if store.any_key(conn, tenant_id):
            return None
        store.insert_key(conn, tenant_id, _record(minted, "first key", now), minted.secret_hash)
    return minted.text


def _mint(pepper: bytes) -> Minted:
    return mint(os.urandom((ID_BITS + SECRET_BITS) // 8), pepper)


def _record(minted: Minted, name: str, now: datetime) -> ApiKey:
    return ApiKey(minted.api_key_id, name, now, None)


def list_keys(books: Books, tenant_id: int, after: str, limit: int) -> Sequence[ApiKey]:
    """A tenant's keys in the order of their ids, revoked ones included."""
    with books.read_only(tenant_id) as conn:
        return store.select_keys(conn, tenant_id, after, limit)


def revoke_key(books: Books, tenant_id: int, api_key_id: str, now: datetime) -> ApiKey:
    """Refuse a key from now on (workers notice within a second). Revoking twice changes nothing."""
    with books.transaction(tenant_id) as conn:
        revoked = store.revoke_key(conn, tenant_id, api_key_id, now)
    if revoked is None:
        raise NotFound("api_key_not_found", f"there is no API key {api_key_id}")
    return revoked


def tenant_of_key(books: Books, pepper: bytes, presented: str) -> int:
    """The tenant for whom a presented key speaks.

    Raises `Unauthorized` `invalid_api_key`, the same for a malformed, an unknown and a revoked key.
    """
    api_key_id = key_id(presented)
    if api_key_id is None:
        raise refused_key()
    with books.read_only(NO_TENANT) as conn:
        stored = store.find_presented_key(conn, api_key_id)
    proof = secret_hash(presented, pepper)
    if stored is None or not hmac.compare_digest(proof, stored.secret_hash) or stored.revoked:
        raise refused_key()
    return stored.tenant_id


def refused_key() -> Unauthorized:
    """The one answer to every key that does not count, whatever is wrong with it."""
    return Unauthorized("invalid_api_key", "the API key is not valid")
