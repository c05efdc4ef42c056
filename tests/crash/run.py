"""A run: rounds of faults on one site after the other, each round judged, every point written down."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from tests.crash.check import bill_month, doctor_is_content, judge
from tests.crash.commands import Template, Zygote, copy_template, make_template
from tests.crash.faults import FAULTS
from tests.crash.faults.disks import can_mount, image, tmpfs
from tests.crash.house import House, temporary_place
from tests.crash.journal import Journal, JournalReader
from tests.crash.load import Load
from tests.crash.oracle import Oracle
from tests.crash.schedule import Round, Volley, rounds
from tests.crash.site import Broken, Fault, Hit, Imports, Site

CLIENTS = 3
ATTEMPTS_MAX = 3
"""How often a fault that was not met is tried again within its point."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """One fault that was to happen, and whether it did."""

    round: int
    kind: str
    lane: str
    fault: str
    hit: bool
    facts: dict[str, Any]
    seconds_to_answer: float | None = None
    """From the fault (the last of its volley) to the first acknowledgement of what was sent after it."""
    seconds_to_sealed: float | None = None
    """From the last fault of a round until every process was back and everything sealed."""


@dataclass(slots=True)
class Report:
    """What a run came to."""

    seed: int
    points: list[Point] = field(default_factory=list)
    rounds: int = 0
    next_round: int = 0
    counted: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    broken: str | None = None
    violation: Broken | None = None

    def hits(self) -> int:
        """Faults that really happened."""
        return sum(point.hit for point in self.points)

    def never_hit(self) -> list[str]:
        """Faults that were to happen and never did: what a run with them says nothing about."""
        wanted = {point.fault for point in self.points}
        return sorted(wanted - {point.fault for point in self.points if point.hit})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be run."""

    seed: int
    points: int
    minutes: float | None = None
    first_round: int = 0
    canary: str | None = None
    kinds: tuple[str, ...] | None = None
    faults: Sequence[Fault] = FAULTS
    results: Path | None = None
    """Where every point is appended as a line of JSON, so that a later run can go on."""
    keep: bool = False


def kinds_here() -> dict[str, frozenset[str]]:
    """The kinds of sites that this machine can have, and what each of them has."""
    strace = frozenset({"strace"} if shutil.which("strace") else ())
    kinds = {
        "armed": frozenset({"victim", "kept"}),
        "lean": frozenset({"victim"}),
        "plain": frozenset({"kept"}) | strace,
    }
    if can_mount():
        kinds["image"] = frozenset({"victim", "image", "kept"}) | strace
        kinds["tmpfs"] = frozenset({"victim", "tmpfs"})
    return kinds


def run(wanted: Wanted, say: Say) -> Report:
    """Run until there are enough hits or no more time; the first broken law ends it."""
    report = Report(wanted.seed, next_round=wanted.first_round)
    kinds = kinds_here()
    if wanted.kinds is not None:
        kinds = {kind: kinds[kind] for kind in wanted.kinds if kind in kinds}
    started = time.monotonic()
    with ExitStack() as leaving:
        place = leaving.enter_context(temporary_place())
        zygote = Zygote(place)
        leaving.callback(zygote.close)
        template = make_template(zygote, place)
        site: Site | None = None
        site_number = -1
        at_site = leaving.enter_context(ExitStack())
        try:
            for round_ in islice(rounds(wanted.seed, wanted.faults, kinds), wanted.first_round, None):
                if report.hits() >= wanted.points or _is_late(started, wanted):
                    break
                if round_.site != site_number:
                    _finish(site, report)
                    at_site.close()
                    site_number = round_.site
                    needs = _Needs(place, zygote, template, kinds[round_.kind], wanted)
                    site = at_site.enter_context(_opened(needs, round_))
                assert site is not None
                say(round_.line())
                _Round(site, round_, wanted, report, say).run()
                report.rounds += 1
                report.next_round = round_.number + 1
            _finish(site, report)
        except AssertionError as error:
            report.violation = error if isinstance(error, Broken) else None
            report.broken = f"{type(error).__name__}: {error}"
            say(f"BROKEN in round {report.next_round} of seed {wanted.seed}: {report.broken}")
            if wanted.keep and site is not None:
                site.house.kill_everything()
                kept = f"{place}-kept"
                say(f"kept: {kept}")
                subprocess.run(["cp", "-a", str(place), kept], check=False)
    report.seconds = time.monotonic() - started
    return report


def _is_late(started: float, wanted: Wanted) -> bool:
    return wanted.minutes is not None and time.monotonic() - started > 60 * wanted.minutes


@dataclass(frozen=True, slots=True)
class _Needs:
    place: Path
    zygote: Zygote
    template: Template
    capabilities: frozenset[str]
    wanted: Wanted


