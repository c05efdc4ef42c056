"""A price: a model, the modifiers around it, and the unit that both are written in.

There are three kinds of formula, by what they look at:

    Formula          one running quantity                        per_unit, graduated, block, ...
    EventFormula     events one by one                           percentage, timed
    MetersFormula    the running quantities of several meters    capacity, block

and two models that hold prices and send each part of the usage to one of them: matrix and time_of_use.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from farthing.rating.charge import Charge, repriced
from farthing.rating.modifiers import UNMODIFIED, Modifiers
from farthing.rating.runs import Stretch
from farthing.rating.unit import PricingUnit

if TYPE_CHECKING:
    from farthing.rating.matrix import Matrix
    from farthing.rating.time_of_use import TimeOfUse


class Measure(StrEnum):
    """What a quantity is a quantity of: the name of its field in an event of `farthing rate`."""

    QUANTITY = "quantity"
    AMOUNT = "amount"
    SECONDS = "seconds"


class Formula(Protocol):
    """A model that turns one running quantity into charges.

    Quantities arrive in parts, `one` of which make one unit, so that 5/3 units are 5 parts at
    one = 3 and no division is rounded on the way; `one` is 1 unless a price divides. Charges leave
    in parts as well: a fee is owed `one` times. `exact()` is in force.

    Law: additive. For 0 <= start <= middle <= end, charges(start, middle) and charges(middle, end)
    sum to charges(start, end). A model whose total is not a sum over units gives differences of totals.
    """

    @property
    def measure(self) -> Measure:
        """What it is that is counted."""
        ...

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


class EventFormula(ABC):
    """A model that looks at each event of a period, in their order.

    Law: total(events) is a list of charges, the same ones in the same order for all events, some of
    them zero; a part owes the differences between the totals at its two ends. It costs one step for
    each run of equal events. Values arrive in parts of 1/`one`, and charges leave in them.
    """

    __slots__ = ()

    measure: ClassVar[Measure]

    @property
    @abstractmethod
    def grain(self) -> Decimal:
        """How many times finer the parts must be for the formula to divide without a rest."""

    @property
    @abstractmethod
    def looks_at(self) -> "LooksAt":
        """How much of the single events must be known."""

    @abstractmethod
    def total(self, events: Sequence[Stretch], one: Decimal) -> list[Charge]:
        """What all events of a period so far owe."""


@dataclass(frozen=True, slots=True)
class LooksAt:
    """What a formula must know of single events, beside their sum and their count.

    first_events, first_amount: the first so many events by themselves, and those after them until they
        sum to the amount; from then on sums are enough, unless `every` event must be known.
    """

    first_events: int = 0
    first_amount: Decimal = Decimal(0)
    every: bool = False


class MetersFormula(ABC):
    """A model of the quantities of several meters; of one, if it names no more, and then it is a Formula.

    Law: total(quantities) depends on the running quantities alone, so a part owes the difference
    between the totals at its two ends.
    """

    __slots__ = ()

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = Decimal(1)
    proportional: ClassVar[bool] = False

    @property
    @abstractmethod
    def meters(self) -> tuple[str, ...]:
        """The keys of the meters that it counts; none for a price that counts whatever it is given."""

    @abstractmethod
    def total(self, quantities: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        """What a period owes that has used so much so far, none of it below zero."""

    @abstractmethod
    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        """What a period owes that ends with nothing used."""

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        """What the one meter owes between two running quantities."""
        meter = next(iter(self.meters), "")
        return self.moved({meter: start}, {meter: end}, one)

    def moved(self, start: Mapping[str, Decimal], end: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        """What the meters owe between two sets of running quantities."""
        return repriced(self.total(start, one), self.total(end, one))


Model: TypeAlias = "Formula | EventFormula | MetersFormula | Matrix | TimeOfUse"


@dataclass(frozen=True, slots=True)
class Price:
    """The rule from quantity to amount. It knows no currency; the plan it stands in does."""

    model: Model
    modifiers: Modifiers = UNMODIFIED
    unit: PricingUnit | None = None
    of_one_quantity: bool = field(init=False, repr=False, compare=False)
    """Whether one quantity is all that it is rated on, and its charges are money as they are."""

    def __post_init__(self) -> None:
        formula = hasattr(self.model, "charges_at_zero")
        several = isinstance(self.model, MetersFormula) and len(self.model.meters) > 1
        object.__setattr__(self, "of_one_quantity", formula and not several and self.unit is None)
