"""What PostgreSQL believes of a tenant does not depend on when the tables were last analysed.

Believed to have a row or two, a tenant with many is read by comparing each row with each: its first billing run, of
5,000 customers, took eight times as long as that of a tenant that was there before.
"""

from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from farthing.db import Books
from farthing.db.tenants import create_tenant

TENANT_TABLES = """
    SELECT c.relname, coalesce(a.attstattarget, -1)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname
"""
CHECKS_OF_STATEMENTS = """
    SELECT DISTINCT p.proname, p.prosrc
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE t.tgnewtable IS NOT NULL OR t.tgoldtable IS NOT NULL ORDER BY p.proname
"""
BELIEVED_OF_A_TENANT = 200
"""The share of a table that PostgreSQL takes a value for whose values it has not counted: one two hundredth."""


def test_no_table_has_its_tenants_counted(owner: psycopg.Connection) -> None:
    targets = dict(owner.execute(TENANT_TABLES).fetchall())
    assert len(targets) > 70
    assert {table for table, target in targets.items() if target != 0} == set()


@pytest.fixture
def customers_counted(books: Books, owner: psycopg.Connection, now: datetime, tmp_path: Path) -> int:
    """How many customers the statistics know of: those of a tenant with many."""
    tenant_id = create_tenant(books, f"counted-{tmp_path.name}", "Counted", now)
    with books.transaction(tenant_id) as conn:
        conn.execute(
            "INSERT INTO customers (tenant_id, key, name, currency, timezone, created_at, updated_at)"
            " SELECT %(tenant)s, 'c' || n, '', 'USD', 'UTC', %(now)s, %(now)s FROM generate_series(1, 10000) AS n",
            {"tenant": tenant_id, "now": now},
        )
    with owner.transaction():
        owner.execute("ANALYZE customers")
    found = owner.execute("SELECT reltuples FROM pg_class WHERE relname = 'customers'").fetchone()
    assert found is not None
    return int(found[0])


def test_a_tenant_that_nobody_counted_is_believed_to_have_its_share(
    books: Books, customers_counted: int, tenant_id: int
) -> None:
    with books.read_only(tenant_id) as conn:
        row = conn.execute("EXPLAIN (FORMAT JSON) SELECT FROM customers").fetchone()
    assert row is not None
    believed = row["QUERY PLAN"][0]["Plan"]["Plan Rows"]
    assert believed == pytest.approx(customers_counted / BELIEVED_OF_A_TENANT, rel=0.02)


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
