"""The installation's secret: what keyed hashes in the books are made with, and no part of the books."""

import os
from pathlib import Path

from farthing.kernel.errors import Corrupt

SECRET_FILE = "secret.key"  # noqa: S105  the name of the file
SECRET_BYTES = 32


def load_secret(data_dir: Path) -> bytes:
    """The secret, from DATA/secret.key; made on first use, readable by its owner alone.

    Raises `Corrupt` `damaged_secret` where the file is there and is not a secret of ours.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        _create_secret(path)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise Corrupt("damaged_secret", f"{path} does not hold {SECRET_BYTES} bytes")
    return secret


def _create_secret(path: Path) -> None:
    """Written in full under another name first, so that no process ever reads half a secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(SECRET_BYTES))
        os.fsync(descriptor)
        os.link(draft, path)
        _sync_directory(path.parent)
    except FileExistsError:
        pass  # Another process was first; its secret stands.
    finally:
        os.close(descriptor)
        draft.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
