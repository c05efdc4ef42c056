"""SQL of the api room: API keys and idempotent writes."""

from dataclasses import dataclass
from datetime import datetime

from farthing.db.pool import BooksConnection


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the books know of a presented key."""

    tenant_id: int
    secret_hash: bytes
    revoked: bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as its tenant sees it: everything but the key."""

    api_key_id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class IdempotentWrite:
    """A write that was asked for under an idempotency key. `status` is 0 until its answer is known."""

    operation: str
    input_hash: bytes
    status: int
    response: str


def insert_key(conn: BooksConnection, tenant_id: int, key: ApiKey, secret_hash: bytes) -> None:
    """Write a new API key."""
    conn.execute(
        "INSERT INTO api_keys (tenant_id, api_key_id, secret_hash, name, created_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        (tenant_id, key.api_key_id, secret_hash, key.name, key.created_at),
    )


def select_key(conn: BooksConnection, tenant_id: int, api_key_id: str) -> ApiKey | None:
    """The key that was presented, whichever tenant it belongs to."""
    row = conn.execute(
        "SELECT api_key_id, name, created_at, revoked_at FROM api_keys WHERE tenant_id = %s AND api_key_id = %s",
        (tenant_id, api_key_id),
    ).fetchone()
    return ApiKey(**row) if row else None


def find_presented_key(conn: BooksConnection, api_key_id: str) -> StoredKey | None:
    """The row of a key whose tenant is not known yet: the policy `presented_key` shows this one row."""
    conn.execute("SELECT set_config('farthing.presented_key', %s, true)", (api_key_id,))
    row = conn.execute(
        "SELECT tenant_id, secret_hash, revoked_at IS NOT NULL AS revoked"
        " FROM api_keys WHERE api_key_id = %s",
        (api_key_id,),
    ).fetchone()
    return StoredKey(row["tenant_id"], bytes(row["secret_hash"]), row["revoked"]) if row else None


def select_keys(conn: BooksConnection, tenant_id: int, after: str, limit: int) -> list[ApiKey]:
    """The keys of the tenant, in order of id."""
    rows = conn.execute(
        "SELECT api_key_id, name, created_at, revoked_at FROM api_keys"
        " WHERE tenant_id = %s AND api_key_id > %s ORDER BY api_key_id LIMIT %s",
        (tenant_id, after, limit),
    ).fetchall()
    return [ApiKey(**row) for row in rows]


def any_key(conn: BooksConnection, tenant_id: int) -> bool:
    """Whether the tenant has ever had a key."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM api_keys WHERE tenant_id = %s) AS found", (tenant_id,)
    ).fetchone()
    return bool(row and row["found"])


def revoke_key(conn: BooksConnection, tenant_id: int, api_key_id: str, now: datetime) -> ApiKey | None:
    """The revoked key; the time of its first revocation stands. None where there is no such key."""
    row = conn.execute(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, %s) WHERE tenant_id = %s AND api_key_id = %s"
        " RETURNING api_key_id, name, created_at, revoked_at",
        (now, tenant_id, api_key_id),
    ).fetchone()
    return ApiKey(**row) if row else None


def find_write(conn: BooksConnection, tenant_id: int, idempotency_key: str) -> IdempotentWrite | None:
    """What an earlier request with this idempotency key did."""
    row = conn.execute(
        "SELECT operation, input_hash, status, response FROM idempotent_writes"
        " WHERE tenant_id = %s AND idempotency_key = %s",
        (tenant_id, idempotency_key),
    ).fetchone()
    return (
        IdempotentWrite(row["operation"], bytes(row["input_hash"]), row["status"], row["response"])
        if row
        else None
    )


def insert_write(
    conn: BooksConnection, tenant_id: int, idempotency_key: str, write: IdempotentWrite, now: datetime
) -> bool:
    """Record a write under its key; False where the key was used before."""
    done = conn.execute(
        "INSERT INTO idempotent_writes"
        " (tenant_id, idempotency_key, operation, input_hash, status, response, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (tenant_id, idempotency_key, write.operation, write.input_hash, write.status, write.response, now),
    )
    return done.rowcount == 1


def delete_open_write(conn: BooksConnection, tenant_id: int, idempotency_key: str, input_hash: bytes) -> None:
    """Give up a key whose write has no answer yet; an answered one stays."""
    conn.execute(
        "DELETE FROM idempotent_writes"
        " WHERE tenant_id = %s AND idempotency_key = %s AND input_hash = %s AND status = 0",
        (tenant_id, idempotency_key, input_hash),
    )


def ping(conn: BooksConnection) -> None:
    """Ask the books anything at all."""
    conn.execute("SELECT 1")
