"""One installation under test: its data directory, the processes on it, and how it is asked.

Everything is started as a process of its own and known by its process id; what is left is killed at
the end by those ids.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.crash import traffic
from tests.crash.injection import children, is_alive, make_directories
from tests.crash.outside import Outside

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.004
ASK_SECONDS_MAX = 30.0
DRAIN_SECONDS = 5
PORTRAIT_SECONDS = 1.0


class Stuck(AssertionError):
    """What should have happened did not, within any reasonable time."""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for something; gives what it came to."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Stuck(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return found


def eventually(condition: Callable[[], Any], seconds: float) -> Any:
    """The same, where it may as well not happen: then the last falsehood."""
    with suppress(Stuck):
        return until(condition, "", seconds)
    return condition()


def environment(data_dir: Path, keep_log_seconds: int = 86_400) -> dict[str, str]:
    """What our processes see: no settings but ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
    return kept | {
        "FARTHING_DATA": str(data_dir),
        "FARTHING_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "FARTHING_KEEP_LOG_SECONDS": str(keep_log_seconds),
        "FARTHING_THREADS": "1",
        "FARTHING_MEMORY_LIMIT": "500MB",
        "PYTHONPATH": str(REPOSITORY),
        "OPENBLAS_NUM_THREADS": "1",
    }


