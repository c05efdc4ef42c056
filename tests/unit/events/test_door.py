"""The door: what waits for the disk shares a block, a disk that is behind sheds load, and every request is answered."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farthing.events import door as doors
from farthing.events.door import Accepted, Door
from farthing.events.log.files import Block, list_log_files, read_blocks
from farthing.kernel.errors import FarthingError, Unavailable

NOW = datetime(2026, 11, 25, tzinfo=UTC)
JSON = "application/json"


class Disk:
    """Syncs of this process wait here, until they are let go or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self.error: OSError | None = None
        sync = os.fdatasync

        def wait(descriptor: int) -> None:
            self.waiting.set()
            assert self.go_on.wait(30)
            if self.error is not None:
                raise self.error
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", wait)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.go_on.set()


@pytest.fixture
def door(disk: Disk, tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path, "w")
    yield door
    disk.go_on.set()
    door.close()


def event(number: int, size: int = 0) -> bytes:
    return json.dumps({"id": str(number), "source": "s", "type": "t", "data": "x" * size}).encode()


def blocks(log_dir: Path) -> list[Block]:
    return [block for name in list_log_files(log_dir) for block in read_blocks(log_dir / name, 0, 1 << 40)]


async def all_of(disk: Disk, door: Door, requests: list[tuple[int, bytes]]) -> list[Accepted | BaseException]:
    """One request that keeps the disk busy, the others while it is; then the disk goes on."""
    first = asyncio.ensure_future(door.accept(1, event(-1), JSON, "", NOW))
    await asyncio.to_thread(disk.waiting.wait, 30)
    others = [asyncio.ensure_future(door.accept(tenant, body, JSON, "", NOW)) for tenant, body in requests]
    await asyncio.sleep(0)  # All of them come to wait.
    soon: asyncio.Queue[Accepted | FarthingError] = asyncio.Queue()
    try:
        door.accept_soon(1, event(-2), JSON, "", NOW, soon.put_nowait)
    except FarthingError as error:
        soon.put_nowait(error)
    disk.go_on.set()
    found = await asyncio.gather(first, *others, return_exceptions=True)
    return [*found, await soon.get()]


def test_requests_that_wait_for_the_disk_share_a_block(disk: Disk, door: Door, tmp_path: Path) -> None:
    requests = [(1 + number % 2, event(number)) for number in range(20)]
    answers = asyncio.run(all_of(disk, door, requests))
    assert answers == [Accepted(1, ())] * 22
    assert [(block.header.tenant, block.header.events) for block in blocks(tmp_path)] == [
        (1, 1),
        (1, 11),
        (2, 10),
    ]
    lines = [json.loads(line)["id"] for block in blocks(tmp_path) for line in block.payload.splitlines()]
    assert lines == ["-1", *[str(n) for n in range(0, 20, 2)], "-2", *[str(n) for n in range(1, 20, 2)]]


def test_a_disk_that_is_behind_sheds_load_before_memory_grows(
    disk: Disk, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "PENDING_BYTES_MAX", 100_000)
    answers = asyncio.run(all_of(disk, door, [(1, event(number, 30_000)) for number in range(50)]))
    taken = [one for one in answers if isinstance(one, Accepted)]
    refused = [one for one in answers if isinstance(one, Unavailable)]
    assert (len(taken), len(refused)) == (5, 47)
    assert {one.code for one in refused} == {"log_busy"}
    assert sum(block.header.events for block in blocks(tmp_path)) == 5


def test_a_failed_sync_answers_all_who_wait_and_nobody_is_acknowledged_again(
    disk: Disk, door: Door, tmp_path: Path
) -> None:
    disk.error = OSError(5, "Input/output error")
    answers = asyncio.run(all_of(disk, door, [(1, event(number)) for number in range(5)]))
    assert {type(one) for one in answers} == {Unavailable}
    assert door.failure is not None
    disk.error = None
    with pytest.raises(Unavailable) as refused:
        asyncio.run(door.accept(1, event(9), JSON, "", NOW))
    assert refused.value.code == "log_failed"


def test_a_client_that_has_gone_does_not_keep_others_from_an_answer(disk: Disk, door: Door) -> None:
    async def one_goes() -> Accepted:
        first = asyncio.ensure_future(door.accept(1, event(0), JSON, "", NOW))
        await asyncio.to_thread(disk.waiting.wait, 30)
        going, staying = (
            asyncio.ensure_future(door.accept(1, event(number), JSON, "", NOW)) for number in (1, 2)
        )
        await asyncio.sleep(0)
        going.cancel()
        first.cancel()
        await asyncio.sleep(0)
        disk.go_on.set()
        return await staying

    assert asyncio.run(one_goes()) == Accepted(1, ())
