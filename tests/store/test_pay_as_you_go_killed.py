"""Charging what has accrued, killed wherever it may be, a real process with a real SIGKILL, and done again."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, World, instant, open_store, plan

from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.db.tenants import create_tenant
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums

CUSTOMERS = 20
CENT = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.333"}}
FIFTY = {"mode": "pay_as_you_go", "threshold": "50"}
DAYS = range(2, 5)

# Dies at the n-th of the places at which something has just become, or is about to become, true.
_CHARGE = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from farthing.db import open_books
from farthing.db.pool import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import batches
from farthing.invoicing.accrued.service import charge_accrued

batches.INVOICES_PER_TRANSACTION = 7
left = int(sys.argv[5])

def passing():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

committed = Books.transaction

class Watched:
    def __init__(self, made):
        self.made = made
    def __enter__(self):
        return self.made.__enter__()
    def __exit__(self, *raised):
        passing()
        left_with = self.made.__exit__(*raised)
        passing()
        return left_with

Books.transaction = lambda books, tenant_id: Watched(committed(books, tenant_id))
now = datetime.fromisoformat(sys.argv[4])
with open_books(Path(sys.argv[1]), None, now=now) as books:
    store = EventStore(Path(sys.argv[2]), threads=1, memory_limit="500MB")
    charge_accrued(books, store, int(sys.argv[3]), now)
print("finished", flush=True)
"""


@pytest.fixture
def worlds(books: Books, now: datetime, tmp_path: Path) -> Iterator[list[World]]:
    """The same customers, events and clock twice."""
    worlds = []
    names = [f"customer-{number:03d}" for number in range(CUSTOMERS)]
    for copy in ("killed", "whole"):
        tenant_id = create_tenant(books, f"{copy}-{tmp_path.name}", "Northwind", now)
        world = World(books, open_store(tmp_path / copy), tenant_id, now)
        world.furnish([plan(CENT, collection=FIFTY)], [{"customer": n, "plan": "payg"} for n in names])
        worlds.append(world)
    yield worlds
    for world in worlds:
        world.store.close()


def documents(world: World) -> list[str]:
    with world.books.read_only(world.tenant_id) as conn:
        return [
            row["document"]
            for row in conn.execute("SELECT document FROM invoices ORDER BY invoice_id").fetchall()
        ]


def test_a_charge_that_is_killed_anywhere_and_done_again_is_made_once(
    worlds: list[World], books_dir: Path
) -> None:
    killed, whole = worlds
    names = [f"customer-{number:03d}" for number in range(CUSTOMERS)]
    deaths = 0
    for day in DAYS:
        at = instant(f"2026-01-{day + 1:02d}")
        for world in worlds:
            world.use_all([(name, f"2026-01-{day:02d}", "151", {}) for name in names])
        for place in range(1, 30):
            command = [
                sys.executable, "-c", _CHARGE, str(books_dir), str(killed.store.data_dir),
                str(killed.tenant_id), at.isoformat(), str(2 * place + day % 2 - 1),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                assert done.stdout == "finished\n"
                break
            assert done.returncode == -9, done.stderr
            deaths += 1
        charge_accrued(whole.books, whole.store, whole.tenant_id, at)
        assert documents(killed) == documents(whole)
    assert deaths > 2 * len(DAYS), "it died at several places of every day"
    assert len(documents(whole)) == CUSTOMERS * len(DAYS)
    for world in worlds:
        world.bill("2026-02-01")
        for check in (check_sums, check_numbers, check_documents, check_booked):
            assert check(world.books, world.tenant_id).findings == ()
    assert documents(killed) == documents(whole)
    told, expected = (
        [one.fact.subject for one in facts_after(world.books, world.tenant_id, 0, 1000, "charge.due")]
        for world in worlds
    )
    assert told == expected
    assert len(set(told)) == len(told)
