"""What a run came to, as lines of JSON: it can be read while it goes on, and continued where it stopped.

{"run": {...}}     one for each time that it was begun: commit, machine, when
{"point": {...}}   a fault that was to happen, and whether it did
{"round": {...}}   a round that was judged
{"site": {...}}    a data directory after its last judgement
{"end": {...}}     why and after how long it stopped
"""

import json
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


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
    """From the last fault of a volley to the first acknowledgement of what was sent after it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A round that ended with everything as it should be."""

    number: int
    kind: str
    hits: int
    judgements: int
    events: int
    """Counted events of its site that were held against the journals."""
    seconds_to_sealed: float | None
    """From the last fault under load until every process was back and everything sealed."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A data directory after its last judgement."""

    number: int
    kind: str
    acknowledged: int
    counted: int
    duplicate: int
    quarantined: int
    invoices: int
    answers: dict[str, int]
    """How often clients were told what."""


@dataclass(frozen=True, slots=True)
class End:
    """Why a run stopped, and after how long. broken: the law that was."""

    why: str
    seconds: float
    broken: str | None = None


@dataclass
class Results:
    """Everything that was written down, this time and before."""

    file: Path | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    rounds: list[Judged] = field(default_factory=list)
    sites: list[Closed] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    _noting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            for line in self.file.read_text().splitlines():
                ((kind, fields),) = json.loads(line).items()
                self._take(kind, fields)

    def _take(self, kind: str, fields: dict[str, Any]) -> None:
        match kind:
            case "run":
                self.runs.append(fields)
            case "point":
                self.points.append(Point(**fields))
            case "round":
                self.rounds.append(Judged(**fields))
            case "site":
                self.sites.append(Closed(**fields))
            case "end":
                self.ends.append(End(**fields))

    def note(self, kind: str, what: Any) -> None:
        """Remember something, and write it down."""
        fields = what if isinstance(what, dict) else asdict(what)
        with self._noting:
            self._take(kind, fields)
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with open(self.file, "a") as file:
                    file.write(json.dumps({kind: fields}) + "\n")

    def hits(self) -> int:
        """Faults that really happened."""
        return sum(point.hit for point in self.points)

    def next_round(self) -> int:
        """Where a run goes on: behind the last round that was judged."""
        return max((judged.number + 1 for judged in self.rounds), default=0)

    def broken(self) -> str | None:
        """The law that was broken, if one was."""
        return next((end.broken for end in self.ends if end.broken), None)

    def never_hit(self) -> list[str]:
        """Faults that were to happen and never did: what the run says nothing about."""
        wanted = {point.fault for point in self.points}
        return sorted(wanted - {point.fault for point in self.points if point.hit})

    def answers(self) -> Counter[str]:
        """How often clients were told what."""
        answers: Counter[str] = Counter()
        for site in self.sites:
            answers.update(site.answers)
        return answers
