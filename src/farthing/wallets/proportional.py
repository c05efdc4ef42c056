"""What usage in columns costs by prices in proportion: whole numbers of the last digit, so sums are exact. Pure.

quantities    1200, 340    at scale 0
for one unit  0.0000025, 0.00001    as 25, 100 at scale 7
amounts       30000, 34000 at scale 7: 0.003 and 0.0034
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.kernel.errors import FarthingError
from farthing.kernel.quantity import ZERO

WholeNumbers = npt.NDArray[Any]
"""64-bit numbers while they fit, Python's own where they do not."""
_FIT_BELOW = 2**62
_LOW_BITS = 0xFFFF_FFFF_FFFF_FFFF
_MISSING = -1


@dataclass(frozen=True, slots=True, eq=False)
class UsageColumns:
    """Rows of usage in the order of the places that they are of.

    quantities: whole numbers; each stands for itself times ten to the power of `-scale`.
    kinds: which of `dimensions` each row's are.
    """

    places: npt.NDArray[np.int64]
    quantities: WholeNumbers
    scale: int
    kinds: npt.NDArray[np.int64]
    dimensions: tuple[dict[str, str], ...]

    def rows(self, first: int, behind: int) -> list[tuple[int, dict[str, str], Decimal]]:
        """Some of the rows one by one: place, dimensions, quantity. `exact()` is in force."""
        return [
            (place, self.dimensions[kind], Decimal(quantity).scaleb(-self.scale))
            for place, kind, quantity in zip(
                self.places[first:behind].tolist(),
                self.kinds[first:behind].tolist(),
                self.quantities[first:behind].tolist(),
                strict=True,
            )
        ]

    def of(self, places: Sequence[tuple[int, int]]) -> "UsageColumns":
        """Those of its rows that are of some places: pairs of the first place and the one behind, ascending."""
        chosen = np.concatenate([np.arange(*self.between(*some)) for some in places])
        return UsageColumns(
            self.places[chosen], self.quantities[chosen], self.scale, self.kinds[chosen], self.dimensions
        )

    def between(self, first_place: int, end_place: int) -> tuple[int, int]:
        """Which rows are of the places from one on to before another: the first of them, and the one behind."""
        first, behind = np.searchsorted(self.places, [first_place, end_place])
        return int(first), int(behind)


def usage_columns_of(table: pa.Table, names: tuple[str, ...]) -> UsageColumns:
    """Usage as `usage.billing_store.usage_columns` tells it."""
    quantities, scale = _whole_numbers(table.column("quantity"))
    kinds, dimensions = _kinds(table, names)
    return UsageColumns(table.column("span_id").to_numpy(), quantities, scale, kinds, dimensions)


def amounts_of(
    usage: UsageColumns, unit_amount: Callable[[Mapping[str, str]], Decimal]
) -> tuple[npt.NDArray[np.int64], list[Decimal]]:
    """What the usage of each place costs: the places, and the amounts. `exact()` is in force.

    unit_amount: what one unit costs by its dimensions. Raises FarthingError where that cannot be told: the places
        that have such a unit cost nothing here.
    """
    if not len(usage.places):
        return usage.places, []
    known: list[Decimal | None] = []
    for dimensions in usage.dimensions:
        try:
            known.append(unit_amount(dimensions))
        except FarthingError:
            known.append(None)
    scale = max((_scale(amount) for amount in known if amount is not None), default=0)
    whole = [0 if amount is None else int(amount.scaleb(scale)) for amount in known]
    first = np.flatnonzero(np.diff(usage.places, prepend=usage.places[0] - 1))
    sums = np.add.reduceat(_products(usage, whole), first)
    if None in known:
        unknown = np.array([amount is None for amount in known])
        sums = np.where(np.logical_or.reduceat(unknown[usage.kinds], first), 0, sums)
    digits = -usage.scale - scale
    return usage.places[first], [
        Decimal(number).scaleb(digits) if number else ZERO for number in sums.tolist()
    ]


def _products(usage: UsageColumns, whole: list[int]) -> WholeNumbers:
    """Quantity times amount, row by row, in numbers that hold the sum of all of them."""
    most = max(1, *map(abs, whole)) * max(1, int(np.abs(usage.quantities).max())) * len(usage.places)
    kind = np.int64 if most < _FIT_BELOW else object
    products: WholeNumbers = usage.quantities.astype(kind) * np.array(whole, dtype=kind)[usage.kinds]
    return products


def _scale(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "an amount is finite"
    return max(0, -exponent)


def _whole_numbers(column: pa.ChunkedArray) -> tuple[WholeNumbers, int]:
    if not pa.types.is_decimal128(column.type):
        assert pa.types.is_integer(column.type), "no other number is exact"
        return column.cast(pa.int64()).to_numpy(), 0
    scale: int = column.type.scale
    halves = [
        np.frombuffer(chunk.buffers()[1], dtype=np.int64).reshape(-1, 2)[
            chunk.offset : chunk.offset + len(chunk)
        ]
        for chunk in column.chunks
        if len(chunk)
    ]
    both = np.concatenate(halves) if halves else np.zeros((0, 2), dtype=np.int64)
    low, high = both[:, 0], both[:, 1]
    if np.array_equal(high, low >> 63) and (not len(low) or low.min() > -_FIT_BELOW):
        if scale and scale < 18 and not np.any(low % 10**scale):
            return low // 10**scale, 0  # Nearly always they are whole.
        return low, scale
    wide = [(up << 64) | (down & _LOW_BITS) for down, up in both.tolist()]
    return np.array(wide, dtype=object), scale


def _kinds(
    table: pa.Table, names: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], tuple[dict[str, str], ...]]:
    """Which rows have the same dimensions, and which those are; one that an event lacks is left out."""
    codes = np.zeros(len(table), dtype=np.int64)
    values: list[list[str]] = []
    for name in names:
        encoded = table.column(name).combine_chunks().dictionary_encode()
        some = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        indices = some.indices.fill_null(_MISSING).to_numpy(zero_copy_only=False).astype(np.int64)
        values.append(some.dictionary.to_pylist())
        _, codes = np.unique(codes * (len(values[-1]) + 1) + indices + 1, return_inverse=True)
        codes = codes.astype(np.int64)
    if not len(table):
        return codes, ()
    _, places, kinds = np.unique(codes, return_index=True, return_inverse=True)
    told = table.select(list(names)).take(places).to_pylist() if names else [{}]
    return kinds.astype(np.int64), tuple(
        {name: value for name, value in one.items() if value is not None} for one in told
    )
