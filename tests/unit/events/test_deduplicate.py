"""The one decision about repeats, against a dict that remembers everything."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farthing.events.ids.deduplicate import Outcome, deduplicate
from farthing.events.ids.index import Hashes, Identities, IdRun

# Few of each, so that they meet: equal keys of different events, equal events, equal contents.
keys = st.sampled_from([0, 1, 7, 2**64 - 1])
checks = st.sampled_from([0, 3, 2**64 - 1])
contents = st.sampled_from([0, 5, 9])
events = st.tuples(keys, checks, contents, st.booleans())
batches = st.lists(st.lists(events, min_size=1, max_size=25), min_size=1, max_size=5)


def hashes(numbers: list[int]) -> Hashes:
    return np.array(numbers, dtype=np.uint64)


def model(counted: dict[tuple[int, int], int], batch: list[tuple[int, int, int, bool]]) -> list[Outcome]:
    """Event by event. What stood before the batch decides about faulty repeats; what the batch adds does not."""
    before = dict(counted)
    outcomes = []
    for key, check, content, faulty in batch:
        first = (before if faulty else counted).get((key, check))
        if first == content:
            outcomes.append(Outcome.DUPLICATE)
        elif faulty:
            outcomes.append(Outcome.FAULTY)
        elif first is not None:
            outcomes.append(Outcome.CONFLICT)
        else:
            counted[key, check] = content
            outcomes.append(Outcome.COUNTED)
    return outcomes


@given(batches)
def test_each_batch_agrees_with_the_model(batches: list[list[tuple[int, int, int, bool]]]) -> None:
    counted: dict[tuple[int, int], int] = {}
    runs: list[IdRun] = []
    for number, batch in enumerate(batches):
        identities = Identities(*(hashes([int(event[place]) for event in batch]) for place in range(3)))
        outcomes = deduplicate(runs, identities, np.array([event[3] for event in batch], dtype=np.bool_))
        assert outcomes.tolist() == model(counted, batch)
        new = sorted(
            event[:3] for event, outcome in zip(batch, outcomes, strict=True) if outcome == Outcome.COUNTED
        )
        if new:
            runs.append(
                IdRun(f"run{number}", *(hashes([event[place] for event in new]) for place in range(3)))
            )
    assert sum(len(run) for run in runs) == len(counted)


def test_the_first_stands() -> None:
    batch = Identities(hashes([1, 1, 1, 1, 2]), hashes([1, 1, 1, 2, 1]), hashes([5, 6, 5, 5, 5]))
    sound = np.zeros(5, dtype=np.bool_)
    assert deduplicate([], batch, sound).tolist() == [
        Outcome.COUNTED, Outcome.CONFLICT, Outcome.DUPLICATE, Outcome.COUNTED, Outcome.COUNTED,
    ]  # fmt: skip


def test_a_faulty_event_does_not_take_its_identity() -> None:
    batch = Identities(hashes([1, 1, 1]), hashes([1, 1, 1]), hashes([5, 6, 5]))
    faulty = np.array([True, False, False])
    assert deduplicate([], batch, faulty).tolist() == [Outcome.FAULTY, Outcome.COUNTED, Outcome.CONFLICT]
