"""The writer of the event log: acknowledged means on disk, for every caller, whatever fails."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farthing.events.log import files
from farthing.events.log.files import (
    BlockHeader,
    LogPosition,
    LogWriter,
    encode_block,
    list_log_files,
    read_blocks,
)
from farthing.kernel.errors import Unavailable

HEADER = BlockHeader(block=1, tenant=7, kind="events", received_us=5, events=1, bytes=0, origin="http")


def block(text: str) -> bytes:
    return encode_block(HEADER, text.encode())


def everything(log_dir: Path) -> list[str]:
    return [
        one.payload.decode()
        for name in list_log_files(log_dir)
        for one in read_blocks(log_dir / name, 0, 1 << 40)
    ]


def test_many_callers_share_one_sync(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "w")
    threads, each = 16, 200
    start = threading.Barrier(threads)
    acknowledged: list[list[tuple[str, LogPosition]]] = [[] for _ in range(threads)]

    def append(thread: int) -> None:
        start.wait()
        for number in range(each):
            text = f"{thread}-{number}"
            position = writer.append(block(text)).result()
            # What is acknowledged stands in the file, whole, right before its position.
            with open(tmp_path / position.log_file, "rb") as file:
                file.seek(position.offset - len(text))
                assert file.read(len(text)) == text.encode()
            acknowledged[thread].append((text, position))

    callers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    writer.close()
    # Each once, and the order of one caller is kept.
    written = everything(tmp_path)
    assert sorted(written) == sorted(
        f"{thread}-{number}" for thread in range(threads) for number in range(each)
    )
    for thread, of_thread in enumerate(acknowledged):
        assert [text for text, _ in of_thread] == [text for text in written if text.startswith(f"{thread}-")]
        offsets = [position.offset for _, position in of_thread]
        assert offsets == sorted(set(offsets))


def test_what_waits_is_written_before_the_file_is_given_up(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "w")
    futures = [writer.append(block(str(number))) for number in range(500)]
    writer.close()
    assert all(future.done() for future in futures)
    assert everything(tmp_path) == [str(number) for number in range(500)]
    with pytest.raises(Unavailable) as refused:
        writer.append(block("late"))
    assert refused.value.code == "shutting_down"


def test_a_writer_begins_a_file_of_its_own_each_time(tmp_path: Path) -> None:
    for number in range(3):
        writer = LogWriter(tmp_path, "w")
        writer.append(block(str(number))).result()
        writer.close()
    assert list_log_files(tmp_path) == [f"w/{number:012d}.log" for number in (1, 2, 3)]
    assert everything(tmp_path) == ["0", "1", "2"]


def test_a_large_file_is_followed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 1000)
    writer = LogWriter(tmp_path, "w")
    positions = [writer.append(block("x" * 300)).result() for _ in range(20)]
    writer.close()
    assert len(list_log_files(tmp_path)) == len({position.log_file for position in positions}) > 5
    assert everything(tmp_path) == ["x" * 300] * 20


def test_too_much_waiting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PENDING_BYTES_MAX", -1)
    writer = LogWriter(tmp_path, "w")
    with pytest.raises(Unavailable) as refused:
        writer.append(block("x"))
    assert refused.value.code == "log_busy"
    writer.close()


def test_a_client_that_has_gone_keeps_nobody_from_an_answer(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "w")

    async def leave_and_ask_again() -> LogPosition:
        gone = [asyncio.wrap_future(writer.append(block(f"gone {number}"))) for number in range(50)]
        for future in gone:
            future.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        return await asyncio.wait_for(asyncio.wrap_future(writer.append(block("stays"))), timeout=30)

    position = asyncio.run(leave_and_ask_again())
    assert (writer.failure, position.log_file) == (None, "w/000000000001.log")
    writer.close()
    assert everything(tmp_path) == [*(f"gone {number}" for number in range(50)), "stays"]


# In a process of its own, because descriptors are exchanged under the writer's hands.
_FAILING = """
import errno, json, os, resource, sys
from pathlib import Path
from farthing.events.log import files
from farthing.events.log.files import LogWriter
from farthing.kernel.errors import Unavailable

