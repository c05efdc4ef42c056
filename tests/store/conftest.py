"""The owner's own connection, a PostgreSQL that is not ours, and real processes that share one."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from given_server import GivenServer

from farthing.db import Books, open_books
from farthing.db.embedded import embedded_postgres
from farthing.db.embedded.account import Account, account_of, server_account
from farthing.db.embedded.binaries import programs_for

DEADLINE_SECONDS = 30.0


def eventually(condition: Callable[[], object]) -> None:
    """Poll until it is so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], object]], None]:
    return eventually


@pytest.fixture
def owner(books: Books, books_dir: Path) -> Iterator[psycopg.Connection]:
    """A connection of the role that owns the schema, to the server of `books`; rolled back at the end."""
    with embedded_postgres(books_dir, print) as endpoint:
        connection = psycopg.connect(endpoint.owner)
        yield connection
        connection.rollback()
        connection.close()


@contextmanager
def _passable_directory() -> Iterator[Path]:
    """Short enough for a socket, and passable for the server's user when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="farthing-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory of one test's own, not made yet."""
    with _passable_directory() as directory:
        yield directory / "data"


@pytest.fixture(scope="session")
def books_at_rest(session_now: datetime) -> Iterator[Path]:
    """A data directory with books that nobody uses."""
    with _passable_directory() as directory:
        with open_books(directory / "data", None, now=session_now):
            pass
        yield directory / "data"


@pytest.fixture
def used_dir(data_dir: Path, books_at_rest: Path) -> Path:
    """A data directory of one test's own, in which the books were open before."""
    subprocess.run(["cp", "-a", books_at_rest, data_dir], check=True)
    return data_dir


# ---------------------------------------------------------------------------------------------
# A PostgreSQL that somebody else runs


def _installs() -> dict[str, Path]:
    """Every PostgreSQL that this machine has."""
    account = server_account() if os.geteuid() == 0 else account_of(os.geteuid())
    bundled = programs_for(account)
    found = {"18": bundled, "16": bundled.parent.parent / "pginstall" / "bin"}
    found |= {path.parent.name: path for path in Path("/usr/lib/postgresql").glob("*/bin")}
    return {version: path for version, path in sorted(found.items()) if (path / "initdb").exists()}


@pytest.fixture
def given_server(given_version: GivenServer) -> Iterator[GivenServer]:
    """A server with nothing of ours on it."""
    yield given_version
    given_version.forget_everything()


@pytest.fixture(scope="session", params=["15", "16", "18"])
def given_version(request: pytest.FixtureRequest) -> Iterator[GivenServer]:
    """A server of each version that we promise to work with, as far as the machine has it."""
    programs = _installs().get(request.param)
    if programs is None:
        pytest.skip(f"PostgreSQL {request.param} is not on this machine")
    account: Account = server_account() if os.geteuid() == 0 else account_of(os.geteuid())
    directory = Path(tempfile.mkdtemp(prefix="given-"))
    if os.geteuid() == 0:
        os.chown(directory, account.uid, account.gid)

    def run(*command: str | Path) -> None:
        subprocess.run(
            command,
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **account.identity(),
        )

    cluster = directory / "cluster"
    run(programs / "initdb", "-D", cluster, "-U", "administrator", "--auth=trust", "--locale=C",
        "--encoding=UTF8", "--no-sync")  # fmt: skip
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
    run(programs / "pg_ctl", "-D", cluster, "-l", directory / "log", "-o", options, "-w", "start")
    yield GivenServer(directory)
    run(programs / "pg_ctl", "-D", cluster, "-m", "immediate", "-w", "stop")
    shutil.rmtree(directory)


# ---------------------------------------------------------------------------------------------
# Real processes

_USER_OF_BOOKS = """
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from farthing.db import open_books
from farthing.db.tenants import create_tenant, list_tenants

# As at a terminal: whoever runs the tests in the background has Ctrl-C ignored, and it is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
now = datetime(2026, 11, 23, tzinfo=UTC)
with open_books(Path(sys.argv[1]), None, now=now, on_wait=lambda said: print("wait", said, flush=True)) as books:
    print("open", flush=True)
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        if word == "leave":
            break
        if word == "create":
            print("created", create_tenant(books, argument, argument, now), flush=True)
        if word == "tenants":
            print("tenants", *(tenant.key for tenant in list_tenants(books)), flush=True)
print("left", flush=True)
"""


@dataclass
class UserOfBooks:
    """A process that opens the books of a data directory and does what it is told."""

    process: subprocess.Popen[str]
    waits: list[str] = field(default_factory=list)

    def hear(self, word: str) -> str:
        """The rest of the next line that begins with `word`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            heard, _, rest = line.strip().partition(" ")
            if heard == word:
                return rest
            self.waits.append(rest)
        raise AssertionError(f"the process ended before it said {word!r}")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        self.tell("leave")
        self.hear("left")
        assert self.process.wait(DEADLINE_SECONDS) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)


StartUser = Callable[..., UserOfBooks]


@pytest.fixture
def start_user() -> Iterator[StartUser]:
    """Start a process that opens the books of a directory; those still there at the end are killed."""
    started: list[UserOfBooks] = []

    def start(data_dir: Path, *, program: str = sys.executable, **how: object) -> UserOfBooks:
        process = subprocess.Popen(
            [program, "-c", _USER_OF_BOOKS, str(data_dir)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how,
        )  # fmt: skip
        started.append(UserOfBooks(process))
        return started[-1]

    yield start
    for user in started:
        user.kill()
        assert user.process.stdin is not None
        assert user.process.stdout is not None
        user.process.stdin.close()
        user.process.stdout.close()
