"""Blanking lines of the log that were sealed: blocks stay where they are, as long as they were, and whole.

A log file may be open to its writer, and seals say where in it their events stood, so nothing moves. What is to be
written is durable in a file beside the log first: a process that is killed in between leaves that, and the next one
writes it again.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from farthing.events.log.files import (
    Block,
    encode_block,
    list_log_files,
    make_directory,
    read_blocks,
    sync_directory,
)
from farthing.events.segments.removal import removing
from farthing.kernel.errors import Unavailable

PIECE_BYTES = 8 * 1024 * 1024
REDO_DIR = "erasing"
_TRIES_MAX = 200

KeptLines = Callable[[Block], bytes]
"""The payload of a block without the lines that are to go; the payload itself where none is."""


def blank_lines(data_dir: Path, sealed_to: Mapping[str, int], kept_lines: KeptLines) -> int:
    """Blank what `kept_lines` leaves out of the sealed blocks of the log. How many log files had any.

    Raises Unavailable `backup_running` while somebody copies the log; Corrupt `log_damaged`.
    """
    with removing(data_dir) as allowed:
        if not allowed:
            raise Unavailable("backup_running", "a backup is copying the log; erasing goes on after it")
        _write_again(data_dir)
        changed = 0
        for log_file in list_log_files(data_dir / "log"):
            try:
                changed += _blank_file(data_dir, log_file, sealed_to.get(log_file, 0), kept_lines)
            except FileNotFoundError:  # sealed and old enough: the engine removed it meanwhile
                continue
        return changed


def _blank_file(data_dir: Path, log_file: str, end: int, kept_lines: KeptLines) -> bool:
    path = data_dir / "log" / log_file
    pieces: list[tuple[int, bytes]] = []
    offset = 0
    while offset < end:
        blocks = [block for block in read_blocks(path, offset, PIECE_BYTES) if block.end <= end]
        if not blocks:
            break
        for block in blocks:
            kept = kept_lines(block)
            if len(kept) < len(block.payload):
                pieces.append((offset, _same_size(block, kept, block.end - offset)))
            offset = block.end
    if pieces:
        redo = _redo_file(data_dir, log_file, pieces)
        _apply(data_dir, redo)
    return bool(pieces)


def _same_size(block: Block, kept: bytes, size: int) -> bytes:
    """The block with fewer lines, and a blank one that makes up for them."""
    filler = size - len(kept)
    # The checksum may have more or fewer digits than it just had, so the blank line is spelt otherwise each time.
    for marks in range(_TRIES_MAX):
        blank = b"\t" * min(marks, filler) + b" " * max(0, filler - marks) + b"\n"
        encoded = encode_block(block.header, kept + blank)
        if len(encoded) == size:
            return encoded
        filler += size - len(encoded)
    raise AssertionError("a blank line of some length fits")


def _redo_file(data_dir: Path, log_file: str, pieces: list[tuple[int, bytes]]) -> Path:
    """What is to be written, durable: for each piece its offset and length in a line, then the bytes."""
    directory = data_dir / REDO_DIR
    make_directory(directory)
    redo = directory / log_file.replace("/", "~")
    draft = redo.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(f"{offset} {len(data)}\n".encode() + data for offset, data in pieces)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(redo)
    sync_directory(directory)
    return redo


def _write_again(data_dir: Path) -> None:
    """What a process that was killed had begun to write."""
    for redo in sorted((data_dir / REDO_DIR).glob("*.log")):
        _apply(data_dir, redo)
    for draft in (data_dir / REDO_DIR).glob("*.draft"):
        draft.unlink()


def _apply(data_dir: Path, redo: Path) -> None:
    path = data_dir / "log" / redo.name.replace("~", "/")
    if path.exists():
        with open(redo, "rb") as told, open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb") as log:
            while line := told.readline():
                offset, size = map(int, line.split())
                log.seek(offset)
                log.write(told.read(size))
            log.flush()
            os.fsync(log.fileno())
    redo.unlink()
    sync_directory(redo.parent)
