"""Where the log is behind, pieces of it are committed together, and nobody can tell from what was counted."""

import errno
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from billing_world import PER_TOKEN, instant, plan
from event_works import EventWorks, event, open_event_works
from test_wallet_draws import TIERED, lawful
from wallet_world import D, WalletWorld, wallet_world

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.log.files import list_log_files
from farthing.events.model import VOID_TYPE
from farthing.events.sealing import sealer
from farthing.events.sealing.sealer import PIECES_TOGETHER_MAX, only_sealer
from farthing.kernel.errors import Unavailable

BLOCK_EVENTS = 20
"""A block of so many events is more than a batch, so it is a piece by itself."""


@pytest.fixture
def works(books: Books, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventWorks]:
    monkeypatch.setattr(sealer, "BATCH_BYTES_MAX", 1_000)
    with open_event_works(books, now) as works:
        yield works


def block(first: int, data: object = None, **attributes: object) -> list[dict[str, object]]:
    return [event(str(number), data, **attributes) for number in range(first, first + BLOCK_EVENTS)]


def commits(works: EventWorks, tenant_id: int) -> list[int]:
    """How many seals each transaction has written."""
    with works.books.read_only(tenant_id) as conn:
        found = conn.execute("SELECT count(*) AS seals FROM seals GROUP BY xmin ORDER BY min(log_from)")
        return [row["seals"] for row in found]


def test_what_waits_is_committed_together_and_what_keeps_up_at_once(
    works: EventWorks, tenant_id: int
) -> None:
    for number in range(PIECES_TOGETHER_MAX + 2):
        works.append(tenant_id, block(number * BLOCK_EVENTS))
    assert [report.counted for report in works.seal()] == [
        PIECES_TOGETHER_MAX * BLOCK_EVENTS,
        2 * BLOCK_EVENTS,
    ]
    assert commits(works, tenant_id) == [PIECES_TOGETHER_MAX, 2]
    for number in range(3):
        works.log = works.new_writer()
        works.append(tenant_id, event(f"small-{number}"))
    assert [report.counted for report in works.seal()] == [1, 1, 1]  # none of them is a whole batch
    works.check(tenant_id)


def test_a_repeat_or_conflict_of_what_is_not_committed_yet_is_one(works: EventWorks, tenant_id: int) -> None:
    works.append(tenant_id, block(0))
    works.append(tenant_id, block(0))
    works.append(tenant_id, [*block(0, subject="another")[:5], *block(BLOCK_EVENTS)])
    (report,) = works.seal()
    assert (report.counted, report.duplicate, report.quarantined) == (2 * BLOCK_EVENTS, BLOCK_EVENTS, 5)
    assert works.reasons(tenant_id) == {"conflict": 5}
    works.check(tenant_id)


def traffic(random: Random) -> list[list[dict[str, object]]]:
    """Blocks with repeats, conflicts, and what is no event; a fifth of them with corrections of what came before, comes
    with them or comes later."""
    blocks = []
    for number in range(15):
        some: list[dict[str, object]] = []
        for _ in range(BLOCK_EVENTS):
            event_id, kind = str(random.randrange(150)), random.random()
            if kind < 0.1 and number % 5 == random.randrange(2):
                some.append(event(f"void-{event_id}", None, type=VOID_TYPE, corrects=event_id))
            elif kind < 0.2:
                some.append(event(event_id, None, subject="another"))
            elif kind < 0.25:
                some.append(event(event_id, None, time="yesterday"))
            else:
                some.append(event(event_id))
        blocks.append(some)
    return blocks


def outcome(works: EventWorks, tenant_id: int) -> tuple[object, ...]:
    with works.books.read_only(tenant_id) as conn:
        voided = conn.execute("SELECT source, event_id FROM voided_events ORDER BY 1, 2").fetchall()
    return (
        works.tally(tenant_id),
        works.stored(tenant_id, "id, subject, type"),
        works.reasons(tenant_id),
        voided,
    )


