"""Which fault when: a pure function of the seed, so that a run can be printed, repeated and continued.

A round is a few volleys. A volley strikes some lanes side by side, each with some faults one after the
other. Each lane has a deck of its faults, shuffled, dealt to its end and shuffled again, so that every
fault comes as often as any other of its lane.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.crash.site import Fault

_PROCESSES = {"worker": 3, "engine": 3, "ingest": 6}
_SERVER = {"server": 1, "ingest": 3}
VOLLEYS = (_PROCESSES, _SERVER, _PROCESSES, _SERVER, _PROCESSES, _SERVER)
"""How many faults of each lane."""
QUIET_PER_ROUND = 3
ROUNDS_PER_SITE = 2

KINDS = {
    "armed": frozenset({"victim", "kept"}),
    "lean": frozenset({"victim"}),
    "traced": frozenset({"strace", "kept"}),
    "tmpfs": frozenset({"victim", "tmpfs"}),
    "image": frozenset({"victim", "image", "kept"}),
    "plain": frozenset({"plain", "kept"}),
}
"""What the sites of each kind have (`site.Fault.needs`)."""
TURNS = ("armed", "traced", "lean", "tmpfs", "armed", "image", "lean", "plain")


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


class _Deck:
    def __init__(self, faults: Sequence[Fault], random: Random) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.name)
        self._random = random
        self._left: list[Fault] = []

    def deal(self, times: int) -> list[Fault]:
        return [self._next() for _ in range(times)]

    def _next(self) -> Fault:
        if not self._left:
            self._left = self._random.sample(self._faults, len(self._faults))
        return self._left.pop()


def rounds(seed: int, faults: Sequence[Fault], kinds: Sequence[str]) -> Iterator[Round]:
    """The rounds of a seed, for ever. kinds: those of the sites that may be had, which take turns."""
    turns = [kind for kind in TURNS if kind in kinds]
    decks = {kind: _decks(seed, kind, faults) for kind in turns}
    number = 0
    while True:
        site = number // ROUNDS_PER_SITE
        kind = turns[site % len(turns)]
        volleys: list[Volley] = []
        for lanes in VOLLEYS:
            dealt = [decks[kind][lane].deal(times) for lane, times in lanes.items() if lane in decks[kind]]
            together = [tuple(fault for fault in lane if not fault.alone) for lane in dealt]
            volleys.append(tuple(lane for lane in together if lane))
            volleys += [((fault,),) for lane in dealt for fault in lane if fault.alone]
        quiet = decks[kind]["quiet"].deal(QUIET_PER_ROUND) if "quiet" in decks[kind] else []
        yield Round(number, site, kind, tuple(volley for volley in volleys if volley), tuple(quiet))
        number += 1


def _decks(seed: int, kind: str, faults: Sequence[Fault]) -> Mapping[str, _Deck]:
    able = [fault for fault in faults if fault.needs <= KINDS[kind]]
    return {
        lane: _Deck([fault for fault in able if fault.lane == lane], Random(f"{seed}/{kind}/{lane}"))
        for lane in {fault.lane for fault in able}
    }
