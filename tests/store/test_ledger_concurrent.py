"""Sixteen posters on one account, the same facts from many sides, and a poster that is killed in the middle."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal as D

import pytest
from ledger_world import LedgerWorld, furnished

from farthing.db import Books, open_books
from farthing.ledger.chart import Code
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.model import Posted
from farthing.ledger.service import trial_balance

POSTERS = 16
BATCHES = 4
BATCH = 25


@pytest.fixture
def world(books_dir, books: Books, tenant_id: int, now: datetime):
    """With a connection for each poster."""
    with open_books(books_dir, None, now=now, pool_size=POSTERS) as many:
        yield furnished(many, tenant_id, now)


def findings(world: LedgerWorld) -> tuple[str, ...]:
    checks = (check_transfers_balance, check_balances)
    return tuple(finding for check in checks for finding in check(world.books, world.tenant_id).findings)


def test_sixteen_posters_on_one_hot_account(world: LedgerWorld) -> None:
    """All of them at cash, and each at the customers in an order of its own: nobody waits in a circle."""
    at_once = threading.Barrier(POSTERS)
    customers = list(world.customers)

    def run(poster: int) -> list[Posted]:
        at_once.wait()
        turned = customers[poster % 3 :] + customers[: poster % 3]
        return [
            world.post(
                *[
                    world.moved(
                        f"p-{poster}-{batch}-{place}",
                        D(place + 1) / D(10**7),
                        credit=world.account(Code.RECEIVABLE, turned[place % 3]),
                    )
                    for place in range(BATCH)
                ]
            )
            for batch in range(BATCHES)
        ]

    with ThreadPoolExecutor(POSTERS) as posters:
        done = [posted for some in posters.map(run, range(POSTERS)) for posted in some]
    assert done == [Posted(BATCH, 0)] * (POSTERS * BATCHES)
    # Each batch is 1 + 2 + ... + 25 = 325 ten-millionths.
    total = D(325 * POSTERS * BATCHES) / D(10**7)
    assert world.balances()["cash", None, "USD"] == total
    assert trial_balance(world.books, world.tenant_id).totals == {"USD": (total, total)}
    assert findings(world) == ()


def test_the_same_facts_from_sixteen_sides_are_booked_once(world: LedgerWorld) -> None:
    facts = [world.moved(f"p-{place}", place + 1) for place in range(50)]
    at_once = threading.Barrier(POSTERS)

    def run(poster: int) -> Posted:
        at_once.wait()
        return world.post(*(facts if poster % 2 else reversed(facts)))

    with ThreadPoolExecutor(POSTERS) as posters:
        done = list(posters.map(run, range(POSTERS)))
    assert sum(posted.booked for posted in done) == 50
    assert sum(posted.repeated for posted in done) == 50 * (POSTERS - 1)
    assert world.balances()["cash", None, "USD"] == D(50 * 51 // 2)
    assert findings(world) == ()


_POST = """
import sys
from datetime import datetime
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from ledger_world import LedgerWorld
from farthing.db import open_books

now = datetime.fromisoformat(sys.argv[3])
with open_books(Path(sys.argv[1]), None, now=now, pool_size=2) as books:
    world = LedgerWorld(books, int(sys.argv[2]), now, {"acme": int(sys.argv[4])})
    for batch in range(100):
        world.post(*[world.moved(f"p-{batch}-{place}", "0.0000325") for place in range(100)])
        print(batch, flush=True)
"""


def test_a_poster_that_is_killed_leaves_whole_batches(
    world: LedgerWorld, books_dir, request: pytest.FixtureRequest
) -> None:
    here = str(request.path.parent)
    given = [str(books_dir), str(world.tenant_id), world.now.isoformat(), str(world.customers["acme"]), here]
    told = -1
    for life in range(2):
        process = subprocess.Popen([sys.executable, "-c", _POST, *given], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            told = max(told, int(line))
            if int(line) >= 3 * (life + 1):
                process.kill()
                break
        process.stdout.close()
        process.wait(30)
        booked = world.balances()["cash", None, "USD"] / D("0.0000325")
        assert booked % 100 == 0, "a batch is booked whole or not at all"
        assert booked / 100 >= told + 1, "what was told to be booked is booked"
        assert findings(world) == ()
