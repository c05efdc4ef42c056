"""The system user that runs the server. PostgreSQL refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.kernel.errors import Unavailable

SYSTEM_USER = "farthing"
LAST_RESORTS = ("postgres", "daemon", "nobody")
"""Unprivileged users that nearly every system has, for those where no user can be created."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system user, as the password database knows it."""

    name: str
    uid: int
    gid: int

    def identity(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make the child run as this user and nobody else."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, directory: Path) -> bool:
        """Whether this user may pass through every directory down to and into this one."""
        test = shutil.which("test") or "/usr/bin/test"
        return (
            subprocess.run([test, "-x", directory], cwd="/", check=False, **self.identity()).returncode == 0
        )


def account_of(uid: int) -> Account:
    """The account with this number; PostgreSQL cannot do without its entry in the password database."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise Unavailable(
            "system_user_unnamed",
            f"user id {uid} has no name in the password database, which PostgreSQL needs: "
            "add an entry for it, or give a PostgreSQL by FARTHING_DATABASE_URL",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_account() -> Account:
    """As root: the user `farthing`, created if missing, or else an unprivileged user that exists."""
    if (account := _named(SYSTEM_USER)) or (account := _created()):
        return account
    for name in LAST_RESORTS:
        if account := _named(name):
            return account
    raise Unavailable(
        "system_user_missing",
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be created: "
        "run Farthing as a normal user",
    )


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid) if entry.pw_uid != 0 else None


def _created() -> Account | None:
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if useradd is None:
        return None
    subprocess.run(
        [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        check=False, capture_output=True,
    )  # fmt: skip
    return _named(SYSTEM_USER)  # also when another process created it at the same moment
