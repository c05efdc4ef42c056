"""Which parts of `data` a segment keeps as typed columns, and what makes an event unusable for a meter.

A path that some meter computes with becomes the column `num:<path>`, exact to 12 digits after the
point; a path that a meter groups, filters or counts distinct values by becomes `dim:<path>`, text.
Columns belong to paths and not to meters, so meters share them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from farthing.catalog.expression import paths
from farthing.catalog.model import Aggregation, Meter, Operator

_CAPITAL = re.compile("[A-Z]")
_ORDERINGS = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})


@dataclass(frozen=True, slots=True)
class TypedColumns:
    """The paths to extract: `numbers` exactly, `texts` as text."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]

    def names(self) -> list[str]:
        """Column names in the segment."""
        return [number_column(path) for path in self.numbers] + [text_column(path) for path in self.texts]


def number_column(path: str) -> str:
    """`num:data.input_tokens`"""
    return f"num:{_apart(path)}"


def text_column(path: str) -> str:
    """`dim:data.model`"""
    return f"dim:{_apart(path)}"


def whole_column(path: str) -> str:
    """The same number where it is whole and spelt plainly, for as long as a batch is decoded."""
    return f"whole:{_apart(path)}"


def spelling_column(path: str) -> str:
    """The text of a number column's value, for as long as a batch is decoded: what a fault quotes."""
    return f"raw:{_apart(path)}"


def _apart(path: str) -> str:
    """`data.inputTokens` as `data.input^Tokens`, because columns whose names differ in case only are one to DuckDB."""
    return _CAPITAL.sub(r"^\g<0>", path)


def value_paths(meter: Meter) -> tuple[str, ...]:
    """The numbers that a meter's value is computed from; none for `count`, nor for `unique`, which compares text."""
    if meter.value is None or meter.aggregation is Aggregation.UNIQUE:
        return ()
    return paths(meter.value)


def _number_paths(meter: Meter) -> tuple[str, ...]:
    compared = (condition.field for condition in meter.filter if condition.op in _ORDERINGS)
    return (*value_paths(meter), *compared)


def _text_paths(meter: Meter) -> tuple[str, ...]:
    distinct = (
        paths(meter.value) if meter.value is not None and meter.aggregation is Aggregation.UNIQUE else ()
    )
    compared = (condition.field for condition in meter.filter if condition.op not in _ORDERINGS)
    return (*(path for _, path in meter.dimensions), *compared, *distinct)


def wanted_columns(meters: Iterable[Meter]) -> TypedColumns:
    """Everything that these meters need from `data`, each path once, in a fixed order."""
    meters = list(meters)
    return TypedColumns(
        numbers=tuple(sorted({path for meter in meters for path in _number_paths(meter)})),
        texts=tuple(sorted({path for meter in meters for path in _text_paths(meter)})),
    )
