"""Segments are put in order beside everything else: questions are answered the same before, during and after."""

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from random import Random

import pytest
from event_works import EventWorks, event, open_event_works

from farthing.catalog.service import put_meter
from farthing.customers.apply import apply
from farthing.db import Books
from farthing.events.engine import _Engine
from farthing.events.ids.run_merging import RunMerge
from farthing.events.pace import BEHIND_EVENTS
from farthing.events.sealing import sealer
from farthing.events.segments import compaction
from farthing.events.segments.rewrite import compact, merge
from farthing.events.store import books as rows
from farthing.kernel.instant import parse_instant
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

METER = {
    "key": "units", "event_type": "call", "aggregation": "sum", "value": "data.n",
    "dimensions": {"model": "data.model"},
}  # fmt: skip
FROM, TO = parse_instant("2026-01-01T00:00:00Z", ""), parse_instant("2026-07-01T00:00:00Z", "")


@pytest.fixture
def works(books: Books, tenant_id: int, now: datetime) -> Iterator[EventWorks]:
    customers = [
        {
            "key": f"c{place}",
            "name": "C",
            "currency": "USD",
            "timezone": "UTC",
            "aliases": [f"a{place}", f"é{place}"],
        }
        for place in range(4)
    ]
    apply(books, tenant_id, {"meters": [METER], "customers": customers}, now)
    with open_event_works(books, now) as works:
        yield works


def some(random: Random, first: int, count: int) -> list[dict[str, object]]:
    subjects = ["c0", "c1", "a1", "é1", "c2", "a2", "c3", "stranger", "", "0", "zzz"]
    return [
        event(
            f"e{number}",
            {"n": random.choice(["1", "2.5", "1000000000000"]), "model": random.choice("xy")},
            subject=random.choice(subjects),
            time=f"2026-0{random.randint(1, 6)}-{random.randint(1, 28):02d}T00:00:00Z",
            type=random.choice(["call", "call", "other"]),
        )
        for number in range(first, first + count)
    ]


def answers(works: EventWorks, tenant_id: int) -> list[object]:
    queries = [
        UsageQuery("units", FROM, TO, group_by=("customer", "model")),
        *(UsageQuery("units", FROM, TO, customer=f"c{place}") for place in range(4)),
        UsageQuery(
            "units", FROM, parse_instant("2026-02-01T00:00:00Z", ""), customer="c1", group_by=("model",)
        ),
    ]
    found: list[object] = []
    for query in queries:
        groups = query_usage(works.books, works.store, tenant_id, query, works.now)
        found.append(
            sorted((sorted(map(str, row.group.items())), row.quantity, row.events) for row in groups)
        )
    return found


@pytest.mark.parametrize("events_per_file", [3, 40, 1000])
def test_answers_stay_and_files_follow_each_other(
    works: EventWorks, tenant_id: int, events_per_file: int
) -> None:
    random = Random(events_per_file)
    for first in range(0, 200, 50):
        works.take(tenant_id, some(random, first, 50))
    before, stored = (
        answers(works, tenant_id),
        works.stored(tenant_id, "source, id, type, subject, time, data"),
    )
    old = works.segments(tenant_id)
    for _ in range(2):  # what is in order can be put in order again
        assert merge(
            works.books, works.store, tenant_id, works.segments(tenant_id), works.now, events_per_file
        )
        assert answers(works, tenant_id) == before
        assert works.stored(tenant_id, "source, id, type, subject, time, data") == stored
        works.check(tenant_id)
    made = works.segments(tenant_id)
    assert len(made) == 1 if events_per_file == 1000 else len(made) > 4
    assert len({one.merge_id for one in made}) == 1
    # A customer's question opens fewer files than there are; a stranger's, those of its place in the order.
    with works.books.read_only(tenant_id) as conn:
        asked = rows.segments(conn, tenant_id, event_type="call", subjects=["c3"])
        assert len(asked) <= len(made)
        if events_per_file == 3:
            assert 0 < len(asked) < len(made) // 2
        assert rows.segments(conn, tenant_id, event_type="call", subjects=["\U0001f600"]) == []
        assert rows.segments(conn, tenant_id, event_type="nothing", subjects=["c3"]) == []
    # The files of before are there for whoever is reading them.
    assert all((works.store.data_dir / one.path).exists() for one in old)