@dataclass
class House:
    """A data directory with its server. `victim`: its processes can be armed (`injection.py`)."""

    place: Path
    keys: dict[str, str]
    victim: bool = True
    canary: str | None = None
    keep_log_seconds: int = 86_400
    port: int = 0
    supervisor: subprocess.Popen[bytes] | None = None
    started: list[int] = field(default_factory=list)
    """Every process that was seen here; some have ended."""
    wrapper: tuple[str, ...] = ()
    """What the next server is started under, such as strace."""

    def __post_init__(self) -> None:
        self.data = self.place / "data"
        self.faults = self.place / "faults"
        make_directories(self.faults)
        self.outside = Outside(self.data)
        self.port = self.port or _free_port()

    # The server

    def launch(self) -> None:
        """Start the server without waiting for it."""
        entry = (
            (
                "-m",
                "tests.crash.victim",
                str(self.faults),
                *(("--canary", self.canary) if self.canary else ()),
                "--",
            )
            if self.victim
            else ("-m", "farthing")
        )
        if self.supervisor is not None:
            self.supervisor.wait()
        with open(self.place / "serve.out", "wb") as output, open(self.place / "serve.err", "ab") as errors:
            self.supervisor = subprocess.Popen(
                [*self.wrapper, sys.executable, *entry, "serve", "--port", str(self.port), "--workers", "2"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=self.place,
                env=environment(self.data, self.keep_log_seconds),
                start_new_session=True,
            )
        self.started.append(self.supervisor.pid)

    def is_up(self) -> bool:
        """Whether the server has said that it listens."""
        return (
            self.supervisor is not None
            and self.supervisor.poll() is None
            and b"listening" in (self.place / "serve.out").read_bytes()
        )

    def start(self) -> None:
        """Start the server, again if it was killed on its way, and wait until it listens."""
        for _ in range(3):
            if self.supervisor is None or self.supervisor.poll() is not None:
                self.launch()
            until(lambda: self.is_up() or self.supervisor_ended(), "the server starts")
            if self.is_up():
                return
        raise Stuck(f"the server does not start: {self.last_words()}")

    def supervisor_ended(self) -> bool:
        """Whether there is no supervisor."""
        return self.supervisor is None or self.supervisor.poll() is not None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.supervisor is not None
        self.note_processes()
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(PATIENCE_SECONDS)

    def start_again(self) -> None:
        """Start the server after it was killed. Its first thread may be gone before the others are."""
        if self.supervisor is not None:
            self.supervisor.wait(PATIENCE_SECONDS)
        self.start()

    def last_words(self) -> str:
        """The end of what the server wrote to its log."""
        return (self.place / "serve.err").read_bytes()[-12000:].decode(errors="replace")

    def portrait(self) -> str:
        """Who is there, and where each of them stands, for whoever must find out why nothing happens."""
        processes = self.server_processes()
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        time.sleep(PORTRAIT_SECONDS)
        accounts = {tenant: self.account(tenant) for tenant in traffic.TENANTS}
        return f"processes {processes}; accounts {accounts}; log: {self.last_words()}"

    # Its processes

    def server_processes(self) -> dict[int, str]:
        """The supervisor's children by what they hold: worker, engine, or starting."""
        if self.supervisor_ended():
            return {}
        assert self.supervisor is not None
        found = {}
        for pid in children(self.supervisor.pid):
            with suppress(OSError):
                if (
                    is_alive(pid)
                    and b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
                ):
                    found[pid] = self._role(pid)
        self.started += [pid for pid in found if pid not in self.started]
        return found

    def _role(self, pid: int) -> str:
        role = "starting"
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                if target.startswith(str(self.data / "log")):
                    return "worker"
                if target == str(self.data / "sealer.lock"):
                    role = "engine"
        return role

    def of_role(self, role: str) -> list[int]:
        """The processes of a role that live now."""
        return [pid for pid, found in self.server_processes().items() if found == role]

    def postmaster(self) -> int | None:
        """PostgreSQL's first process, if it runs."""
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postgres" / "postmaster.pid").read_text().split("\n")[0])
            if os.path.samefile(f"/proc/{pid}/cwd", self.data / "postgres"):
                if pid not in self.started:
                    self.started.append(pid)
                return pid
        return None

    def postgres_processes(self) -> list[int]:
        """All of PostgreSQL."""
        first = self.postmaster()
        found = [first, *children(first)] if first else []
        self.started += [pid for pid in found if pid not in self.started]
        return found

    def note_processes(self) -> None:
        """Remember who is there, so that they can be ended."""
        self.server_processes()
        self.postgres_processes()

    def all_processes(self) -> list[int]:
        """Everything that lives on this data directory and was seen."""
        self.note_processes()
        return [pid for pid in self.started if is_alive(pid) and self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        """Numbers are used again: a process is ours by its data directory."""
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd").startswith(str(self.place)):
                return True
            needle = f"FARTHING_DATA={self.data}".encode()
            return needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False

    def kill_everything(self) -> None:
        """SIGKILL to all, and wait until they are gone."""
        for pid in (living := self.all_processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.supervisor is not None:
            self.supervisor.wait()
        until(lambda: not any(is_alive(pid) and self._is_ours(pid) for pid in living), "they die")
        self.started.clear()

    # Asking

    def ask(self, tenant: str, path: str, **parameters: Any) -> tuple[int, Any]:
        """GET: status and document. Status 0: no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_SECONDS_MAX)
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        try:
            connection.request("GET", path + query, headers={"authorization": f"Bearer {self.keys[tenant]}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def post_events(self, tenant: str, body: str) -> int:
        """POST some lines; the status, 0 for no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_SECONDS_MAX)
        headers = {"authorization": f"Bearer {self.keys[tenant]}", "content-type": "application/x-ndjson"}
        try:
            connection.request("POST", "/v1/events", body.encode(), headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def account(self, tenant: str) -> dict[str, Any] | None:
        """What became of every accepted event, or None as long as nobody says."""
        status, document = self.ask(tenant, "/v1/account")
        return document if status == 200 else None

    def all_sealed(self) -> bool:
        """Whether no event waits in the log."""
        return all(
            (account := self.account(tenant)) is not None and account["waiting"] == 0
            for tenant in traffic.TENANTS
        )

    def complete(self) -> bool:
        """Whether every place in the server is taken by a process that works."""
        roles = sorted(self.server_processes().values())
        return roles == ["engine", "worker", "worker"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A directory that PostgreSQL's own user can pass where root runs the harness."""
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="farthing-crash-"))
    place.chmod(0o711)
    try:
        yield place
    finally:
        shutil.rmtree(place)
