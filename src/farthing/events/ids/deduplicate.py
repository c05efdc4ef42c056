"""The one decision about repeats: new, duplicate or conflict.

The first event with an identity stands. A later one with the same content is a duplicate, which is
success; with other content it is a conflict, which goes to quarantine. "First" means first sealed,
and within a batch first in the log.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from farthing.events.ids.index import Flags, Identities, IdRun, Places, find, in_key_order


class Outcome(IntEnum):
    """What sealing made of an event."""

    COUNTED = 0
    DUPLICATE = 1
    CONFLICT = 2
    FAULTY = 3


def deduplicate(
    runs: Sequence[IdRun], batch: Identities, faulty: Flags, order: Places | None = None
) -> npt.NDArray[np.uint8]:
    """The outcome of each event of a batch, in order.

    order: their places in the order of the keys, where that is known (`in_key_order`).

    A faulty event (no usable value, too late) does not take its identity: the corrected event may
    come with the same id. A faulty repeat of a counted event is still a repeat.
    """
    if order is None:
        order = in_key_order(batch)
    outcomes = np.where(faulty, np.uint8(Outcome.FAULTY), np.uint8(Outcome.COUNTED))
    known, contents = find(runs, batch.keys, batch.checks, order)
    same = contents == batch.contents
    outcomes[known & same] = Outcome.DUPLICATE
    outcomes[known & ~same & ~faulty] = Outcome.CONFLICT
    _within_batch(outcomes, batch, order)
    return outcomes


def counted_in_order(outcomes: npt.NDArray[np.uint8], order: Places) -> Places:
    """The places of the events that count, in the order of their keys."""
    counted: Places = order[outcomes[order] == Outcome.COUNTED]
    return counted


def _within_batch(outcomes: npt.NDArray[np.uint8], batch: Identities, order: Places) -> None:
    candidates = counted_in_order(outcomes, order)
    keys = batch.keys[candidates]
    equal = keys[1:] == keys[:-1]
    if not np.any(equal):
        return
    # Only those whose key stands more than once are looked at; ordered by (key, check, place in the
    # log), the first of each group leads it.
    shared = np.zeros(len(keys), dtype=np.bool_)
    shared[1:] = equal
    shared[:-1] |= equal
    candidates = candidates[shared]
    candidates = candidates[np.lexsort((candidates, batch.checks[candidates], batch.keys[candidates]))]
    keys, checks, contents = batch.keys[candidates], batch.checks[candidates], batch.contents[candidates]
    leads = np.ones(len(candidates), dtype=np.bool_)
    leads[1:] = (keys[1:] != keys[:-1]) | (checks[1:] != checks[:-1])
    leader = np.maximum.accumulate(np.where(leads, np.arange(len(candidates)), 0))
    repeats = ~leads
    same = contents == contents[leader]
    outcomes[candidates[repeats & same]] = Outcome.DUPLICATE
    outcomes[candidates[repeats & ~same]] = Outcome.CONFLICT
