"""The disk itself: full, and without power. Needs root, because file systems are mounted for it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from tests.crash.commands import run_apart
from tests.crash.site import Broken, Fault, Hit, Site
from tests.crash.waiting import until

TMPFS_BYTES = 400 * 1024 * 1024
IMAGE_BYTES = 700 * 1024 * 1024
SHED_SECONDS = 0.7
"""How long the disk stays full."""
COPIES_MAX = 20


@cache
def can_mount() -> bool:
    """Whether file systems can be mounted here, loop devices among them."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    with suppress(OSError, subprocess.CalledProcessError):
        image = Path(f"/tmp/farthing-crash-probe-{os.getpid()}")
        mounted = Path(f"{image}.d")
        try:
            _make_image(image, 8 * 1024 * 1024)
            mounted.mkdir()
            _mount(["-o", "loop", str(image)], mounted)
            _unmount(mounted)
            return True
        finally:
            image.unlink(missing_ok=True)
            mounted.rmdir()
    return False


@dataclass
class Tmpfs:
    """A small file system in memory, which a file can fill up."""

    mounted: Path

    def fill(self) -> None:
        """Leave nothing."""
        with suppress(OSError), open(self.mounted / "filler", "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        with suppress(OSError), open(self.mounted / "filler-rest", "wb", buffering=0) as file:
            while True:
                file.write(b"\0")

    def free(self) -> None:
        """Give it back."""
        for name in ("filler", "filler-rest"):
            (self.mounted / name).unlink(missing_ok=True)


@dataclass
class Image:
    """An ext4 file system in a file. What the file holds is what a power cut would leave."""

    mounted: Path
    file: Path

    def cut(self, pids: list[int]) -> None:
        """Stop the processes, keep what is on the disk, kill them, and go on with what was kept."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        kept = self.file.with_suffix(".kept")
        for _ in range(COPIES_MAX):
            before = self._writes()
            run_apart("cp", "--sparse=always", self.file, kept)
            if self._writes() == before:
                break
        else:
            raise Broken("the image is written to all the time, so it cannot be copied at one moment")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def swap(self) -> None:
        """Be the disk that was kept. Nothing may use this one any more."""
        _unmount(self.mounted)
        self.file.with_suffix(".kept").rename(self.file)
        _mount(["-o", "loop", str(self.file)], self.mounted)

    def _writes(self) -> str:
        """What the device has written, and what is on its way."""
        device = next(
            line.split()[0].removeprefix("/dev/")
            for line in Path("/proc/mounts").read_text().splitlines()
            if line.split()[1] == str(self.mounted)
        )
        status = Path(f"/sys/block/{device}/stat").read_text().split()
        return " ".join([*status[4:7], status[8]])


@contextmanager
def tmpfs(place: Path) -> Iterator[Tmpfs]:
    """Stand on a file system in memory."""
    _mount(["-t", "tmpfs", "-o", f"size={TMPFS_BYTES},mode=711", "farthing-crash"], place)
    try:
        yield Tmpfs(place)
    finally:
        _unmount(place)


@contextmanager
def image(place: Path) -> Iterator[Image]:
    """Stand on a file system in a file beside it."""
    file = place.with_suffix(".img")
    _make_image(file, IMAGE_BYTES)
    _mount(["-o", "loop", str(file)], place)
    place.chmod(0o711)
    try:
        yield Image(place, file)
    finally:
        _unmount(place)
        file.unlink()


def _make_image(file: Path, size: int) -> None:
    with open(file, "wb") as empty:
        empty.truncate(size)
    run_apart("mkfs.ext4", "-q", "-F", file)


def _mount(words: list[str], place: Path) -> None:
    run_apart("mount", *words, place)


def _unmount(place: Path) -> None:
    until(lambda: run_apart("umount", place, check=False) == 0, f"{place} is unmounted")


def full_disk(site: Site, random: Random) -> Hit | None:
    """Nothing fits on the disk any more, PostgreSQL's files included; then it does again."""
    disk: Tmpfs = site.disk
    site.load.run(site.month)
    disk.fill()
    at = time.monotonic()
    shed = {"429 log_busy", "503 disk_full"}
    before = sum(site.load.statuses[status] for status in shed)
    try:
        time.sleep(SHED_SECONDS * (0.5 + random.random()))
    finally:
        disk.free()
    site.load.acknowledged_after(time.monotonic())
    site.settle()
    refused = sum(site.load.statuses[status] for status in shed) - before
    return Hit("full disk", at, {"refused": refused}) if refused else None


def power_cut(site: Site, random: Random) -> Hit | None:
    """Everything that was not synced is gone: files, names, PostgreSQL's pages."""
    disk: Image = site.disk
    site.load.run(site.month)
    time.sleep(random.random())
    site.house.note_processes()
    at = time.monotonic()
    disk.cut(site.house.all_processes())
    site.house.kill_everything()
    disk.swap()
    site.house.start()
    return Hit("power cut", at)


FAULTS = (
    Fault("full disk", "quiet", full_disk, frozenset({"tmpfs"})),
    Fault("power cut", "quiet", power_cut, frozenset({"image"})),
)
