"""The embedded server's life, with real processes: started once, shared, stopped by the last, never lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farthing.db import open_books
from farthing.db.embedded import locks
from farthing.db.tenants import create_tenant, list_tenants
from farthing.kernel.errors import Conflict, Unavailable

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

Eventually = Callable[[Callable[[], object]], None]


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def runs(data_dir: Path) -> bool:
    return locks.is_held(data_dir / "postgres.alive")


def open_and_close(data_dir: Path) -> list[str]:
    """What there was to wait for."""
    said: list[str] = []
    with open_books(data_dir, None, now=NOW, on_wait=said.append):
        pass
    return said


def kill_server(data_dir: Path) -> None:
    os.kill(server_pid(data_dir), signal.SIGKILL)


def test_two_processes_share_one_server_and_the_last_one_stops_it(data_dir: Path, start_user) -> None:
    first = start_user(data_dir)
    first.hear("open")
    pid = server_pid(data_dir)
    second = start_user(data_dir)
    second.hear("open")
    assert server_pid(data_dir) == pid
    first.leave()
    assert runs(data_dir)
    second.tell("tenants")
    assert second.hear("tenants") == "default"
    second.leave()
    assert not runs(data_dir)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_two_starts_at_the_same_moment_make_one_cluster(data_dir: Path, start_user) -> None:
    users = [start_user(data_dir) for _ in range(3)]
    for user in users:
        user.hear("open")
    users[0].tell("create acme")
    users[0].hear("created")
    for user in users:
        user.tell("tenants")
        assert user.hear("tenants") == "default acme"
    for user in users:
        user.leave()
    assert not runs(data_dir)
    assert sorted(path.name for path in data_dir.iterdir()) == [
        "installation.id", "postgres", "postgres.alive", "postgres.start", "postgres.users",
    ]  # fmt: skip


def test_a_killed_user_leaves_the_server_and_no_count(used_dir: Path, start_user) -> None:
    killed = start_user(used_dir)
    killed.hear("open")
    pid = server_pid(used_dir)
    killed.kill()
    assert runs(used_dir)
    heir = start_user(used_dir)
    heir.hear("open")
    assert server_pid(used_dir) == pid
    heir.leave()
    assert not runs(used_dir)


def test_after_kill_9_of_the_server_nothing_committed_is_lost(used_dir: Path) -> None:
    with open_books(used_dir, None, now=NOW) as books:
        create_tenant(books, "acme", "Acme Inc.", NOW)
        kill_server(used_dir)
    assert (used_dir / "postgres" / "postmaster.pid").exists()
    said: list[str] = []
    with open_books(used_dir, None, now=NOW, on_wait=said.append) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default", "acme"]
    assert "PostgreSQL recovers from a crash" in said


def test_a_server_killed_under_its_users_is_started_again_by_the_next_transaction(
    used_dir: Path, eventually: Eventually
) -> None:
    with open_books(used_dir, None, now=NOW) as books:
        create_tenant(books, "acme", "Acme Inc.", NOW)
        killed = server_pid(used_dir)
        kill_server(used_dir)

        def served_again() -> bool:
            try:
                served = [tenant.key for tenant in list_tenants(books)]
            except Unavailable:
                return False
            assert served == ["default", "acme"]
            return server_pid(used_dir) != killed

        eventually(served_again)
    assert not runs(used_dir)


def test_a_server_killed_under_another_process_is_no_obstacle(used_dir: Path, start_user) -> None:
    """Its process id is still taken: the other process has not waited for its child."""
    starter = start_user(used_dir)
    starter.hear("open")
    killed = server_pid(used_dir)
    kill_server(used_dir)
    with open_books(used_dir, None, now=NOW):
        os.kill(killed, 0)
        assert server_pid(used_dir) != killed
        starter.leave()
        assert runs(used_dir)
    assert not runs(used_dir)


def test_a_pid_file_whose_number_is_now_another_process_is_no_obstacle(used_dir: Path) -> None:
    lines = [str(os.getpid()), str(used_dir / "postgres"), "1", "5432", str(used_dir), "", "0 0", "ready"]
    (used_dir / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    (used_dir / "postgres" / ".s.PGSQL.5432.lock").write_text("\n".join(lines[:5]) + "\n")
    assert "PostgreSQL recovers from a crash" in open_and_close(used_dir)


def test_kill_9_while_the_cluster_is_made_leaves_no_half_cluster(
    data_dir: Path, start_user, eventually: Eventually
) -> None:
    killed = start_user(data_dir)
    eventually(lambda: list(data_dir.glob("postgres.new-*/base/1/*")))
    killed.kill()
    assert not (data_dir / "postgres").exists()
    with open_books(data_dir, None, now=NOW) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default"]
    assert list(data_dir.glob("postgres.new-*")) == []


def test_kill_9_at_any_moment_of_start_and_stop_is_followed_by_a_good_start(
    used_dir: Path, start_user
) -> None:
    for moment in (0.25, 0.32, 0.4):  # of a start that takes about half a second, imports included
        killed = start_user(used_dir)
        killed.tell("leave")
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and killed.process.poll() is None:
            pass
        killed.kill()
    with open_books(used_dir, None, now=NOW) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default"]
    assert not runs(used_dir)


def test_the_server_has_a_session_of_its_own(used_dir: Path) -> None:
    with open_books(used_dir, None, now=NOW):
        pid = server_pid(used_dir)
        assert os.getsid(pid) == pid != os.getsid(0)


def test_ctrl_c_stops_the_user_and_the_server_in_order(used_dir: Path, start_user) -> None:
    user = start_user(used_dir, stderr=subprocess.DEVNULL, start_new_session=True)
    user.hear("open")
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.process.wait(30) != 0
    assert not runs(used_dir)
    assert open_and_close(used_dir)[-1:] == ["PostgreSQL starts"]


def test_a_user_waits_for_a_server_that_is_still_starting(
    used_dir: Path, start_user, eventually: Eventually
) -> None:
    with open_books(used_dir, None, now=NOW):
        pid = server_pid(used_dir)
        os.kill(pid, signal.SIGSTOP)
        try:
            waiting = start_user(used_dir)
            eventually(lambda: locks.is_held(used_dir / "postgres.start"))
        finally:
            os.kill(pid, signal.SIGCONT)
        waiting.hear("open")
        assert "PostgreSQL is about to answer" in waiting.waits
        waiting.leave()


def test_a_cluster_of_another_version_is_refused(used_dir: Path) -> None:
    (used_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(Conflict, match="PostgreSQL 16") as caught:
        open_and_close(used_dir)
    assert caught.value.code == "database_version_mismatch"


def test_a_server_that_does_not_start_says_why(used_dir: Path) -> None:
    (used_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(Unavailable, match="pg_control") as caught:
        open_and_close(used_dir)
    assert caught.value.code == "database_unavailable"
    assert not runs(used_dir)
    assert not locks.is_held(used_dir / "postgres.users")


@pytest.fixture
def small_disk(data_dir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A data directory on a disk of so many megabytes."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small disk needs root on Linux")
    data_dir.mkdir(0o711)
    size = f"size={request.param}m,mode=711"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", data_dir], check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield data_dir
    subprocess.run(["umount", data_dir], check=True)


@pytest.mark.parametrize("small_disk", [8, 24, 40, 44], indirect=True)
def test_a_disk_without_room_for_the_cluster_is_named_and_left_empty(small_disk: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        open_and_close(small_disk)
    assert caught.value.code == "disk_full"
    assert sorted(path.name for path in small_disk.iterdir()) == ["postgres.start"]


@pytest.mark.parametrize("small_disk", [90], indirect=True)
def test_a_disk_that_is_full_at_start_is_named_and_once_freed_all_is_there(small_disk: Path) -> None:
    open_and_close(small_disk)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    with pytest.raises(Unavailable) as caught:
        open_and_close(small_disk)
    assert caught.value.code == "disk_full"
    ballast.unlink()
    with open_books(small_disk, None, now=NOW) as books:
        assert [tenant.key for tenant in list_tenants(books)] == ["default"]
