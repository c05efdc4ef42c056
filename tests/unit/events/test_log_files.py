"""Blocks of the event log: what was written is read back, and whatever happened to it since is noticed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.events.intake.formats import parse_lines
from farthing.events.log.files import (
    Block,
    BlockHeader,
    LogWriter,
    encode_block,
    is_finished,
    list_log_files,
    read_blocks,
)
from farthing.events.log.search import unsealed_blocks
from farthing.kernel.errors import Corrupt

HEADER = BlockHeader(block=1, tenant=7, kind="events", received_us=5, events=1, bytes=0, origin="http")
TWO = BlockHeader(block=1, tenant=7, kind="events", received_us=5, events=2, bytes=0, origin="http")
EVERYTHING = 1 << 40


def file_of(tmp_path: Path, *blocks: bytes) -> Path:
    path = tmp_path / "000000000001.log"
    path.write_bytes(b"".join(blocks))
    return path


def payloads(path: Path, offset: int = 0) -> list[bytes]:
    return [block.payload for block in read_blocks(path, offset, EVERYTHING)]


headers = st.builds(
    BlockHeader,
    block=st.just(1),
    tenant=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(["events", "refused"]),
    received_us=st.integers(-(2**60), 2**60),
    events=st.integers(0, 10**6),
    bytes=st.just(0),
    origin=st.text(max_size=50),
    import_key=st.text(max_size=10),
    import_read_to=st.integers(0, 2**60),
    import_complete=st.booleans(),
)
contents = st.lists(st.tuples(headers, st.binary(max_size=200)), max_size=5)


@given(contents)
def test_blocks_are_read_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[BlockHeader, bytes]]
) -> None:
    encoded = [encode_block(header, payload) for header, payload in written]
    path = file_of(tmp_path_factory.mktemp("log"), *encoded)
    blocks = read_blocks(path, 0, EVERYTHING)
    assert [block.payload for block in blocks] == [payload for _, payload in written]
    for block, (header, payload) in zip(blocks, written, strict=True):
        read = block.header
        assert (read.tenant, read.kind, read.received_us, read.events) == (
            header.tenant, header.kind, header.received_us, header.events,
        )  # fmt: skip
        assert (read.origin, read.import_key, read.import_read_to, read.import_complete) == (
            header.origin, header.import_key, header.import_read_to, header.import_complete,
        )  # fmt: skip
        assert read.bytes == len(payload)
    ends = [sum(map(len, encoded[: place + 1])) for place in range(len(encoded))]
    assert [block.end for block in blocks] == ends
    for place, end in enumerate(ends):
        assert read_blocks(path, end, EVERYTHING) == blocks[place + 1 :]


def test_a_piece_ends_behind_the_block_that_passes_the_bound(tmp_path: Path) -> None:
    block = encode_block(HEADER, b"x" * 100)
    path = file_of(tmp_path, *[block] * 10)
    for bound, blocks in (
        (1, 1),
        (len(block), 1),
        (len(block) + 1, 2),
        (len(block) * 3 + 1, 4),
        (EVERYTHING, 10),
    ):
        assert len(read_blocks(path, 0, bound)) == blocks
    assert read_blocks(path, 10 * len(block), EVERYTHING) == []


LINE = b'{"id":"1","source":"s","type":"t","specversion":"1.0","subject":null,"time":null,"data":{"a": 1}}\n'


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    one = encode_block(HEADER, LINE)
    whole = one * 3
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= (0x01, 0x20, 0x80)[place % 3]
        with pytest.raises(Corrupt) as refused:
            read_blocks(file_of(tmp_path, bytes(damaged)), 0, EVERYTHING)
        assert refused.value.code == "log_damaged"


def test_every_turned_bit_of_the_last_block_is_noticed(tmp_path: Path) -> None:
    """A write that was cut off leaves the beginning of a block, and a turned bit leaves none."""
    one = encode_block(HEADER, LINE)
    for bit in range(8 * len(one)):
        damaged = bytearray(one)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            read_blocks(file_of(tmp_path, one, bytes(damaged)), 0, EVERYTHING)


def test_damage_is_noticed_wherever_reading_begins(tmp_path: Path) -> None:
    one = encode_block(HEADER, LINE)
    damaged = bytearray(one * 4)
    damaged[2 * len(one) - 3] ^= 1
    path = file_of(tmp_path, bytes(damaged))
    assert [block.payload for block in read_blocks(path, 0, 1)] == [LINE]
    for offset in (0, len(one)):
        with pytest.raises(Corrupt):
            read_blocks(path, offset, EVERYTHING)
    assert payloads(path, 2 * len(one)) == [LINE, LINE]


def test_a_byte_lost_or_gained_is_noticed(tmp_path: Path) -> None:
    one = encode_block(HEADER, LINE)
    for place in range(len(one)):
        for damaged in (one[:place] + one[place + 1 :], one[:place] + b"x" + one[place:]):
            with pytest.raises(Corrupt):
                read_blocks(file_of(tmp_path, damaged, one), 0, EVERYTHING)


def test_blocks_that_changed_places_are_still_themselves(tmp_path: Path) -> None:
    """Two swapped blocks are two whole blocks: what they hold is counted once, as before."""
    one, other = encode_block(HEADER, b"a\n"), encode_block(HEADER, b"b\n")
    assert payloads(file_of(tmp_path, other, one)) == [b"b\n", b"a\n"]


def test_a_torn_tail_is_ignored_wherever_it_was_torn(tmp_path: Path) -> None:
    one, last = encode_block(HEADER, LINE), encode_block(TWO, LINE * 2)
    for end in range(len(last)):
        assert payloads(file_of(tmp_path, one, last[:end])) == [LINE]
        assert payloads(file_of(tmp_path, one, last[:end], b"\0" * 5000)) == [LINE]


def test_a_tail_that_no_write_has_left_is_damage(tmp_path: Path) -> None:
    one = encode_block(HEADER, LINE)
    for garbage in (
        b"garbage",
        b"\n\n\n",
        b'\n{"block":1',
        b"\xff" + os.urandom(1000),
        b'{"block":' + b"1" * 5000,
    ):
        with pytest.raises(Corrupt):
            read_blocks(file_of(tmp_path, one, garbage), 0, EVERYTHING)


def test_a_whole_block_behind_a_torn_one_is_damage(tmp_path: Path) -> None:
    one = encode_block(HEADER, LINE)
    for end in range(1, len(one)):
        with pytest.raises(Corrupt) as refused:
            read_blocks(file_of(tmp_path, one, one[:end], one), 0, EVERYTHING)
        assert refused.value.code == "log_damaged"


def test_what_events_say_is_never_taken_for_a_block(tmp_path: Path) -> None:
    """Whoever writes events must not be able to make the log look damaged, or whole."""
    forged = encode_block(HEADER, LINE)
    payload = b"\n" + forged + LINE + forged
    assert payloads(file_of(tmp_path, encode_block(HEADER, payload))) == [payload]
    # A block needs a line of its own for its header, and every line of an event ends with one brace more.
    header = forged.partition(b"\n")[0].decode()
    line = parse_lines(f'{{"id":"1","source":"s","type":"t","data":{header}}}'.encode()).lines
    torn = encode_block(TWO, line + LINE)
    assert payloads(file_of(tmp_path, torn[:-1])) == []


def test_files_are_listed_writer_by_writer_oldest_first(tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    assert list_log_files(log_dir) == []
    for name in ("b/000000000002.log", "b/000000000010.log", "a/000000000001.log", "a/notes.txt", "b/1.log"):
        (log_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (log_dir / name).touch()
    (log_dir / "stray").touch()
    assert list_log_files(log_dir) == ["a/000000000001.log", "b/000000000002.log", "b/000000000010.log"]


def test_unsealed_blocks_begin_at_the_cursors_and_pass_over_files_that_were_removed(tmp_path: Path) -> None:
    first, second = encode_block(HEADER, LINE), encode_block(TWO, LINE + LINE)
    for writer in "abc":
        (tmp_path / writer).mkdir()
        (tmp_path / writer / "000000000001.log").write_bytes(first + second)
    sealed_to = {"a/000000000001.log": len(first), "c/000000000001.log": len(first + second)}
    found = unsealed_blocks(tmp_path, sealed_to)
    name, block = next(found)
    assert (name, block.payload) == ("a/000000000001.log", LINE + LINE)
    # Sealed and removed after the list was made.
    (tmp_path / "b/000000000001.log").unlink()
    (tmp_path / "b").rmdir()
    assert list(found) == []
    assert [name for name, _ in unsealed_blocks(tmp_path, {})] == ["a/000000000001.log"] * 2 + [
        "c/000000000001.log"
    ] * 2


def test_a_file_is_finished_once_its_writer_has_gone(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "w")
    path = tmp_path / writer.log_file
    position = writer.append(encode_block(HEADER, LINE)).result()
    assert (position.log_file, position.offset) == ("w/000000000001.log", path.stat().st_size)
    assert not is_finished(path)
    assert [type(block) for block in read_blocks(path, 0, EVERYTHING)] == [Block]
    writer.close()
    assert is_finished(path)
