"""What reads and writes events: the compiled functions, and an event store."""

from collections.abc import Iterator

import pytest

from farthing.events.scanning.loading import Scanning, load_scanning
from farthing.events.store.duckdb import EventStore


@pytest.fixture(scope="module")
def scanning() -> Scanning:
    loaded = load_scanning()
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    made = EventStore(tmp_path_factory.mktemp("store"), threads=1, memory_limit="1GB")
    yield made
    made.close()