mode, log_dir = sys.argv[1], Path(sys.argv[2])
blocks = [bytes.fromhex(line) for line in sys.stdin.read().split()]
writer = LogWriter(log_dir, "w", gaps=mode != "full import")
said = []
fsync = os.fsync

def append(block):
    try:
        said.append(["stored", writer.append(block).result().offset])
    except Unavailable as error:
        said.append([error.code, error.message])

append(blocks[0])
own = os.dup(writer._file)
if mode == "sync":            # a pipe can be written to and not be synced
    end, stand_in = os.pipe()
    os.dup2(stand_in, writer._file)
elif mode == "name":          # the next file can be made, and its name cannot be synced
    files.FILE_BYTES_MAX = 0
    def os_fsync(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    os.fsync = os_fsync
elif mode != "limit":         # /dev/full cannot be written to
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file)
else:                         # no file may grow by more than a little
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(blocks[0]) + 40, resource.RLIM_INFINITY))
append(blocks[1])
os.fsync = fsync              # what failed is back, as if nothing had been
if mode != "name":
    os.dup2(own, writer._file)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append(blocks[2])
append(blocks[3])
writer.close()
print(json.dumps({"said": said, "failure": writer.failure}))
"""


def failing(mode: str, log_dir: Path) -> dict[str, object]:
    blocks = "\n".join(block(text).hex() for text in ("a", "b", "c", "d"))
    done = subprocess.run(
        [sys.executable, "-c", _FAILING, mode, str(log_dir)],
        input=blocks,
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_after_a_sync_that_failed_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    said = failing("sync", tmp_path)
    failure = "Invalid argument at sync of w/000000000001.log"
    stopped = ["log_failed", f"the event log stopped taking events: {failure}"]
    assert said == {
        "said": [
            ["stored", len(block("a"))],
            ["log_failed", "the events were not stored: Invalid argument"],
            stopped,
            stopped,
        ],
        "failure": failure,
    }
    assert everything(tmp_path) == ["a"]


def test_after_a_write_that_found_the_disk_full_it_goes_on_in_the_next_file(tmp_path: Path) -> None:
    said = failing("full", tmp_path)
    assert said == {
        "said": [
            ["stored", len(block("a"))],
            ["disk_full", "the events were not stored: No space left on device"],
            ["stored", len(block("c"))],
            ["stored", len(block("c") + block("d"))],
        ],
        "failure": None,
    }
    assert everything(tmp_path) == ["a", "c", "d"]
    assert list_log_files(tmp_path) == ["w/000000000001.log", "w/000000000002.log"]


def test_after_a_name_that_could_not_be_synced_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    said = failing("name", tmp_path)
    failure = "Input/output error at sync of w"
    stopped = ["log_failed", f"the event log stopped taking events: {failure}"]
    assert said == {
        "said": [
            ["stored", len(block("a"))],
            ["log_failed", "the events were not stored: Input/output error"],
            stopped,
            stopped,
        ],
        "failure": failure,
    }
    assert everything(tmp_path) == ["a"]


def test_an_import_takes_nothing_behind_what_was_refused(tmp_path: Path) -> None:
    """Its last block says how far the file was read: what stands before that must not be missing."""
    said = failing("full import", tmp_path)
    failure = "No space left on device at write to w/000000000001.log"
    stopped = ["log_failed", f"the event log stopped taking events: {failure}"]
    assert said == {
        "said": [
            ["stored", len(block("a"))],
            ["disk_full", "the events were not stored: No space left on device"],
            stopped,
            stopped,
        ],
        "failure": failure,
    }
    assert everything(tmp_path) == ["a"]


def test_a_torn_block_gives_its_space_back(tmp_path: Path) -> None:
    said = failing("limit", tmp_path)
    assert said == {
        "said": [
            ["stored", len(block("a"))],
            ["log_failed", "the events were not stored: File too large"],
            ["stored", len(block("c"))],
            ["stored", len(block("c") + block("d"))],
        ],
        "failure": None,
    }
    assert (tmp_path / "w/000000000001.log").read_bytes() == block("a")
    assert everything(tmp_path) == ["a", "c", "d"]
