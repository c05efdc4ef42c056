"""Every fault there is, by lane.

worker, engine, ingest     one process, at a random moment, at its Nth call, with an error, in a power cut
server                     supervisor, PostgreSQL, everything at once, restarts
quiet                      what is done and judged while nothing else happens: damage, bills, full disks
"""

from tests.crash.faults import bills, calls, damage, disks, imports, servers, syscalls
from tests.crash.site import Fault

LANES = ("worker", "engine", "ingest", "server", "quiet")

FAULTS: tuple[Fault, ...] = (
    *bills.FAULTS,
    *calls.FAULTS,
    *imports.FAULTS,
    *servers.FAULTS,
    *syscalls.FAULTS,
    *disks.FAULTS,
    *damage.FAULTS,
)
