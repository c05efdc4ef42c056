"""What a billing run reads grows with its bills, not with their square, also of a tenant that nobody has analysed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from billing_world import World, fee, instant, open_store, plan
from test_draws_unanalysed import reads

from farthing.customers.store import select_subscriptions_begun
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing import booking_store

FEES = [fee("7.25", key="first"), fee("7.25", key="second")]
CUSTOMERS = [f"customer-{place}" for place in range(600)]
SOME = 20
CHECKS_OF_STATEMENTS = """
    SELECT DISTINCT p.proname, p.prosrc
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE t.tgnewtable IS NOT NULL OR t.tgoldtable IS NOT NULL ORDER BY p.proname
"""


def billed(books: Books, name: str, now: datetime, directory: Path) -> World:
    """A tenant with a bill for each of its customers."""
    tenant_id = create_tenant(books, f"{name}-{directory.name}", name, now)
    found = World(books, open_store(directory / name), tenant_id, instant("2026-02-02"))
    found.furnish([plan(*FEES)], [{"customer": key, "plan": "payg"} for key in CUSTOMERS])
    assert len(found.bill("2026-02-01T00:00:00Z").issued) == len(CUSTOMERS)
    return found


@pytest.fixture
def world(books: Books, owner: psycopg.Connection, now: datetime, tmp_path: Path) -> Iterator[World]:
    """A tenant that came after the tables were analysed, while another one with as many customers was there."""
    billed(books, "known", now, tmp_path).store.close()
    with owner.transaction():
        owner.execute("ANALYZE")
    found = billed(books, "unknown", now, tmp_path)
    yield found
    found.store.close()


def test_each_subscription_finds_its_customer_at_once(world: World) -> None:
    with world.books.read_only(world.tenant_id) as conn:

        def ask() -> None:
            begun = select_subscriptions_begun(conn, world.tenant_id, instant("2026-02-02"))
            assert len(begun) == len(CUSTOMERS)

        assert reads(conn, "customers", ask) == len(CUSTOMERS)


def test_what_is_booked_reads_the_invoices_that_it_books(world: World) -> None:
    with world.books.read_only(world.tenant_id) as conn:
        newest = conn.execute("SELECT invoice_id FROM invoices ORDER BY invoice_id DESC LIMIT %s", [SOME])
        ids = [row["invoice_id"] for row in newest]

        def ask() -> None:
            found = booking_store.select_issued_of(conn, world.tenant_id, ids)
            assert [row["invoice_id"] for row in found] == ids[::-1]
            assert {str(row["earned"] + row["deferred"]) for row in found} == {"14.50"}

        # Of a tenant with a row or two, as it believes, PostgreSQL may as well look through them all: once.
        assert reads(conn, "invoices", ask) <= len(CUSTOMERS)
        assert reads(conn, "invoice_lines", ask) == SOME * len(FEES)


def test_checks_of_whole_statements_do_not_hope_for_an_early_find(owner: psycopg.Connection) -> None:
    """LIMIT 1 after a join makes PostgreSQL take the plan that is quickest to a first row, where there is none."""
    hopeful = {
        name
        for name, source in owner.execute(CHECKS_OF_STATEMENTS).fetchall()
        for statement in source.split(";")
        if " JOIN " in statement and statement.rstrip().endswith("LIMIT 1") and "ORDER BY" not in statement
    }
    # Of grants that payments make, a handful at a time, and summed up first.
    assert hopeful == {"check_payment_grants"}
