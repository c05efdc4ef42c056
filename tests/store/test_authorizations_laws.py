"""Authorisations in the books: what a crash leaves, who comes first, whose price, which period, which grant."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from billing_world import PER_TOKEN, instant, plan
from hold_world import HoldWorld, authorize, event, hold_world, release, settle

from farthing.customers.life import change_subscription
from farthing.db import Books
from farthing.kernel.errors import Conflict
from farthing.wallets.holds.batch_store import HOLDS_KEY, TURN, Batch, write_batch
from farthing.wallets.holds.model import Asked, Done, Insufficient, Priced, Status
from farthing.wallets.holds.service import Authorizations
from farthing.wallets.holds.store import Movement

D = Decimal
ACME = {"customer": "acme", "plan": "payg"}
DEAR = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.1"}}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[HoldWorld]:
    found = hold_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    found.furnish([plan(DEAR)], [ACME])
    found.wallet()
    found.grant("g", "10", effective_at="2026-01-01T00:00:00Z")
    yield found
    found.check()
    found.store.close()


def later(world: HoldWorld, seconds: int) -> None:
    world.now += timedelta(seconds=seconds)


def test_an_event_that_a_crash_kept_from_the_log_counts_once(world: HoldWorld) -> None:
    world.hold(authorize("a", "50"))
    # The process dies between the commit and the log.
    world.authorizations.apply(world.tenant_id, [settle("a", "e", "20")], world.now)
    world.seal()
    assert world.counters("g") == ("0", "2", "0")
    assert world.append_again() == 0
    later(world, 11)
    assert world.append_again() == 1
    later(world, 11)
    assert world.append_again() == 1  # It was not sealed meanwhile; both are in the log now.
    world.seal()
    assert world.counters("g") == ("0", "0", "2")
    later(world, 11)
    assert world.append_again() == 0
    again = world.hold(settle("a", "e", "20"))
    assert (again.status.value, again.cost) == ("counted", D(2))


def test_an_event_that_is_sent_by_itself_too_counts_once(world: HoldWorld) -> None:
    world.hold(authorize("a", "50"))
    world.hold(settle("a", "e", "20"))
    world.send([event("e", "20")])
    assert world.counters("g") == ("0", "0", "2")


def test_what_was_counted_by_itself_before_is_let_go(world: HoldWorld) -> None:
    world.hold(authorize("a", "50"))
    world.send([event("e", "20")])
    assert world.counters("g") == ("5", "0", "2")
    world.hold(settle("a", "e", "20"))
    assert world.counters("g") == ("0", "2", "2")
    world.seal()
    assert world.counters("g") == ("0", "0", "2")


def test_several_workers_agree_on_one_key(world: HoldWorld) -> None:
    """Each with its own memory, at the same moment: it is held once, and the others are told so."""
    workers = [Authorizations(world.books) for _ in range(6)]
    for number in range(5):
        asked = authorize(f"a{number}", "10")
        with ThreadPoolExecutor(len(workers)) as threads:
            found = list(
                threads.map(lambda one, asked=asked: one.apply(world.tenant_id, [asked], world.now), workers)
            )
        outcomes = [outcomes[0] for outcomes, _ in found]
        assert all(isinstance(one, Done) for one in outcomes), outcomes
        assert sum(not one.again for one in outcomes) == 1
    assert world.counters("g") == ("5", "0", "0")
    with ThreadPoolExecutor(len(workers)) as threads:
        settled = list(
            threads.map(lambda one: one.apply(world.tenant_id, [settle("a0", "e", "1")], world.now), workers)
        )
    assert sum(len(events) for _, events in settled) == 1
    assert world.counters("g") == ("4", "0.1", "0")
    world.log_settled([one for _, events in settled for one in events])
    world.seal()


def test_a_batch_closes_when_its_turn_has_come(world: HoldWorld) -> None:
    """What is asked while another process has the turn is in the batch, and of another tenant nobody waits."""
    waiting: list[Asked] = [authorize("a", "10")]
    closed = threading.Event()

    def gather() -> tuple[list[Asked], datetime]:
        closed.set()
        return waiting, world.now

    with ThreadPoolExecutor(1) as thread:
        with world.books.in_turn(world.tenant_id, TURN), world.books.in_turn(world.tenant_id + 1, TURN):
            work = thread.submit(world.authorizations.apply_next, world.tenant_id, gather)
            while not _who_waits_for_a_turn(world.books):
                assert not work.done()
            assert not closed.is_set()
            waiting.append(authorize("b", "20"))
        outcomes, _ = work.result()
    assert [one.hold.amount for one in outcomes if isinstance(one, Done)] == [D(1), D(2)]
    assert world.counters("g") == ("3", "0", "0")


def _who_waits_for_a_turn(books: Books) -> int:
    with books.operator_transaction() as conn:
        row = conn.execute(
            "SELECT count(*) AS waiting FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert row is not None
    return int(row["waiting"])


def test_an_authorisation_ends_once(world: HoldWorld) -> None:
    """Whatever a batch has read before: what ended an authorisation stays, and nothing of the batch is written."""
    held = world.hold(authorize("a", "10"))
    world.hold(settle("a", "e", "4"))
    released = world.hold(authorize("b", "10"))
    world.hold(release("b"))
    ended = {"status": Status.SETTLED, "ended_at": world.now, "cost": D(1), "covered": D(1)}
    named = {"settled_parts": held.held_parts, "event_source": "api", "event_id": "f", "event_hash": b"f"}
    second = [(hold._replace(**ended, **named), b"{}") for hold in (held, released)]
    free = world.of("g").grant_id
    for batch in (
        Batch([], second[:1], [], [Movement(free, D(1), D(0))]),
        Batch([], second[1:], [], [Movement(free, D(1), D(0))]),
        Batch([], [], ["a"], [Movement(free, D(1), D(0))]),
    ):
        with (
            pytest.raises(psycopg.errors.RestrictViolation),
            world.books.transaction(world.tenant_id) as conn,
        ):
            write_batch(conn, world.tenant_id, batch, world.now)
    again = Batch([held], [], [], [Movement(free, D(1), D(0))])
    with (
        pytest.raises(psycopg.errors.UniqueViolation, match=HOLDS_KEY),
        world.books.transaction(world.tenant_id) as conn,
    ):
        write_batch(conn, world.tenant_id, again, world.now)
    assert world.counters("g") == ("0", "0.4", "0")
    world.seal()


def test_another_price_counts_from_the_next_request_on(world: HoldWorld) -> None:
    assert world.hold(authorize("a", "10")).amount == D(1)
    change = {
        "kind": "override",
        "key": "dearer",
        "overrides": {"tokens": {"model": "per_unit", "unit_price": "0.2"}},
    }
    change_subscription(world.books, world.tenant_id, "acme-payg", change, world.now)
    assert world.hold(authorize("b", "10")).amount == D(2)
    pause = {"kind": "pause", "key": "pause"}
    change_subscription(world.books, world.tenant_id, "acme-payg", pause, world.now)
    (refused,) = world.ask(authorize("c", "10"))
    assert isinstance(refused, Conflict)
    assert refused.code == "not_subscribed"


def test_a_call_that_ends_in_the_next_period_is_drawn_there(world: HoldWorld) -> None:
    world.now = instant("2026-01-31T23:59:00Z")
    assert world.hold(authorize("a", "10")).held_parts[0].period_start == instant("2026-01-01")
    later(world, 120)
    held = world.hold(settle("a", "e", "10"))
    assert held.settled_parts[0].period_start == instant("2026-02-01")
    world.seal()
    assert world.counters("g") == ("0", "0", "1")


def test_only_grants_that_cover_the_usage_hold_it(world: HoldWorld) -> None:
    world.grant("other", "100", meters=["something"], effective_at="2026-01-01T00:00:00Z")
    world.grant("tokens", "1", kind="promotional", meters=["tokens"], effective_at="2026-01-01T00:00:00Z")
    assert world.hold(authorize("a", "105")).amount == D("10.5")
    assert (world.counters("tokens")[0], world.counters("g")[0], world.counters("other")[0]) == (
        "1",
        "9.5",
        "0",
    )
    (refused,) = world.ask(authorize("b", "6"))
    assert refused == Insufficient(D("0.6"), D("0.5"), "USD")
    (priced,) = world.ask(authorize("b", "6", check=True))
    assert priced == Priced("acme", D("0.6"), D("0.5"), "USD", None)


def test_what_is_held_can_be_settled_after_its_grant_has_expired(world: HoldWorld) -> None:
    world.grant(
        "short",
        "1",
        kind="promotional",
        effective_at="2026-01-01T00:00:00Z",
        expires_at="2026-01-10T00:01:00Z",
    )
    world.hold(authorize("a", "20"))
    assert world.counters("short")[0] == "1"
    later(world, 90)
    assert world.hold(settle("a", "e", "10")).covered == D(1)
    world.seal()
    assert world.counters("short") == ("0", "0", "1")
    assert world.counters("g") == ("0", "0", "0")


def test_windows_of_time_are_held_at_the_dearest_and_settled_at_their_own(
    world: HoldWorld, books: Books
) -> None:
    night = {"name": "night", "to": "06:00", "price": {"model": "per_unit", "unit_price": "0.05"}}
    tou = {
        "model": "time_of_use", "timezone": "UTC", "windows": [night],
        "default": {"model": "per_unit", "unit_price": "0.3"},
    }  # fmt: skip
    change = {"kind": "override", "key": "tou", "overrides": {"tokens": tou}}
    change_subscription(world.books, world.tenant_id, "acme-payg", change, world.now)
    assert world.hold(authorize("a", "10")).amount == D(3)
    assert world.hold(settle("a", "e", "10")).cost == D("0.5")
    world.seal()
    assert world.counters("g") == ("0", "0", "0.5")


def test_a_clock_that_goes_backwards_brings_nothing_back(world: HoldWorld) -> None:
    world.hold(authorize("a", "10", ttl_seconds=60))
    later(world, 60)
    (late,) = world.ask(settle("a", "e", "10"))
    assert getattr(late, "code", None) == "authorization_expired"
    assert world.expire() == 1
    later(world, -3600)
    (late,) = world.ask(settle("a", "e", "10"))
    assert getattr(late, "code", None) == "authorization_expired"
    assert world.hold(authorize("b", "10", ttl_seconds=60)).created_at == world.now
    assert world.expire() == 0
    assert world.hold(release("a")).status.value == "expired"
    assert world.counters("g") == ("1", "0", "0")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE holds SET amount = 1", "DELETE FROM holds", "UPDATE spending_limits SET level = 'project'",
        "UPDATE holds SET status = 'held', ended_at = NULL WHERE status = 'released'",
        "UPDATE grants SET held = 1000", "UPDATE grants SET held = -1",
    ],
)  # fmt: skip
def test_the_database_itself_refuses(world: HoldWorld, statement: str) -> None:
    world.hold(authorize("a", "10"))
    world.hold(release("a"))
    with pytest.raises(psycopg.Error), world.books.transaction(world.tenant_id) as conn:
        conn.execute(statement)
