"""What billing owes, the slow way: raw events one by one, windows by zoneinfo, amounts in fractions.

It shares nothing with the code that bills but the definitions: prices and meters are raw JSON, usage is a
list of events, and each formula is that of `tests/unit/rating/oracle.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from oracle import ZERO, Used, converted, modified, number, owes

Raw = Mapping[str, Any]

EVENT_MODELS = ("percentage", "timed")
OTHER = "other times"


@dataclass(frozen=True)
class Use:
    """One event as a meter counts it."""

    meter: str
    time: datetime
    source: str
    id: str
    value: Fraction
    dimensions: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """All events of one combination of dimensions and windows, in their order."""

    dimensions: Mapping[str, str]
    quantity: Fraction
    values: Sequence[Fraction] = ()
    quantities: Mapping[str, Fraction] = field(default_factory=dict)


def card_owes(price: Raw, uses: Sequence[Use], aggregations: Mapping[str, str]) -> Fraction:
    """What one rate card owes for a period. `aggregations`: how each of its meters counts."""
    dimensions, clocks = names_in(price)
    groups: dict[tuple[tuple[str, str], ...], list[Use]] = {}
    for use in sorted(uses, key=lambda use: (use.time, use.source, use.id)):
        named = {name: use.dimensions[name] for name in dimensions if name in use.dimensions}
        named |= {name: window_of(clock, use.time) for name, clock in clocks.items()}
        groups.setdefault(tuple(sorted(named.items())), []).append(use)
    rows = []
    for key, group in sorted(groups.items()):
        by_meter = {
            meter: aggregated([use.value for use in group if use.meter == meter], how)
            for meter, how in aggregations.items()
        }
        several = by_meter if len(by_meter) > 1 else {}
        (quantity, *_) = by_meter.values()
        rows.append(Row(dict(key), ZERO if several else quantity, [use.value for use in group], several))
    if not rows and price["model"] not in ("matrix", "time_of_use"):
        rows = [Row({}, ZERO, (), dict.fromkeys(aggregations, ZERO) if len(aggregations) > 1 else {})]
    return rows_owe(price, rows, clocks)


def aggregated(values: Sequence[Fraction], how: str) -> Fraction:
    match how:
        case "sum":
            return sum(values, ZERO)
        case "count":
            return Fraction(len(values))
        case "max":
            return max(values, default=ZERO)
    raise AssertionError(how)


def rows_owe(price: Raw, rows: Sequence[Row], clocks: Mapping[str, Raw]) -> Fraction:
    if price["model"] not in ("matrix", "time_of_use"):
        return leaf_owes(price, rows)
    if "convert" in price:
        rows = [
            replace(
                row,
                quantity=converted(price["convert"], row.quantity),
                values=[converted(price["convert"], value) for value in row.values],
            )
            for row in rows
        ]
    cells = cells_of(price, clocks)
    by_cell: dict[int, list[Row]] = {}
    for row in rows:
        by_cell.setdefault(cell_of(cells, row.dimensions), []).append(row)
    amount, pool = ZERO, number(price.get("free_units", "0"))
    for position in sorted(by_cell, key=lambda position: (position < 0, position)):
        inner = cells[position][1] if position >= 0 else price.get("default")
        if inner is None:
            continue
        charged = []
        for row in by_cell[position]:
            freed = min(max(row.quantity, ZERO), pool)
            pool -= freed
            charged.append(
                replace(row, quantity=row.quantity - freed, values=without_free(row.values, freed))
            )
        amount += cell_owes(inner, charged, clocks)
    return modified(price, amount, True) * number(price.get("unit", {}).get("rate", "1"))


def cell_owes(price: Raw, rows: Sequence[Row], clocks: Mapping[str, Raw]) -> Fraction:
    """Where a price is in proportion to the quantity each row is a line by itself, and never below zero."""
    if proportional(price):
        return sum((rows_owe(price, [row], clocks) for row in rows), ZERO)
    return rows_owe(price, rows, clocks)


def leaf_owes(price: Raw, rows: Sequence[Row]) -> Fraction:
    values = [value for row in rows for value in row.values] if price["model"] in EVENT_MODELS else []
    quantities: dict[str, Fraction] = {}
    for row in rows:
        for meter, quantity in row.quantities.items():
            quantities[meter] = quantities.get(meter, ZERO) + quantity
    return owes(price, Used(sum((row.quantity for row in rows), ZERO), values, quantities), True)


def proportional(price: Raw) -> bool:
    linear = price["model"] in ("per_unit", "dynamic") or (
        price["model"] == "package" and price.get("round", "up") == "exact"
    )
    bent = number(price.get("free_units", "0")) or number(price.get("discount_amount", "0"))
    bent = bent or "maximum" in price or number(price.get("minimum", "0"))
    return bool(linear and not bent and price.get("convert", {}).get("round", "none") == "none")


def without_free(values: Sequence[Fraction], free: Fraction) -> list[Fraction]:
    charged = []
    for value in values:
        freed = min(max(value, ZERO), free)
        free -= freed
        charged.append(value - freed)
    return charged


def names_in(price: Raw) -> tuple[list[str], dict[str, Raw]]:
    """The dimensions of a price and those in it, and its clocks by their names.

    Clocks are named in the order in which their prices are read to their ends; equal ones share a name.
    """
    dimensions: list[str] = []
    clocks: dict[str, Raw] = {}

    def visit(inner: Raw) -> None:
        for cell in (*inner.get("cells", ()), *inner.get("windows", ())):
            visit(cell["price"])
        if "default" in inner:
            visit(inner["default"])
        if inner["model"] == "matrix":
            dimensions.extend(inner["dimensions"])
        if inner["model"] == "time_of_use" and name_of_clock(inner, clocks) is None:
            clocks["time of use" + (f" {len(clocks) + 1}" if clocks else "")] = inner

    visit(price)
    return dimensions, clocks


def name_of_clock(price: Raw, clocks: Mapping[str, Raw]) -> str | None:
    return next((name for name, known in clocks.items() if times_of(known) == times_of(price)), None)


def times_of(price: Raw) -> tuple[Any, ...]:
    windows = [
        (window["name"], tuple(sorted(window.get("days", range(1, 8)))), window["from"], window["to"])
        for window in price["windows"]
    ]
    return price["timezone"], windows


def cells_of(price: Raw, clocks: Mapping[str, Raw]) -> list[tuple[Mapping[str, str], Raw]]:
    if price["model"] == "matrix":
        return [(cell["when"], cell["price"]) for cell in price["cells"]]
    clock = name_of_clock(price, clocks)
    assert clock is not None
    return [({clock: window["name"]}, window["price"]) for window in price["windows"]]


def cell_of(cells: Sequence[tuple[Mapping[str, str], Raw]], dimensions: Mapping[str, str]) -> int:
    """The cell that names most of the dimensions, the first of those that do; -1 for none."""
    best, named = -1, 0
    for position, (when, _) in enumerate(cells):
        if len(when) > named and all(dimensions.get(name) == value for name, value in when.items()):
            best, named = position, len(when)
    return best


def window_of(price: Raw, time: datetime) -> str:
    """The name of the first window that a clock on the wall there is in."""
    local = time.astimezone(ZoneInfo(price["timezone"]))
    clock = local.strftime("%H:%M:%S")
    today, yesterday = local.isoweekday(), local.isoweekday() - 1 or 7
    for window in price["windows"]:
        begins, ends = window["from"], window["to"]
        days = window.get("days", range(1, 8))
        if begins < ends:
            if today in days and begins <= clock < ends:
                return str(window["name"])
        elif (today in days and begins <= clock) or (yesterday in days and clock < ends):
            return str(window["name"])
    return OTHER
