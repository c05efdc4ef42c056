"""Quantities of several meters, as a price writes them: `{"seats": "100", "projects": "10"}`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from farthing.kernel.reading import kind, parse_key
from farthing.rating.sheet import Sheet, refused

METERS_MAX = 32
"""Most meters that one price may count."""


@dataclass(frozen=True, slots=True)
class ByMeter:
    """A number for each of some meters, in the order of their keys."""

    numbers: tuple[tuple[str, Decimal], ...] = ()

    def __iter__(self) -> Iterator[tuple[str, Decimal]]:
        return iter(self.numbers)

    def get(self, meter: str) -> Decimal | None:
        """The number of one meter, if it has one."""
        return next((number for key, number in self.numbers if key == meter), None)


def read_by_meter(
    raw: object, path: str, sheet: Sheet, parse_number: Callable[[object, str], Decimal]
) -> ByMeter:
    """Meter keys and their numbers."""
    if not isinstance(raw, dict):
        raise refused(path, f"must be an object of meters and numbers, not {kind(raw)}")
    if len(raw) > METERS_MAX:
        raise refused(path, f"names {len(raw)} meters; at most {METERS_MAX} are allowed")
    fields = sheet.fields(raw, path)
    numbers: list[tuple[str, Decimal]] = []
    for name in raw:
        key = parse_key(name, fields.at(str(name)[:40]))
        numbers.append((key, fields.required(key, parse_number)))
    return ByMeter(tuple(sorted(numbers, key=lambda number: number[0])))
