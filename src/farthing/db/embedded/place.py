"""Where the cluster of a data directory lies, whom it belongs to, and where its socket is.

As a normal user: in the data directory. As root: there too, if the server's user can reach it with
permissions as they are; otherwise in /var/lib/farthing/<uuid>, and the data directory remembers the
uuid, so that a data directory made anew never meets the books of the one that was removed.
"""

import contextlib
import hashlib
import os
import re
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from farthing.db.embedded.account import Account, account_of, server_account
from farthing.db.embedded.files import replace_files
from farthing.kernel.errors import Corrupt, Unavailable

SYSTEM_HOME = Path("/var/lib/farthing")
CLUSTER_DIRECTORY = "postgres"
PLACE_FILE = "cluster.id"
PRIVATE = 0o700
TRAVERSABLE = 0o711

SOCKET_PORT = 5432
SOCKET_PATH_BYTES_MAX = 103
"""The shortest limit of the systems that we run on (macOS); Linux has 107."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """The directory that holds the cluster, and the user that the server runs as."""

    home: Path
    account: Account

    @property
    def cluster(self) -> Path:
        return self.home / CLUSTER_DIRECTORY

    @property
    def users_lock(self) -> Path:
        return self.home / "postgres.users"

    @property
    def alive_lock(self) -> Path:
        return self.home / "postgres.alive"


def make_data_dir(data_dir: Path) -> Path:
    """The data directory, made if missing; the mode of one that exists is left alone."""
    mode = TRAVERSABLE if os.geteuid() == 0 else PRIVATE
    data_dir.mkdir(mode=mode, parents=True, exist_ok=True)
    return data_dir.resolve(strict=True)


def find_place(data_dir: Path) -> Place:
    """The place of this data directory's cluster, which may still have to be made."""
    if os.geteuid() != 0:
        return _own_place(data_dir)
    if (data_dir / CLUSTER_DIRECTORY).is_dir():
        return Place(data_dir, account_of((data_dir / CLUSTER_DIRECTORY).stat().st_uid))
    if (data_dir / PLACE_FILE).exists():
        return _remembered_place(data_dir)
    account = _account_for(data_dir)
    if account.can_enter(data_dir):
        return Place(data_dir, account)
    return Place(SYSTEM_HOME / str(uuid.uuid4()), account)


def remember_place(data_dir: Path, place: Place) -> None:
    """Write down where the cluster lies, once it is complete. Survives a crash whole or not at all."""
    if place.home != data_dir:
        replace_files(data_dir, {PLACE_FILE: f"{place.home.name}\n"})


def make_home(home: Path) -> None:
    """The directory and its parents as far as they are missing: passable, as the server's user must pass."""
    if home.is_dir():
        return
    make_home(home.parent)
    with contextlib.suppress(FileExistsError):
        home.mkdir()
        home.chmod(TRAVERSABLE)


def socket_directory(place: Place) -> Path:
    """The cluster itself or, where its path does not do for a socket, a private directory elsewhere."""
    if _fits(place.cluster):
        return place.cluster
    return _private_directory(_directory_elsewhere(place), place.account)


def forget_socket_directory(place: Place) -> None:
    """After the server has ended: remove the directory that was made for its socket."""
    if not _fits(place.cluster):
        with contextlib.suppress(OSError):
            _directory_elsewhere(place).rmdir()


def _fits(directory: Path) -> bool:
    path = f"{directory}/.s.PGSQL.{SOCKET_PORT}"
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and _PLAIN_PATH.fullmatch(path) is not None


def _directory_elsewhere(place: Place) -> Path:
    identity = os.fsencode(place.cluster) + str(place.cluster.stat().st_ino).encode()
    return _runtime_directory() / f"farthing-{hashlib.blake2b(identity, digest_size=8).hexdigest()}"


def _own_place(data_dir: Path) -> Place:
    cluster = data_dir / CLUSTER_DIRECTORY
    if (data_dir / PLACE_FILE).exists() or (cluster.exists() and cluster.stat().st_uid != os.geteuid()):
        raise Unavailable(
            "data_directory_of_another_user",
            f"the books of {data_dir} belong to another system user: use that user, or root",
        )
    return Place(data_dir, account_of(os.geteuid()))


def _remembered_place(data_dir: Path) -> Place:
    try:
        name = str(uuid.UUID((data_dir / PLACE_FILE).read_text(encoding="ascii").strip()))
    except ValueError as error:
        raise Corrupt(
            "cluster_place_unreadable", f"{data_dir / PLACE_FILE} is not a uuid: {error}"
        ) from error
    cluster = SYSTEM_HOME / name / CLUSTER_DIRECTORY
    if not cluster.is_dir():
        raise Corrupt(
            "cluster_missing", f"the books of {data_dir} should lie in {cluster}, which is not there"
        )
    return Place(SYSTEM_HOME / name, account_of(cluster.stat().st_uid))


def _account_for(data_dir: Path) -> Account:
    """Root acts for the user whose directory it is; root's own directories are served by `farthing`."""
    owner = data_dir.stat().st_uid
    if owner != 0:
        try:
            return account_of(owner)
        except Unavailable:  # a directory from outside the container, whose owner has no name in here
            pass
    return server_account()


def _runtime_directory() -> Path:
    """Short, local, and there on every system."""
    wanted = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")  # noqa: S108
    usable = _fits(Path(wanted) / f"farthing-{'0' * 16}") and os.access(wanted, os.W_OK)
    return Path(wanted if usable else "/tmp")  # noqa: S108


def _private_directory(directory: Path, account: Account) -> Path:
    """The directory, reachable by `account` and root alone, whoever tried to be there first."""
    try:
        directory.mkdir(mode=PRIVATE)
        if os.geteuid() == 0:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    except FileExistsError:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
            raise Unavailable(
                "socket_directory_taken",
                f"{directory} is needed for the socket and is not {account.name}'s alone",
            ) from None
    return directory
