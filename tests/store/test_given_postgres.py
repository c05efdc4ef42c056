"""A PostgreSQL that somebody else runs: what it must be, and that tenants are apart there too."""

from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from farthing.db import open_books
from farthing.db.external import given_postgres
from farthing.db.tenants import create_tenant, list_tenants
from farthing.kernel.errors import FarthingError, InvalidInput, Unavailable

NOWHERE = Path("/nonexistent")


def refused(url: str, now: datetime) -> FarthingError:
    with pytest.raises(FarthingError) as caught, open_books(NOWHERE, url, now=now):
        pass
    return caught.value


def test_the_books_open_and_open_again(given_server, now: datetime) -> None:
    _, url = given_server.new_database()
    with open_books(NOWHERE, url, now=now) as books:
        other = create_tenant(books, "other", "Other Inc.", now)
    with open_books(NOWHERE, url, now=now) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default", "other"]
        with books.transaction(other) as conn:
            assert conn.execute("SELECT current_user AS u").fetchone() == {"u": "farthing_app"}
            assert conn.execute("SELECT key FROM tenants").fetchall() == [{"key": "other"}]


def test_a_superusers_url_works_and_does_not_give_the_application_its_powers(
    given_server, now: datetime
) -> None:
    name, _ = given_server.new_database()
    url = given_server.url(given_server.administrator, name)
    with open_books(NOWHERE, url, now=now) as books, books.transaction(1) as conn:
        assert conn.execute("SELECT current_user AS u").fetchone() == {"u": "farthing_app"}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("ALTER TABLE invoices DISABLE ROW LEVEL SECURITY")


def test_without_the_right_to_create_roles_the_role_must_be_there(given_server, now: datetime) -> None:
    name, url = given_server.new_database()
    given_server.execute(f"ALTER ROLE {name} NOCREATEROLE")
    error = refused(url, now)
    assert isinstance(error, InvalidInput)
    assert error.code == "database_rights_missing"
    assert f'GRANT farthing_app TO "{name}"' in error.message


def test_once_the_administrator_grants_the_role_it_works(given_server, now: datetime) -> None:
    name, url = given_server.new_database()
    given_server.execute("CREATE ROLE farthing_app NOLOGIN")
    given_server.execute(f"ALTER ROLE {name} NOCREATEROLE", f"GRANT farthing_app TO {name}")
    with open_books(NOWHERE, url, now=now) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default"]


def test_a_role_above_the_policies_is_refused(given_server, now: datetime) -> None:
    _, url = given_server.new_database()
    with open_books(NOWHERE, url, now=now):
        pass
    given_server.execute("ALTER ROLE farthing_app BYPASSRLS")
    assert refused(url, now).code == "database_role_unbound"


def test_a_database_that_is_closed_to_the_public_works(given_server, now: datetime) -> None:
    name, url = given_server.new_database()
    given_server.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC", database=name)
    with open_books(NOWHERE, url, now=now) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default"]


def test_a_database_with_other_tables_is_refused_and_left_alone(given_server, now: datetime) -> None:
    name, url = given_server.new_database()
    given_server.execute("CREATE TABLE payroll (salary numeric)", database=name)
    error = refused(url, now)
    assert error.code == "database_not_empty"
    assert "payroll" in error.message
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT relname FROM pg_class WHERE relname IN ('payroll', 'tenants')"
        ).fetchall()
        assert found == [("payroll",)]


def test_a_user_that_does_not_own_the_database_is_told_what_is_missing(given_server, now: datetime) -> None:
    name, _ = given_server.new_database()
    _stranger, url = given_server.new_database()
    assert refused(url.replace(f"/{_stranger}?", f"/{name}?"), now).code == "database_rights_missing"


def test_no_server_is_unavailable(tmp_path: Path, now: datetime) -> None:
    error = refused(f"postgresql://somebody@/farthing?host={tmp_path}", now)
    assert isinstance(error, Unavailable)
    assert error.code == "database_unavailable"


def test_an_unreadable_url_is_refused_without_showing_its_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        given_postgres("postgresql://me:hush@host:port:1/x?nonsense=1")
    assert caught.value.code == "invalid_database_url"
    assert "hush" not in caught.value.message
