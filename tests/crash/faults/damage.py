"""Files that are not what was written: cut short, a bit turned, gone, or another file in their place.

The file is put right afterwards. In between, no sum may be wrong: it is right or refused. And `doctor`
must say that something is off.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from random import Random

from tests.crash import traffic
from tests.crash.check import usage_is_right
from tests.crash.faults.calls import killed
from tests.crash.site import Broken, Fault, Hit, Site
from tests.crash.waiting import eventually, until

Damage = Callable[[Path, Random, list[Path]], None]

EXIT_NO = 1
REFUSE_SECONDS = 1.5
"""How long the engine is watched doing nothing with what it must not use."""
REPEATS = 2000


def turn_a_bit(path: Path, random: Random, _others: list[Path]) -> None:
    """One bit, anywhere."""
    place = random.randrange(path.stat().st_size)
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))


def cut_short(path: Path, random: Random, _others: list[Path]) -> None:
    """Less of it."""
    os.truncate(path, random.randrange(path.stat().st_size))


def remove(path: Path, _random: Random, _others: list[Path]) -> None:
    """Nothing of it."""
    path.unlink()


def misdirect(path: Path, random: Random, others: list[Path]) -> None:
    """Another file of its kind."""
    path.write_bytes(random.choice([other for other in others if other != path]).read_bytes())


@contextmanager
def damaged(path: Path, random: Random, damage: Damage, others: list[Path]) -> Iterator[None]:
    """The file, damaged for as long as the block lasts."""
    whole, status = path.read_bytes(), path.stat()
    damage(path, random, others)
    try:
        yield
    finally:
        with open(path, "r+b" if path.exists() else "xb") as file:
            file.write(whole)
            file.truncate()
            file.flush()
            # A power cut may come next, and what was put right was on the disk before.
            os.fsync(file.fileno())
            # By its descriptor: the engine may have made the file anew under another name, and remove this one now.
            os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fchown(file.fileno(), status.st_uid, status.st_gid)


def doctor_says(site: Site) -> tuple[int | None, str]:
    """Exit code and words of `farthing doctor`."""
    command = site.house.run("doctor")
    return command.code, command.output.read_text() + command.complaint()


def _must_be_off(site: Site, what: str) -> None:
    code, said = doctor_says(site)
    if code != EXIT_NO:
        raise Broken(f"{what}, and doctor ends with {code}: {said}")


def of_segment(damage: Damage) -> Fault:
    """A sealed segment."""
    name = f"segment: {damage.__name__.replace('_', ' ')}"

    def strike(site: Site, random: Random) -> Hit | None:
        tenant = traffic.TENANTS[0]
        paths = _in_force(site, tenant)
        if len(paths) < 2:
            return None
        path = random.choice(paths)
        with _still(site), damaged(path, random, damage, paths):
            at = time.monotonic()
            usage_is_right(site, tenant, or_refused=True)
            _must_be_off(site, f"{path} is damaged")
        usage_is_right(site, tenant)
        return Hit(name, at)

    return Fault(name, "quiet", strike)


def _in_force(site: Site, tenant: str) -> list[Path]:
    return [site.house.data / path for path in site.house.outside.segment_paths(site.tenant_ids[tenant])]


@contextmanager
def _still(site: Site) -> Iterator[None]:
    """The engine does nothing for a while: what it merges and rewrites would be another file.

    It is not stopped while it removes files: whoever reads them (`farthing doctor`) would wait for it for ever.
    """
    engines = site.house.of_role("engine")
    try:
        with open(site.house.data / "removals.lock", "ab") as removals:
            fcntl.flock(removals, fcntl.LOCK_SH)
            for pid in engines:
                os.kill(pid, signal.SIGSTOP)
                until(lambda pid=pid: _is_stopped(pid), "the engine stands still")
        yield
    finally:
        for pid in engines:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """Whether all of it has heard SIGSTOP, or it has ended."""
    try:
        states = [
            Path(stat).read_text().rpartition(")")[2].split()[0] for stat in glob(f"/proc/{pid}/task/*/stat")
        ]
    except OSError:  # one of its threads ended
        return False
    return all(state in "TtZX" for state in states)


def of_rewrite(damage: Damage) -> Fault:
    """A segment that is about to be put together with others: the damage must not become the truth."""
    name = f"segment before it is rewritten: {damage.__name__.replace('_', ' ')}"

    def strike(site: Site, random: Random) -> Hit | None:
        tenant = traffic.TENANTS[0]
        paths = _in_force(site, tenant)
        if len(paths) < 2:
            return None
        path = random.choice(paths)
        with damaged(path, random, damage, paths):
            at = time.monotonic()
            _feed(site, random)  # new segments, so that there is reason to rewrite
            eventually(site.house.all_sealed, REFUSE_SECONDS)
        site.settle()
        return Hit(name, at)

    return Fault(name, "quiet", strike)


def of_run(damage: Damage) -> Fault:
    """A run of the id index: repeats of what it holds must not be counted."""
    name = f"id run: {damage.__name__.replace('_', ' ')}"

    def strike(site: Site, random: Random) -> Hit | None:
        tenant = traffic.TENANTS[0]
        with _still(site):
            paths = _runs_in_force(site, tenant)
            if len(paths) < 2:
                return None
            path = random.choice(paths)
            with damaged(path, random, damage, paths):
                at = time.monotonic()
                for engine in site.house.of_role("engine"):
                    killed(engine, "")  # the next one reads what is there
                site.send(
                    tenant,
                    random.sample(lines := site.oracle.counted_lines(tenant), min(len(lines), REPEATS)),
                )
                eventually(site.house.all_sealed, REFUSE_SECONDS)
                # It is made anew from the segments, or it is in force and doctor sees it.
                code, said = doctor_says(site)
                if code != EXIT_NO and path in _runs_in_force(site, tenant):
                    raise Broken(f"{path} is damaged, and doctor ends with {code}: {said}")
        site.settle()
        return Hit(name, at)

    return Fault(name, "quiet", strike)


def _runs_in_force(site: Site, tenant: str) -> list[Path]:
    return [site.house.data / path for path in site.house.outside.run_paths(site.tenant_ids[tenant])]


def _feed(site: Site, random: Random) -> None:
    """Some load, repeats among it."""
    site.load.run(site.month)
    time.sleep(0.2 + 0.2 * random.random())
    site.load.pause()


def of_sealed_log(damage: Damage) -> Fault:
    """What of the log is sealed: the sums do not need it, and doctor sees it."""
    name = f"sealed log: {damage.__name__.replace('_', ' ')}"

    def strike(site: Site, random: Random) -> Hit | None:
        sealed = site.house.outside.cursors()
        whole = [
            site.house.data / "log" / name
            for name, end in sorted(sealed.items())
            if end
            and (site.house.data / "log" / name).exists()
            and (site.house.data / "log" / name).stat().st_size == end
        ]
        if not whole:
            return None
        path = random.choice(whole)
        with _still(site), damaged(path, random, damage, whole):
            at = time.monotonic()
            usage_is_right(site, traffic.TENANTS[0])
            _must_be_off(site, f"{path} is damaged")
        return Hit(name, at)

    return Fault(name, "quiet", strike, frozenset({"kept"}))


def of_waiting_log(damage: Damage, *, last_block: bool) -> Fault:
    """What of the log is acknowledged and not sealed. Nothing of it may go missing in silence."""
    name = f"waiting log{', its last block' if last_block else ''}: {damage.__name__.replace('_', ' ')}"

    def strike(site: Site, random: Random) -> Hit | None:
        engine = until(lambda: site.house.of_role("engine"), "there is an engine")[0]
        log = site.house.data / "log"
        os.kill(engine, signal.SIGSTOP)
        try:
            sealed = site.house.outside.cursors()
            _feed(site, random)
            for pid in site.house.of_role("worker"):
                killed(pid, "")
            waiting = {
                path: blocks
                for path in sorted(log.glob("*/*.log"))
                if (blocks := _whole_blocks(path, sealed.get(str(path.relative_to(log)), 0)))
            }
            if not waiting:
                return None
            path, blocks = random.choice(list(waiting.items()))
            with _damaged_within(path, blocks[-1] if last_block else random.choice(blocks), random, damage):
                at = time.monotonic()
                os.kill(engine, signal.SIGCONT)
                eventually(site.house.all_sealed, REFUSE_SECONDS)
                _must_be_told(site, path, damage)
        finally:
            with suppress(ProcessLookupError):  # It ends by itself where it finds the damage.
                os.kill(engine, signal.SIGCONT)
        site.settle()
        return Hit(name, at)

    return Fault(name, "quiet", strike, frozenset({"kept"}))


def _whole_blocks(path: Path, start: int) -> list[tuple[int, int]]:
    """Begin and end of each block of a log file from `start` on; not of a write that was cut off."""
    whole = path.read_bytes()
    blocks = []
    while (newline := whole.find(b"\n", start)) >= 0:
        end = newline + 1 + json.loads(whole[start:newline])["bytes"]
        if end > len(whole):
            break
        blocks.append((start, end))
        start = end
    return blocks


@contextmanager
def _damaged_within(path: Path, block: tuple[int, int], random: Random, damage: Damage) -> Iterator[None]:
    """The file, with damage in one of its blocks for as long as this lasts."""
    whole = path.read_bytes()
    begin, end = block
    if damage is cut_short:
        os.truncate(path, random.randrange(begin + 1, end))
    else:
        place = random.randrange(begin, end)
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(bytes([whole[place] ^ 1 << random.randrange(8)]))
    try:
        yield
    finally:
        path.write_bytes(whole)


def _must_be_told(site: Site, path: Path, damage: Damage) -> None:
    code, said = doctor_says(site)
    if damage is cut_short:
        # It looks like a write that was under way when its process was killed: no more than a note can be made.
        if f"{path.parent.name}/{path.name}" not in said:
            raise Broken(f"{path} is cut short, and doctor does not mention it: {said}")
    elif code != EXIT_NO:
        raise Broken(f"{path} is damaged, and doctor ends with {code}: {said}")


FAULTS = (
    *(of_segment(damage) for damage in (turn_a_bit, cut_short, remove, misdirect)),
    *(of_rewrite(damage) for damage in (turn_a_bit, misdirect)),
    *(of_run(damage) for damage in (turn_a_bit, cut_short, remove, misdirect)),
    *(of_sealed_log(damage) for damage in (turn_a_bit, cut_short)),
    of_waiting_log(turn_a_bit, last_block=False),
    of_waiting_log(turn_a_bit, last_block=True),
    of_waiting_log(cut_short, last_block=True),
)
