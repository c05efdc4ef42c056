"""Commands of Farthing, run by the zygote: started, armed if need be, waited for or killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.waiting import PATIENCE_SECONDS, Stuck, eventually

REPOSITORY = Path(__file__).resolve().parents[2]


def run_apart(*words: str | Path, check: bool = True) -> int:
    """Run a program that Ctrl-C in the terminal does not reach, as it is for the harness to end in order."""
    done = subprocess.run(words, check=check, capture_output=True, start_new_session=True)
    return done.returncode


@dataclass
class Command:
    """One command, or a server, on its way or at its end."""

    output: Path
    errors: Path
    pid: int = 0
    code: int | None = None
    change: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code; -9 where it was killed."""
        if not self.ended(seconds):
            self.send_signal(signal.SIGUSR1)
            eventually(lambda: self.complaint().rstrip().endswith("main"), 1)
            raise Stuck(f"process {self.pid} does not end; it stands here:\n{self.complaint()}")
        assert self.code is not None
        return self.code

    def ended(self, seconds: float) -> bool:
        """Whether it ends within some time."""
        with self.change:
            return self.change.wait_for(lambda: self.code is not None, seconds)

    def poll(self) -> int | None:
        """Its exit code, or None as long as it runs."""
        return self.code

    def send_signal(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def document(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.output.read_text())

    def complaint(self) -> str:
        """What it said on standard error."""
        return self.errors.read_bytes()[-12000:].decode(errors="replace")


class Zygote:
    """The process that forks commands."""

    def __init__(self, place: Path) -> None:
        self._place = place / "commands"
        self._place.mkdir()
        self._commands: dict[int, Command] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._refusing = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=place,
            env={name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
            | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="zygote", daemon=True)
        self._listener.start()

    def start(
        self,
        place: Path,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        armed: Path | None = None,
        canary: str | None = None,
        held: bool = False,
        executed: bool = False,
        errors: Path | None = None,
    ) -> Command:
        """Start `farthing WORDS` in a directory. armed: where faults are put in its way. The rest: `zygote.py`."""
        with self._lock:
            if self._refusing:
                raise RuntimeError("the run ends at once: nothing is started any more")
            self._number += 1
            own = self._place / f"{self._number}.err"
            command = Command(self._place / f"{self._number}.out", errors or own)
            for file in (command.output, command.errors):
                file.touch()
            self._commands[self._number] = command
            asked = {
                "id": self._number,
                "armed": None if armed is None else str(armed),
                "canary": canary,
                "held": held,
                "executed": executed,
                "words": list(words),
                "place": str(place),
                "environment": dict(environment),
                "output": str(command.output),
                "errors": str(command.errors),
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        with command.change:
            assert command.change.wait_for(lambda: command.pid, PATIENCE_SECONDS), "the zygote is dead"
        return command

    def refuse(self) -> None:
        """No more commands; those that run go on."""
        with self._lock:
            self._refusing = True

    def close(self) -> None:
        """The end of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)
        self._listener.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._lock:
                command = self._commands[said["id"]]
                if "code" in said:
                    del self._commands[said["id"]]
            with command.change:
                command.pid = said.get("pid", command.pid)
                command.code = said.get("code")
                command.change.notify_all()
