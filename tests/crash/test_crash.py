"""The short run of the crash harness: what `make crash` does for hours, and the proof that it would notice."""

import os
from collections.abc import Iterator

import pytest

from tests.crash.canaries import CANARIES
from tests.crash.faults import FAULTS
from tests.crash.machine import missing
from tests.crash.results import Results
from tests.crash.run import Ground, Wanted, ground, run

SEED = int(os.environ.get("FARTHING_CRASH_SEED", "1"))

POINTS = {"armed": 70, "traced": 40, "lean": 50, "tmpfs": 25, "image": 25, "plain": 15}
"""By kind of site; 225 in all."""

CANARY_POINTS_MAX = 60
CAUGHT = {
    "acknowledge_first": ("worker power at fdatasync of .log", "lost: "),
    "name_first": ("engine power at any", "cannot be read"),
    "cursor_first": ("engine kill at commit of MainThread", "lost: "),
    "claim_first": ("engine kill at commit of MainThread", "lost: "),
    "forget_first": ("kill engine", "doubled: "),
}
"""The fault that each mistake does not survive, and what the oracle then says."""


@pytest.fixture(scope="module")
def on() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.mark.parametrize("kind", POINTS)
def test_every_acknowledged_event_is_counted_once_whatever_breaks(kind: str, on: Ground) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    results = Results()
    run(Wanted(seed=SEED, kinds=[kind], points=POINTS[kind]), results, print, on)
    print(f"{results.hits()} crash points in {len(results.rounds)} rounds on {kind}, seed {SEED}")
    assert results.broken() is None
    assert results.hits() >= POINTS[kind]


@pytest.mark.parametrize("canary", CANARIES)
def test_a_farthing_with_a_mistake_is_caught(canary: str, on: Ground) -> None:
    fault, said = CAUGHT[canary]
    results = Results()
    wanted = Wanted(
        seed=SEED,
        kinds=["armed"],
        points=CANARY_POINTS_MAX,
        canary=canary,
        faults=[known for known in FAULTS if known.name == fault],
    )
    run(wanted, results, print, on)
    print(f"{canary}: caught within {results.hits()} crash points, seed {SEED}")
    assert said in (results.broken() or "nothing was noticed")
