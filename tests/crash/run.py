"""A run: rounds of faults on one site after the other, each round judged, everything written down."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from random import Random

from tests.crash.check import bill_month, doctor_is_content, judge
from tests.crash.commands import Zygote, run_apart
from tests.crash.faults import FAULTS
from tests.crash.faults.disks import image, tmpfs
from tests.crash.house import House, temporary_place
from tests.crash.journal import Journal, JournalReader
from tests.crash.load import Load
from tests.crash.oracle import Oracle
from tests.crash.results import Closed, End, Judged, Point, Results
from tests.crash.schedule import KINDS, Round, Volley, rounds
from tests.crash.site import Broken, Fault, Hit, Imports, Site
from tests.crash.template import Template, copy_template, make_template

CLIENTS = 3
ATTEMPTS_MAX = 2
"""How often a fault that was not met is tried again within its point."""

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Wanted:
    """What is to be run, and until when."""

    seed: int
    kinds: Sequence[str]
    points: int
    """It ends after so many faults that really happened, those of `results` included,"""
    minutes: float | None = None
    """or after so much time, or when it is `told` to; always at the end of a volley, and judged."""
    first_round: int = 0
    beside: int = 1
    """How many sites are used at the same time: a site waits most of its time."""
    canary: str | None = None
    faults: Sequence[Fault] = FAULTS
    keep: bool = False
    """Whether the data directory of a broken law stays."""
    told: bool = False
    began: float = field(default_factory=time.monotonic)

    def enough(self, results: Results) -> str | None:
        """Why it is enough, if it is."""
        if self.told:
            return "told to stop"
        if results.hits() >= self.points:
            return "all points"
        if self.minutes is not None and time.monotonic() - self.began > 60 * self.minutes:
            return "time is up"
        return None


@dataclass(frozen=True, slots=True)
class Ground:
    """What the sites of a run have in common. Runs one after the other may stand on one."""

    place: Path
    zygote: Zygote
    template: Template


@contextmanager
def ground() -> Iterator[Ground]:
    """Make it; no processes and no files are left at its end."""
    with temporary_place() as place, ExitStack() as leaving:
        zygote = Zygote(place)
        leaving.callback(zygote.close)
        yield Ground(place, zygote, make_template(zygote, place))


def run(wanted: Wanted, results: Results, say: Say, on: Ground) -> None:
    """Run until it is enough; the first broken law ends it. `results` says what it came to."""
    judged = {one.number for one in results.rounds}
    drawn = islice(rounds(wanted.seed, wanted.faults, wanted.kinds), wanted.first_round, None)
    planned = (round_ for round_ in drawn if round_.number not in judged)
    sites = _Sites(on, wanted, results, say, planned)
    others = [threading.Thread(target=sites.use_some, daemon=True) for _ in range(wanted.beside - 1)]
    for other in others:
        other.start()
    try:
        sites.use_some()
        for other in others:
            other.join()
    except BaseException:  # told to end at once
        on.zygote.refuse()
        sites.close()
        raise
    if sites.failure is not None:
        raise sites.failure
    why = "a law is broken" if sites.broken else wanted.enough(results) or "nothing is left to do"
    results.note("end", End(why, round(time.monotonic() - wanted.began, 1), sites.broken))


class _Sites:
    """The sites of a run. Each is used by one thread, from its first round to its last judgement."""

    def __init__(
        self, on: Ground, wanted: Wanted, results: Results, say: Say, planned: Iterator[Round]
    ) -> None:
        self._on, self._wanted, self._results, self._say = on, wanted, results, say
        self._planned = groupby(planned, key=lambda round_: round_.site)
        self._planning = threading.Lock()
        self._open: list[ExitStack] = []
        self.broken: str | None = None
        self.failure: Exception | None = None

    def use_some(self) -> None:
        """One site after the other that nobody has used, until it is enough."""
        while not self._wanted.enough(self._results):
            with self._planning:
                _, turns = next(self._planned)
                here = list(turns)
            try:
                with self._opened(here[0]) as site:
                    self._use(site, here)
            except Exception as error:  # noqa: BLE001 - `run` raises it in its own thread
                self.failure = self.failure or error
                self._wanted.told = True

    def _use(self, site: Site, here: Sequence[Round]) -> None:
        try:
            for round_ in here:
                if not self._wanted.enough(self._results):
                    _Round(site, round_, self._wanted, self._results, self._say).run()
            self._finish(site, round_)
        except AssertionError as error:  # Broken and Stuck among them
            broken = f"{type(error).__name__}: {error}"
            self._say(f"BROKEN in round {round_.number} of seed {self._wanted.seed}: {broken}")
            if self._wanted.keep:
                self._keep(site)
            self.broken = self.broken or broken
            self._wanted.told = True

    def _finish(self, site: Site, round_: Round) -> None:
        """The last judgement on a site: the month is billed, and everything said again."""
        bill_month(site, Random(0), kill=False)
        judge(site)
        tally = site.tally()
        closed = Closed(
            number=round_.site,
            kind=round_.kind,
            acknowledged=tally["acknowledged"],
            counted=tally["counted"],
            duplicate=tally["duplicate"],
            quarantined=tally["quarantined"],
            invoices=site.invoices,
            answers=dict(site.load.statuses),
        )
        self._results.note("site", closed)
        self._say(
            f"site {closed.number} ({closed.kind}): {closed.acknowledged:,} acknowledged; {closed.counted:,} counted,"
            f" {closed.duplicate:,} duplicate, {closed.quarantined:,} quarantined; {closed.invoices} invoices"
        )

    def _keep(self, site: Site) -> None:
        """A copy of the site, for whoever wants to know what happened."""
        site.house.kill_everything()
        run_apart("cp", "-a", site.house.place, kept := f"{self._on.place}-kept", check=False)
        self._say(f"kept: {kept}")

    def close(self) -> None:
        """No processes, no mounts, whoever may be at it."""
        for leaving in self._open:
            with suppress(OSError):  # The thread that uses it may be writing still.
                leaving.close()

    @contextmanager
    def _opened(self, round_: Round) -> Iterator[Site]:
        """A new data directory with a server and clients on it."""
        place = Path(tempfile.mkdtemp(prefix=f"site-{round_.site}-", dir=self._on.place))
        journals, needs = place / "journals", KINDS[round_.kind]
        place.chmod(0o711)
        for directory in (place / "data", journals, place / "files"):
            directory.mkdir()
            directory.chmod(0o711)
        with ExitStack() as leaving:
            self._open.append(leaving)
            leaving.callback(shutil.rmtree, place)
            disk = None
            if "tmpfs" in needs:
                disk = leaving.enter_context(tmpfs(place / "data"))
            elif "image" in needs:
                disk = leaving.enter_context(image(place / "data"))
            copy_template(self._on.template, place)
            house = House(
                place,
                self._on.template.keys,
                self._on.zygote,
                forked="plain" not in needs,
                canary=self._wanted.canary,
                keep_log_seconds=86_400 if "kept" in needs else 0,
            )
            leaving.callback(house.kill_everything)
            house.start()
            seed = f"{self._wanted.seed}/{round_.site}"
            load = Load(house, journals, name=f"client-{round_.site}", seed=seed, clients=CLIENTS)
            leaving.callback(load.close)
            imports, own = Journal(journals / "imports.ndjson"), Journal(journals / "harness.ndjson")
            leaving.callback(imports.close)
            leaving.callback(own.close)
            yield Site(
                house=house,
                load=load,
                imports=Imports(place / "files", imports),
                journal=own,
                reader=JournalReader(journals),
                oracle=Oracle(),
                disk=disk,
                tenant_ids=house.outside.tenant_ids(),
            )


@dataclass(slots=True)
class _Round:
    site: Site
    round: Round
    wanted: Wanted
    results: Results
    say: Say
    hits: int = 0
    judgements: int = 0
    events: int = 0

    def run(self) -> None:
        """Volleys under load, the judgement, then one quiet fault after the other, each judged."""
        began = time.monotonic()
        self.site.load.run(self.site.month)
        last: float | None = None
        for number, volley in enumerate(self.round.volleys):
            if self.wanted.enough(self.results):
                break
            last = self._volley(number, volley) or last
        self.site.settle()
        to_sealed = None if last is None else round(time.monotonic() - last, 3)
        self._judge()
        doctor_is_content(self.site)
        for number, fault in enumerate(self.round.quiet):
            if self.wanted.enough(self.results):
                break
            self._note(fault, self._strike(fault, f"quiet/{number}"), None)
            self.site.settle()
            self._judge()
        judged = Judged(
            self.round.number, self.round.kind, self.hits, self.judgements, self.events, to_sealed
        )
        self.results.note("round", judged)
        self.say(
            f"round {judged.number}, site {self.round.site} ({judged.kind}): {self.hits} hits, {judged.judgements}"
            f" judgements of {judged.events:,} events in {time.monotonic() - began:.1f} s: all is well"
            f" ({self.results.hits():,} of {self.wanted.points:,})"
        )

    def _judge(self) -> None:
        self.events = judge(self.site)
        self.judgements += 1

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
        self.hits += hit is not None
        point = Point(
            round=self.round.number,
            kind=self.round.kind,
            lane=fault.lane,
            fault=fault.name,
            hit=hit is not None,
            facts=hit.facts if hit else {},
            seconds_to_answer=None if seconds is None else round(seconds, 3),
        )
        self.results.note("point", point)
