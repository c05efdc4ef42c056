"""What drawing reads grows with its customers, not with their square, also of a tenant that nobody has analysed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from billing_world import PER_TOKEN, instant, plan
from wallet_world import WalletWorld, wallet_world

from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.db.tenants import create_tenant
from farthing.kernel.quantity import plain
from farthing.ledger.facts import GrantFunded
from farthing.ledger.recipes import grant_funded
from farthing.ledger.service import post
from farthing.wallets import draw_store as rows
from farthing.wallets import schedule_store
from farthing.wallets.model import EVERYTHING, GrantContent
from farthing.wallets.store import grant_row, insert_grants

CUSTOMERS = [f"customer-{place}" for place in range(1500)]
"""Of a table of less than some 700 wallets PostgreSQL may as well read all of its few pages for each one."""
ONCE_EACH = len(CUSTOMERS)


@pytest.fixture
def world(books: Books, owner: psycopg.Connection, now: datetime, tmp_path: Path) -> Iterator[WalletWorld]:
    """A tenant that the statistics do not know, while they know the tables well: from before it came."""
    with owner.transaction():
        owner.execute("ANALYZE")
    tenant_id = create_tenant(books, f"unanalysed-{tmp_path.name}", "Unanalysed", now)
    found = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    found.furnish([plan(PER_TOKEN)], [{"customer": key, "plan": "payg"} for key in CUSTOMERS])
    _fund(found)
    yield found
    found.store.close()


def _fund(world: WalletWorld) -> None:
    """A wallet with a paid grant of 10 for every customer, all of them at once."""
    content = GrantContent("", True, Decimal(10), 1, EVERYTHING, world.now, None, "")
    with world.books.transaction(world.tenant_id) as conn:
        made = conn.execute(
            "INSERT INTO wallets (tenant_id, key, customer_id, name, currency, priority, balance_state, created_at)"
            " SELECT tenant_id, key, customer_id, name, 'USD', 1, 'funded', %s FROM customers"
            " RETURNING wallet_id, customer_id, key",
            [world.now],
        ).fetchall()
        grants = [
            grant_row(replace(content, key=one["key"]), one["wallet_id"], one["customer_id"], world.now, b"")
            for one in made
        ]
        insert_grants(conn, world.tenant_id, grants, world.now)
        facts = [
            GrantFunded(one["key"], one["customer_id"], "USD", Decimal(10), True, world.now) for one in made
        ]
        post(conn, world.tenant_id, [grant_funded(one) for one in facts], world.now)


def reads(conn: BooksConnection, table: str, work: Callable[[], object]) -> int:
    """How many rows of a table the work reads."""

    def so_far() -> int:
        row = conn.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_xact_user_tables"
            " WHERE relname = %s",
            [table],
        ).fetchone()
        assert row is not None
        return int(row["read"])

    before = so_far()
    work()
    return so_far() - before


def test_locking_grants_looks_up_each_wallet_and_account_once(world: WalletWorld) -> None:
    with world.books.transaction(world.tenant_id) as conn:
        found = conn.execute("SELECT customer_id FROM customers ORDER BY customer_id").fetchall()
        ids = [row["customer_id"] for row in found]
        assert reads(conn, "wallets", lambda: rows.lock_open_grants(conn, world.tenant_id, ids)) == ONCE_EACH

        def lock() -> None:
            lone = rows.lock_lone_grants(conn, world.tenant_id, ids, world.now, world.now)
            assert sorted(lone.customer_ids) == ids

        assert reads(conn, "wallets", lock) == ONCE_EACH
        assert reads(conn, "accounts", lock) == ONCE_EACH


def test_the_schedule_does_not_compare_each_with_each(world: WalletWorld) -> None:
    with world.books.read_only(world.tenant_id) as conn:

        def ask() -> None:
            (alike,) = schedule_store.select_alike(conn, world.tenant_id)
            assert len(alike.subscription_ids) == len(CUSTOMERS)

        # Other tenants' customers may be read as well, once.
        assert reads(conn, "customers", ask) < ONCE_EACH**2 / 10


def test_summing_up_looks_up_each_subscription_once(world: WalletWorld) -> None:
    for key in CUSTOMERS[:4]:
        world.use(key, "2026-01-09", "100")
    with world.books.transaction(world.tenant_id) as conn:
        assert reads(conn, "subscriptions", lambda: rows.fund_charges(conn)) == 4
        funded = conn.execute("SELECT DISTINCT amount FROM charge_funding").fetchall()
        assert [plain(row["amount"]) for row in funded] == ["0.00025"]
        assert conn.execute("SELECT count(*) AS draws FROM draws_to_fund").fetchone() == {"draws": 0}
