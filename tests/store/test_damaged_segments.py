"""A segment that is not what was written makes no sum smaller: what needs its events fails and says which."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.events.checks import check_files
from farthing.events.sealing.sealer import sweep
from farthing.events.segments.compaction import SMALL_SEGMENTS_MAX
from farthing.events.segments.damage import known_damage
from farthing.events.segments.rewrite import compact
from farthing.events.segments.verified import MEMORY, VerifiedFiles
from farthing.events.store import books as rows
from farthing.kernel.errors import Corrupt
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    """Acme used 400 tokens in January and 600 in February, each in a segment of its own."""
    world = World(books, open_store(tmp_path), tenant_id, now)
    world.furnish([plan(fee("10"), PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "400")
    world.use("acme", "2026-02-10", "600")
    yield world
    world.store.close()


def paths(world: World) -> list[str]:
    """By the time of their events."""
    with world.books.read_only(world.tenant_id) as conn:
        found = conn.execute("SELECT path FROM segments ORDER BY min_time").fetchall()
    return [row["path"] for row in found]


def used(world: World, start: str, end: str, meter: str = "tokens") -> str:
    query = UsageQuery(meter=meter, start=instant(start), end=instant(end))
    (group,) = query_usage(world.books, world.store, world.tenant_id, query, world.now)
    return str(group.quantity)


def flip(path: Path, *, keep_time: bool = False) -> None:
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("damage", ["flipped", "flipped, with its time put back", "missing", "cut short"])
@pytest.mark.parametrize("asked_before", [True, False])
def test_only_what_needs_it_fails(world: World, damage: str, asked_before: bool) -> None:
    january, february = paths(world)
    file = world.store.data_dir / january
    if asked_before:
        assert used(world, "2026-01-01", "2026-03-01") == "1000"
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut short":
        os.truncate(file, len(whole) - 1)
    else:
        flip(file, keep_time="put back" in damage)
    for _ in range(2):
        with pytest.raises(Corrupt) as refused:
            used(world, "2026-01-01", "2026-03-01")
        assert refused.value.code == "segment_damaged"
        said = f"1 counted events of tenant {world.tenant_id} cannot be read: {january} "
        assert refused.value.message.startswith(said)
        with pytest.raises(Corrupt):
            world.bill("2026-02-01")
    assert used(world, "2026-02-01", "2026-03-01") == "600"
    assert known_damage(world.store.data_dir) == [january]
    assert (world.store.data_dir / "damaged" / january).exists() == (damage != "missing")
    (finding,) = check_files(world.books, world.store.data_dir, world.tenant_id).findings
    assert finding.startswith(january)
    assert february in paths(world)
    assert january in paths(world)
    file.write_bytes(whole)  # from a copy
    assert used(world, "2026-01-01", "2026-03-01") == "1000"
    assert known_damage(world.store.data_dir) == []
    assert len(world.bill("2026-03-01").issued) == 2


def test_a_new_meter_finds_what_is_whole(world: World) -> None:
    flip(world.store.data_dir / paths(world)[0])
    meter = {"key": "cached", "event_type": "llm.completion", "aggregation": "max", "value": "data.cached"}
    put_meter(world.books, world.tenant_id, meter, world.now)
    assert used(world, "2026-02-01", "2026-03-01", "tokens") == "600"
    with pytest.raises(Corrupt):
        used(world, "2026-01-01", "2026-03-01", "tokens")


def test_damage_is_not_put_together_with_what_is_whole(world: World) -> None:
    flip(world.store.data_dir / paths(world)[0])
    for day in range(1, SMALL_SEGMENTS_MAX + 1):
        world.use("acme", f"2026-03-{1 + day % 28:02d}", "1")
    assert compact(world.books, world.store, world.tenant_id, world.now) == SMALL_SEGMENTS_MAX + 1
    assert len(paths(world)) == 2
    assert used(world, "2026-02-01", "2026-04-01") == str(600 + SMALL_SEGMENTS_MAX)
    with pytest.raises(Corrupt, match=f"1 counted events of tenant {world.tenant_id} "):
        used(world, "2026-01-01", "2026-04-01")


def test_segments_that_were_replaced_a_moment_ago_stay_for_their_readers(world: World) -> None:
    old = [world.store.data_dir / path for path in paths(world)]
    for path in old:
        os.utime(path, (0, 0))
    for _ in range(SMALL_SEGMENTS_MAX):
        world.use("acme", "2026-03-01", "1")
    compact(world.books, world.store, world.tenant_id, world.now)
    sweep(world.books, world.store.data_dir, [world.tenant_id], datetime.now(UTC), 3600)
    assert all(path.exists() for path in old)


def test_the_mark_of_a_file_that_nothing_needs_is_swept(world: World) -> None:
    mark = world.store.data_dir / "damaged" / "segments" / str(world.tenant_id) / "gone.parquet.missing"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert len(known_damage(world.store.data_dir)) == 1
    sweep(world.books, world.store.data_dir, [world.tenant_id], datetime.now(UTC), 3600)
    assert known_damage(world.store.data_dir) == []


# ---- What is remembered


def test_a_new_process_does_not_read_again_what_has_not_changed(world: World) -> None:
    used(world, "2026-01-01", "2026-03-01")
    with world.books.read_only(world.tenant_id) as conn:
        checksums = {segment.path: segment.checksum for segment in rows.segments(conn, world.tenant_id)}
    january, february = checksums
    memory = world.store.data_dir / MEMORY
    assert set(json.loads(memory.read_bytes())) >= {january, february}
    # Had they been read, the second process would remember them in a file of its own.
    stamp = memory.stat().st_mtime_ns
    assert VerifiedFiles(world.store.data_dir, 1).complaints(checksums) == {}
    assert memory.stat().st_mtime_ns == stamp
    other = checksums | {january: bytes(16)}
    assert set(VerifiedFiles(world.store.data_dir, 1).complaints(other)) == {january}


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"a":1}', b"\xff"])
def test_a_memory_that_cannot_be_read_is_none(world: World, torn: bytes) -> None:
    used(world, "2026-01-01", "2026-03-01")
    (world.store.data_dir / MEMORY).write_bytes(torn)
    flip(world.store.data_dir / paths(world)[0])
    store, world.store = world.store, open_store(world.store.data_dir)
    store.close()
    with pytest.raises(Corrupt):
        used(world, "2026-01-01", "2026-03-01")
