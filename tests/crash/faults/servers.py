"""Faults of the whole server: its supervisor, its PostgreSQL, all processes at once; restarts under load."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.crash.faults.calls import killed
from tests.crash.injection import Plan, arm, children, disarm, fired, is_alive, nth
from tests.crash.site import Broken, Fault, Hit, Site
from tests.crash.waiting import eventually, until

KILL_WITHIN_SECONDS = 0.2
SWEEP_SECONDS_MAX = 3.0


def kill_supervisor(site: Site, random: Random) -> Hit | None:
    """The next server starts while the workers of the last one are still leaving."""
    supervisor = site.house.supervisor
    assert supervisor is not None
    site.house.note_processes()
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    supervisor.kill()
    at = time.monotonic()
    supervisor.wait()
    site.house.start()
    return Hit("kill supervisor", at)


def kill_everything(site: Site, random: Random) -> Hit | None:
    """Supervisor, workers, engine, PostgreSQL and imports, within a moment."""
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    at = time.monotonic()
    site.house.kill_everything()
    # Nobody writes now, so what no row names is debris: let it look old, so that the sweep takes it.
    _date_files(site, time.time() - 7200)
    site.house.start()
    eventually(lambda: not _debris(site), SWEEP_SECONDS_MAX)
    _date_files(site, time.time())
    return Hit("kill everything", at)


def _files(site: Site) -> list[Path]:
    return [path for kind in ("segments", "ids") for path in (site.house.data / kind).glob("*/*")]


def _date_files(site: Site, seconds: float) -> None:
    for path in _files(site):
        with suppress(FileNotFoundError):
            os.utime(path, (seconds, seconds))


def _debris(site: Site) -> set[Path]:
    outside = site.house.outside
    named = {
        site.house.data / path
        for tenant_id in site.tenant_ids.values()
        for path in (*outside.segment_paths(tenant_id), *outside.run_paths(tenant_id))
    }
    return set(_files(site)) - named


def kill_postmaster(site: Site, random: Random) -> Hit | None:
    """PostgreSQL's first process; the others follow it, and whoever needs it next starts it again."""
    pid = site.house.postmaster()
    if pid is None:
        return None
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    return killed(pid, "kill postmaster")


def kill_backend(site: Site, random: Random) -> Hit | None:
    """One of PostgreSQL's other processes: it recovers from that by itself."""
    first = site.house.postmaster()
    pids = children(first) if first else []
    if not pids:
        return None
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    return killed(random.choice(pids), "kill backend")


def restart(site: Site, random: Random) -> Hit | None:
    """SIGTERM under load, and start again: what was under way is answered."""
    at = time.monotonic()
    code = site.house.stop()
    if code != 0:
        raise Broken(f"a server that was told to stop ends with {code}: {site.house.last_words()}")
    site.house.start()
    return Hit("restart", at)


def restart_at_once(site: Site, random: Random) -> Hit | None:
    """SIGTERM twice: it stops whatever is under way."""
    supervisor = site.house.supervisor
    assert supervisor is not None
    site.house.note_processes()
    at = time.monotonic()
    supervisor.send_signal(signal.SIGTERM)
    time.sleep(random.random() * KILL_WITHIN_SECONDS)
    with suppress(ProcessLookupError):
        supervisor.send_signal(signal.SIGTERM)
    supervisor.wait()
    site.house.start()
    return Hit("restart at once", at)


def rolling_restart(site: Site, random: Random) -> Hit | None:
    """SIGHUP under load: every process is replaced, and no client notices."""
    house = site.house
    assert house.supervisor is not None
    until(house.complete, "all processes are there")
    before = set(house.server_processes())
    site.load.run(site.month)
    told = dict(site.load.statuses)
    at = time.monotonic()
    house.supervisor.send_signal(signal.SIGHUP)
    until(
        lambda: house.complete() and not before & set(house.server_processes()),
        f"all processes are replaced; {house.last_words()}",
    )
    until(lambda: not any(is_alive(pid) for pid in before), "the old ones go")
    site.load.acknowledged_after(time.monotonic())
    site.load.pause()
    noticed = {
        status: times - told.get(status, 0)
        for status, times in site.load.statuses.items()
        if status not in ("202", "400 no_event_accepted") and times > told.get(status, 0)
    }
    if noticed:
        raise Broken(f"clients noticed a rolling restart: {noticed}; {house.last_words()}")
    return Hit("rolling restart", at)


def kill_starting(call: str, most: int) -> Fault:
    """The supervisor is killed at its Nth call while it starts."""
    name = f"supervisor kill at {call} while starting"

    def strike(site: Site, random: Random) -> Hit | None:
        house = site.house
        assert house.supervisor is not None
        house.note_processes()
        if random.random() < 0.5:
            house.kill_everything()
        else:
            house.supervisor.kill()
            house.supervisor.wait()
        plan = Plan(next(site.plans), call, "", nth(random, most), "kill")
        arm(house.faults, "supervisor", plan)
        try:
            house.start()
        finally:
            disarm(house.faults, "supervisor")
        found = fired(house.faults, plan)
        return found and Hit(name, found["at"], {"path": found["path"]})

    return Fault(name, "server", strike, frozenset({"victim"}))


FAULTS = (
    Fault("kill supervisor", "server", kill_supervisor),
    Fault("kill everything", "server", kill_everything),
    Fault("kill postmaster", "server", kill_postmaster),
    Fault("kill backend", "server", kill_backend),
    Fault("restart", "server", restart),
    Fault("restart at once", "server", restart_at_once),
    Fault("rolling restart", "quiet", rolling_restart),
    kill_starting("rename", 3),
    kill_starting("fsync", 4),
    kill_starting("unlink", 2),
    kill_starting("committed", 3),
)