@contextmanager
def _opened(needs: _Needs, round_: Round) -> Iterator[Site]:
    """A new data directory with a server and clients on it."""
    place = needs.place / f"site-{round_.site}"
    journals = place / "journals"
    for directory in (place, place / "data", journals, place / "files"):
        directory.mkdir()
        directory.chmod(0o711)
    with ExitStack() as leaving:
        leaving.callback(shutil.rmtree, place)
        disk = None
        if "tmpfs" in needs.capabilities:
            disk = leaving.enter_context(tmpfs(place / "data"))
        elif "image" in needs.capabilities:
            disk = leaving.enter_context(image(place / "data"))
        copy_template(needs.template, place)
        house = House(
            place,
            needs.template.keys,
            victim="victim" in needs.capabilities,
            canary=needs.wanted.canary,
            keep_log_seconds=86_400 if "kept" in needs.capabilities else 0,
        )
        leaving.callback(house.kill_everything)
        house.start()
        seed = f"{needs.wanted.seed}/{round_.site}"
        load = Load(house, journals, name=f"client-{round_.site}", seed=seed, clients=CLIENTS)
        leaving.callback(load.close)
        yield Site(
            house=house,
            zygote=needs.zygote,
            load=load,
            imports=Imports(place / "files", Journal(journals / "imports.ndjson")),
            journal=Journal(journals / "harness.ndjson"),
            reader=JournalReader(journals),
            oracle=Oracle(),
            capabilities=needs.capabilities,
            disk=disk,
            tenant_ids=house.outside.tenant_ids(),
        )


def _finish(site: Site | None, report: Report) -> None:
    """The last judgement on a site: the month is billed, and everything said again."""
    if site is None:
        return
    bill_month(site, Random(0), kill=False)
    report.counted += judge(site)
    for status, times in site.load.statuses.items():
        report.requests[status] = report.requests.get(status, 0) + times


@dataclass(slots=True)
class _Round:
    site: Site
    round: Round
    wanted: Wanted
    report: Report
    say: Say

    def run(self) -> None:
        """Volleys under load, the judgement, then one quiet fault after the other, each judged."""
        self.site.load.run(self.site.month)
        last = 0.0
        for number, volley in enumerate(self.round.volleys):
            last = self._volley(number, volley) or last
        self.site.settle()
        if last and self.report.points:
            self._sealed_in(time.monotonic() - last)
        self._judge()
        for number, fault in enumerate(self.round.quiet):
            hit = self._strike(fault, f"quiet/{number}")
            self._note(fault, hit, None)
            self.site.settle()
            self._judge(number)

    def _judge(self, number: int = 0) -> None:
        started = time.monotonic()
        counted = judge(self.site)
        if number == 0:
            doctor_is_content(self.site)
        self.say(f"  judged {counted:,} events in {time.monotonic() - started:.2f} s: all is well")

    def _volley(self, number: int, volley: Volley) -> float | None:
        """Strike in all lanes at the same time; when the last hit was."""
        with ThreadPoolExecutor(max_workers=len(volley)) as lanes:
            struck = list(
                lanes.map(lambda lane: self._lane(f"{number}/{lane[0]}", lane[1]), enumerate(volley))
            )
        points = [point for lane in struck for point in lane]
        if self.site.house.supervisor_ended():
            raise Broken(f"the server ended by itself: {self.site.house.last_words()}")
        last = max((hit.at for _, hit in points if hit), default=None)
        seconds = None if last is None else self.site.load.acknowledged_after(last)
        for fault, hit in points:
            self._note(fault, hit, seconds if hit and hit.at == last else None)
        return last

    def _lane(self, path: str, faults: Sequence[Fault]) -> list[tuple[Fault, Hit | None]]:
        return [(fault, self._strike(fault, f"{path}/{number}")) for number, fault in enumerate(faults)]

    def _strike(self, fault: Fault, path: str) -> Hit | None:
        random = Random(f"{self.wanted.seed}/{self.round.number}/{path}")
        for _ in range(ATTEMPTS_MAX):
            if hit := fault.strike(self.site, random):
                return hit
        return None

    def _note(self, fault: Fault, hit: Hit | None, seconds: float | None) -> None:
        point = Point(
            round=self.round.number,
            kind=self.round.kind,
            lane=fault.lane,
            fault=fault.name,
            hit=hit is not None,
            facts=hit.facts if hit else {},
            seconds_to_answer=seconds,
        )
        self.report.points.append(point)
        if self.wanted.results is not None:
            with open(self.wanted.results, "a") as file:
                file.write(json.dumps({"seed": self.wanted.seed, **asdict(point)}) + "\n")
        answer = "" if seconds is None else f"; first good answer after {seconds:.3f} s"
        self.say(f"  {'hit ' if hit else 'MISS'} {fault.name}{answer}")

    def _sealed_in(self, seconds: float) -> None:
        self.say(f"  everything back and sealed {seconds:.2f} s after the last fault")
        if self.wanted.results is not None:
            with open(self.wanted.results, "a") as file:
                file.write(
                    json.dumps({"seed": self.wanted.seed, "round": self.round.number, "sealed": seconds})
                    + "\n"
                )
