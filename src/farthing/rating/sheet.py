"""How a price is read: bounded in depth and size, with every fault noted at its path."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar, cast

from farthing.kernel import reading
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import parse_decimal
from farthing.kernel.reading import Faults, Fields, parse_list

if TYPE_CHECKING:
    from farthing.rating.price import Price

INVALID_PRICE = "invalid_price"

DEPTH_MAX = 4
"""A price may hold prices (a matrix its cells), these again, and so on four levels down."""

PARTS_MAX = 100_000
"""Most tiers and cells of one price, all nested prices together."""

FIELDS_MAX = 32
"""Most fields of one object of a price; no model has half as many."""

_T = TypeVar("_T")


class Sheet:
    """What one price shares while it is read: the faults so far, and how deep and large it has grown."""

    def __init__(self, read_price: "Callable[[object, str, Sheet], Price]") -> None:
        self.faults = Faults(INVALID_PRICE)
        self._read_price = read_price
        self._depth = 0
        self._parts = 0
        self._around: list[str] = []
        self._names: dict[tuple[str, Hashable], str] = {}

    def fields(self, raw: object, path: str) -> Fields:
        """An object of the price, of bounded size."""
        if isinstance(raw, dict) and len(raw) > FIELDS_MAX:
            self.faults.add(path, f"has {len(raw)} fields; at most {FIELDS_MAX} are allowed")
            raw = {}
        return Fields(raw, path, self.faults)

    def parts(
        self, fields: Fields, name: str, parse: Callable[[object, str], _T], *, most: int
    ) -> tuple[_T, ...]:
        """The required list of tiers or cells under `name`: at least one, at most `most`."""

        def parse_parts(raw: object, path: str) -> tuple[_T, ...]:
            if isinstance(raw, list):
                self._parts += len(raw)
                if not raw:
                    self.faults.add(path, "must have at least one item")
            if self._parts > PARTS_MAX:
                self.faults.add(path, f"makes more than {PARTS_MAX} tiers and cells in one price")
                return ()
            return tuple(parse_list(raw, path, parse, most=most, faults=self.faults))

        return fields.required(name, parse_parts) or ()

    def named(self, name: str, thing: Hashable) -> str:
        """A name for a thing of this price: things that are equal share one, the next gets a number."""
        alike = sum(1 for kind, _ in self._names if kind == name)
        return self._names.setdefault((name, thing), f"{name} {alike + 1}" if alike else name)

    @contextmanager
    def once(self, what: str, path: str, complaint: str) -> Iterator[None]:
        """While the inside of something is read that must not stand within another of its kind."""
        if what in self._around:
            self.faults.add(path, complaint)
        self._around.append(what)
        yield
        self._around.pop()

    def price(self, raw: object, path: str) -> "Price":
        """A price inside this price."""
        if self._depth == DEPTH_MAX:
            self.faults.add(path, f"is nested more than {DEPTH_MAX} prices deep")
            return cast("Price", None)  # never used: the fault refuses the whole price
        self._depth += 1
        nested = self._read_price(raw, path, self)
        self._depth -= 1
        return nested


def refused(path: str, message: str) -> InvalidInput:
    """The fault of one field."""
    return InvalidInput.of(INVALID_PRICE, [Fault(path, message)])


def parse_amount(raw: object, path: str) -> Decimal:
    """A price, fee or quantity: zero or more."""
    number = parse_decimal(raw, path, code=INVALID_PRICE)
    if number < 0:
        raise refused(path, "must not be negative")
    return number


def parse_positive(raw: object, path: str) -> Decimal:
    """A size or factor: more than zero."""
    number = parse_decimal(raw, path, code=INVALID_PRICE)
    if number <= 0:
        raise refused(path, "must be greater than zero")
    return number


def parse_whole(raw: object, path: str, *, most: int) -> int:
    """A whole number from 0 on, however it is written: 5, "5", "5.0"."""
    number = parse_decimal(raw, path, code=INVALID_PRICE)
    if number != int(number) or not 0 <= number <= most:
        raise refused(path, f"must be a whole number from 0 to {most}")
    return int(number)


def parse_flag(raw: object, path: str) -> bool:
    """true or false."""
    return reading.parse_flag(raw, path, code=INVALID_PRICE)
