"""`farthing serve` in processes of its own, as it starts by default."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Wrong


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens."""

    process: "subprocess.Popen[str]"
    port: int

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def serve(data_dir: Path) -> Iterator[Server]:
    """A server with default settings on a free port, from when it listens. It is told to stop afterwards."""
    command = [sys.executable, "-m", "farthing", "serve", "--port", "0", "--data", str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own_environment())
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "listening on" in line:
                yield Server(process, int(line.rsplit(":", 1)[1]))
                return
        raise Wrong("the server ended before it was ready; its message stands above")
    finally:
        process.terminate()
        process.communicate()


def own_environment() -> dict[str, str]:
    """The environment without settings of ours, so that defaults are what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
