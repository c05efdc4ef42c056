"""Reading ahead: the next piece of the log is read and decoded while the one before it is written and committed.

Decoding needs nothing that a commit changes, so it may come early; what is new, a duplicate or a conflict is
decided only when the piece's turn comes. So the processors have something to do while a file is synced and a
transaction commits.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from farthing.events.log.files import Block, read_blocks
from farthing.events.sealing.seal import DecodedBlocks


@dataclass(frozen=True, slots=True)
class _Ahead:
    log_file: str
    start: int
    coming: "Future[tuple[list[Block], list[DecodedBlocks]]]"


class ReadAhead:
    """Pieces of the log of at most `bytes_max` (and a block), decoded; at most one of them ahead of time."""

    def __init__(
        self, log_dir: Path, bytes_max: int, decode: Callable[[Sequence[Block]], list[DecodedBlocks]]
    ) -> None:
        self._log_dir = log_dir
        self._bytes_max = bytes_max
        self._decode = decode
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._ahead: _Ahead | None = None
        self._decoded: list[DecodedBlocks] | None = None

    def begin(self, log_file: str, start: int) -> None:
        """Begin to read and decode a piece that will be asked for. While one waits, this does nothing."""
        if self._ahead is None:
            self._ahead = _Ahead(log_file, start, self._thread.submit(self._read, log_file, start))

    def blocks(self, log_file: str, start: int) -> list[Block]:
        """The blocks of the piece that begins there. Raises Corrupt `log_damaged`."""
        self._forget(self._decoded or [])
        self._decoded = None
        ahead = self._ahead
        if ahead is not None and (ahead.log_file, ahead.start) == (log_file, start):
            self._ahead = None
            # What failed ahead of its time is tried again now that its time has come.
            with suppress(Exception):
                blocks, self._decoded = ahead.coming.result()
                if blocks:
                    return blocks
        return read_blocks(self._log_dir / log_file, start, self._bytes_max)

    def decoded(self, blocks: Sequence[Block]) -> list[DecodedBlocks]:
        """The blocks that `blocks` gave last, decoded, for each tenant. Whoever asks closes them."""
        decoded, self._decoded = self._decoded, None
        return self._decode(blocks) if decoded is None else decoded

    def put_back(self, log_file: str, start: int, blocks: list[Block], decoded: list[DecodedBlocks]) -> None:
        """What `blocks` and `decoded` gave is to be had again. While another piece waits, it is read anew instead."""
        if self._ahead is not None:
            self._forget(decoded)
            return
        coming: Future[tuple[list[Block], list[DecodedBlocks]]] = Future()
        coming.set_result((blocks, decoded))
        self._ahead = _Ahead(log_file, start, coming)

    def _read(self, log_file: str, start: int) -> tuple[list[Block], list[DecodedBlocks]]:
        blocks = read_blocks(self._log_dir / log_file, start, self._bytes_max)
        return blocks, self._decode(blocks)

    @staticmethod
    def _forget(decoded: Sequence[DecodedBlocks]) -> None:
        for one in decoded:
            one.close()
