"""Tenants: whose books these are. Row-level security keeps everything else of theirs apart."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from farthing.db import store
from farthing.db.pool import Books
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound

DEFAULT_TENANT_ID = 1
DEFAULT_TENANT_KEY = "default"
KEY_CHARACTERS_MAX = 256
NAME_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Tenant:
    """A seller who bills with this installation."""

    tenant_id: int
    key: str
    name: str
    created_at: datetime


def create_tenant(books: Books, key: str, name: str, now: datetime) -> int:
    """A new tenant's id; its key is its own for ever."""
    faults = [*_text_faults("key", key, KEY_CHARACTERS_MAX), *_text_faults("name", name, NAME_CHARACTERS_MAX)]
    if faults:
        raise InvalidInput.of("invalid_tenant", faults)
    with books.operator_transaction() as conn:
        tenant = store.insert_tenant(conn, key, name, now)
    if tenant is None:
        raise Conflict("tenant_exists", f"a tenant with the key {key!r} stands already", path="key")
    return tenant


def ensure_default_tenant(books: Books, now: datetime) -> None:
    """An installation always has one tenant, so that one seller never has to think of tenants."""
    with books.operator_transaction() as conn:
        if store.select_tenant_id(conn, DEFAULT_TENANT_KEY) is None:
            store.insert_default_tenant(conn, DEFAULT_TENANT_ID, DEFAULT_TENANT_KEY, "Default", now)


def tenant_id(books: Books, key: str) -> int:
    """The id behind a tenant's key."""
    with books.operator_transaction() as conn:
        found = store.select_tenant_id(conn, key)
    if found is None:
        raise NotFound("tenant_not_found", f"there is no tenant with the key {key!r}")
    return found


def tenant_ids(books: Books, keys: Collection[str]) -> dict[str, int]:
    """The ids behind these keys, of the tenants that there are."""
    with books.operator_transaction() as conn:
        return store.select_tenant_ids(conn, list(keys))


def tenant_key(books: Books, tenant_id: int) -> str | None:
    """The key of a tenant; None where there is no such tenant."""
    with books.operator_transaction() as conn:
        return store.select_tenant_key(conn, tenant_id)


def list_tenants(books: Books) -> list[Tenant]:
    """Every tenant, oldest first."""
    with books.operator_transaction() as conn:
        return [Tenant(*row) for row in store.select_tenants(conn)]


def _text_faults(path: str, text: str, characters_max: int) -> list[Fault]:
    if not 1 <= len(text) <= characters_max:
        return [Fault(path, f"must have 1 to {characters_max} characters")]
    if not text.isprintable():
        return [Fault(path, "must have printable characters only")]
    return []
