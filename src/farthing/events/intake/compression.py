"""Compressed texts. Zstandard, read to its end or refused.

A stream may be several frames behind one another. One that stops in the middle of a frame is broken:
taking what came before it would lose events in silence.
"""

import io
from collections.abc import Iterable, Iterator

import zstandard
from isal import isal_zlib

GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # Its stub takes the class for an instance.
WINDOW_BYTES_MAX = 128 * 1024 * 1024
_STEP_BYTES = 1024
"""Fed at once. A block of 128 KiB takes at least 4 bytes, so no step gives more than 32 MiB."""


def unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What the frames in these chunks hold. Raises `zstandard.ZstdError` when they are broken or cut short."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    frame = None
    for chunk in chunks:
        for start in range(0, len(chunk), _STEP_BYTES):
            step = chunk[start : start + _STEP_BYTES]
            while step:
                frame = frame or decompressor.decompressobj()
                if plain := frame.decompress(step):
                    yield plain
                step = frame.unused_data
                if frame.eof:
                    frame = None
    if frame is not None:
        raise zstandard.ZstdError("it ends in the middle of a frame")


class ChunkStream(io.RawIOBase):
    """Chunks of bytes as a stream to read from; a read is short at the end only."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that are left."""
        parts = []
        length = 0
        while size < 0 or length < size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            part = self._rest if size < 0 else self._rest[: size - length]
            parts.append(part)
            length += len(part)
            self._rest = self._rest[len(part) :]
        return b"".join(parts)
