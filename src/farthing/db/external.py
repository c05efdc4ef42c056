"""A PostgreSQL that somebody else runs, given by URL: what it must be, and the role that it must have."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from farthing.db.endpoint import APP_ROLE, Endpoint, outages_named
from farthing.kernel.errors import InvalidInput

OLDEST_SERVER_VERSION = 150000
CONNECT_TIMEOUT_SECONDS = 10

_UNLESS_GIVEN = {"connect_timeout": str(CONNECT_TIMEOUT_SECONDS), "application_name": "farthing"}


def given_postgres(database_url: str) -> Endpoint:
    """The endpoint at `database_url`, after making sure that it can serve: version, role, rights."""
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as error:
        raise InvalidInput("invalid_database_url", f"the database URL cannot be read: {error}") from error
    where = make_conninfo(
        database_url, **{key: value for key, value in _UNLESS_GIVEN.items() if key not in given}
    )
    with outages_named(), psycopg.connect(where) as conn:
        _check_version(conn)
        _ensure_app_role(conn)
    return Endpoint(owner=where, app=where, app_role=APP_ROLE)


def _check_version(conn: psycopg.Connection[TupleRow]) -> None:
    version = conn.info.server_version
    if version < OLDEST_SERVER_VERSION:
        raise InvalidInput(
            "database_too_old",
            f"the database is PostgreSQL {version // 10000},"
            f" Farthing needs {OLDEST_SERVER_VERSION // 10000} or newer",
        )


def _ensure_app_role(conn: psycopg.Connection[TupleRow]) -> None:
    """The role exists, is bound by row-level security, and this user may take it."""
    role = sql.Identifier(APP_ROLE)
    try:
        with conn.transaction():
            if not _role_exists(conn):
                conn.execute(
                    sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB").format(
                        role
                    )
                )
            if not _may_take(conn):
                conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        _ensure_app_role(conn)  # another process created it at the same moment
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            "database_rights_missing",
            f"the database user {conn.info.user} may not create or take the role {APP_ROLE}. "
            f"As an administrator run: CREATE ROLE {APP_ROLE} NOLOGIN; "
            f'GRANT {APP_ROLE} TO "{conn.info.user}";',
        ) from error


def _role_exists(conn: psycopg.Connection[TupleRow]) -> bool:
    return conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE]).fetchone() is not None


def _may_take(conn: psycopg.Connection[TupleRow]) -> bool:
    """Since PostgreSQL 16 a member may lack the right to SET ROLE."""
    right = "SET" if conn.info.server_version >= 160000 else "MEMBER"
    row = conn.execute("SELECT pg_has_role(current_user, %s, %s)", [APP_ROLE, right]).fetchone()
    return row is not None and bool(row[0])
