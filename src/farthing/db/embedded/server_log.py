"""The server's own log, which may quote what it was asked: begun anew when that is to be forgotten."""

import os
from pathlib import Path

from farthing.db.embedded.place import CLUSTER_DIRECTORY, PLACE_FILE, find_place


def begin_server_log_anew(data_dir: Path) -> None:
    """Empty the log files of the server in this data directory, if there is one. It appends, and goes on."""
    if (data_dir / CLUSTER_DIRECTORY).is_dir() or (data_dir / PLACE_FILE).exists():
        for log in (find_place(data_dir).cluster / "log").glob("*.log"):
            os.truncate(log, 0)
