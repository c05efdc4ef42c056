"""What every test may ask for: a moment, the books, and a tenant of its own."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from farthing.db import Books, open_books
from farthing.db.tenants import create_tenant

# How long an example takes says something about the machine, and nothing about a law.
settings.register_profile("farthing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("farthing")

_tenant_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that crash servers begin first: they mostly wait, and would run alone at the end."""
    items.sort(key=lambda item: "tests/crash/" not in item.nodeid)


@pytest.fixture(scope="session")
def session_now() -> datetime:
    return datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def now(session_now: datetime) -> datetime:
    """The moment at which tests happen."""
    return session_now


@pytest.fixture(scope="session")
def books_dir() -> Iterator[Path]:
    """The data directory of `books`: short, and passable for the server's user when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="farthing-"))
    directory.chmod(0o711)
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def passable_dir() -> Iterator[Path]:
    """An empty directory that the server's user can pass when root runs the tests, as pytest's own cannot be."""
    directory = Path(tempfile.mkdtemp(prefix="farthing-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def books(books_dir: Path, session_now: datetime) -> Iterator[Books]:
    """One embedded PostgreSQL for the whole session. Tests share it, and never a tenant."""
    with open_books(books_dir, None, now=session_now) as books:
        yield books


@pytest.fixture
def tenant_id(books: Books, now: datetime) -> int:
    """A fresh tenant for this test alone."""
    number = next(_tenant_numbers)
    return create_tenant(books, f"test-{number}", f"Test {number}", now)
