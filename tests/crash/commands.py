"""Commands of Farthing, run by the zygote: started, armed if need be, waited for or killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash import traffic
from tests.crash.house import PATIENCE_SECONDS, REPOSITORY, House, Stuck, eventually


@dataclass
class Command:
    """One command on its way or at its end."""

    output: Path
    errors: Path
    pid: int = 0
    code: int | None = None
    change: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code; -9 where it was killed."""
        with self.change:
            if not self.change.wait_for(lambda: self.code is not None, seconds):
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGUSR1)
                eventually(lambda: self.complaint().rstrip().endswith("main"), 1)
                raise Stuck(f"process {self.pid} does not end; it stands here:\n{self.complaint()}")
        assert self.code is not None
        return self.code

    def ended(self, seconds: float) -> bool:
        """Whether it ends within some time."""
        with self.change:
            return self.change.wait_for(lambda: self.code is not None, seconds)

    def kill(self) -> None:
        """SIGKILL."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def document(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.output.read_text())

    def complaint(self) -> str:
        """What it said on standard error."""
        return self.errors.read_text()[-3000:]


class Zygote:
    """The process that forks commands."""

    def __init__(self, place: Path) -> None:
        self._place = place / "commands"
        self._place.mkdir()
        self._commands: dict[int, Command] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=place,
            env={name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
            | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
        )
        threading.Thread(target=self._listen, name="zygote", daemon=True).start()

    def start(self, house: House, words: Sequence[str], *, armed: bool = False) -> Command:
        """Start `farthing WORDS --data ... --json`. `armed`: faults may be put in its way."""
        with self._lock:
            self._number += 1
            command = Command(self._place / f"{self._number}.out", self._place / f"{self._number}.err")
            self._commands[self._number] = command
            asked = {
                "id": self._number,
                "directory": str(house.faults) if armed or house.canary else None,
                "canary": house.canary,
                "words": [*words, "--data", str(house.data), "--json"],
                "output": str(command.output),
                "errors": str(command.errors),
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        with command.change:
            assert command.change.wait_for(lambda: command.pid, PATIENCE_SECONDS), "the zygote is dead"
        house.started.append(command.pid)
        return command

    def run(self, house: House, *words: str) -> Command:
        """Run a command to its end."""
        command = self.start(house, words)
        command.wait()
        return command

    def close(self) -> None:
        """No more commands."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "id" not in said:
                continue
            with self._lock:
                command = self._commands[said["id"]]
                if "code" in said:
                    del self._commands[said["id"]]
            with command.change:
                command.pid = said.get("pid", command.pid)
                command.code = said.get("code")
                command.change.notify_all()


@dataclass(frozen=True, slots=True)
class Template:
    """A data directory with catalog, customers, tenants and keys, to be copied."""

    data: Path
    keys: dict[str, str]


def make_template(zygote: Zygote, place: Path) -> Template:
    """Make it once; a copy takes a tenth of the time."""
    directory = place / "template"
    directory.mkdir(mode=0o711)
    (directory / "catalog.yaml").write_text(traffic.CATALOG)
    house = House(directory, {})
    first, second = traffic.TENANTS
    _done(zygote.run(house, "tenants", "create", second))
    keys = {}
    for tenant in (first, second):
        _done(zygote.run(house, "apply", str(directory / "catalog.yaml"), "--tenant", tenant))
        keys[tenant] = _done(zygote.run(house, "keys", "create", "--tenant", tenant)).document()["key"]
    return Template(house.data, keys)


def copy_template(template: Template, place: Path) -> None:
    """Fill `place / "data"` with it, owners and permissions as they were."""
    subprocess.run(["cp", "-a", f"{template.data}/.", str(place / "data")], check=True)


def _done(command: Command) -> Command:
    assert command.code == 0, command.complaint()
    return command
