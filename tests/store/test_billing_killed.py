"""A billing run that is killed in the middle, a real process with a real SIGKILL, and finished by another."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan

from farthing.db import Books
from farthing.db.tenants import create_tenant

CUSTOMERS = 100
KILLS = 4

_RUN = """
import sys
from datetime import datetime
from pathlib import Path
from farthing.db import open_books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import batches, service

batches.INVOICES_PER_TRANSACTION = 5
now = datetime.fromisoformat(sys.argv[4])
until = datetime.fromisoformat(sys.argv[5])
with open_books(Path(sys.argv[1]), None, now=now) as books:
    store = EventStore(Path(sys.argv[2]), threads=1, memory_limit="500MB")
    service.run_billing(
        books, store, int(sys.argv[3]), until, now, lambda done, due: print(done, flush=True)
    )
print("finished", flush=True)
"""


@pytest.fixture
def worlds(books: Books, now: datetime, tmp_path: Path) -> Iterator[list[World]]:
    """The same customers, events and clock twice."""
    worlds = []
    for copy in ("killed", "whole"):
        tenant_id = create_tenant(books, f"{copy}-{tmp_path.name}", "Northwind", now)
        world = World(books, open_store(tmp_path / copy), tenant_id, now)
        names = [f"customer-{number:03d}" for number in range(CUSTOMERS)]
        world.furnish(
            [plan(PER_TOKEN, fee("49", "advance"))], [{"customer": n, "plan": "payg"} for n in names]
        )
        world.use_all([(name, day, "400000", {}) for name in names for day in ("2026-01-10", "2026-02-10")])
        worlds.append(world)
    yield worlds
    for world in worlds:
        world.store.close()


def texts(world: World) -> list[str]:
    with world.books.read_only(world.tenant_id) as conn:
        found = conn.execute("SELECT number, document FROM invoices ORDER BY number").fetchall()
    return [row["document"] for row in found]


def test_a_run_that_is_killed_and_finished_issues_the_same_invoices(
    worlds: list[World], books_dir: Path
) -> None:
    killed, whole = worlds
    until = instant("2026-03-01")
    command = [
        sys.executable, "-c", _RUN, str(books_dir), str(killed.store.data_dir), str(killed.tenant_id),
        killed.now.isoformat(), until.isoformat(),
    ]  # fmt: skip
    for kill in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(kill + 1):  # let it issue a few batches, then cut it off wherever it is
                assert process.stdout.readline().strip().isdigit()
            process.kill()
    some = len(texts(killed))
    assert 0 < some < 3 * CUSTOMERS, "it was killed in the middle"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole.bill("2026-03-01")
    assert texts(killed) == texts(whole)
    assert len(texts(whole)) == 3 * CUSTOMERS
    assert killed.bill("2026-03-01").issued == []
