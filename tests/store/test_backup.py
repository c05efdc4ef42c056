"""A backup that is taken while events come in, brought back, answers and bills the same to the last byte."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from billing_world import PER_TOKEN, World, plan
from given_server import GivenServer

from farthing.api.keys import create_key, tenant_of_key
from farthing.db import Books, open_books
from farthing.db.secret import load_secret
from farthing.db.tenants import create_tenant, list_tenants
from farthing.events.checks import (
    check_conservation,
    check_counted_once,
    check_files,
    check_sealed_log,
    check_waiting_log,
)
from farthing.events.ids.checks import check_index, check_segments_hold
from farthing.events.ingest import ingest_file
from farthing.events.sealing.sealer import Sealer, only_sealer, seal_here, sweep
from farthing.events.segments.removal import nothing_removed, removing
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.keeping.backup import take_backup
from farthing.keeping.manifest import MANIFEST, complete_backups, read_manifest
from farthing.keeping.restore import check_backup, restore
from farthing.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from farthing.ledger.checks import check_balances, check_transfers_balance

DEFAULT = 1
LATENESS = Lateness(10**9, 10**9)


def nothing(*_: object) -> None:
    """Nobody looks at the progress."""


@dataclass
class House:
    """A data directory with its books open."""

    books: Books
    store: EventStore
    data_dir: Path
    now: datetime
    worlds: dict[int, World] = field(default_factory=dict)

    def world(self, tenant_id: int = DEFAULT) -> World:
        return self.worlds.setdefault(tenant_id, World(self.books, self.store, tenant_id, self.now))

    def bill(self, tenant_id: int = DEFAULT) -> list[str]:
        """What is due by the end of March, as documents."""
        self.world(tenant_id).bill("2026-04-01")
        with self.books.read_only(tenant_id) as conn:
            return [row["document"] for row in conn.execute("SELECT document FROM invoices ORDER BY number")]

    def totals(self, tenant_id: int = DEFAULT) -> list[str]:
        return [json.loads(document)["total"] for document in self.bill(tenant_id)]

    def assert_lawful(self) -> None:
        tenants = [tenant.tenant_id for tenant in list_tenants(self.books)]
        found = [
            check_sealed_log(self.books, self.data_dir / "log", tenants),
            check_waiting_log(self.books, self.data_dir / "log"),
        ]
        for tenant_id in tenants:
            found += [
                check_conservation(self.books, tenant_id),
                check_files(self.books, self.data_dir, tenant_id),
                check_counted_once(self.books, self.store, tenant_id),
                check_index(self.books, self.store, tenant_id, nothing),
                check_segments_hold(self.books, self.store, tenant_id, nothing),
                check_sums(self.books, tenant_id),
                check_numbers(self.books, tenant_id),
                check_documents(self.books, tenant_id),
                check_transfers_balance(self.books, tenant_id),
                check_balances(self.books, tenant_id),
                check_booked(self.books, tenant_id),
            ]
        assert [finding for one in found for finding in one.findings] == []


@contextmanager
def opened(data_dir: Path, now: datetime, database_url: str | None = None) -> Iterator[House]:
    with open_books(data_dir, database_url, now=now) as books:
        store = EventStore(data_dir, threads=1, memory_limit="500MB")
        try:
            yield House(books, store, data_dir, now)
        finally:
            store.close()


@pytest.fixture
def place(data_dir: Path) -> Path:
    """Where backups are kept."""
    return data_dir.with_name("backups")


@pytest.fixture
def house(used_dir: Path, now: datetime) -> Iterator[House]:
    with opened(used_dir, now) as house:
        world = house.world()
        world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
        world.use("acme", "2026-01-10", "1000000", model="a")
        load_secret(used_dir)
        yield house


def back_up(house: House, place: Path, seconds: int = 0) -> Path:
    at = house.now + timedelta(seconds=seconds)
    return take_backup(house.books, house.data_dir, place, "test", at, nothing).path


def bring_back(backup: Path, data_dir: Path, now: datetime, database_url: str | None = None) -> Path:
    restore(backup, data_dir, database_url, now, nothing, nothing)
    return data_dir


def test_what_comes_back_bills_the_same_to_the_last_byte(house: House, place: Path, now: datetime) -> None:
    other = create_tenant(house.books, "other", "Other", now)
    house.world(other).furnish([plan(PER_TOKEN)], [{"customer": "globex", "plan": "payg"}])
    house.world(other).use("globex", "2026-02-01", "777777")
    key = create_key(house.books, load_secret(house.data_dir), other, "theirs", now)
    assert house.world().bill("2026-02-01").issued == ["INV-000001"]
    house.world().use("acme", "2026-02-10", "3000000", model="b")

    backup = back_up(house, place)
    here = house.bill(), house.bill(other)
    assert [len(documents) for documents in here] == [2, 1]
    with opened(bring_back(backup, place.with_name("again"), now), now) as again:
        assert (again.bill(), again.bill(other)) == here
        again.assert_lawful()
        assert tenant_of_key(again.books, load_secret(again.data_dir), key) == other
        # Ids and numbers go on where they were.
        create_tenant(again.books, "third", "Third", now)
    house.assert_lawful()


def test_a_backup_taken_while_events_come_in_has_every_acknowledged_event_once(
    house: House, place: Path, now: datetime
) -> None:
    acknowledged: list[int] = []
    stop = threading.Event()
    world = house.world()

    def work() -> None:
        """Events go in, are sealed, id runs are merged and files swept, as fast as it goes."""
        while not stop.is_set():
            first = len(acknowledged)
            world.use_all([("acme", "2026-03-10", "1", {}) for _ in range(5)])
            acknowledged.extend(range(first, first + 5))
            sweep(house.books, house.data_dir, [DEFAULT], now + timedelta(days=1), 0)

    worker = threading.Thread(target=work)
    worker.start()
    taken = []
    try:
        for second in range(2):
            before = len(acknowledged)
            backup = back_up(house, place, second)
            taken.append((before, backup))
    finally:
        stop.set()
        worker.join()
    for place_, (before, backup) in enumerate(taken):
        with opened(bring_back(backup, place.with_name(f"again{place_}"), now), now) as again:
            seal_here(again.books, again.store, LATENESS, lambda: now)
            again.assert_lawful()
            (march,) = [
                json.loads(text)
                for text in again.bill()
                if json.loads(text)["period"]["start"].startswith("2026-03-01")
            ]
            counted = int(march["lines"][0]["quantity"])
            assert before <= counted <= len(acknowledged)
            again.assert_lawful()


def test_what_was_not_sealed_yet_comes_back_and_counts_once(house: House, place: Path, now: datetime) -> None:
    with only_sealer(house.data_dir):  # Nobody seals: the import leaves that to whoever has the place.
        waits = house.data_dir.with_name("events.ndjson")
        event = {"id": "w", "source": "s", "type": "llm.completion", "subject": "acme"}
        waits.write_text(json.dumps(event | {"time": "2026-02-03T00:00:00Z", "data": {"tokens": 8_000_000}}))
        importing = threading.Thread(
            target=ingest_file,
            args=(house.books, house.store, DEFAULT, waits),
            kwargs={"mapping": None, "file_format": None, "source": None, "lateness": LATENESS,
                    "clock": lambda: now, "progress": nothing},
            daemon=True,
        )  # fmt: skip
        importing.start()
        while not any(path.stat().st_size for path in (house.data_dir / "log").glob("import-*/*.log")):
            pass
        backup = back_up(house, place)
    importing.join()
    assert house.totals() == ["2.50", "20.00"]
    with opened(bring_back(backup, place.with_name("again"), now), now) as again:
        assert seal_here(again.books, again.store, LATENESS, lambda: now)
        assert again.totals() == ["2.50", "20.00"]
        assert ingest_file(
            again.books, again.store, DEFAULT, waits, mapping=None, file_format=None, source=None,
            lateness=LATENESS, clock=lambda: now, progress=nothing,
        ).counted == 0  # fmt: skip
        again.assert_lawful()


def test_the_next_backup_shares_what_did_not_change(house: House, place: Path) -> None:
    long_before = (house.now - timedelta(days=1)).timestamp()
    for log in (house.data_dir / "log").rglob("*.log"):
        os.utime(log, (long_before, long_before))
    first = back_up(house, place)
    house.world().use("acme", "2026-01-11", "5")
    second = back_up(house, place, 1)
    kept = {file.path: file for file in read_manifest(first).files}
    shared = [
        file.path
        for file in read_manifest(second).files
        if file.path in kept
        and (first / "files" / file.path).stat().st_ino == (second / "files" / file.path).stat().st_ino
    ]
    assert {path.split("/")[0] for path in shared} == {"segments", "ids", "log"}
    assert "secret.key" not in shared
    # Every backup is whole by itself: the one before may go.
    shutil.rmtree(first)
    assert check_backup(place, nothing)[0] == second


def test_a_shared_file_that_rotted_is_found(house: House, place: Path) -> None:
    first = back_up(house, place)
    (segment,) = (first / "files/segments/1").iterdir()
    flip(segment)
    with pytest.raises(Corrupt, match=f"{segment.name} is not what was written to it") as refused:
        check_backup(first, nothing)
    assert refused.value.code == "backup_damaged"


def flip(path: Path, place: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def every_file(backup: Path) -> list[str]:
    return sorted(str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file())


def test_whatever_is_damaged_or_missing_is_refused_by_name(house: House, place: Path, now: datetime) -> None:
    backup = back_up(house, place)
    names = every_file(backup)
    assert len(names) > 30
    chosen = [MANIFEST, "books/invoices.copy.zst", "files/secret.key"]
    chosen += [next(name for name in names if name.startswith(f"files/{kind}/")) for kind in ("ids", "log")]
    for name in chosen:
        for damage in ("flip", "cut", "gone"):
            copy = place / "copy"
            shutil.copytree(backup, copy)
            if damage == "flip":
                flip(copy / name, -3)
            elif damage == "cut":
                os.truncate(copy / name, (copy / name).stat().st_size - 1)
            else:
                (copy / name).unlink()
            with pytest.raises(Corrupt) as refused:
                restore(copy, place.with_name("again"), None, now, nothing, nothing)
            if name == MANIFEST and damage == "gone":
                assert refused.value.code == "backup_incomplete"
            else:
                assert refused.value.code == "backup_damaged"
                assert name in refused.value.message
            assert not (place.with_name("again")).exists()
            assert not list(place.parent.glob("*.restoring"))
            shutil.rmtree(copy)


def test_damage_is_not_copied(house: House, place: Path) -> None:
    (segment,) = (house.data_dir / "segments/1").iterdir()
    flip(segment)
    with pytest.raises(Corrupt, match=segment.name):
        back_up(house, place)
    assert complete_backups(place) == []
    with pytest.raises(Corrupt) as refused:
        check_backup(place, nothing)
    assert refused.value.code == "backup_incomplete"
    flip(segment)
    assert check_backup(back_up(house, place), nothing)  # what was cut short is no hindrance
    assert len(list(place.iterdir())) == 2


def test_nothing_is_overwritten(house: House, place: Path, now: datetime) -> None:
    backup = back_up(house, place)
    before = every_file(backup)
    with pytest.raises(Conflict, match="is there already") as refused:
        back_up(house, place)
    assert refused.value.code == "backup_exists"
    assert every_file(backup) == before
    with pytest.raises(Conflict) as not_empty:
        restore(backup, house.data_dir, None, now, nothing, nothing)
    assert not_empty.value.code == "data_directory_not_empty"
    with pytest.raises(InvalidInput) as inside:
        back_up(house, house.data_dir / "backups")
    assert inside.value.code == "backup_inside_data"
    with pytest.raises(NotFound):
        check_backup(place / "nowhere", nothing)


def test_files_stay_while_they_are_copied(house: House, now: datetime) -> None:
    with removing(house.data_dir) as allowed:
        assert allowed
    debris = house.data_dir / "segments/1/seg_debris.parquet"
    debris.write_bytes(b"old")
    later = now + timedelta(days=3650)
    with nothing_removed(house.data_dir), nothing_removed(house.data_dir):
        assert sweep(house.books, house.data_dir, [DEFAULT], later, 0) == 0
        sealer = Sealer(house.books, house.store, house.data_dir / "log", LATENESS)
        assert sealer.seal_next(now) is None
        assert sealer.remove_sealed_logs(later, 0) == 0
    assert sweep(house.books, house.data_dir, [DEFAULT], later, 0) == 1
    assert sealer.remove_sealed_logs(later, 0) == 1


@pytest.mark.parametrize("given_version", ["16"], indirect=True)
def test_books_in_a_database_of_others_come_back_into_another(
    used_dir: Path, data_dir: Path, place: Path, given_server: GivenServer, now: datetime
) -> None:
    shutil.rmtree(used_dir)
    _, url = given_server.new_database()
    with opened(data_dir, now, url) as house:
        house.world().furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
        house.world().use("acme", "2026-01-10", "1000000")
        backup = back_up(house, place)
        here = house.bill()
        with pytest.raises(Conflict) as full:
            restore(backup, place.with_name("again"), url, now, nothing, nothing)
        assert full.value.code == "books_not_empty"
        assert not (place.with_name("again")).exists()
        house.assert_lawful()  # it left the books that are in use as they were
    user, another = given_server.new_database()
    given_server.execute(f"GRANT farthing_app TO {user}")
    with opened(bring_back(backup, place.with_name("again"), now, another), now, another) as again:
        assert again.bill() == here
        again.assert_lawful()
    with pytest.raises(Conflict, match="belongs to other books"), opened(place.with_name("again"), now, url):
        pass
    # From anywhere to anywhere: the same backup as an embedded one.
    with opened(bring_back(backup, place.with_name("embedded"), now), now) as embedded:
        assert embedded.bill() == here


_KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from farthing.keeping import {module}
count = 0
def told(done, total, note):
    global count
    count += 1
    if count == int(sys.argv[3]):
        print("there", flush=True)
        import time
        time.sleep(60)
now = datetime(2026, 11, 23, 12, tzinfo=UTC)
source, target = Path(sys.argv[1]), Path(sys.argv[2])
"""
_BACKUP = (
    _KILLED.format(module="backup")
    + """
from farthing.db import open_books
with open_books(source, None, now=now) as books:
    backup.take_backup(books, source, target, "test", now, told)
"""
)
_RESTORE = (
    _KILLED.format(module="restore")
    + """
restore.restore(source, target, None, now, told, lambda said: None)
"""
)


def killed(program: str, source: Path, target: Path, step: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(source), str(target), str(step)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("step", [3, 33])
def test_a_backup_that_was_killed_is_none(house: House, place: Path, step: int) -> None:
    killed(_BACKUP, house.data_dir, place, step)
    with pytest.raises(Corrupt) as refused:
        check_backup(place, nothing)
    assert refused.value.code == "backup_incomplete"
    assert check_backup(back_up(house, place), nothing)


@pytest.mark.parametrize("step", [2, 20])
def test_a_restore_that_was_killed_leaves_nothing_that_looks_whole(
    house: House, place: Path, now: datetime, step: int
) -> None:
    backup = back_up(house, place)
    here = house.bill()
    killed(_RESTORE, backup, place.with_name("again"), step)
    assert not (place.with_name("again")).exists()
    with opened(bring_back(backup, place.with_name("again"), now), now) as again:
        assert again.bill() == here
    assert not list(place.parent.glob("*.restoring"))
