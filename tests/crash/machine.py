"""What a run was made on, and which kinds of sites there can be."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.crash.commands import REPOSITORY
from tests.crash.faults.disks import can_mount
from tests.crash.schedule import KINDS


def missing(kind: str) -> str | None:
    """Why this machine cannot have sites of a kind; None where it can."""
    needs = KINDS[kind]
    if "strace" in needs and shutil.which("strace") is None:
        return "strace is not installed"
    if needs & {"tmpfs", "image"} and not can_mount():
        return "file systems cannot be mounted here (root, loop devices and mkfs.ext4 are needed)"
    return None


def kinds_here() -> list[str]:
    """The kinds of sites that this machine can have."""
    return [kind for kind in KINDS if missing(kind) is None]


def machine() -> str:
    """Processors, memory and system."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    when = datetime.now(UTC).isoformat(timespec="minutes")
    return (
        f"{os.cpu_count()} x {_processor()}, {gib:.0f} GiB, Linux {platform.release()},"
        f" Python {platform.python_version()}, begun {when}"
    )


def commit() -> str:
    """The commit under test, and whether the files differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
