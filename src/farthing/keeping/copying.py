"""Copying a file so that what arrives is known: its checksum is taken from the bytes on their way."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard

from farthing.kernel.errors import Corrupt

PIECE_BYTES = 1024 * 1024
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
COMPRESSION_LEVEL = 3

Moved = Callable[[int], object]
"""Told how many bytes have been dealt with."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is durable under its name once its directory is."""

    size_bytes: int
    checksum: str


class _Hashed:
    """A file being written, and the checksum of what was."""

    def __init__(self, path: Path) -> None:
        make_private(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        self._file = os.fdopen(descriptor, "wb")
        self._digest = hashlib.blake2b(digest_size=16)
        self._size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._size += len(data)
        return self._file.write(data)

    def finish(self) -> Written:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Written(self._size, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


def copy_file(source: Path, target: Path, moved: Moved, size_bytes: int | None = None) -> Written:
    """Copy a file, or its first bytes. The target must not be there."""
    out = _Hashed(target)
    try:
        for piece in pieces(source, size_bytes):
            out.write(piece)
            moved(len(piece))
        return out.finish()
    finally:
        out.close()


def pieces(source: Path, size_bytes: int | None = None) -> Iterator[bytes]:
    """A file's bytes, or the first of them, a piece at a time."""
    left = source.stat().st_size if size_bytes is None else size_bytes
    with open(source, "rb") as file:
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece


def checksum_of(path: Path, moved: Moved) -> Written:
    """What is in a file."""
    digest = hashlib.blake2b(digest_size=16)
    size = 0
    for piece in pieces(path):
        digest.update(piece)
        size += len(piece)
        moved(len(piece))
    return Written(size, digest.hexdigest())


class CompressedFile:
    """A file that is compressed as it is written."""

    def __init__(self, path: Path) -> None:
        self._out = _Hashed(path)
        self._compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compressobj()

    def write(self, data: bytes) -> None:
        """Append."""
        self._out.write(self._compressor.compress(data))

    def finish(self) -> Written:
        """Nothing more comes."""
        self._out.write(self._compressor.flush())
        return self._out.finish()

    def close(self) -> None:
        """Let it go, finished or not."""
        self._out.close()


@contextmanager
def compressed(path: Path) -> Iterator[CompressedFile]:
    """A file to write, compressed; whoever writes it finishes it."""
    file = CompressedFile(path)
    try:
        yield file
    finally:
        file.close()


def decompressed(path: Path, moved: Moved) -> Iterator[bytes]:
    """What was written to a compressed file. Raises Corrupt `backup_damaged`."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        for piece in pieces(path):
            moved(len(piece))
            if data := decompressor.decompress(piece):
                yield data
    except zstandard.ZstdError as error:
        raise Corrupt("backup_damaged", f"{path} cannot be unpacked: {error}") from None


def make_private(directory: Path) -> None:
    """A directory that its owner alone may enter, with those above it that are missing."""
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


def sync_tree(directory: Path) -> None:
    """Make the names in a directory, and in all below it, durable."""
    for path, _, _ in os.walk(directory):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
