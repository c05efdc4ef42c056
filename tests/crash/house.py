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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.crash import traffic
from tests.crash.commands import Command, Zygote
from tests.crash.injection import children, is_alive, make_directories
from tests.crash.outside import Outside
from tests.crash.waiting import Stuck, until

ASK_SECONDS_MAX = 30.0
WORKERS = 2
DRAIN_SECONDS = 20
STARTS_MAX = 10
PORTRAIT_SECONDS = 1.0


@dataclass
class House:
    """A data directory with its server.

    forked: its server comes out of the zygote, and faults can be armed in its processes (`victim.py`). Otherwise
    it is `python -m farthing serve`, as anybody would start it.
    """

    place: Path
    keys: dict[str, str]
    zygote: Zygote
    forked: bool = True
    canary: str | None = None
    keep_log_seconds: int = 86_400
    port: int = 0
    supervisor: Command | None = None
    started: list[int] = field(default_factory=list)
    """Every process that was seen here; some have ended."""

    def __post_init__(self) -> None:
        self.data = self.place / "data"
        self.faults = self.place / "faults"
        make_directories(self.faults)
        self.outside = Outside(self.data)
        self.port = self.port or _free_port()

    # Commands

    def command(self, *words: str, armed: bool = False, held: bool = False) -> Command:
        """Start `farthing WORDS --data ... --json`. armed: faults may be put in its way."""
        command = self.zygote.start(
            self.place,
            [*words, "--data", str(self.data), "--json"],
            self._environment(),
            armed=self.faults if armed or self.canary else None,
            canary=self.canary,
            held=held,
        )
        self.started.append(command.pid)
        return command

    def run(self, *words: str) -> Command:
        """Run a command to its end."""
        command = self.command(*words)
        command.wait()
        return command

    def _environment(self) -> dict[str, str]:
        return {
            "FARTHING_DATA": str(self.data),
            "FARTHING_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "FARTHING_KEEP_LOG_SECONDS": str(self.keep_log_seconds),
            "FARTHING_THREADS": "1",
            "FARTHING_MEMORY_LIMIT": "500MB",
        }

    # The server

    def launch(self) -> None:
        """Start the server without waiting for it."""
        words = ["serve", "--port", str(self.port), "--workers", str(WORKERS)]
        self.supervisor = self.zygote.start(
            self.place,
            words,
            self._environment(),
            armed=self.faults if self.forked else None,
            canary=self.canary,
            executed=not self.forked,
            errors=self.place / "serve.err",
        )
        self.started.append(self.supervisor.pid)

    def is_up(self) -> bool:
        """Whether the server has said that it listens."""
        return (
            self.supervisor is not None
            and self.supervisor.poll() is None
            and b"listening" in self.supervisor.output.read_bytes()
        )

    def start(self) -> None:
        """Start the server, again if it was killed on its way, and wait until it listens."""
        for _ in range(STARTS_MAX):
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
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait()

    def start_again(self) -> None:
        """Start the server after it was killed. Its first thread may be gone before the others are."""
        if self.supervisor is not None:
            self.supervisor.wait()
        self.start()

    def last_words(self) -> str:
        """The end of what the server wrote to its log."""
        return (self.place / "serve.err").read_bytes()[-12000:].decode(errors="replace")

    def deaths(self) -> int:
        """How often a process of the server has ended by itself because of an error."""
        return (self.place / "serve.err").read_bytes().count(b"ended with status 1;")

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
        """The supervisor's children by what they hold: worker, engine, or starting; and the template."""
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
        if Path(f"/proc/{pid}/comm").read_text().strip() == "farthing-forks":
            return "template"
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
        roles = sorted(role for role in self.server_processes().values() if role != "template")
        return roles == ["engine", *["worker"] * WORKERS]


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
        # Where a run ends at once, threads of it may be removing their own parts at the same time.
        shutil.rmtree(place, ignore_errors=True)
