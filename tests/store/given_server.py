"""A PostgreSQL that was there before: reached by URL, as in production."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass
class GivenServer:
    """Reached by URL; `administrator` is its superuser."""

    socket_dir: Path
    administrator: str = "administrator"

    def url(self, user: str, database: str) -> str:
        return f"postgresql://{user}@/{database}?host={self.socket_dir}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(self.administrator, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def new_database(self) -> tuple[str, str]:
        """(user, URL) of a new user that owns a new, empty database and may create roles."""
        name = f"u{uuid.uuid4().hex}"
        self.execute(f"CREATE ROLE {name} LOGIN CREATEROLE", f"CREATE DATABASE {name} OWNER {name}")
        return name, self.url(name, name)

    def forget_everything(self) -> None:
        """Drop all databases and roles that a test has made: roles belong to the whole server."""
        with psycopg.connect(self.url(self.administrator, "postgres"), autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'u%'"
            ).fetchall():
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'u%' OR rolname = 'farthing_app'"
            for (name,) in connection.execute(f"{roles} ORDER BY 1 DESC").fetchall():
                connection.execute(f"DROP ROLE {name}")
