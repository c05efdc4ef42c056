"""One cluster: make it, start it, wait for it, stop it. Whoever calls holds the data directory's turn."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import make_conninfo

from farthing.db.embedded import locks
from farthing.db.embedded.binaries import MAJOR_VERSION, programs_for
from farthing.db.embedded.config import BOOTSTRAP_ROLE, BOOTSTRAP_SQL, DATABASE, configuration
from farthing.db.embedded.files import fsync_directory, replace_files
from farthing.db.embedded.place import (
    CLUSTER_DIRECTORY,
    PRIVATE,
    SOCKET_PORT,
    Place,
    forget_socket_directory,
    make_home,
    socket_directory,
)
from farthing.db.endpoint import APP_ROLE, OWNER_ROLE, Endpoint, OnWait
from farthing.kernel.errors import Conflict, Unavailable

POLL_SECONDS = 0.01
LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 16_384

_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_PROCESSES = Path("/proc/self/cwd")
_NOT_YET = (  # what a server says, or its missing socket, while it comes or goes
    "the database system is",
    "too many clients",
    "remaining connection slots",
    "Connection refused",
    "No such file or directory",
    "server closed the connection",
)

_DISK_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space")


class Cluster:
    """The cluster at a place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._path = place.cluster
        self._process: subprocess.Popen[bytes] | None = None  # the server, where it is our child

    def exists(self) -> bool:
        """Whether it was made; refuses one made by another version of PostgreSQL."""
        try:
            version = (self._path / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return False
        if version != str(MAJOR_VERSION):
            raise Conflict(
                "database_version_mismatch",
                f"{self._path} was written by PostgreSQL {version}, this Farthing brings {MAJOR_VERSION}",
            )
        return True

    def create(self, turn: int) -> None:
        """Make it complete, with its roles and its database, beside its place; then move it there.

        A `kill -9` at any moment leaves debris, never half a cluster. The children hold the turn too:
        if we are killed, the next one waits until they have ended, and then sweeps.
        """
        home, account = self._place.home, self._place.account
        make_home(home)
        for debris in home.glob(f"{CLUSTER_DIRECTORY}.new-*"):
            shutil.rmtree(debris)
        programs = programs_for(account)
        half = home / f"{CLUSTER_DIRECTORY}.new-{uuid.uuid4()}"
        try:
            half.mkdir(mode=PRIVATE)
            if os.geteuid() == 0:
                os.chown(half, account.uid, account.gid, follow_symlinks=False)
            self._run(
                [programs / "initdb", "-D", half, "-U", BOOTSTRAP_ROLE, "--auth=peer", "--encoding=UTF8",
                 "--locale-provider=libc", "--locale=C", "--data-checksums", "--no-instructions"],
                turn,
            )  # fmt: skip
            self._run(
                [programs / "postgres", "--single", "-D", half, "-c", "exit_on_error=on", "postgres"],
                turn,
                BOOTSTRAP_SQL.encode(),
            )
            half.rename(self._path)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        fsync_directory(home)

    def runs(self) -> bool:
        """Whether any process of the server lives, even one that only finishes what it was doing."""
        return locks.is_held(self._place.alive_lock)

    def start(self, on_wait: OnWait) -> None:
        """Start the server and wait until it answers."""
        account = self._place.account
        sockets = socket_directory(self._place)
        crashed = self._forget_dead_server(sockets)
        replace_files(self._path, configuration(sockets, account), account)
        programs = programs_for(account)
        on_wait("PostgreSQL recovers from a crash" if crashed else "PostgreSQL starts")
        with tempfile.TemporaryFile() as early_log:
            self._spawn(programs / "postgres", early_log)
            if not self.await_ready():
                raise self._why_it_ended(early_log)

    def await_ready(self) -> bool:
        """Wait until it answers, however long recovery takes; False if it ended instead."""
        while True:
            if self._status() == "ready" and self._answers():
                return True
            if not self.runs():
                return False
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Fast shutdown: what is committed is on disk, open transactions roll back. Waits for the end."""
        asked: int | None = None
        while self.runs():
            server = self._server_pid()
            if server is None and self._process and self._process.poll() is None:
                server = self._process.pid  # it has not come as far as writing its pid file
            if server is not None and server != asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server, signal.SIGINT)
                asked = server
            time.sleep(POLL_SECONDS)
        if self._process:
            self._process.wait()
        if asked is not None:
            forget_socket_directory(self._place)

    def leave_running(self) -> None:
        """Others use the server: it is not ours to wait for any more."""
        if self._process:
            self._process.returncode = 0

    def endpoint(self) -> Endpoint:
        """How to connect to the running server; libpq checks which system user answers."""
        lines = self._pid_file()
        socket = lines[4] if len(lines) > 4 else str(self._path)

        def reach(role: str) -> str:
            return make_conninfo(
                host=socket,
                port=SOCKET_PORT,
                dbname=DATABASE,
                user=role,
                requirepeer=self._place.account.name,
            )

        return Endpoint(owner=reach(OWNER_ROLE), app=reach(APP_ROLE))

    def _spawn(self, program: Path, early_log: IO[bytes]) -> None:
        """In a session of its own, so that Ctrl-C in the terminal does not reach it."""
        if self._process:
            self._process.wait()  # a child of ours that was killed
        alive = locks.try_lock(self._place.alive_lock, locks.EXCLUSIVE)
        assert alive is not None, "the turn is ours and no server runs"
        try:
            self._process = subprocess.Popen(
                [program, "-D", self._path],
                stdin=subprocess.DEVNULL, stdout=early_log, stderr=early_log,
                cwd="/", env=_ENVIRONMENT, umask=0o077, start_new_session=True,
                pass_fds=[alive],  # held by the server and its children until the last of them ends
                **self._place.account.identity(),
            )  # fmt: skip
        finally:
            os.close(alive)

    def _why_it_ended(self, early_log: IO[bytes]) -> Unavailable:
        """The end of what the server had to say, before its log was open and in it."""
        early_log.seek(0)
        said = early_log.read(LOG_TAIL_BYTES)
        logs = sorted(self._path.glob("log/*.log"), key=lambda path: path.stat().st_mtime)
        for log in logs[-1:]:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
                said += file.read()
        return _failure("PostgreSQL did not start", said)

    def _run(self, command: list[str | Path], turn: int, stdin: bytes = b"") -> None:
        done = subprocess.run(
            command,
            input=stdin, cwd="/", env=_ENVIRONMENT, umask=0o077, pass_fds=[turn], check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._place.account.identity(),
        )  # fmt: skip
        if done.returncode != 0:
            raise _failure("PostgreSQL's cluster cannot be made", done.stdout)

    def _forget_dead_server(self, sockets: Path) -> bool:
        """Remove what a server that was killed has left; says whether one was.

        PostgreSQL would refuse to start while any process has the number that stands in these files:
        a stranger's by now, or its own as long as nobody has waited for it.
        """
        if not self._pid_file():
            return False
        if _PROCESSES.exists() and (stranger := self._server_pid()):
            raise Unavailable(
                "database_started_by_another",
                f"a PostgreSQL that Farthing did not start runs on {self._path} as process {stranger}",
            )
        (sockets / f".s.PGSQL.{SOCKET_PORT}.lock").unlink(missing_ok=True)
        (self._path / "postmaster.pid").unlink(missing_ok=True)
        return True

    def _pid_file(self) -> list[str]:
        """Process id, cluster, start time, port, socket directory, address, shared memory, status."""
        try:
            text = (self._path / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _status(self) -> str:
        lines = self._pid_file()
        return lines[7] if len(lines) > 7 else ""

    def _server_pid(self) -> int | None:
        """The server's process id, if the process with that number is this cluster's server."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        if not _PROCESSES.exists():
            return pid
        try:  # a server works in its cluster's directory
            return pid if os.path.samefile(f"/proc/{pid}/cwd", self._path) else None
        except OSError:
            return None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.endpoint().owner).close()
        except psycopg.OperationalError as error:
            if any(text in str(error) for text in _NOT_YET):
                return False
            raise Unavailable("database_unavailable", f"PostgreSQL refuses its owner: {error}") from error
        return True


def _failure(what: str, output: bytes) -> Unavailable:
    said = output.decode(errors="replace").strip()
    tail = "\n".join(said.splitlines()[-LOG_TAIL_LINES:])
    if any(text in said for text in _DISK_FULL):
        return Unavailable("disk_full", f"{what}: the disk is full\n{tail}")
    return Unavailable("database_unavailable", f"{what}:\n{tail}")
