"""Thousands of payments through a gateway that loses calls and answers, fails late, charges back, and tells twice.

FARTHING_SIMULATED_PAYMENTS says how many; 5,000 unless it does.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import World, open_store
from payments_world import DUE, SECRET, PaymentsWorld

from farthing.db import Books
from farthing.kernel.quantity import exact
from farthing.ledger.chart import Code
from farthing.payments.checks import check_payments
from farthing.payments.gateway import Movement, MovementKind
from farthing.payments.reconciling.service import reconcile
from farthing.payments.service import put_policy
from farthing.payments.webhooks.service import read_message, take_events

COUNT = int(os.environ.get("FARTHING_SIMULATED_PAYMENTS", "5000"))
MISCHIEF = {
    "lost_before": 60, "lost_after": 60, "declined": 150, "processing": 100, "late_failure": 200,
    "charged_back": 10, "told_twice": 200, "told_never": 200,
}  # fmt: skip


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


def give_everybody_a_card(house: PaymentsWorld) -> None:
    with house.books.transaction(house.tenant_id) as conn:
        conn.execute(
            """
            INSERT INTO payment_methods (tenant_id, key, customer_id, gateway, kind, label, reference, is_default,
                                         created_at)
            SELECT tenant_id, key, customer_id, 'fake', 'card', 'Card', 'tok', true, created_at FROM customers
            """
        )


def hear_all(house: PaymentsWorld) -> Counter[str]:
    """Every message through the door that checks it; what they say is taken a thousand at a time."""
    events = []
    for headers, body in house.fake.webhooks(house.now):
        events += read_message({house.tenant_id: house.gateways}, "fake", headers, body, house.now)[1]
    effects: Counter[str] = Counter()
    for first in range(0, len(events), 1000):
        some = events[first : first + 1000]
        effects += take_events(house.books, house.tenant_id, "fake", some, house.now)
    return effects


def total(moves: list[Movement], kind: MovementKind) -> D:
    with exact():
        return sum((move.amount for move in moves if move.kind is kind), D(0))


def test_no_payment_is_captured_twice_and_all_are_resolved(house: PaymentsWorld) -> None:
    house.owe({f"c{number}": f"{1 + number % 7}.{number % 10}0" for number in range(COUNT)})
    give_everybody_a_card(house)
    house.misbehave(seed=7, **MISCHIEF)
    policy = {"retry_after_days": [1, 2, 2], "suspend_after_days": 3}
    put_policy(house.books, house.tenant_id, policy, house.now)
    for day in range(7):
        for minutes in (0, 5):
            house.collect(DUE + timedelta(days=day, minutes=minutes))
        house.fake.settle_processing()
        hear_all(house)
    # The last days are quiet ones: what is still not known is found out.
    house.fake.mischief = type(house.fake.mischief)()
    for hours in (25, 49, 73, 97):
        house.collect(DUE + timedelta(days=7, hours=hours))
        house.fake.settle_processing()
        hear_all(house)
    house.collect(DUE + timedelta(days=14))

    with house.books.read_only(house.tenant_id) as conn:
        states = Counter(
            {row["state"]: row["n"] for row in conn.execute(
                "SELECT state, count(*) AS n FROM payments GROUP BY state").fetchall()}
        )  # fmt: skip
        succeeded = {row["key"] for row in conn.execute(
            "SELECT key FROM payments WHERE state = 'succeeded' AND purpose = 'invoice'").fetchall()}  # fmt: skip
    assert set(states) <= {"succeeded", "failed"}
    assert sum(states.values()) == COUNT
    # What the gateway captured is what we say succeeded, and each of it once.
    assert set(house.fake.captures.values()) == {1}
    assert set(house.fake.captures) == succeeded
    assert len(succeeded) > COUNT * 9 // 10
    moves = house.fake.moves
    with exact():
        kept = total(moves, MovementKind.PAYMENT) - total(moves, MovementKind.FEE)
    disputes = [move for move in moves if move.kind is MovementKind.DISPUTE]
    told = _disputes_told(house)
    assert len(told) <= len(disputes)
    with exact():
        taken = sum((amount + fee for amount, fee in told), D(0))
        assert house.balance(Code.PROVIDER_CLEARING) == kept - taken
    house.check()
    assert check_payments(house.books, house.tenant_id).findings == ()


def _disputes_told(house: PaymentsWorld) -> list[tuple[D, D]]:
    """Those whose message was not lost; the others are found by the reconciliation."""
    with house.books.read_only(house.tenant_id) as conn:
        rows = conn.execute("SELECT amount, fee FROM disputes").fetchall()
    return [(row["amount"], row["fee"]) for row in rows]


def test_the_secret_of_the_simulation_is_not_in_the_books(house: PaymentsWorld) -> None:
    house.owe({"acme": "5"})
    house.method("acme")
    house.collect(DUE)
    house.hear()
    with house.books.read_only(house.tenant_id) as conn:
        for table in ("payments", "payment_methods", "provider_events", "payment_attempts"):
            rows = conn.execute(f"SELECT * FROM {table}").fetchall()
            assert SECRET not in repr(rows)


def test_the_reconciliation_finds_what_only_one_side_says(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "50", "cato": "25"})
    for name in ("acme", "bolt", "cato"):
        house.method(name)
    house.collect(DUE)
    house.hear()
    start, end = DUE - timedelta(days=1), DUE + timedelta(days=1)
    clean = reconcile(house.books, house.tenant_id, house.fake, start, end)
    assert (clean.matched, clean.differences) == (6, [])
    assert clean.totals[MovementKind.PAYMENT, "USD"] == (D("175.00"), D("175.00"))
    house.fake.charge_back("collect:INV-000001:1")  # and its message is lost
    house.fake.webhooks(house.now)
    moves = house.fake.moves
    stray = Movement("stray", MovementKind.PAYMENT, "fake_stray", D(9), "USD", DUE)
    lost = next(move for move in moves if move.amount == D("50.00"))
    twice = next(move for move in moves if move.amount == D("25.00"))
    moves += [stray, twice]
    moves.remove(lost)
    found = reconcile(house.books, house.tenant_id, house.fake, start, end)
    assert sorted((one.reason, one.kind.value, one.key) for one in found.differences if one.key) == [
        ("moved_twice", "payment", "collect:INV-000003:1"),
        ("unknown_there", "payment", "collect:INV-000002:1"),
    ]
    assert sorted((one.kind.value, one.theirs) for one in found.differences if not one.key) == [
        ("dispute", D("100.00")),
        ("dispute_fee", D(15)),
        ("payment", D(9)),
    ]
