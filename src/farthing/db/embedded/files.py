"""Files written where somebody else could have put a link: as root, the server's user owns the directory."""

import contextlib
import os
from pathlib import Path

from farthing.db.embedded.account import Account


def fsync_directory(directory: Path) -> None:
    """Make renames in the directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_files(directory: Path, contents: dict[str, str], owner: Account | None = None) -> None:
    """Write each file whole or not at all, for its owner's eyes only, never through a link."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def new_file(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW, 0o600, dir_fd=descriptor)

    try:
        for name, content in contents.items():
            half = f"{name}.new"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(half, dir_fd=descriptor)
            with open(half, "x", encoding="utf-8", opener=new_file) as file:
                file.write(content)
                file.flush()
                if owner is not None and os.geteuid() == 0:
                    os.fchown(file.fileno(), owner.uid, owner.gid)
                os.fsync(file.fileno())
            os.rename(half, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
