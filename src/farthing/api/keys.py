"""API keys: made once, shown once, kept as a keyed hash, revoked for good."""

import hmac
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from farthing.api import store
from farthing.api.key_format import ID_BITS, PEPPER_BYTES, SECRET_BITS, key_id, mint, secret_hash
from farthing.api.store import ApiKey
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.log.files import sync_directory
from farthing.kernel.errors import Corrupt, NotFound, Unauthorized

PEPPER_FILE = "secret.key"
NO_TENANT = 0
"""No tenant has this id: a transaction under it sees the presented key and nothing else."""


def load_pepper(data_dir: Path) -> bytes:
    """The server's secret, from DATA/secret.key; made on first use, readable by its owner alone.

    Raises `Corrupt` where the file is there and is not a secret of ours.
    """
    path = data_dir / PEPPER_FILE
    if not path.exists():
        _create_pepper(path)
    pepper = path.read_bytes()
    if len(pepper) != PEPPER_BYTES:
        raise Corrupt("damaged_secret", f"{path} does not hold {PEPPER_BYTES} bytes")
    return pepper


def _create_pepper(path: Path) -> None:
    """Written in full under another name first, so that no process ever reads half a secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(PEPPER_BYTES))
        os.fsync(descriptor)
        os.link(draft, path)
        sync_directory(path.parent)
    except FileExistsError:
        pass  # Another process was first; its secret stands.
    finally:
        os.close(descriptor)
        draft.unlink()


def create_key(books: Books, pepper: bytes, tenant_id: int, name: str, now: datetime) -> str:
    """Make a key for a tenant and return it. This is the only time that it can be read."""
    with books.transaction(tenant_id) as conn:
        return add_key(conn, pepper, tenant_id, name, now)[0]


def add_key(
    conn: BooksConnection, pepper: bytes, tenant_id: int, name: str, now: datetime
) -> tuple[str, ApiKey]:
    """The same inside a transaction that is open: the key itself, and its record."""
    minted = mint(os.urandom((ID_BITS + SECRET_BITS) // 8), pepper)
    store.insert_key(
        conn,
        tenant_id=tenant_id,
        api_key_id=minted.api_key_id,
        secret_hash=minted.secret_hash,
        name=name,
        now=now,
    )
    return minted.text, ApiKey(minted.api_key_id, name, now, None)


def create_first_key(books: Books, pepper: bytes, tenant_id: int, now: datetime) -> str | None:
    """A key for a tenant that never had one; None where it has, even if all of them are revoked."""
    with books.transaction(tenant_id) as conn:
        if store.any_key(conn, tenant_id):
            return None
        return add_key(conn, pepper, tenant_id, "first key", now)[0]


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
    return Unauthorized("invalid_api_key", "the API key is not valid")
