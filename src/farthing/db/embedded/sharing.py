"""Who uses the server: the first one in starts it, everybody shares it, the last one out stops it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from farthing.db.embedded import locks
from farthing.db.embedded.cluster import Cluster
from farthing.db.embedded.place import Place, find_place, make_data_dir, remember_place
from farthing.db.endpoint import Endpoint, OnWait
from farthing.kernel.errors import Unavailable


@contextmanager
def embedded_postgres(data_dir: Path, on_wait: OnWait) -> Iterator[Endpoint]:
    """The running server of this data directory, for as long as the block lasts."""
    share = _join(data_dir, on_wait)
    try:
        yield share.endpoint
    finally:
        share.leave()


class _Share:
    """One user's share of the server: a lock that the kernel takes back if the user is killed."""

    def __init__(self, turn_lock: Path, place: Place) -> None:
        self._turn_lock = turn_lock
        self._place = place
        self._cluster = Cluster(place)
        self._held = locks.try_lock(place.users_lock, locks.SHARED)
        assert self._held is not None, (
            "the users' lock is taken exclusively only in turn, and this is our turn"
        )

    @property
    def endpoint(self) -> Endpoint:
        return replace(self._cluster.endpoint(), wake=self._wake)

    def make_sure_it_runs(self, on_wait: OnWait) -> None:
        if self._cluster.runs():  # the server of another user, or of one that was killed
            on_wait("PostgreSQL is about to answer")
            if self._cluster.await_ready():
                return
        self._cluster.start(on_wait)

    def leave(self) -> None:
        with locks.turn(self._turn_lock):
            self.leave_in_turn()

    def leave_in_turn(self) -> None:
        """Give the share back, and stop the server if it was the last one."""
        assert self._held is not None, "nobody leaves twice"
        os.close(self._held)
        self._held = None
        last = locks.try_lock(self._place.users_lock, locks.EXCLUSIVE)
        if last is None:
            self._cluster.leave_running()
            return
        try:
            self._cluster.stop()
        finally:
            os.close(last)

    def _wake(self) -> None:
        """Start the server again if it was killed under us; nothing once we have left."""
        with locks.turn(self._turn_lock):
            if self._held is not None:
                self.make_sure_it_runs(lambda _message: None)


def _join(data_dir: Path, on_wait: OnWait) -> _Share:
    try:
        data_dir = make_data_dir(data_dir)
        turn_lock = data_dir / "postgres.start"
        if locks.is_held(turn_lock):
            on_wait("another process starts or stops PostgreSQL")
        with locks.turn(turn_lock) as turn:
            place = find_place(data_dir)
            if not Cluster(place).exists():
                on_wait(f"the books are made in {place.home}")
                Cluster(place).create(turn)
                remember_place(data_dir, place)
            share = _Share(turn_lock, place)
            try:
                share.make_sure_it_runs(on_wait)
            except BaseException:
                share.leave_in_turn()
                raise
            return share
    except OSError as error:
        raise _unusable(data_dir, error) from error


def _unusable(data_dir: Path, error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("disk_full", f"the disk is full: the books of {data_dir} cannot be opened")
    return Unavailable("data_directory_unusable", f"the data directory {data_dir} cannot be used: {error}")
