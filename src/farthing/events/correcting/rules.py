"""What a correction may do. Pure.

A correction is an event like any other (accepted, counted once, never changed) that names an earlier one in the
CloudEvents extension attribute `corrects`. Of type `farthing.void` it takes it away; of any other type it is
the event that counts in its place.

- An event is corrected once. Who replaces a replacement corrects the replacement: so at any moment one event of
  the chain counts, and the chain can be read.
- A void cannot be voided or replaced. Who wants the event back sends it anew, under an id of its own.
- The corrected event keeps its id: a repeat of it is a duplicate, whatever else happened to it.
- What was removed because of its age, or erased, can no longer be corrected: nobody could say what it takes away.
- It may come before its event, which then never counts, or name one that stands in quarantine: should that be
  counted one day, it is void from then on.

What breaks one of these goes to quarantine with a reason of its own, like every event that cannot be counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from farthing.events.model import VOID_TYPE

Identity = tuple[str, str]
"""(source, id)"""

CORRECTS_NOTHING: Final = (
    "corrects_nothing|a void must name the event that it voids in the attribute corrects"
)
CORRECTS_ITSELF: Final = "corrects_itself|an event cannot correct itself"
CORRECTS_A_VOID: Final = "corrects_a_void|a void cannot be corrected; send the event anew under another id"
ALREADY_CORRECTED: Final = (
    "already_corrected|the event has a correction; correct the event that took its place"
)
CORRECTS_A_REMOVED: Final = (
    "corrects_a_removed|the event was counted and is gone, by its age or erased; nothing can correct it"
)
INVALID_CORRECTION: Final = "invalid_correction|the id or the source of a correction holds a NUL character"


@dataclass(frozen=True, slots=True)
class Correcting:
    """An event of a batch that corrects another one, or is a void that names none. `row`: its place in the batch."""

    row: int
    source: str
    event_id: str
    event_type: str
    target: Identity | None
    reason: str
    received_us: int

    @property
    def identity(self) -> Identity:
        """Its own."""
        return self.source, self.event_id

    def says_as(self, other: "Correcting") -> bool:
        """Whether both are the same correction, by all that decides whether it stands."""
        return (self.identity, self.target, self.reason, self.is_void) == (
            other.identity,
            other.target,
            other.reason,
            other.is_void,
        )

    @property
    def is_void(self) -> bool:
        """Whether nothing counts in the place of what it corrects."""
        return self.event_type == VOID_TYPE


def judged(
    counted: Sequence[Correcting],
    corrected: Mapping[Identity, Identity],
    voids: Collection[Identity],
    removed: Collection[Identity] = (),
) -> tuple[list[Correcting], dict[Correcting, str]]:
    """Those that stand, in the order of the batch, and why others do not (reason and detail).

    counted: the corrections of a batch that are no repeats. corrected: events that have a correction already,
    and which event that is. voids: events that are voids themselves. removed: events that were counted and are gone.
    """
    taken, known_voids = dict(corrected), set(voids)
    standing: list[Correcting] = []
    faults: dict[Correcting, str] = {}
    for one in counted:
        fault = _fault(one, taken, known_voids, removed)
        if fault is not None:
            faults[one] = fault
            continue
        assert one.target is not None
        taken[one.target] = one.identity
        if one.is_void:
            known_voids.add(one.identity)
        standing.append(one)
    return standing, faults


def _fault(
    one: Correcting,
    corrected: Mapping[Identity, Identity],
    voids: Collection[Identity],
    removed: Collection[Identity],
) -> str | None:
    if one.target is None:
        return CORRECTS_NOTHING
    if any("\0" in text for text in (*one.identity, *one.target, one.reason)):
        return INVALID_CORRECTION
    if one.target == one.identity:
        return CORRECTS_ITSELF
    if one.target in voids:
        return CORRECTS_A_VOID
    if corrected.get(one.target, one.identity) != one.identity:
        return ALREADY_CORRECTED
    if one.target in removed:
        return CORRECTS_A_REMOVED
    return None
