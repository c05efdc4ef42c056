"""SQL of the tenants."""

from datetime import datetime

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def insert_tenant(conn: BooksConnection, key: str, name: str, now: datetime) -> int | None:
    """The new tenant's id, or None if the key stands already."""
    row = conn.execute(
        "INSERT INTO tenants (key, name, created_at) VALUES (%s, %s, %s) ON CONFLICT (key) DO NOTHING"
        " RETURNING tenant_id",
        [key, name, now],
    ).fetchone()
    return None if row is None else int(row["tenant_id"])


def insert_default_tenant(conn: BooksConnection, tenant_id: int, key: str, name: str, now: datetime) -> None:
    """The tenant with a fixed id; nothing happens if it stands already."""
    conn.execute(
        "INSERT INTO tenants (tenant_id, key, name, created_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [tenant_id, key, name, now],
    )


def select_tenant_id(conn: BooksConnection, key: str) -> int | None:
    """The id behind a tenant's key."""
    row = conn.execute("SELECT tenant_id FROM tenants WHERE key = %s", [key]).fetchone()
    return None if row is None else int(row["tenant_id"])


def select_tenants(conn: BooksConnection) -> list[tuple[int, str, str, datetime]]:
    """Every tenant as (id, key, name, created_at), oldest first."""
    rows = conn.execute("SELECT tenant_id, key, name, created_at FROM tenants ORDER BY tenant_id").fetchall()
    return [(row["tenant_id"], row["key"], row["name"], row["created_at"]) for row in rows]


def select_tenant_tables(conn: BooksConnection) -> list[DictRow]:
    """Every table with rows of tenants, and how row-level security stands on it."""
    return conn.execute(
        """
        SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
               EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           AND a.attname = 'tenant_id' AND NOT a.attisdropped
         ORDER BY c.relname
        """
    ).fetchall()


def select_installation(conn: BooksConnection) -> str | None:
    """The id of the data directory that these books belong to. Nobody else binds it until the transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('farthing.installation'))")
    row = conn.execute("SELECT installation_id FROM installation").fetchone()
    return None if row is None else str(row["installation_id"])


def insert_installation(conn: BooksConnection, installation_id: str) -> None:
    """Bind these books to a data directory."""
    conn.execute("INSERT INTO installation (installation_id) VALUES (%s)", [installation_id])
