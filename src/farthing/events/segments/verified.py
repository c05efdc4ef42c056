"""Which files are known to hold what was written to them.

A file is read through and its checksum compared once for each version of it: path, inode, size and both of its
times. What was found is remembered in `verified` in the data directory, so that a process that begins anew
does not read everything again. It is only a memory: whoever removes it makes the next one read, and a file that
differs from it in any of these, or of which the books say another checksum, is read again.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

MISSING = "is missing"
CHANGED = "is not what was written to it: its checksum differs"
MEMORY = "verified"

_Version = tuple[int, int, int, int]
_decoder = msgspec.json.Decoder(dict[str, tuple[_Version, str]])


class VerifiedFiles:
    """The files of a data directory, by path relative to it. Threads may share it."""

    def __init__(self, data_dir: Path, threads: int, *, recall: bool = True) -> None:
        """recall: whether to trust what earlier processes found."""
        self._data_dir = data_dir
        self._threads = threads
        self._recall = recall
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Version, str]] = {}

    def complaints(self, checksums: Mapping[str, bytes]) -> dict[str, str]:
        """What is wrong with each file that does not hold what the books say of it (path to checksum)."""
        with self._lock:
            unknown = self._unknown(checksums)
            if unknown and self._recall:
                self._known = _recalled(self._data_dir) | self._known
                unknown = self._unknown(checksums)
            if not unknown:
                return {}
            with ThreadPoolExecutor(self._threads) as pool:
                found = dict(zip(unknown, pool.map(self._read, unknown, unknown.values()), strict=True))
            if not all(found.values()):
                self._remember()
            return {path: complaint for path, complaint in found.items() if complaint}

    def _unknown(self, checksums: Mapping[str, bytes]) -> dict[str, bytes]:
        return {
            path: checksum
            for path, checksum in checksums.items()
            if path not in self._known
            or self._known[path] != (_version(self._data_dir / path), bytes(checksum).hex())
        }

    def _read(self, path: str, checksum: bytes) -> str:
        """What is wrong with a file, read through; nothing: it is known from now on."""
        try:
            with open(self._data_dir / path, "rb") as file:
                before = _version_of(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
                unchanged = before == _version_of(os.fstat(file.fileno()))
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if digest != checksum:
            return CHANGED
        if unchanged:
            self._known[path] = (before, digest.hex())
        return ""

    def _remember(self) -> None:
        """Leave it to those who come later. Two who do so at once lose some of it, which they read again."""
        there = {path: found for path, found in self._known.items() if (self._data_dir / path).exists()}
        new = self._data_dir / f"{MEMORY}.{os.getpid()}.{threading.get_native_id()}"
        with suppress(OSError):
            new.write_bytes(msgspec.json.encode(there))
            new.replace(self._data_dir / MEMORY)


def _recalled(data_dir: Path) -> dict[str, tuple[_Version, str]]:
    try:
        return _decoder.decode((data_dir / MEMORY).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _version(path: Path) -> _Version | None:
    try:
        return _version_of(path.stat())
    except OSError:
        return None


def _version_of(status: os.stat_result) -> _Version:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
