"""Matrix: the price depends on the dimensions of the usage.

    {"model": "matrix", "dimensions": ["model", "region"],
     "cells": [{"when": {"model": "opus"}, "price": {...}},
               {"when": {"model": "opus", "region": "eu"}, "price": {...}}],
     "default": {...}}

Law: the most specific matching cell prices the usage: the one that names most dimensions, the earlier
one among equals. A cell matches if every dimension it names has the value it says. Usage that no cell
matches takes the default, and without a default it is unpriced: reported, never dropped.

`"tiers": "shared"` puts all cells on one ladder: the usage of all of them counts towards one position.
The cells stand on it in their order, then the default: the usage of a cell begins where that of the
cells before it ends, and each unit costs what the tier of its own cell at that position says. The order
of events plays no part. A part of a period owes the difference between two such totals, so it is
additive; usage of an earlier cell moves the later ones up, and they are re-priced. A tier's flat fee is
owed by the cell whose usage enters the tier. Unpriced usage takes no place. The cells of a shared ladder
are graduated, graduated_percentage or per_unit prices without modifiers.

Example, opus 2 up to 100, then 1; haiku 0.2 up to 100, then 0.1; shared:
    opus 60, haiku 70:   60 x 2 = 120, tier 1;  40 x 0.2 = 8, tier 1;  30 x 0.1 = 3, tier 2

Example, cells as above: {"model": "opus", "region": "eu"} takes the second, {"model": "opus"} and
{"model": "opus", "region": "us"} the first, {"model": "haiku"} the default.

How rows share a cell, and what modifiers of the matrix itself mean, stands in `rating/rows.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from farthing.kernel.reading import Fields, kind, parse_choice, parse_list, parse_text
from farthing.rating.graduated import Graduated
from farthing.rating.graduated_percentage import GraduatedPercentage
from farthing.rating.modifiers import UNMODIFIED
from farthing.rating.per_unit import PerUnit
from farthing.rating.price import Price
from farthing.rating.sheet import INVALID_PRICE, Sheet, refused

DIMENSIONS_MAX = 10
CELLS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Cell:
    """A price for the usage that has these values."""

    when: tuple[tuple[str, str], ...]
    price: Price


class Ladder(StrEnum):
    """Whether each cell's usage climbs the cell's own tiers from the bottom, or all of it one ladder."""

    OWN = "own"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A price for each combination of dimension values, and one for the rest."""

    dimensions: tuple[str, ...]
    cells: tuple[Cell, ...]
    default: Price | None = None
    tiers: Ladder = Ladder.OWN
    # Cells by the dimensions they name, most dimensions first, then by their values: a row is found
    # in one look-up for each set of named dimensions, however many cells there are.
    _index: list[tuple[tuple[str, ...], dict[tuple[str | None, ...], int]]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        index: dict[tuple[str, ...], dict[tuple[str | None, ...], int]] = {}
        for position, cell in enumerate(self.cells):
            names = tuple(name for name, _ in cell.when)
            index.setdefault(names, {}).setdefault(tuple(value for _, value in cell.when), position)
        by_specificity = sorted(index.items(), key=lambda named: -len(named[0]))
        object.__setattr__(self, "_index", by_specificity)

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        dimensions = fields.required("dimensions", lambda raw, path: _read_dimensions(raw, path, sheet))
        tiers = fields.optional("tiers", _parse_ladder, Ladder.OWN)
        cells = sheet.parts(
            fields, "cells", lambda raw, path: _read_cell(raw, path, dimensions, sheet), most=CELLS_MAX
        )
        default = fields.optional("default", sheet.price, None)
        if tiers is Ladder.SHARED:
            for index, cell in enumerate(cells):
                _check_shared(cell.price, f"{fields.at('cells')}[{index}].price", sheet)
            _check_shared(default, fields.at("default"), sheet)
        return cls(dimensions or (), cells, default, tiers)

    def cell_for(self, dimensions: Mapping[str, str]) -> int | None:
        """The position of the cell that prices this usage; None if only the default is left."""
        best: int | None = None
        named = 0
        for names, cells in self._index:
            if best is not None and len(names) < named:
                break
            position = cells.get(tuple(dimensions.get(name) for name in names))
            if position is not None and (best is None or position < best):
                best, named = position, len(names)
        return best


def _parse_ladder(raw: object, path: str) -> Ladder:
    return Ladder(parse_choice(raw, path, tuple(Ladder), code=INVALID_PRICE))


def _check_shared(price: Price | None, path: str, sheet: Sheet) -> None:
    """A unit's price on a shared ladder must depend on its position there, and on nothing else."""
    if price is None:  # no default, or a price that could not be read, whose fault is noted already
        return
    if not isinstance(price.model, Graduated | GraduatedPercentage | PerUnit):
        complaint = "must be graduated, graduated_percentage or per_unit where tiers are shared"
        sheet.faults.add(f"{path}.model", complaint)
    elif price.modifiers != UNMODIFIED or getattr(price.model, "bill_flat_on_zero", False):
        sheet.faults.add(path, "must have no modifiers where tiers are shared; the matrix may have them")


def _read_dimensions(raw: object, path: str, sheet: Sheet) -> tuple[str, ...]:
    names = parse_list(raw, path, parse_text, most=DIMENSIONS_MAX, faults=sheet.faults)
    if isinstance(raw, list) and not raw:
        sheet.faults.add(path, "must name at least one dimension")
    if len(set(names)) < len(names):
        sheet.faults.add(path, "must not name a dimension twice")
    return tuple(names)


def _read_cell(raw: object, path: str, dimensions: tuple[str, ...] | None, sheet: Sheet) -> Cell:
    fields = sheet.fields(raw, path)
    cell = Cell(
        fields.required("when", lambda raw, path: _read_when(raw, path, dimensions, sheet)) or (),
        fields.required("price", sheet.price),
    )
    fields.refuse_unknown()
    return cell


def _read_when(
    raw: object, path: str, dimensions: tuple[str, ...] | None, sheet: Sheet
) -> tuple[tuple[str, str], ...]:
    """The values by dimension, in the order of the matrix's dimensions."""
    if not isinstance(raw, dict):
        raise refused(path, f"must be an object, not {kind(raw)}")
    if not raw:
        raise refused(path, "must name at least one dimension; a price for everything else is the default")
    if not dimensions:  # They could not be read; that fault is noted already.
        return ()
    fields = sheet.fields(raw, path)
    values = [(name, fields.required(name, parse_text)) for name in dimensions if name in raw]
    for name in raw:
        if name not in dimensions:
            sheet.faults.add(
                fields.at(str(name)[:40]), f"is not one of the dimensions {', '.join(dimensions)}"
            )
    return tuple(values)
