"""The doors to the books: one transaction each, with its tenant."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from farthing.db import Books, open_books
from farthing.db.tenants import DEFAULT_TENANT_ID, create_tenant, list_tenants
from farthing.db.tenants import tenant_id as tenant_id_of
from farthing.kernel.errors import Conflict, InvalidInput, NotFound, Unavailable

COUNT = "INSERT INTO invoice_counters (tenant_id, last_number) VALUES (%s, %s)"


def last_numbers(books: Books, tenant_id: int) -> list[int]:
    with books.read_only(tenant_id) as conn:
        return [row["last_number"] for row in conn.execute("SELECT last_number FROM invoice_counters")]


def test_a_transaction_commits_at_its_end(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        conn.execute(COUNT, [tenant_id, 7])
        assert last_numbers(books, tenant_id) == []
    assert last_numbers(books, tenant_id) == [7]


def test_an_error_undoes_the_transaction_and_leaves_it_unchanged(books: Books, tenant_id: int) -> None:
    def change_my_mind(conn: psycopg.Connection) -> None:
        conn.execute(COUNT, [tenant_id, 7])
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"), books.transaction(tenant_id) as conn:
        change_my_mind(conn)
    assert last_numbers(books, tenant_id) == []


def test_a_unique_violation_is_left_to_the_caller(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        conn.execute(COUNT, [tenant_id, 7])
    with pytest.raises(psycopg.errors.UniqueViolation), books.transaction(tenant_id) as conn:
        conn.execute(COUNT, [tenant_id, 8])


def test_no_one_commits_half_of_a_transaction(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        conn.execute(COUNT, [tenant_id, 7])
        with pytest.raises(psycopg.ProgrammingError, match="commit"):
            conn.commit()
        assert last_numbers(books, tenant_id) == []


def test_read_only_refuses_writes(books: Books, tenant_id: int) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), books.read_only(tenant_id) as conn:
        conn.execute(COUNT, [tenant_id, 7])


def test_read_only_sees_one_moment(books: Books, tenant_id: int) -> None:
    with books.read_only(tenant_id) as reader:
        assert reader.execute("SELECT count(*) AS n FROM invoice_counters").fetchone() == {"n": 0}
        with books.transaction(tenant_id) as writer:
            writer.execute(COUNT, [tenant_id, 7])
        assert reader.execute("SELECT count(*) AS n FROM invoice_counters").fetchone() == {"n": 0}
    assert last_numbers(books, tenant_id) == [7]


def test_the_tenant_does_not_outlive_its_transaction(books_dir: Path, tenant_id: int, now: datetime) -> None:
    with open_books(books_dir, None, now=now, pool_size=1) as books:
        with books.transaction(tenant_id) as conn:
            pid = conn.info.backend_pid
            assert conn.execute("SELECT current_tenant() AS t").fetchone() == {"t": tenant_id}
        with books.operator_transaction() as conn:
            assert conn.info.backend_pid == pid, "the same connection, from the pool"
            assert conn.execute("SELECT current_tenant() AS t").fetchone() == {"t": None}


def test_numbers_in_json_are_read_exactly(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        row = conn.execute(
            """SELECT '{"price": 0.1000000000000000055511151231257827021181583404541}'::jsonb AS j"""
        )
        assert row.fetchone() == {
            "j": {"price": Decimal("0.1000000000000000055511151231257827021181583404541")}
        }
        with pytest.raises(TypeError):  # and an amount is written as text, or not at all
            conn.execute("SELECT %s", [Jsonb({"price": Decimal("0.1")})])


def test_times_are_read_in_utc(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        row = conn.execute("SELECT timestamptz '2026-03-29 02:30:00+02' AS t").fetchone()
    assert row is not None
    assert row["t"] == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert row["t"].tzinfo is UTC


def test_an_outage_in_the_middle_is_unavailable_and_the_next_transaction_works(
    books: Books, tenant_id: int
) -> None:
    with pytest.raises(Unavailable) as caught, books.transaction(tenant_id) as conn:
        conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.code == "database_unavailable"
    assert last_numbers(books, tenant_id) == []


def test_the_default_tenant_is_always_there(books: Books) -> None:
    assert tenant_id_of(books, "default") == DEFAULT_TENANT_ID == 1


def test_a_new_tenant_has_an_id_of_its_own(books: Books, now: datetime) -> None:
    first = create_tenant(books, "first-seller", "First Seller Inc.", now)
    second = create_tenant(books, "second-seller", "Second Seller Inc.", now)
    assert 1 < first < second
    assert tenant_id_of(books, "second-seller") == second
    listed = {tenant.key: tenant for tenant in list_tenants(books)}
    assert listed["first-seller"].name == "First Seller Inc."
    assert listed["first-seller"].created_at == now


def test_a_tenants_key_is_its_own_for_ever(books: Books, now: datetime) -> None:
    create_tenant(books, "only-once", "Only Once Inc.", now)
    with pytest.raises(Conflict, match="only-once") as caught:
        create_tenant(books, "only-once", "Again Inc.", now)
    assert caught.value.code == "tenant_exists"


def test_all_faults_of_a_tenant_are_named_at_once(books: Books, now: datetime) -> None:
    with pytest.raises(InvalidInput) as caught:
        create_tenant(books, "", "Line\nbreak", now)
    assert caught.value.code == "invalid_tenant"
    assert [fault.path for fault in caught.value.faults] == ["key", "name"]


def test_an_unknown_tenant_is_not_found(books: Books) -> None:
    with pytest.raises(NotFound) as caught:
        tenant_id_of(books, "nobody")
    assert caught.value.code == "tenant_not_found"


def test_a_connection_that_its_server_has_ended_is_not_handed_out(
    books: Books, tenant_id: int, eventually: Callable[[Callable[[], object]], None]
) -> None:
    with books.transaction(tenant_id) as conn:
        ended = conn.info.backend_pid
        conn.execute("SET idle_session_timeout = 1")
    with psycopg.connect(books.endpoint.app, autocommit=True) as watching:
        still = "SELECT FROM pg_stat_activity WHERE pid = %s"
        eventually(lambda: watching.execute(still, [ended]).fetchone() is None)
    with books.transaction(tenant_id) as conn:
        assert conn.info.backend_pid != ended
        conn.execute(COUNT, [tenant_id, 7])
    assert last_numbers(books, tenant_id) == [7]
