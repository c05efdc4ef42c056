"""Lines of the log are blanked where they stand: every block stays whole, and where it was."""

from pathlib import Path

import pytest

from farthing.events.log.blanking import REDO_DIR, blank_lines
from farthing.events.log.files import Block, BlockHeader, LogWriter, encode_block, read_blocks
from farthing.events.segments.removal import nothing_removed
from farthing.kernel.errors import Unavailable


def block(*lines: bytes) -> bytes:
    payload = b"".join(line + b"\n" for line in lines)
    return encode_block(BlockHeader(1, 1, "events", 0, len(lines), len(payload), "test"), payload)


def without(word: bytes):
    def kept(one: Block) -> bytes:
        return b"".join(line for line in one.payload.splitlines(keepends=True) if word not in line)

    return kept


@pytest.fixture
def log(tmp_path: Path):
    """An open file of three blocks; the last is not sealed."""
    writer = LogWriter(tmp_path / "log", "w")
    ends = [
        writer.append(one).result().offset
        for one in (block(b"ann 1", b"bob 1", b"ann 2"), block(b"bob 2"), block(b"ann 3"))
    ]
    yield writer, ends
    writer.close()


def lines(path: Path) -> list[list[bytes]]:
    return [one.payload.split() for one in read_blocks(path, 0, 10**9)]


def test_lines_go_and_blocks_stay(tmp_path: Path, log: tuple[LogWriter, list[int]]) -> None:
    writer, ends = log
    path = tmp_path / "log" / writer.log_file
    size = path.stat().st_size
    sealed_to = {writer.log_file: ends[1]}
    assert blank_lines(tmp_path, sealed_to, without(b"ann")) == 1
    assert lines(path) == [[b"bob", b"1"], [b"bob", b"2"], [b"ann", b"3"]]
    assert [one.end for one in read_blocks(path, 0, 10**9)] == ends
    assert [one.header.events for one in read_blocks(path, 0, 10**9)] == [3, 1, 1]
    assert path.stat().st_size == size
    assert path.read_bytes()[: ends[1]].count(b"ann") == 0
    assert blank_lines(tmp_path, sealed_to, without(b"ann")) == 0
    # Its writer goes on behind.
    writer.append(block(b"bob 3")).result()
    assert lines(path)[-1] == [b"bob", b"3"]


def test_what_a_killed_process_had_begun_to_write_is_written_again(
    tmp_path: Path, log: tuple[LogWriter, list[int]]
) -> None:
    writer, ends = log
    path = tmp_path / "log" / writer.log_file
    whole = path.read_bytes()
    torn = whole[:20] + b"\0" * 30 + whole[50:]
    path.write_bytes(torn)
    redo = tmp_path / REDO_DIR / writer.log_file.replace("/", "~")
    redo.parent.mkdir()
    redo.write_bytes(f"0 {ends[0]}\n".encode() + whole[: ends[0]])
    redo.with_suffix(".draft").write_bytes(b"half of")
    assert blank_lines(tmp_path, {writer.log_file: ends[0]}, without(b"nobody")) == 0
    assert path.read_bytes() == whole
    assert list(redo.parent.iterdir()) == []


def test_blocks_of_every_size_are_blanked_to_the_byte(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log", "w")
    sizes = [*range(1, 140), 900, 990, 999, 1000, 1009, 9_990]
    ends = [writer.append(block(b"a" * size, b"b")).result().offset for size in sizes]
    writer.close()
    path = tmp_path / "log" / writer.log_file
    assert blank_lines(tmp_path, {writer.log_file: ends[-1]}, without(b"a")) == 1
    assert [one.end for one in read_blocks(path, 0, 10**9)] == ends
    assert lines(path) == [[b"b"]] * len(sizes)


def test_a_log_that_is_being_copied_waits(tmp_path: Path, log: tuple[LogWriter, list[int]]) -> None:
    with nothing_removed(tmp_path), pytest.raises(Unavailable) as refused:
        blank_lines(tmp_path, {}, without(b"ann"))
    assert refused.value.code == "backup_running"
