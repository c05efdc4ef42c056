"""Which fault when: a pure function of the seed, so that a run can be printed, repeated and continued.

A round is a few volleys. A volley is one fault for each of some lanes, at the same time. Each lane has
a deck of its faults, shuffled, dealt to its end and shuffled again, so that every fault comes as often
as any other of its lane.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.crash.site import Fault

IMPORTS_PER_VOLLEY = 4
VOLLEYS = (("worker", "engine", "ingest"),) * 3 + (("server", "ingest"),) * 2
QUIET_PER_ROUND = 2
ROUNDS_PER_SITE = 4


Volley = tuple[tuple[Fault, ...], ...]
"""For each lane, what is done in it, one after the other."""


@dataclass(frozen=True, slots=True)
class Round:
    """Volleys under load, then what is done in the quiet; on the site of this number and kind."""

    number: int
    site: int
    kind: str
    volleys: tuple[Volley, ...]
    quiet: tuple[Fault, ...]

    def points(self) -> int:
        """How many faults that is."""
        return sum(len(lane) for volley in self.volleys for lane in volley) + len(self.quiet)

    def line(self) -> str:
        """As it is printed."""
        volleys = " | ".join(
            " & ".join(" > ".join(fault.name for fault in lane) for lane in volley) for volley in self.volleys
        )
        quiet = " | ".join(fault.name for fault in self.quiet)
        return f"round {self.number}, site {self.site} ({self.kind}): {volleys} || {quiet}"


class _Deck:
    def __init__(self, faults: Sequence[Fault], random: Random) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.name)
        self._random = random
        self._left: list[Fault] = []

    def deal(self) -> Fault:
        if not self._left:
            self._left = self._random.sample(self._faults, len(self._faults))
        return self._left.pop()


def rounds(seed: int, faults: Sequence[Fault], kinds: dict[str, frozenset[str]]) -> Iterator[Round]:
    """The rounds of a seed, for ever. kinds: what the sites of each kind have; they take turns."""
    decks: dict[tuple[str, str], _Deck] = {}
    for kind, capabilities in kinds.items():
        for lane in {fault.lane for fault in faults}:
            able = [fault for fault in faults if fault.lane == lane and fault.needs <= capabilities]
            if able:
                decks[kind, lane] = _Deck(able, Random(f"{seed}/{kind}/{lane}"))
    names = list(kinds)
    number = 0
    while True:
        site = number // ROUNDS_PER_SITE
        kind = names[site % len(names)]
        volleys: list[Volley] = []
        for lanes in VOLLEYS:
            dealt = [_deal(kind, lane, decks) for lane in lanes]
            together = [tuple(fault for fault in lane if not fault.alone) for lane in dealt]
            volleys.append(tuple(lane for lane in together if lane))
            volleys += [((fault,),) for lane in dealt for fault in lane if fault.alone]
        quiet = [decks[kind, "quiet"].deal() for _ in range(QUIET_PER_ROUND) if (kind, "quiet") in decks]
        yield Round(number, site, kind, tuple(volley for volley in volleys if volley), tuple(quiet))
        number += 1


def _deal(kind: str, lane: str, decks: dict[tuple[str, str], _Deck]) -> list[Fault]:
    times = IMPORTS_PER_VOLLEY if lane == "ingest" else 1
    return [decks[kind, lane].deal() for _ in range(times)] if (kind, lane) in decks else []
