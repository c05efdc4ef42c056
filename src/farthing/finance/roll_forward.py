"""From an opening balance to a closing one, by what happened in between. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from farthing.finance.model import Movement
from farthing.kernel.quantity import ZERO, exact

_K = TypeVar("_K")


@dataclass(slots=True)
class RolledForward:
    """opening + sum of moved = closing. Signs as the reader asked for them."""

    opening: Decimal = ZERO
    moved: dict[str, Decimal] = field(default_factory=dict)

    @property
    def closing(self) -> Decimal:
        with exact():
            return self.opening + sum(self.moved.values(), ZERO)


def rolled_forward(
    movements: Iterable[Movement], key_of: Callable[[Movement], _K], sign: int
) -> dict[_K, RolledForward]:
    """Movements added up by a key. sign: 1 where debits are above zero, -1 for accounts that usually hold credits."""
    found: dict[_K, RolledForward] = defaultdict(RolledForward)
    with exact():
        for movement in movements:
            row = found[key_of(movement)]
            row.opening += sign * movement.before
            row.moved[movement.kind] = row.moved.get(movement.kind, ZERO) + sign * movement.within
    return dict(found)
