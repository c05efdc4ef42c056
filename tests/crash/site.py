"""Where faults strike: a house, the clients that use it, the imports into it, and the oracle over all."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.crash import traffic
from tests.crash.commands import Command
from tests.crash.house import House
from tests.crash.journal import ACCEPTED, NO_ANSWER, Journal, JournalReader
from tests.crash.load import Load
from tests.crash.oracle import Oracle, Verdict
from tests.crash.waiting import Stuck, until

ATTEMPTS_MAX = 20
DEATHS_MAX = 10
"""How often a process of the server may end by itself while nothing is in its way."""


class Broken(AssertionError):
    """A law is broken: the run ends here, and says what, where and from which seed."""


@dataclass(slots=True)
class Hit:
    """A fault that really happened: when, and what is worth knowing about it."""

    fault: str
    at: float
    facts: dict[str, Any] = field(default_factory=dict)


Strike = Callable[["Site", Random], Hit | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. `lane`: what it is done to; one lane does one thing at a time, side by side with the others.

    needs: what the site must have for it (`schedule.KINDS`): victim (its processes can be armed), strace, plain (a
    server as anybody starts it), tmpfs, image, kept (the log). alone: it leaves the other lanes nothing to do.
    """

    name: str
    lane: str
    strike: Strike
    needs: frozenset[str] = frozenset()
    alone: bool = False


@dataclass(slots=True)
class Imports:
    """Files on their way in through `farthing ingest`, one after the other, each until it is in."""

    place: Path
    journal: Journal
    numbers: Iterator[int] = field(default_factory=itertools.count)
    words: list[str] = field(default_factory=list)
    tenant: str = traffic.TENANTS[0]
    lines: list[str] = field(default_factory=list)
    request: int = 0

    def next_file(self, random: Random, month: int) -> None:
        """Draw a file, unless one is still on its way."""
        if self.words:
            return
        number = next(self.numbers)
        self.tenant = random.choice(traffic.TENANTS)
        calls = [traffic.new_call(random, f"file-{number}-{n}", month) for n in range(random.randint(5, 120))]
        path = self.place / f"{number}.{'csv' if random.random() < 0.25 else 'ndjson'}"
        if path.suffix == ".csv":
            calls = [call for call in calls if call.time and call.tokens and call.tokens[0] != '"']
            self._write_csv(path, calls)
        else:
            self._write_ndjson(path, calls, random)

    def _write_ndjson(self, path: Path, calls: list[traffic.Call], random: Random) -> None:
        lines = [call.line() for call in calls]
        lines += random.sample(lines, len(lines) // 10)
        lines += [traffic.conflicting(random, lines[0])] if random.random() < 0.3 else []
        lines += [traffic.broken_line(random)] if random.random() < 0.3 else []
        random.shuffle(lines)
        path.write_text("\n".join(lines) + "\n")
        self.lines, self.words = lines, ["ingest", str(path)]

    def _write_csv(self, path: Path, calls: list[traffic.Call]) -> None:
        rows = [
            f"{call.id},{call.source},{call.type},{call.subject},{call.time},{call.tokens},{call.model}"
            for call in calls
        ]
        path.write_text("\n".join(["ID,SOURCE,TYPE,SUBJECT,TIME,TOKENS,MODEL", *rows]) + "\n")
        spec = "id=ID,source=SOURCE,type=TYPE,subject=SUBJECT,time=TIME,data.tokens=TOKENS,data.model=MODEL"
        self.lines, self.words = [call.line() for call in calls], ["ingest", str(path), "--map", spec]

    def begin(self) -> list[str]:
        """Write down that an attempt is made; the words of the command."""
        self.request += 1
        self.journal.write(
            {"n": self.request, "tenant": self.tenant, "lines": self.lines, "at": time.monotonic()}
        )
        return [*self.words, "--tenant", self.tenant]

    def end(self, code: int) -> None:
        """Write down what the attempt came to. Exit code 0 is the acknowledgement."""
        status = ACCEPTED if code == 0 else NO_ANSWER
        self.journal.write({"n": self.request, "status": status, "refused": [], "at": time.monotonic()})
        if code == 0:
            self.words = []


@dataclass
class Site:
    """One data directory with everything around it."""

    house: House
    load: Load
    imports: Imports
    journal: Journal
    reader: JournalReader
    oracle: Oracle
    plans: Iterator[int] = field(default_factory=itertools.count)
    month: int = 0
    disk: Any = None
    """The file system of its own that it stands on, where it has one (`faults/disks.py`)."""
    tenant_ids: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """What the last check found, by tenant."""
    sends: int = 0
    invoices: int = 0
    """How many were issued and held against the counted events."""

    def import_now(self, random: Random, *, armed: bool = False, held: bool = False) -> Command:
        """Start an attempt to bring in the file that is on its way, or a new one."""
        self.imports.next_file(random, self.month)
        return self.house.command(*self.imports.begin(), armed=armed, held=held)

    def finish_import(self) -> None:
        """Bring in what was begun; nothing is in its way any more."""
        for _ in range(ATTEMPTS_MAX):
            if not self.imports.words:
                return
            command = self.house.command(*self.imports.begin())
            code = command.wait()
            self.imports.end(code)
            if code not in (0, 4):  # 4: not now, because the books are being recovered, say
                raise Broken(f"an import that nobody disturbs ends with {code}: {command.complaint()}")
        raise Stuck(f"an import does not come to its end: {command.complaint()}")

    def send(self, tenant: str, lines: list[str]) -> int:
        """One request of our own, in a journal of our own; its status."""
        self.sends += 1
        record = {"n": self.sends, "tenant": tenant, "lines": lines, "at": time.monotonic()}
        self.journal.write(record)
        status = self.house.post_events(tenant, "\n".join(lines))
        self.journal.write({"n": self.sends, "status": status, "refused": [], "at": time.monotonic()})
        return status

    def tally(self) -> Counter[str]:
        """What became of everything that was acknowledged, all tenants together, by the last judgement."""
        tally: Counter[str] = Counter()
        for tenant, verdict in self.verdicts.items():
            tally.update(verdict.tally)
            tally["acknowledged"] += self.oracle.acknowledged(tenant)
        return tally

    def settle(self) -> None:
        """Quiet: clients pause, imports are in, every process is there, everything is sealed."""
        self.finish_import()
        self.load.pause()
        if not self.house.is_up():
            self.house.start()
        self._until(self.house.complete, "all processes are there")
        self._until(self.house.all_sealed, "everything is sealed")
        self.oracle.read(self.reader.new_records())

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it, but not for a process that dies of itself whenever it is started."""
        before = self.house.deaths()

        def so() -> bool:
            if self.house.deaths() > before + DEATHS_MAX:
                raise Broken(f"a process does not stay alive: {self.house.last_words()}")
            return condition()

        try:
            until(so, what)
        except Stuck as stuck:
            raise Stuck(f"{stuck}; {self.house.portrait()}") from None
