"""`farthing serve` as people run it, with everything: workers, the engine, PostgreSQL."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from serving import PATIENCE_SECONDS


class Served:
    """`farthing serve` on a data directory: everything, as people run it."""

    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-m", "farthing", "serve", "--data", str(data_dir), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)$", line.strip())
        assert found, line
        self.port = int(found[1])

    def read_key(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()[-1]

    def kill(self) -> None:
        """Everything at once, none of it prepared."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0
        self.close()
