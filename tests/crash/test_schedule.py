"""Which fault comes when: the seed says it, and none is forgotten."""

from collections import Counter
from itertools import islice

from tests.crash.faults import FAULTS, LANES
from tests.crash.schedule import KINDS, ROUNDS_PER_SITE, rounds


def test_a_seed_says_it_all() -> None:
    first, again = (list(islice(rounds(5, FAULTS, list(KINDS)), 20)) for _ in range(2))
    assert first == again
    assert first != list(islice(rounds(6, FAULTS, list(KINDS)), 20))


def test_a_run_may_go_on_anywhere() -> None:
    assert (
        list(islice(rounds(5, FAULTS, list(KINDS)), 7, 9))
        == list(islice(rounds(5, FAULTS, list(KINDS)), 9))[7:]
    )


def test_every_fault_comes_and_those_of_a_lane_on_a_kind_of_site_as_often_as_each_other() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for round_ in islice(rounds(1, FAULTS, list(KINDS)), 100 * ROUNDS_PER_SITE):
        for fault in [
            *round_.quiet,
            *(fault for volley in round_.volleys for lane in volley for fault in lane),
        ]:
            assert fault.needs <= KINDS[round_.kind]
            seen[round_.kind, fault.name] += 1
    assert {name for _, name in seen} == {fault.name for fault in FAULTS}
    for kind, needs in KINDS.items():
        for lane in LANES:
            able = [fault.name for fault in FAULTS if fault.lane == lane and fault.needs <= needs]
            times = [seen[kind, name] for name in able]
            assert max(times, default=0) - min(times, default=0) <= 1


def test_fault_names_are_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
