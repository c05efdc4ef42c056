"""The PostgreSQL that Farthing starts for itself, shared by all who use one data directory.

Owns: the bundled binaries, the cluster and its place, its one system user, start and stop.
Does not own: what is in it.
Laws: only the server's own system user and root reach it, through a Unix socket; no password and no
trust, the kernel says who is calling (`peer`); the superuser can never connect; no permission of any
directory that was there before is changed; who uses it and whether it runs are known from kernel
file locks alone, which no `kill -9` leaves behind.

    DATA/postgres.start    locked while somebody joins, leaves, starts or stops
    DATA/postgres.users    share-locked by every process that uses the server
    DATA/postgres.alive    locked by the server and its children for as long as one of them lives
    DATA/postgres/         the cluster; as root it may lie in /var/lib/farthing (see place.py)
"""

from farthing.db.embedded.sharing import embedded_postgres

__all__ = ["embedded_postgres"]