@pytest.mark.parametrize("seed", range(6))
def test_together_they_come_to_what_they_come_to_one_by_one(
    works: EventWorks, now: datetime, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two tenants in two log files, which take turns."""
    blocks = traffic(Random(seed))
    outcomes: list[list[object]] = []
    for together in (1, 3, PIECES_TOGETHER_MAX):
        monkeypatch.setattr(sealer, "PIECES_TOGETHER_MAX", together)
        tenants = [
            create_tenant(works.books, f"{name}-{together}-{seed}-{os.urandom(4).hex()}", name, now)
            for name in ("one", "two")
        ]
        logs = [works.log, works.new_writer()]
        for number, some in enumerate(blocks):
            place = number % 2
            works.log = logs[place]  # In which order files are met is up to their names, which are made anew.
            works.append(tenants[place], some)
        logs[1].close()
        works.log = logs[0]
        works.restart()
        works.seal()
        for tenant_id in tenants:
            works.check(tenant_id)
        together_at_most = max(max(commits(works, tenant_id)) for tenant_id in tenants)
        assert 1 <= together_at_most <= together
        assert (together_at_most > 1) == (together > 1)
        outcomes.append([outcome(works, tenant_id) for tenant_id in tenants])
    alone, *others = outcomes
    assert others == [alone] * len(others)


def test_what_a_file_is_sealed_to_holds_for_those_behind(works: EventWorks, tenant_id: int) -> None:
    """The second file grows after the sealer was told how far to go, and its piece brings a correction."""
    first, second = works.log, works.new_writer()
    works.append(tenant_id, block(0))
    ends = {name: (works.log_dir / name).stat().st_size for name in list_log_files(works.log_dir)}
    works.log = second
    works.append(tenant_id, [*block(BLOCK_EVENTS), event("void", None, type=VOID_TYPE, corrects="3")])
    works.log = first
    report = works.sealer.seal_next(works.now, ends)
    assert report is not None
    assert report.counted == BLOCK_EVENTS
    assert works.sealer.seal_next(works.now, ends) is None
    assert [report.counted for report in works.seal()] == [BLOCK_EVENTS + 1]
    second.close()
    works.check(tenant_id)


def test_a_piece_that_knows_another_meter_goes_by_itself(works: EventWorks, tenant_id: int) -> None:
    """Between two pieces that wait a meter is made: the first was decoded without it, and nobody mixes them."""
    for first in range(3):
        works.append(tenant_id, block(first * BLOCK_EVENTS, data={"n": 1}))
    decode = works.sealer._decode
    made = iter([False, True])

    def decode_and_make(blocks: Any) -> Any:
        decoded = decode(blocks)
        if not next(made, True):
            put_meter(
                works.books,
                tenant_id,
                {"key": "n", "event_type": "call", "aggregation": "sum", "value": "data.n"},
                works.now,
            )
        return decoded

    works.sealer._reading._decode = decode_and_make
    works.seal()
    assert commits(works, tenant_id) == [1, 2]
    works.check(tenant_id)


def test_a_correction_goes_by_itself_and_finds_what_came_before(works: EventWorks, tenant_id: int) -> None:
    void = event("void", None, type=VOID_TYPE, corrects="3")
    works.append(tenant_id, block(0))
    works.append(tenant_id, [*block(BLOCK_EVENTS), void])
    works.append(tenant_id, block(2 * BLOCK_EVENTS))
    assert [report.counted for report in works.seal()] == [BLOCK_EVENTS, BLOCK_EVENTS + 1, BLOCK_EVENTS]
    assert outcome(works, tenant_id)[-1] == [{"source": "test", "event_id": "3"}]
    works.check(tenant_id)


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    """Writing the piece of this number fails, the first being number one."""
    seal, calls = sealer.seal_blocks, iter(range(1, 100))

    def failing(*what: Any) -> Any:
        if next(calls) == number:
            raise error
        return seal(*what)

    monkeypatch.setattr(sealer, "seal_blocks", failing)


@pytest.mark.parametrize("number", [1, 3])
def test_a_full_disk_keeps_nothing_from_counting_that_is_written(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for first in range(4):
        works.append(tenant_id, block(first * BLOCK_EVENTS))
    with monkeypatch.context() as patched:
        failing_at(patched, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(Unavailable) as refused:
            works.seal()
    assert refused.value.code == "disk_full"
    assert works.tally(tenant_id)["counted"] == (number - 1) * BLOCK_EVENTS
    works.check(tenant_id)
    works.seal()
    assert works.tally(tenant_id)["counted"] == 4 * BLOCK_EVENTS
    works.check(tenant_id)


def test_nothing_is_committed_after_a_failed_disk(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(3):
        works.append(tenant_id, block(first * BLOCK_EVENTS))
    with monkeypatch.context() as patched:
        failing_at(patched, 2, OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(OSError, match="Input/output"):
            works.seal()
    assert works.tally(tenant_id)["accepted"] == 0
    works.restart()
    works.seal()
    assert works.tally(tenant_id)["counted"] == 3 * BLOCK_EVENTS
    works.check(tenant_id)


@pytest.fixture
def world(
    books: Books, tenant_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WalletWorld]:
    monkeypatch.setattr(sealer, "BATCH_BYTES_MAX", 1_000)
    found = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    yield found
    found.store.close()


def test_pieces_that_are_committed_together_are_drawn_in_one(world: WalletWorld) -> None:
    """A price that depends on what was used before, and one that does not; each drawn once, as for one piece."""
    names = ["acme", "bolt", "coil"]
    world.furnish([plan(TIERED, PER_TOKEN)], [{"customer": name, "plan": "payg"} for name in names])
    for name in names:
        world.wallet(f"{name}-usd", name)
        world.grant(f"{name}-paid", "1000", wallet=f"{name}-usd")
    works = EventWorks(world.books, world.store, world.now)
    for _ in range(3):
        uses = [(name, "2026-01-09", "5", {"model": "small"}) for name in names for _ in range(8)]
        works.append(world.tenant_id, world.events(uses))
    with only_sealer(world.store.data_dir) as alone:
        assert alone
        assert [report.counted for report in works.seal()] == [72]
    with world.books.read_only(world.tenant_id) as conn:
        row = conn.execute(
            "SELECT count(*) AS draws, count(DISTINCT reference) AS seals FROM wallet_draws"
        ).fetchone()
    assert row == {"draws": 1, "seals": 1}
    for name in names:  # 120 tokens: a hundred at 1, twenty at 0.1, and all of them at 0.0000025
        assert world.drawn(f"{name}-paid") == D("102.0003")
    lawful(world)
