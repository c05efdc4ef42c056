"""Merging large id runs beside the sealer, which goes on looking up and adding runs meanwhile.

The thread reads files that never change and writes one that nobody knows yet. Which runs are in force is for the
sealer to say: it takes over what is finished between two pieces of the log. A merge that is cut short leaves a file
without a row, which is swept.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from farthing.events.full_disk import full_disk_named
from farthing.events.ids.index import IdRun, write_merged


@dataclass(frozen=True, slots=True)
class RunMerge:
    """Some runs of a tenant that become one."""

    tenant_id: int
    run_id: str
    path: str
    old: tuple[IdRun, ...]

    @property
    def old_ids(self) -> list[str]:
        """The runs that it replaces."""
        return [run.run_id for run in self.old]

    @property
    def ids(self) -> int:
        """Entries of all of them."""
        return sum(len(run) for run in self.old)

    def write(self, data_dir: Path) -> bytes:
        """Write the run, durably. Returns its checksum. Raises Unavailable `disk_full`."""
        with full_disk_named():
            return write_merged(data_dir / self.path, self.old)


class RunMerger:
    """One merge at a time, in a thread that ends with the process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._merge: RunMerge | None = None
        self._checksum: Future[bytes] = Future()

    def busy_with(self, tenant_id: int) -> Sequence[str]:
        """The runs of a tenant that are being merged."""
        return self._merge.old_ids if self._merge is not None and self._merge.tenant_id == tenant_id else ()

    def begin(self, merge: RunMerge) -> bool:
        """Begin, unless another merge is under way or not taken over yet."""
        if self._merge is not None:
            return False
        self._merge, self._checksum = merge, Future()
        threading.Thread(
            target=self._run, args=(merge, self._checksum), name="run-merge", daemon=True
        ).start()
        return True

    def finished(self, *, wait: bool = False) -> tuple[RunMerge, bytes] | None:
        """A merge that is written, and the checksum of its file; once. Raises what went wrong with it."""
        if self._merge is None or not (wait or self._checksum.done()):
            return None
        merge, self._merge = self._merge, None
        return merge, self._checksum.result()

    def _run(self, merge: RunMerge, checksum: "Future[bytes]") -> None:
        try:
            checksum.set_result(merge.write(self._data_dir))
        except BaseException as error:  # noqa: BLE001  it is raised again where the merge is taken over
            checksum.set_exception(error)
