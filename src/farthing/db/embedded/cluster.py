"""One cluster: make it, start it, wait for it, stop it. Whoever calls holds the turn of the data directory."""

import os
import shutil
import signal
import subprocess
import sys
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
from farthing.db.embedded.place import (
    CLUSTER_DIRECTORY,
    PRIVATE,
    SOCKET_PORT,
    TRAVERSABLE,
    Place,
    fsync_directory,
    socket_directory,
)
from farthing.db.endpoint import APP_ROLE, OWNER_ROLE, Endpoint, OnWait
from farthing.kernel.errors import Conflict, Unavailable

POLL_SECONDS = 0.01
LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 16_384

_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_NOT_YET = (  # what a server or its missing socket says while it comes or goes
    "the database system is",
    "too many clients",
    "remaining connection slots",
    "Connection refused",
    "No such file or directory",
    "server closed the connection",
)


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

    def create(self) -> None:
        """Make it complete, with its roles and its database, beside its place; then move it there.

        A `kill -9` at any moment leaves debris, never half a cluster.
        """
        home, account = self._place.home, self._place.account
        home.mkdir(mode=TRAVERSABLE, parents=True, exist_ok=True)
        for debris in home.glob(f"{CLUSTER_DIRECTORY}.new-*"):
            shutil.rmtree(debris)
        programs = programs_for(account)
        half = home / f"{CLUSTER_DIRECTORY}.new-{uuid.uuid4()}"
        half.mkdir(mode=PRIVATE)
        if os.geteuid() == 0:
            os.chown(half, account.uid, account.gid)
        self._run(
            [programs / "initdb", "-D", half, "-U", BOOTSTRAP_ROLE, "--auth=peer", "--encoding=UTF8",
             "--locale-provider=libc", "--locale=C", "--data-checksums", "--no-instructions"]
        )  # fmt: skip
        self._run(
            [programs / "postgres", "--single", "-D", half, "-c", "exit_on_error=on", "postgres"],
            BOOTSTRAP_SQL.encode(),
        )
        half.rename(self._path)
        fsync_directory(home)

    def runs(self) -> bool:
        """Whether any process of the server lives, even one that only finishes what it was doing."""
        return locks.is_held(self._place.alive_lock)

    def start(self, on_wait: OnWait) -> None:
        """Start the server and wait until it answers."""
        crashed = self._forget_dead_server()
        self._write_configuration()
        programs = programs_for(self._place.account)
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
        """Fast shutdown: open transactions are rolled back, everything committed is on disk. Waits for the end."""
        asked = False
        while self.runs():
            pid = self._process.pid if self._process else self._server_pid()
            if pid is not None and not asked:
                os.kill(pid, signal.SIGINT)
                asked = True
            time.sleep(POLL_SECONDS)
        if self._process:
            self._process.wait()

    def leave_running(self) -> None:
        """Others use the server: it is not ours to wait for any more."""
        if self._process:
            self._process.returncode = 0

    def endpoint(self) -> Endpoint:
        """How to connect to the running server; the caller's libpq checks whose process answers."""
        lines = self._pid_file()
        host = lines[4] if len(lines) > 4 and lines[4] else str(self._path)
        common = {
            "host": host, "port": SOCKET_PORT, "dbname": DATABASE, "requirepeer": self._place.account.name,
        }  # fmt: skip
        return Endpoint(
            owner=make_conninfo("", user=OWNER_ROLE, **common), app=make_conninfo("", user=APP_ROLE, **common)
        )

    def _spawn(self, program: Path, early_log: IO[bytes]) -> None:
        """In a session of its own, so that Ctrl-C in the terminal does not reach it."""
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
        said = early_log.read(LOG_TAIL_BYTES).decode(errors="replace")
        logs = sorted(self._path.glob("log/*.log"), key=lambda path: path.stat().st_mtime)
        for log in logs[-1:]:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
                said += file.read().decode(errors="replace")
        return _failure("PostgreSQL did not start", said)

    def _run(self, command: list[str | Path], stdin: bytes = b"") -> None:
        done = subprocess.run(
            command,
            input=stdin, cwd="/", env=_ENVIRONMENT, umask=0o077, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._place.account.identity(),
        )  # fmt: skip
        if done.returncode != 0:
            raise _failure("PostgreSQL's cluster cannot be made", done.stdout.decode(errors="replace"))

    def _write_configuration(self) -> None:
        """Through a descriptor of the directory and never through a link: as root, the server's user owns it."""
        account = self._place.account
        directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name, content in configuration(socket_directory(self._place), account).items():
                half = f"{name}.new"
                try:
                    os.unlink(half, dir_fd=directory)
                except FileNotFoundError:
                    pass
                with open(
                    half, "x", encoding="utf-8",
                    opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600, dir_fd=directory),
                ) as file:  # fmt: skip
                    file.write(content)
                    if os.geteuid() == 0:
                        os.fchown(file.fileno(), account.uid, account.gid)
                os.rename(half, name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(directory)

    def _forget_dead_server(self) -> bool:
        """Remove the pid file of a server that ended without doing so; its number may be anybody's by now."""
        if not self._pid_file():
            return False
        pid = self._server_pid()
        if pid is not None and sys.platform == "linux":
            raise Unavailable(
                "database_started_by_another",
                f"a PostgreSQL that Farthing did not start runs on {self._path}: {pid}",
            )
        (self._path / "postmaster.pid").unlink(missing_ok=True)
        return True

    def _pid_file(self) -> list[str]:
        """process id, data directory, start time, port, socket directory, address, shared memory, status"""
        try:
            text = (self._path / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _status(self) -> str:
        lines = self._pid_file()
        return lines[7] if len(lines) > 7 else ""

    def _server_pid(self) -> int | None:
        """The server's process id, if the process with that number is the server of this cluster."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        if sys.platform == "linux":  # the server works in its cluster's directory
            try:
                here = os.path.samefile(f"/proc/{pid}/cwd", self._path)
            except OSError:
                return None
            return pid if here else None
        return pid

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.endpoint().owner).close()
        except psycopg.OperationalError as error:
            if any(text in str(error) for text in _NOT_YET):
                return False
            raise Unavailable("database_unavailable", f"PostgreSQL refuses its owner: {error}") from error
        return True


def _failure(what: str, said: str) -> Unavailable:
    tail = "\n".join(said.strip().splitlines()[-LOG_TAIL_LINES:])
    if "No space left on device" in said:
        return Unavailable("disk_full", f"{what}: the disk is full\n{tail}")
    return Unavailable("database_unavailable", f"{what}:\n{tail}")
