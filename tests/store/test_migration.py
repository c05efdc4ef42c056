"""Migrations go forward, once each, whole or not at all."""

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from farthing.db.endpoint import Endpoint
from farthing.db.external import given_postgres
from farthing.db.migration import Migration, bundled_migrations, migrate
from farthing.kernel.errors import Conflict, Unavailable

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

FIRST = Migration(1, "create_shelves", b"CREATE TABLE shelves (shelf text PRIMARY KEY)")
SECOND = Migration(
    2, "add_width", b"ALTER TABLE shelves ADD width integer; INSERT INTO shelves VALUES ('oak%', 90)"
)
FAILING = Migration(2, "break_down", b"CREATE TABLE half (made text); SELECT 1 / 0")


@pytest.fixture
def endpoint(given_server) -> Endpoint:
    return given_postgres(given_server.new_database()[1])


def rows(endpoint: Endpoint, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(endpoint.owner) as conn:
        return conn.execute(query).fetchall()


def test_the_bundled_files_are_numbered_without_gaps() -> None:
    bundled = bundled_migrations()
    assert [migration.number for migration in bundled] == list(range(1, len(bundled) + 1))
    assert bundled[0].name == "create_books"


def test_each_is_applied_once_and_in_order(endpoint: Endpoint) -> None:
    assert migrate(endpoint, NOW, (FIRST,)) == [FIRST]
    assert migrate(endpoint, NOW, (FIRST, SECOND)) == [SECOND]
    assert migrate(endpoint, NOW, (FIRST, SECOND)) == []
    assert rows(endpoint, "SELECT * FROM shelves") == [("oak%", 90)]
    assert rows(endpoint, "SELECT number, name, checksum, applied_at FROM schema_migrations ORDER BY 1") == [
        (1, "create_shelves", FIRST.checksum, NOW),
        (2, "add_width", SECOND.checksum, NOW),
    ]


def test_one_that_fails_leaves_nothing_and_can_be_repaired(endpoint: Endpoint) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(endpoint, NOW, (FIRST, FAILING))
    assert rows(endpoint, "SELECT number FROM schema_migrations") == [(1,)]
    assert rows(endpoint, "SELECT to_regclass('half')") == [(None,)]
    assert migrate(endpoint, NOW, (FIRST, SECOND)) == [SECOND]


def test_an_edited_file_is_refused(endpoint: Endpoint) -> None:
    migrate(endpoint, NOW, (FIRST,))
    edited = Migration(1, FIRST.name, FIRST.statements + b" ")
    with pytest.raises(Conflict, match="0001") as caught:
        migrate(endpoint, NOW, (edited, SECOND))
    assert caught.value.code == "migration_changed"
    assert rows(endpoint, "SELECT number FROM schema_migrations") == [(1,)]


def test_a_database_of_a_newer_program_is_refused(endpoint: Endpoint) -> None:
    migrate(endpoint, NOW, (FIRST, SECOND))
    with pytest.raises(Conflict) as caught:
        migrate(endpoint, NOW, (FIRST,))
    assert caught.value.code == "database_newer_than_program"


def test_runs_at_the_same_moment_apply_each_once(endpoint: Endpoint) -> None:
    slow = Migration(1, "create_shelves", b"CREATE TABLE shelves (shelf text); SELECT pg_sleep(0.1)")
    applied: list[list[Migration]] = []
    threads = [
        threading.Thread(target=lambda: applied.append(migrate(endpoint, NOW, (slow,)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, 1]


def test_it_gives_up_rather_than_block_the_traffic(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.db.migration.LOCK_TIMEOUT", "50ms")
    migrate(endpoint, NOW, (FIRST,))
    with psycopg.connect(endpoint.owner) as traffic:
        traffic.execute("SELECT * FROM shelves")
        with pytest.raises(Unavailable, match="lock timeout"):
            migrate(endpoint, NOW, (FIRST, SECOND))
    assert migrate(endpoint, NOW, (FIRST, SECOND)) == [SECOND]


def test_the_application_can_neither_write_the_history_nor_change_the_schema(endpoint: Endpoint) -> None:
    migrate(endpoint, NOW)
    with psycopg.connect(endpoint.app, autocommit=True) as conn:
        conn.execute("SET ROLE farthing_app")
        for statement in (
            "INSERT INTO schema_migrations VALUES (9999, 'x', 'x', now())",
            "DELETE FROM schema_migrations",
            "CREATE TABLE mine (a int)",
            "DROP TABLE invoices",
            "ALTER TABLE invoices DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
