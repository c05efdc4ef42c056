"""A price: a model and the modifiers around it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, TypeAlias

from farthing.rating.charge import Charge
from farthing.rating.modifiers import UNMODIFIED, Modifiers

if TYPE_CHECKING:
    from farthing.rating.matrix import Matrix


class Formula(Protocol):
    """A model that turns one running quantity into charges.

    Quantities arrive in parts, `one` of which make one unit, so that 5/3 units are 5 parts at
    one = 3 and no division is rounded on the way; `one` is 1 unless a price divides. Charges leave
    in parts as well: a fee is owed `one` times. `exact()` is in force.

    Law: additive. For 0 <= start <= middle <= end, charges(start, middle) and charges(middle, end)
    sum to charges(start, end). A model whose total is not a sum over units gives differences of totals.
    """

    @property
    def grain(self) -> Decimal:
        """How many times finer the parts must be for the formula itself to divide without a rest."""
        ...

    @property
    def proportional(self) -> bool:
        """Whether a quantity costs the same whatever came before it."""
        ...

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        """What going from `start` to `end` owes, 0 <= start <= end."""
        ...

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        """What a period owes that ends with nothing used."""
        ...


Model: TypeAlias = "Formula | Matrix"


@dataclass(frozen=True, slots=True)
class Price:
    """The rule from quantity to amount. It knows no currency; the plan it stands in does."""

    model: Model
    modifiers: Modifiers = UNMODIFIED
