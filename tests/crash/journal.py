"""What was sent and what was promised, written down outside of the system and synced.

    {"n": 12, "tenant": "default", "lines": [...], "at": 123.4}     before anything is sent
    {"n": 12, "status": 202, "refused": [3], "at": 123.5}           after the answer; status 0: there was none

`at` is the monotonic clock, which is the same for all processes of a machine. A file has one writer.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ACCEPTED = 202
NO_ANSWER = 0


class Journal:
    """One writer's file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; it is on disk when this returns."""
        os.write(self._file, json.dumps(record).encode() + b"\n")
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


class JournalReader:
    """All journals of a directory, read as they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_to: dict[str, int] = {}

    def new_records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(journal, record) of every record that was not given before."""
        for path in sorted(self._directory.glob("*.ndjson")):
            with open(path, "rb") as file:
                file.seek(self._read_to.get(path.name, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read_to[path.name] = self._read_to.get(path.name, 0) + len(whole)
            for line in whole.splitlines():
                yield path.stem, json.loads(line)
