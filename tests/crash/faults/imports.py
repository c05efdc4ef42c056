"""Faults in `farthing ingest`: killed at any moment and at its Nth call, run again until it is through."""

import time
from random import Random

from tests.crash.injection import Plan, arm, disarm, fired, nth
from tests.crash.site import Fault, Hit, Site

RUNS_SECONDS = 0.3
"""About as long as an import of a small file takes."""


def at_any_moment() -> Fault:
    """SIGKILL whatever it is doing."""

    def strike(site: Site, random: Random) -> Hit | None:
        command = site.import_now(random)
        hit = None
        if not command.ended(random.random() * RUNS_SECONDS):
            command.kill()
            hit = Hit("kill ingest", time.monotonic())
        code = command.wait()
        site.imports.end(code)
        return hit if code == -9 else None

    return Fault("kill ingest", "ingest", strike)


def at_call(call: str, action: str, *, path: str = "", most: int = 3) -> Fault:
    """Something happens at its Nth call."""
    name = f"ingest {action} at {call}{f' of {path}' if path else ''}"

    def strike(site: Site, random: Random) -> Hit | None:
        faults = site.house.faults
        times = random.randint(1, 3) if action == "ENOSPC" else 1
        others = tuple(site.house.server_processes()) if action == "power" else ()
        if others and site.house.supervisor is not None:
            others = (site.house.supervisor.pid, *others)
        plan = Plan(next(site.plans), call, path, nth(random, most), action, times, others)
        arm(faults, "ingest", plan)
        try:
            command = site.import_now(random, armed=True)
            code = command.wait()
        finally:
            disarm(faults, "ingest")
        site.imports.end(code)
        found = fired(faults, plan)
        if found and action == "power":
            site.house.start_again()
        return found and Hit(name, found["at"], {"call": found["call"], "path": found["path"], "code": code})

    # A power cut takes the server along.
    power = action == "power"
    return Fault(name, "server" if power else "ingest", strike, frozenset({"victim"}), alone=power)


FAULTS = (
    at_any_moment(),
    at_call("any", "kill", most=40),
    at_call("any", "kill_after", most=40),
    at_call("write", "kill", path=".log", most=4),
    at_call("write", "torn", path=".log", most=4),
    at_call("fdatasync", "kill", path=".log", most=2),
    at_call("fdatasync", "kill_after", path=".log", most=2),
    at_call("fsync", "kill", path="/log", most=2),
    at_call("open", "kill_after", path=".log", most=1),
    at_call("commit", "kill", most=6),
    at_call("committed", "kill", most=8),
    at_call("fdatasync", "EIO", path=".log", most=2),
    at_call("write", "ENOSPC", path=".log", most=4),
    at_call("fdatasync", "power", path=".log", most=2),
)
