"""Events that are old enough and billed are removed; totals, invoices and the knowledge of what was counted stand."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from billing_world import PER_TOKEN, World, instant, open_store, plan

from farthing.db import Books
from farthing.events.checks import check_conservation, check_corrections, check_counted_once, check_files
from farthing.events.ids.checks import check_index
from farthing.events.model import VOID_TYPE
from farthing.events.sealing.sealer import sweep
from farthing.events.segments.rewrite import merge
from farthing.events.store import books as event_rows
from farthing.events.store.books import Segment
from farthing.invoicing.explaining.service import explain_line
from farthing.keeping.service import Removal, keep_days, remove_expired, set_keep_days
from farthing.kernel.errors import Corrupt, InvalidInput, NotFound
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

JANUARY, FEBRUARY, MARCH = instant("2026-01-01"), instant("2026-02-01"), instant("2026-03-01")
NOTHING = Removal(0, 0, 0)


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    """Acme uses tokens in January and in October; it is November 23."""
    world = World(books, open_store(tmp_path), tenant_id, now)
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "1000000")
    world.use("stranger", "2026-01-11", "7")
    world.use("acme", "2026-10-10", "2000000")
    yield world
    world.store.close()


def segments(world: World) -> list[Segment]:
    with world.books.read_only(world.tenant_id) as conn:
        return event_rows.segments(conn, world.tenant_id)


def keep(world: World, days: int | None) -> None:
    set_keep_days(world.books, world.tenant_id, days, world.now)


def remove(world: World, **how: bool) -> Removal:
    return remove_expired(world.books, world.store, world.tenant_id, world.now, **how)


def used(world: World, start: datetime, end: datetime) -> list[int]:
    query = UsageQuery("tokens", start, end, customer="acme")
    return [
        int(row.quantity) for row in query_usage(world.books, world.store, world.tenant_id, query, world.now)
    ]


def lawful(world: World) -> None:
    for found in (
        check_conservation(world.books, world.tenant_id),
        check_files(world.books, world.store.data_dir, world.tenant_id),
        check_counted_once(world.books, world.store, world.tenant_id),
        check_index(world.books, world.store, world.tenant_id, lambda _done, _total: None),
    ):
        assert found.findings == ()


def test_for_ever_unless_somebody_says_otherwise(world: World) -> None:
    assert keep_days(world.books, world.tenant_id) is None
    assert remove(world) == NOTHING
    keep(world, 30)
    assert keep_days(world.books, world.tenant_id) == 30
    keep(world, None)
    assert remove(world) == NOTHING
    for days in (0, -1, 36_601):
        with pytest.raises(InvalidInput, match="days must be a whole number from 1 to 36600"):
            keep(world, days)


def test_what_is_billed_and_old_enough_goes_and_everything_else_stands(world: World) -> None:
    keep(world, 100)
    assert remove(world) == Removal(1, 1, 1)  # the stranger's event; acme's January has no invoice yet
    assert world.bill("2026-11-01").issued == ["INV-000001", "INV-000002"]
    assert remove(world, pretend=True) == Removal(1, 1, 0)
    assert len(segments(world)) == 2
    assert remove(world) == Removal(1, 1, 0)
    assert remove(world) == NOTHING
    (left,) = segments(world)
    lawful(world)
    # The next sweep takes the files, and nothing of them is left.
    sweep(world.books, world.store.data_dir, [world.tenant_id], world.now + timedelta(days=3650), 3600)
    there = [
        str(path.relative_to(world.store.data_dir)) for path in world.store.data_dir.glob("segments/*/*")
    ]
    assert there == [left.path]
    lawful(world)

    assert used(world, instant("2026-10-01"), instant("2026-11-01")) == [2_000_000]
    with pytest.raises(NotFound, match=r"up to 2026-01-11T12:00:00Z were removed") as gone:
        used(world, JANUARY, FEBRUARY)
    assert gone.value.code == "events_removed"
    with pytest.raises(NotFound, match="were removed"):
        explain_line(world.books, world.store, world.tenant_id, "INV-000001", 1, limit=5)
    # Billing goes on where it was, and bills nothing anew.
    assert world.bill("2026-11-01").issued == []
    world.use("acme", "2026-11-02", "4")
    assert world.bill("2026-12-01").issued == ["INV-000003"]


def test_a_repeat_of_what_was_removed_does_not_count_again(world: World) -> None:
    world.bill("2026-11-01")
    keep(world, 100)
    assert remove(world).events == 2
    with world.books.read_only(world.tenant_id) as conn:
        before = event_rows.tally(conn, world.tenant_id)
    again = replace(world, _ids=iter(range(3)))  # type: ignore[arg-type]
    again.use("acme", "2026-01-10", "1000000")
    again.use("stranger", "2026-01-11", "8")  # the same id with other content
    with world.books.read_only(world.tenant_id) as conn:
        after = event_rows.tally(conn, world.tenant_id)
    assert {name: after[name] - before[name] for name in after} == {
        "accepted": 2, "counted": 0, "duplicate": 1, "quarantined": 1,
    }  # fmt: skip
    lawful(world)


def test_a_period_that_is_going_on_keeps_its_events(world: World) -> None:
    yearly = plan(PER_TOKEN, key="yearly", interval="year")
    world.furnish([plan(PER_TOKEN), yearly], [{"customer": "globex", "plan": "yearly"}])
    world.use("globex", "2026-01-12", "5")
    world.bill("2026-11-01")
    keep(world, 100)
    assert remove(world) == Removal(2, 2, 1)
    # The year is billed with what was used in its first month.
    (number,) = world.bill("2027-01-01").issued
    assert number
    assert remove(world) == Removal(1, 1, 0)
    lawful(world)


def test_an_index_that_cannot_be_made_anew_any_more_is_refused_by_name(world: World) -> None:
    world.bill("2026-11-01")
    keep(world, 100)
    assert remove(world).events == 2
    with world.books.read_only(world.tenant_id) as conn:
        run = event_rows.id_runs(conn, world.tenant_id)[0]
    file = world.store.data_dir / run.path
    was = file.read_bytes()
    file.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
    with pytest.raises(Corrupt, match=r"segments of 2 events were removed.*from a backup") as refused:
        world.use("acme", "2026-11-03", "1")
    assert refused.value.code == "id_run_damaged"
    file.write_bytes(was)
    world.use("acme", "2026-11-03", "1")
    lawful(world)


def test_removing_and_merging_race_and_one_of_them_wins(world: World) -> None:
    world.bill("2026-11-01")
    keep(world, 100)
    old = segments(world)
    gate, merged = threading.Barrier(2), list[bool]()

    def merging() -> None:
        gate.wait()
        merged.append(merge(world.books, world.store, world.tenant_id, old, world.now))

    racer = threading.Thread(target=merging)
    racer.start()
    gate.wait()
    found = remove(world)
    racer.join()
    # A merge of everything has October in it, so that nothing of it is old enough.
    assert (found.events, merged) in ((2, [False]), (0, [True]))
    lawful(world)


def test_what_was_removed_is_a_fact_of_its_own(world: World, owner: psycopg.Connection) -> None:
    world.bill("2026-11-01")
    keep(world, 100)
    remove(world)
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    with pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute("UPDATE removed_segments SET events = 1")


def test_a_void_outlives_its_event_and_what_is_gone_is_corrected_no_more(world: World) -> None:
    """Acme's event of January is voided, and both are removed; the other removed one can only be left as it is."""
    void = {"specversion": "1.0", "id": "v", "source": "test", "type": VOID_TYPE, "corrects": "0",
            "time": "2026-01-12T00:00:00Z"}  # fmt: skip
    world.send([void])
    world.bill("2026-11-01")
    keep(world, 100)
    assert remove(world) == Removal(3, 3, 0)
    assert check_corrections(world.books, world.store, world.tenant_id).findings == ()
    lawful(world)

    late = {**void, "time": "2026-11-20T00:00:00Z"}
    stranger = world.events([("stranger", "2026-11-20", "8", {})])[0]
    world.send([
        void,  # a repeat of what stands
        late | {"id": "v2", "corrects": "0"},
        late | {"id": "v3", "corrects": "1"},
        stranger | {"id": "1-again", "corrects": "1"},
        late | {"id": "v4", "corrects": "2"},  # of October, which is there
        late | {"id": "v5", "corrects": "never seen"},
    ])  # fmt: skip
    with world.books.read_only(world.tenant_id) as conn:
        assert event_rows.quarantine_reasons(conn, world.tenant_id) == {
            "already_corrected": 1,
            "corrects_a_removed": 2,
        }
        assert event_rows.tally(conn, world.tenant_id)["duplicate"] == 1
    assert used(world, instant("2026-10-01"), instant("2026-11-01")) == []
    assert check_corrections(world.books, world.store, world.tenant_id).findings == ()
    lawful(world)
