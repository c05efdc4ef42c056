"""Faults in a worker or the engine of a running server: at a random moment, or at their Nth call."""

import os
import signal
import time
from contextlib import suppress
from random import Random

from tests.crash.injection import Plan, arm, disarm, fired, is_alive, nth
from tests.crash.site import Broken, Fault, Hit, Site
from tests.crash.waiting import eventually, until

MEET_SECONDS_MAX = 4.0
"""How long a fault waits to be met; then the point was a miss."""
GO_SECONDS_MAX = 60.0
"""How long a process may take to end after a failed sync."""
KILL_WITHIN_SECONDS = 0.2


def at_any_moment(role: str, lane: str) -> Fault:
    """SIGKILL to a process of a role, whatever it is doing."""

    def strike(site: Site, random: Random) -> Hit | None:
        pid = choose(site, random, role)
        if pid is None:
            return None
        time.sleep(random.random() * KILL_WITHIN_SECONDS)
        return killed(pid, f"kill {role}")

    return Fault(f"kill {role}", lane, strike)


def kill_template(site: Site, random: Random) -> Hit | None:
    """SIGKILL to the process that the others are forks of. One that dies young is missing for a while: no hit then."""
    found = site.house.of_role("template")
    if not found:
        return None
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    return killed(found[0], "kill template")


def while_starting() -> Fault:
    """SIGKILL to the process that is to replace one that was killed, before it is ready."""

    def strike(site: Site, random: Random) -> Hit | None:
        first = choose(site, random, random.choice(("worker", "engine")))
        if first is None:
            return None
        killed(first, "")
        pid = eventually(lambda: next(iter(site.house.of_role("starting")), None), MEET_SECONDS_MAX)
        if not pid:
            return None
        time.sleep(random.random() * 2 * KILL_WITHIN_SECONDS)
        return killed(pid, "kill a starting process")

    return Fault("kill a starting process", "worker", strike)


def choose(site: Site, random: Random, role: str) -> int | None:
    """A process of a role, waited for while it is being replaced."""
    found = eventually(lambda: site.house.of_role(role), GO_SECONDS_MAX)
    return random.choice(sorted(found)) if found else None


def killed(pid: int, fault: str) -> Hit | None:
    """Kill a process and see that it goes."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        at = time.monotonic()
        until(lambda: not is_alive(pid), "it dies")
        return Hit(fault, at)
    return None


def at_call(role: str, call: str, action: str, *, path: str = "", most: int = 3, ends: bool = True) -> Fault:
    """Something happens at the Nth call of a function of `os`, N up to `most`.

    ends: whether the process must not go on. After a full disk and a failed write it may, after a failed sync not.
    """
    fault = f"{role} {action} at {call}{f' of {path}' if path else ''}"
    ends = ends and action != "ENOSPC"

    def strike(site: Site, random: Random) -> Hit | None:
        times = random.randint(1, 4) if action == "ENOSPC" else 1
        plan = Plan(next(site.plans), call, path, nth(random, most), action, times)
        return met(site, role, plan, fault, ends=ends)

    return Fault(fault, role, strike, frozenset({"victim"}), alone=action == "power")


def met(site: Site, role: str, plan: Plan, fault: str, *, ends: bool) -> Hit | None:
    """Arm, wait until it was met, and see what the process does."""
    faults = site.house.faults
    if not eventually(lambda: site.house.of_role(role), GO_SECONDS_MAX):
        return None
    arm(faults, role, plan)
    try:
        found = eventually(lambda: fired(faults, plan), MEET_SECONDS_MAX)
    finally:
        if plan.action != "ENOSPC":
            disarm(faults, role)
    if not found:
        disarm(faults, role)
        return None
    if ends:
        _gone(site, found["pid"], fault)
    if plan.action == "power":
        site.house.start_again()
    return Hit(fault, found["at"], {"call": found["call"], "path": found["path"]})


def _gone(site: Site, pid: int, fault: str) -> None:
    """A process that was killed, and one whose sync failed, must not go on."""
    if not eventually(lambda: not is_alive(pid), GO_SECONDS_MAX):
        raise Broken(f"{fault}: process {pid} goes on; {site.house.last_words()}")


FAULTS = (
    at_any_moment("worker", "worker"),
    at_any_moment("engine", "engine"),
    Fault("kill template", "worker", kill_template),
    while_starting(),
    at_call("worker", "write", "kill", path=".log"),
    at_call("worker", "write", "torn", path=".log"),
    at_call("worker", "write", "kill_after", path=".log"),
    at_call("worker", "fdatasync", "kill", path=".log"),
    at_call("worker", "fdatasync", "kill_after", path=".log"),
    at_call("worker", "open", "kill", path=".log", most=1),
    at_call("worker", "open", "kill_after", path=".log", most=1),
    at_call("worker", "fsync", "kill", path="/log/", most=1),
    at_call("worker", "fdatasync", "EIO", path=".log"),
    at_call("worker", "fsync", "EIO", path="/log/", most=1),
    at_call("worker", "write", "EIO", path=".log", ends=False),
    at_call("worker", "write", "ENOSPC", path=".log"),
    at_call("worker", "fdatasync", "power", path=".log", most=6),
    at_call("engine", "copy", "kill", path="/segments/"),
    at_call("engine", "copy", "kill_after", path="/segments/"),
    at_call("engine", "fsync", "kill", path=".parquet"),
    at_call("engine", "fsync", "kill_after", path=".parquet"),
    at_call("engine", "open", "kill", path=".ids"),
    at_call("engine", "fsync", "kill", path=".ids"),
    at_call("engine", "fsync", "kill_after", path="/ids/"),
    at_call("engine", "unlink", "kill", path="/ids/", most=2),
    at_call("engine", "unlink", "kill_after", path="/ids/", most=2),
    at_call("engine", "commit", "kill", path="MainThread", most=4),
    at_call("engine", "committed", "kill", path="MainThread", most=4),
    at_call("engine", "commit", "kill", path="duties", most=4),
    at_call("engine", "fsync", "EIO", path=".parquet"),
    at_call("engine", "fsync", "EIO", path=".ids"),
    at_call("engine", "fsync", "ENOSPC", path=".parquet"),
    at_call("engine", "open", "ENOSPC", path=".ids"),
    at_call("engine", "any", "kill", path="/segments/", most=6),
    at_call("engine", "any", "power", most=25),
)
