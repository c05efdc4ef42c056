"""An id index that is lost or damaged is made anew from the segments, and repeats are found as before."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from billing_world import World, instant, open_store

from farthing.db import Books
from farthing.events.checks import check_conservation, check_files
from farthing.events.intake.formats import parse_lines
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.sealing.sealer import Sealer, only_sealer, repair_index
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.segments.rewrite import rewrite
from farthing.events.store import books as rows
from farthing.events.store.duckdb import Lateness
from farthing.events.store.identities import segment_identities
from farthing.kernel.errors import Corrupt, Unavailable
from farthing.kernel.instant import unix_microseconds

LATENESS = Lateness(4 * 10**9, 10**9)

EVENTS: list[dict[str, Any]] = [
    {"id": "plain", "subject": "acme", "time": "2026-01-10T00:00:00Z", "data": {"tokens": 1}},
    {"id": "no time", "subject": "acme", "data": {"tokens": 1.50}},
    {"id": "no subject", "time": "2026-01-10T00:00:00.123456Z", "data": None},
    {"id": "nothing at all"},
    {"id": "signs \x00 \u2028 é 日本 💶", "subject": "\x00", "data": {"text": 'a"b\\c\n', "deep": [{}]}},
    {"id": "before 1970", "time": "1969-12-31T23:59:59.999999Z", "subject": "3:abc"},
    {"id": "offset", "time": "2026-01-10T05:30:00+05:30", "subject": "-"},
]


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    """All the events, counted: half of them in one segment, half in another."""
    world = World(books, open_store(tmp_path), tenant_id, now)
    assert send(world, EVENTS[::2]) == (4, 0, 0)
    assert send(world, EVENTS[1::2]) == (3, 0, 0)
    yield world
    world.store.close()


def send(
    world: World, events: list[dict[str, Any]], at: str = "2026-01-20", **sealer: Any
) -> tuple[int, int, int]:
    """Have events sealed: how many were counted, duplicate, in quarantine."""
    lines = b"".join(
        json.dumps({"source": "test", "type": "call", "specversion": "1.0"} | event).encode() + b"\n"
        for event in events
    )
    batch = parse_lines(lines)
    assert not batch.rejected
    header = BlockHeader(
        block=1, tenant=world.tenant_id, kind="events", received_us=unix_microseconds(instant(at)),
        events=batch.accepted, bytes=len(batch.lines), origin="test",
    )  # fmt: skip
    writer = LogWriter(world.store.data_dir / "log", f"test-{uuid.uuid4().hex}")
    writer.append(encode_block(header, batch.lines)).result()
    writer.close()
    with only_sealer(world.store.data_dir) as alone:
        assert alone
        report = Sealer(world.books, world.store, world.store.data_dir / "log", LATENESS, **sealer).seal_next(
            world.now
        )
    assert report is not None
    return report.counted, report.duplicate, report.quarantined


def runs(world: World) -> list[Path]:
    with world.books.read_only(world.tenant_id) as conn:
        return [world.store.data_dir / run.path for run in rows.id_runs(conn, world.tenant_id)]


def flip(path: Path) -> None:
    """One bit of an id, where only the checksum tells."""
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 8),
    "empty": lambda path: os.truncate(path, 0),
    "a bit flipped": flip,
    "of an older form": lambda path: path.write_bytes(path.read_bytes().replace(b"FARTHIDS2", b"FARTHIDS1")),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("how_many", [1, 2])
def test_repeats_and_conflicts_are_found_as_before(world: World, damage: str, how_many: int) -> None:
    for path in runs(world)[:how_many]:
        DAMAGE[damage](path)
    told: list[tuple[int, Corrupt]] = []
    # Received at another time, which is no part of what an event says.
    assert send(
        world, EVENTS, at="2026-02-20", on_rebuilt=lambda tenant, error: told.append((tenant, error))
    ) == (0, 7, 0)
    assert [(tenant, error.code) for tenant, error in told] == [(world.tenant_id, "id_run_damaged")]
    other = [event | {"data": {"tokens": "other"}} for event in EVENTS]
    assert send(world, other) == (0, 0, 7)
    assert send(world, [{"id": "new"}], on_rebuilt=pytest.fail) == (1, 0, 0)
    assert check_conservation(world.books, world.tenant_id).findings == ()
    assert check_files(world.books, world.store.data_dir, world.tenant_id).findings == ()


@pytest.mark.parametrize(
    "changed",
    [{"subject": "globex"}, {"time": "2026-01-10T00:00:01Z"}, {"type": "other"}, {"data": {"tokens": 1.0}}],
)
def test_each_part_of_what_an_event_says_is_compared(world: World, changed: dict[str, Any]) -> None:
    assert send(world, [EVENTS[0] | changed]) == (0, 0, 1)


def test_one_instant_is_one_time_however_it_is_written(world: World) -> None:
    assert send(world, [EVENTS[0] | {"time": "2026-01-10T01:00:00.000+01:00"}]) == (0, 1, 0)


def test_a_time_that_is_left_out_is_not_the_time_of_receipt(world: World) -> None:
    assert send(world, [{**EVENTS[1], "time": "2026-01-20T00:00:00Z"}]) == (0, 0, 1)


def test_the_hashes_of_a_rewritten_segment_are_those_of_the_log(world: World) -> None:
    def hashes() -> np.ndarray:
        with world.books.read_only(world.tenant_id) as conn:
            found = rows.segments(conn, world.tenant_id)
        paths = [world.store.data_dir / segment.path for segment in found]
        columns = segment_identities(world.store.cursor(), paths)
        order = np.argsort(columns.keys)
        return np.stack([columns.keys[order], columns.checks[order], columns.contents[order]])

    before = hashes()
    with world.books.read_only(world.tenant_id) as conn:
        old = rows.segments(conn, world.tenant_id)
    assert rewrite(world.books, world.store, world.tenant_id, old, wanted_columns([]), world.now)
    assert (hashes() == before).all()


def test_doctor_repairs_it_when_nobody_seals(world: World) -> None:
    assert repair_index(world.books, world.store, world.tenant_id, world.now) is None
    path = runs(world)[0]
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with only_sealer(world.store.data_dir), pytest.raises(Unavailable):
        repair_index(world.books, world.store, world.tenant_id, world.now)
    assert repair_index(world.books, world.store, world.tenant_id, world.now) == 7
    assert repair_index(world.books, world.store, world.tenant_id, world.now) is None


def test_it_is_not_made_from_fewer_segments_than_there_were(world: World) -> None:
    for path in (*runs(world), *(world.store.data_dir / "segments").glob("*/*")):
        path.unlink()
    with pytest.raises(Corrupt, match="7 counted events") as refused:
        send(world, EVENTS)
    assert refused.value.code == "segment_damaged"
