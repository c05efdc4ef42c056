"""Removing the books of a data directory that was never finished: its server and its cluster, wherever it lies."""

import shutil
from pathlib import Path

from farthing.db.embedded.cluster import Cluster
from farthing.db.embedded.place import CLUSTER_DIRECTORY, find_place
from farthing.db.embedded.sharing import embedded_postgres


def discard_books(data_dir: Path) -> None:
    """Nobody has used them, or the one who did was killed. Whoever calls knows that they are nobody's books."""
    place = find_place(data_dir)
    if Cluster(place).exists() and Cluster(place).runs():
        with embedded_postgres(data_dir, lambda _message: None):
            pass  # Whoever leaves last stops the server.
    shutil.rmtree(place.home / CLUSTER_DIRECTORY, ignore_errors=True)
    if place.home != data_dir:
        shutil.rmtree(place.home, ignore_errors=True)
