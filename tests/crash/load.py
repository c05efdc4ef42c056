"""The clients, as the harness speaks to them: one process of them for each data directory."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.crash.commands import REPOSITORY
from tests.crash.house import House
from tests.crash.waiting import Stuck


class Load:
    """Clients that go on sending, whatever becomes of the server, until they are told to pause."""

    def __init__(self, house: House, journals: Path, *, name: str, seed: str, clients: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=journals,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
        )
        self._first = {
            "port": house.port,
            "keys": house.keys,
            "journals": str(journals),
            "name": name,
            "seed": seed,
            "clients": clients,
            # The database lets no correction count twice: of that mistake sealing stands still, and nothing is doubled.
            "corrects": house.canary is None,
        }
        self.statuses: Counter[str] = Counter()
        """What was answered how often, by status and code."""

    def run(self, month: int) -> None:
        """Go on."""
        self._order({"do": "run", "month": month} | self._first)
        self._first = {}

    def pause(self) -> None:
        """Finish what is under way."""
        self._order({"do": "pause"})

    def acknowledged_after(self, moment: float) -> float:
        """Seconds from a moment to the first acknowledgement of what was sent after it."""
        answer = self._order({"do": "await", "after": moment})
        if not answer["acknowledged"]:
            raise Stuck(f"nothing is acknowledged any more: {self.statuses}")
        seconds: float = answer["at"] - moment
        return seconds

    def close(self) -> None:
        """No more of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.statuses = Counter(answer["statuses"])
        return answer
