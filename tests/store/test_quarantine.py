"""Quarantined events are retried or dropped, and at every moment everything is accounted for."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from billing_world import LATENESS, TOKENS, World, open_store

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.events.checks import check_conservation, check_sealed_log
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.resolve import drop, open_events, outcome_of, resend
from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.service import Account, account, quarantined, quarantined_event
from farthing.events.store.duckdb import Lateness
from farthing.kernel.errors import Conflict, NotFound

EARLIER = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    """Of four events one counts, one lacks its value, one contradicts the first, and one is ahead of its time."""
    world = World(books, open_store(tmp_path), tenant_id, now)
    put_meter(books, tenant_id, TOKENS, now)
    append(world, event("a", {"tokens": 1}), event("b", {"token": 2}), event("a", {"tokens": 9}),
           event("c", {"tokens": 4}, time="2026-11-23T11:00:00Z"))  # fmt: skip
    seal(world, Lateness(10**9, 3600))
    yield world
    world.store.close()


def event(event_id: str, data: dict[str, Any], **more: str) -> bytes:
    attributes = {"id": event_id, "source": "test", "type": "llm.completion", "specversion": "1.0"}
    return json.dumps(attributes | more | {"data": data}, separators=(",", ":")).encode() + b"\n"


def append(world: World, *lines: bytes) -> None:
    """Acknowledged on the 20th, each in a block of its own."""
    with_writer = writer(world)
    for line in lines:
        header = BlockHeader(
            block=1, tenant=world.tenant_id, kind="events", received_us=int(EARLIER.timestamp()) * 1_000_000,
            events=1, bytes=len(line), origin="http",
        )  # fmt: skip
        with_writer.append(encode_block(header, line)).result()
    with_writer.close()


def writer(world: World) -> LogWriter:
    return LogWriter(world.store.data_dir / "log", f"test-{uuid.uuid4().hex}")


def seal(world: World, lateness: Lateness = LATENESS) -> None:
    with only_sealer(world.store.data_dir) as alone:
        assert alone
        sealer = Sealer(world.books, world.store, world.store.data_dir / "log", lateness)
        while sealer.seal_next(world.now):
            pass


def balance(world: World) -> Account:
    """The account, which adds up, as doctor says too."""
    found = account(world.books, world.store.data_dir / "log", world.tenant_id)
    assert found.accepted == found.counted + found.duplicate + found.quarantined + found.waiting
    assert found.quarantined == sum(found.quarantined_by_state.values())
    assert check_conservation(world.books, world.tenant_id).findings == ()
    log_dir = world.store.data_dir / "log"
    assert check_sealed_log(world.books, log_dir, [world.tenant_id]).findings == ()
    return found


def sent(world: World, ids: list[int], corrected: bytes | None = None) -> Any:
    log = writer(world)
    try:
        return resend(world.books, world.tenant_id, log, ids, world.now, corrected)
    finally:
        log.close()


def ids_of(world: World, reason: str) -> list[int]:
    return open_events(world.books, world.tenant_id, reason)


def test_a_corrected_event_counts_and_closes_the_old_entry(world: World) -> None:
    (lacking,) = ids_of(world, "missing_value")
    log = sent(world, [lacking], b' {"id":"b","source":"test","type":"llm.completion","specversion":"1.0",\n'
               b'"data":{"tokens":2}}')  # fmt: skip
    assert balance(world).waiting == 1
    assert ids_of(world, "missing_value") == [lacking], "open until the seal that says what became of it"
    seal(world)
    found = balance(world)
    assert (found.accepted, found.counted, found.quarantined) == (5, 2, 3)
    assert found.quarantined_by_state == {"open": 2, "retried": 1, "dropped": 0}
    assert quarantined_event(world.books, world.tenant_id, lacking)["resolution"] == "retried"
    assert outcome_of(world.books, world.tenant_id, log.log_files).counted == 1


def test_without_a_correction_it_comes_back_as_an_entry_that_points_to_the_old_one(world: World) -> None:
    (conflict,) = ids_of(world, "conflict")
    sent(world, [conflict])
    seal(world)
    (again,) = ids_of(world, "conflict")
    assert again > conflict
    assert quarantined_event(world.books, world.tenant_id, again)["origin"] == f"retry of {conflict}"
    assert balance(world).quarantined_by_state == {"open": 3, "retried": 1, "dropped": 0}


def test_an_event_keeps_its_moment_and_what_was_too_early_is_judged_anew(world: World) -> None:
    (early,) = ids_of(world, "too_early")
    (lacking,) = ids_of(world, "missing_value")
    sent(world, [early])
    sent(world, [lacking], event("b", {"tokens": 2}))
    seal(world, Lateness(2 * 3600, 60))
    times = world.store.cursor().execute(
        "SELECT id, time FROM read_parquet(?) ORDER BY id",
        [str(world.store.data_dir / "segments" / str(world.tenant_id) / "*.parquet")],
    )
    plain = EARLIER.replace(tzinfo=None)
    assert times.fetchall() == [("a", plain), ("b", plain), ("c", datetime(2026, 11, 23, 11))]


def test_retried_twice_before_it_is_sealed_it_counts_once(world: World) -> None:
    (early,) = ids_of(world, "too_early")
    for _ in range(2):
        sent(world, [early])
    seal(world)
    found = balance(world)
    assert (found.accepted, found.counted, found.duplicate, found.quarantined) == (6, 2, 1, 3)
    assert found.quarantined_by_state["retried"] == 1
    with pytest.raises(Conflict, match="was retried"):
        sent(world, [early])


def test_a_retry_whose_seal_fails_is_sealed_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (early,) = ids_of(world, "too_early")
    sent(world, [early])
    with monkeypatch.context() as patched:
        patched.setattr("farthing.events.store.books.insert_run", _fail)
        with pytest.raises(InterruptedError):
            seal(world)
    found = balance(world)
    assert (found.waiting, found.quarantined_by_state["open"]) == (1, 3)
    seal(world)
    assert balance(world).quarantined_by_state == {"open": 2, "retried": 1, "dropped": 0}


def _fail(*_: object) -> None:
    raise InterruptedError


def test_bytes_that_are_no_event_stay_open(world: World) -> None:
    (lacking,) = ids_of(world, "missing_value")
    found = sent(world, [lacking], b'{"id":')
    assert found.events == 0
    assert [refused.quarantine_id for refused in found.refused] == [lacking]
    two = b"[" + event("x", {}) + b"," + event("y", {}) + b"]"
    assert "2 events" in sent(world, [lacking], two).refused[0].message
    assert balance(world).quarantined_by_state["open"] == 3


def test_dropped_is_seen_among_the_resolved_and_never_retried(world: World) -> None:
    books, tenant_id = world.books, world.tenant_id
    conflict = ids_of(world, "conflict")
    assert drop(books, tenant_id, conflict, world.now) == 1
    assert drop(books, tenant_id, conflict, world.now) == 0
    assert balance(world).quarantined_by_state == {"open": 2, "retried": 0, "dropped": 1}
    page = {"reason": None, "after": 0, "limit": 9}
    resolved = quarantined(books, tenant_id, resolved=True, **page)
    assert [(row["quarantine_id"], row["resolution"]) for row in resolved] == [(conflict[0], "dropped")]
    still = quarantined(books, tenant_id, resolved=False, **page)
    assert [row["reason"] for row in still] == ["missing_value", "too_early"]
    with pytest.raises(Conflict, match="was dropped"):
        sent(world, conflict)


def test_an_entry_of_another_tenant_is_not_there(world: World, books: Books) -> None:
    (conflict,) = ids_of(world, "conflict")
    with pytest.raises(NotFound):
        drop(books, 1, [conflict], world.now)