def test_two_that_merge_the_same_segments_do_it_once(works: EventWorks, tenant_id: int) -> None:
    works.take(tenant_id, some(Random(1), 0, 60))
    works.take(tenant_id, some(Random(2), 60, 60))
    before, old = answers(works, tenant_id), works.segments(tenant_id)
    results: list[bool] = []
    gate = threading.Barrier(2)

    def run() -> None:
        gate.wait()
        results.append(merge(works.books, works.store, tenant_id, old, works.now))

    racers = [threading.Thread(target=run) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(results) == [False, True]
    assert answers(works, tenant_id) == before
    works.check(tenant_id)


def test_one_that_has_no_more_time_changes_nothing(works: EventWorks, tenant_id: int) -> None:
    works.take(tenant_id, some(Random(1), 0, 60))
    old = works.segments(tenant_id)
    calls = iter([False, False, True])
    assert not merge(
        works.books, works.store, tenant_id, old, works.now, 3, stopped=lambda: next(calls, True)
    )
    assert works.segments(tenant_id) == old
    works.check(tenant_id)


def test_answers_are_right_while_events_come_in_and_segments_are_merged(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is a moment's: it counts each batch that was sealed before it was asked, and none by half."""
    monkeypatch.setattr(compaction, "SMALL_SEGMENTS_MAX", 2)
    stop, failures = threading.Event(), list[Exception]()

    def merging() -> None:
        try:
            while not stop.is_set():
                compact(works.books, works.store, tenant_id, works.now)
        except Exception as error:  # noqa: BLE001  asserted on below
            failures.append(error)

    batch = [
        event("", {"n": "1", "model": "x"}, subject=f"c{place % 4}", time="2026-03-05T00:00:00Z")
        for place in range(20)
    ]
    merger = threading.Thread(target=merging)
    merger.start()
    try:
        for number in range(15):
            works.take(tenant_id, [one | {"id": f"{number}-{place}"} for place, one in enumerate(batch)])
            groups = query_usage(
                works.books,
                works.store,
                tenant_id,
                UsageQuery("units", FROM, TO, group_by=("customer",)),
                works.now,
            )
            assert sorted(int(row.quantity) for row in groups) == [5 * (number + 1)] * 4
    finally:
        stop.set()
        merger.join()
    assert failures == []
    assert len(works.segments(tenant_id)) < 15
    works.check(tenant_id)


def test_a_meter_that_is_made_later_is_filled_in_before_anything_is_merged(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_SEGMENTS_MAX", 1)
    works.take(tenant_id, some(Random(1), 0, 40))
    works.take(tenant_id, some(Random(2), 40, 40))
    put_meter(works.books, tenant_id, METER | {"key": "late", "value": "data.m"}, works.now)
    assert compact(works.books, works.store, tenant_id, works.now) == 0
    assert query_usage(works.books, works.store, tenant_id, UsageQuery("late", FROM, TO), works.now) == []
    assert compact(works.books, works.store, tenant_id, works.now) == 2
    works.check(tenant_id)


def test_a_large_merge_of_ids_does_not_hold_up_sealing(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "IDS_MERGED_HERE_MAX", 0)
    begun, go_on = threading.Event(), threading.Event()
    write = RunMerge.write

    def slow(self: RunMerge, data_dir: object) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return write(self, data_dir)  # type: ignore[arg-type]

    monkeypatch.setattr(RunMerge, "write", slow)
    for number in range(12):  # the eighth run begins a merge; more come while it lasts
        assert works.take(tenant_id, [event(f"i{number}", {"n": 1, "model": "x"})]) == (1, 0, 0)
    assert begun.is_set()
    again = [event(f"i{number}", {"n": 1, "model": "x"}) for number in range(12)]
    assert works.take(tenant_id, again) == (0, 12, 0)
    with works.books.read_only(tenant_id) as conn:
        assert len(rows.id_runs(conn, tenant_id)) == 12
    go_on.set()
    works.sealer.take_merged(works.now, wait=True)
    with works.books.read_only(tenant_id) as conn:
        assert sorted(run.ids for run in rows.id_runs(conn, tenant_id)) == [1, 1, 1, 1, 8]
    assert works.take(tenant_id, again) == (0, 12, 0)
    works.restart()
    assert works.take(tenant_id, again) == (0, 12, 0)


def test_a_merge_that_fails_is_told_and_the_runs_stand(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "IDS_MERGED_HERE_MAX", 0)

    def fail(self: RunMerge, data_dir: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RunMerge, "write", fail)

    def eight_runs() -> None:
        for number in range(8):
            works.take(tenant_id, [event(f"i{number}", {"n": 1, "model": "x"})])
        works.sealer.take_merged(works.now, wait=True)

    with pytest.raises(OSError, match="Input/output"):
        eight_runs()
    monkeypatch.undo()
    works.restart()
    works.seal()
    works.append(tenant_id, [event("i3", {"n": 1, "model": "x"})])
    works.seal()
    assert works.tally(tenant_id)["duplicate"] == 1
    works.check(tenant_id)


def test_segments_are_put_together_once_sealing_is_not_behind_any_more(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_SEGMENTS_MAX", 1)
    for number in range(3):
        works.take(tenant_id, [event(str(number), {"n": 1})])
    engine = _Engine(
        works.books,
        works.store,
        works.lateness,
        threading.Event(),
        lambda: works.now,
        lambda: [tenant_id],
        86_400,
    )
    engine.pace.note(BEHIND_EVENTS, time.monotonic())
    engine._compact(works.store, tenant_id)
    assert len(works.segments(tenant_id)) == 3
    engine.pace.note(BEHIND_EVENTS - 1, time.monotonic())
    engine._compact(works.store, tenant_id)
    assert len(works.segments(tenant_id)) == 1
