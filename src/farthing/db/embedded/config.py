"""The server's settings: written anew before every start, so that they are always those of this program."""

from pathlib import Path

from farthing.db.embedded.account import Account
from farthing.db.embedded.place import SOCKET_PORT
from farthing.db.endpoint import APP_ROLE, OWNER_ROLE

BOOTSTRAP_ROLE = "farthing_bootstrap"
DATABASE = "farthing"
CONNECTIONS_MAX = 100

BOOTSTRAP_SQL = f"""\
CREATE ROLE {OWNER_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB;
CREATE ROLE {APP_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB;
CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE};
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {APP_ROLE};
GRANT pg_checkpoint TO {OWNER_ROLE};
"""
"""Run once by the server alone, without a socket, before the cluster is anybody's to use."""


def configuration(socket_directory: Path, account: Account) -> dict[str, str]:
    """Each file's name in the cluster, and its content."""
    return {
        "postgresql.conf": _POSTGRESQL_CONF.format(socket_directory=socket_directory),
        "pg_hba.conf": f"local {DATABASE} {OWNER_ROLE},{APP_ROLE} peer map=farthing\n",
        "pg_ident.conf": "".join(
            f'farthing "{user}" {role}\n'
            for user in dict.fromkeys([account.name, "root"])
            for role in (OWNER_ROLE, APP_ROLE)
        ),
    }


_POSTGRESQL_CONF = f"""\
# Written by Farthing before every start: changes made here do not last.

# Only the owner and root, only through the socket, and pg_hba.conf asks the kernel who it is.
listen_addresses = ''
port = {SOCKET_PORT}
unix_socket_directories = '{{socket_directory}}'
unix_socket_permissions = 0700
max_connections = {CONNECTIONS_MAX}

# Nothing here weakens durability: fsync, full_page_writes and synchronous_commit stay on.
shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
# A file of the write-ahead log that is done with is removed: renamed for later use it would keep what was erased.
wal_recycle = off
random_page_cost = 1.1
jit = off
# Files in the cluster instead of /dev/shm, which is small in containers and swept at log-out by some systems.
dynamic_shared_memory_type = mmap

# The same answer on every machine.
timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = 'C'
lc_monetary = 'C'
lc_numeric = 'C'
lc_time = 'C'
default_text_search_config = 'pg_catalog.simple'

# One log file for each day of the week, each replaced after a week.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_file_mode = 0600
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
# What failed, and neither the row nor the values that it failed with.
log_error_verbosity = terse
"""
