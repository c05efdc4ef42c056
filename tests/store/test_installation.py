"""A data directory and its books stay together."""

from datetime import datetime
from pathlib import Path

import pytest

from farthing.db import Books
from farthing.db.installation import bind_installation
from farthing.kernel.errors import Conflict


def test_the_pair_is_recognised(books: Books, books_dir: Path, now: datetime) -> None:
    bind_installation(books, books_dir)
    assert len((books_dir / "installation.id").read_text().strip()) == 32


def test_a_directory_of_other_books_is_refused(books: Books, tmp_path: Path) -> None:
    (tmp_path / "installation.id").write_text("0" * 32)
    with pytest.raises(Conflict, match="belongs to other books") as refused:
        bind_installation(books, tmp_path)
    assert refused.value.code == "wrong_books"


def test_a_directory_with_events_that_has_lost_its_id_is_refused(books: Books, tmp_path: Path) -> None:
    segment = tmp_path / "segments" / "1" / "seg_0.parquet"
    segment.parent.mkdir(parents=True)
    segment.touch()
    with pytest.raises(Conflict):
        bind_installation(books, tmp_path)


def test_an_empty_directory_joins_the_books(books: Books, books_dir: Path, tmp_path: Path) -> None:
    bind_installation(books, tmp_path)
    assert (tmp_path / "installation.id").read_text() == (books_dir / "installation.id").read_text()
