"""A second rater, naive and independent: prices as raw JSON, arithmetic in fractions, no charges.

It states each model as a total over all that was used so far and takes differences; events are gone
through one by one. So it shares neither code nor approach with `farthing.rating`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

Raw = Mapping[str, Any]
ZERO = Fraction(0)


@dataclass(frozen=True)
class Used:
    """All that was used so far: a quantity; or the value of each event; or quantities by meter."""

    quantity: Fraction = ZERO
    events: Sequence[Fraction] = ()
    quantities: Mapping[str, Fraction] = field(default_factory=dict)


@cache
def number(text: str) -> Fraction:
    return Fraction(text)


def owed(price: Raw, before: Fraction, quantity: Fraction, final: bool) -> Fraction:
    """What a part of a period owes that uses a quantity."""
    return owes(price, Used(before + quantity), final) - owes(price, Used(before), False)


def owes(price: Raw, used: Used, final: bool) -> Fraction:
    """What a period owes so far, in money: settled in the unit of the price, then turned into money."""
    return settled(total(price, used, final)) * number(price.get("unit", {}).get("rate", "1"))


def total(price: Raw, used: Used, final: bool) -> Fraction:
    """What a period owes so far, with every digit, in the unit of the price."""
    return modified(price, before_modifiers(price, used, final), final)


def before_modifiers(price: Raw, used: Used, final: bool) -> Fraction:
    if price["model"] in ("percentage", "timed"):
        return events_total(price, used.events)
    if used.quantities:
        return meters_total(price, {meter: max(q, ZERO) for meter, q in used.quantities.items()}, final)
    units = max(used.quantity, ZERO)
    if "convert" in price:
        units = converted(price["convert"], units)
    units = max(units - number(price.get("free_units", "0")), ZERO)
    return model_total(price, units, final)


def modified(price: Raw, amount: Fraction, final: bool) -> Fraction:
    amount = max(amount, ZERO) * (1 - number(price.get("discount_percent", "0")) / 100)
    amount = max(amount - number(price.get("discount_amount", "0")), ZERO)
    if "maximum" in price:
        amount = min(amount, number(price["maximum"]))
    if final:
        amount = max(amount, number(price.get("minimum", "0")))
    return amount


def model_total(price: Raw, units: Fraction, final: bool) -> Fraction:
    at_zero = final and price.get("bill_flat_on_zero", False)
    match price["model"]:
        case "flat":
            return number(price["amount"]) if units or final else ZERO
        case "per_unit":
            return units * number(price["unit_price"])
        case "dynamic":
            return units * number(price.get("multiplier", "1"))
        case "package":
            packages = units / number(price["package_size"])
            whole = {"up": math.ceil, "down": math.floor, "exact": Fraction}[price.get("round", "up")]
            return Fraction(whole(packages)) * number(price["package_price"])
        case "graduated" | "volume" | "graduated_percentage":
            if not units:
                return number(price["tiers"][0].get("flat_fee", "0")) if at_zero else ZERO
            if price["model"] == "volume":
                return volume(price, units)
            return graduated(price["tiers"], units, percent=price["model"] == "graduated_percentage")
        case "stair_step":
            if not units:
                return number(price["tiers"][0]["flat_fee"]) if at_zero else ZERO
            return number(tier_of(price["tiers"], units)["flat_fee"])
        case "block" | "capacity":
            return meters_total(price, {"": units}, final)
    raise AssertionError(price["model"])


def tier_of(tiers: Sequence[Raw], units: Fraction) -> Raw:
    return next(tier for tier in tiers if "up_to" not in tier or units <= number(tier["up_to"]))


def graduated(tiers: Sequence[Raw], units: Fraction, *, percent: bool = False) -> Fraction:
    amount = ZERO
    lower = ZERO
    for tier in tiers:
        if units > lower:
            upper = number(tier["up_to"]) if "up_to" in tier else units
            each = number(tier.get("rate", "0")) / 100 if percent else number(tier.get("unit_price", "0"))
            amount += (min(upper, units) - lower) * each
            amount += number(tier.get("flat_fee", "0"))
            lower = upper
    return amount


def volume(price: Raw, units: Fraction) -> Fraction:
    reached = tier_of(price["tiers"], units)
    return units * number(reached.get("unit_price", "0")) + number(reached.get("flat_fee", "0"))


def meters_total(price: Raw, quantities: Mapping[str, Fraction], final: bool) -> Fraction:
    """Capacity and block; one meter whose name does not matter is called ""."""
    if price["model"] == "capacity":
        return capacity(price, quantities, final)
    ladders = {
        meter: [
            (number(tier["sizes"][meter] if "sizes" in tier else tier["block_size"]), most(tier))
            for tier in price["tiers"]
        ]
        for meter in quantities
    }
    prices = [number(tier["block_price"]) for tier in price["tiers"]]
    if price.get("policy") == "top_tier":
        if not any(quantities.values()):
            return ZERO
        top = max(reached(ladder, quantities[meter]) for meter, ladder in ladders.items())
        return prices[top] * max(
            math.ceil(quantities[meter] / ladder[top][0]) for meter, ladder in ladders.items()
        )
    amount = ZERO
    for index, each in enumerate(prices):
        needed = ZERO
        for meter, ladder in ladders.items():
            below = sum((size * many for size, many in ladder[:index] if many is not None), ZERO)
            size, many = ladder[index]
            blocks = Fraction(max(math.ceil((quantities[meter] - below) / size), 0))
            needed = max(needed, blocks if many is None else min(blocks, many))
        amount += needed * each
    return amount


def most(tier: Raw) -> Fraction | None:
    return number(tier["max_blocks"]) if "max_blocks" in tier else None


def reached(ladder: Sequence[tuple[Fraction, Fraction | None]], quantity: Fraction) -> int:
    held = ZERO
    for index, (size, many) in enumerate(ladder):
        if many is None:
            return index
        held += size * many
        if quantity <= held:
            return index
    return len(ladder) - 1


def capacity(price: Raw, quantities: Mapping[str, Fraction], final: bool) -> Fraction:
    if not any(quantities.values()):
        return number(price["tiers"][0]["price"]) if final and price.get("bill_flat_on_zero") else ZERO
    for tier in price["tiers"]:
        limits = tier.get("limits", {})
        if all(quantities.get(meter, quantities.get("", ZERO)) <= number(limits[meter]) for meter in limits):
            return number(tier["price"])
    return number(price["tiers"][-1]["price"])


def events_total(price: Raw, values: Sequence[Fraction]) -> Fraction:
    """Percentage and timed: one event after the other."""
    if "convert" in price:
        values = [converted(price["convert"], value) for value in values]
    charged = without(values, number(price.get("free_units", "0")))
    if price["model"] == "timed":
        return sum((call(price, seconds) for seconds in charged if seconds > 0), ZERO)
    amount, free = ZERO, number(price.get("free_amount", "0"))
    for index, value in enumerate(charged):
        if index < int(price.get("free_events", 0)):
            continue
        if free > 0 and value >= 0:
            freed = min(value, free)
            free -= freed
            if freed == value:
                continue
            value -= freed
        fee = value * number(price["rate"]) / 100 + number(price.get("fixed_fee", "0"))
        if "event_min" in price:
            fee = max(fee, number(price["event_min"]))
        if "event_max" in price:
            fee = min(fee, number(price["event_max"]))
        amount += fee
    return amount


def without(values: Sequence[Fraction], free: Fraction) -> list[Fraction]:
    """The values after so much is taken off them in their order."""
    left: list[Fraction] = []
    for value in values:
        freed = min(max(value, ZERO), free)
        free -= freed
        left.append(value - freed)
    return left


def call(price: Raw, seconds: Fraction) -> Fraction:
    amount = number(price.get("connect_fee", "0"))
    begins = [number(step.get("from", "0")) for step in price["steps"]]
    for index, step in enumerate(price["steps"]):
        within = min(seconds, begins[index + 1]) if index + 1 < len(begins) else seconds
        increment = number(step.get("increment", "1"))
        increments = math.ceil(max(within - begins[index], ZERO) / increment)
        amount += increments * increment * number(step["price"]) / number(step.get("per", "1"))
    return amount


def converted(convert: Raw, units: Fraction) -> Fraction:
    factor = number(convert["factor"])
    units = units * factor if convert["operation"] == "multiply" else units / factor
    scale = 10 ** int(convert.get("scale", 0))
    match convert.get("round", "none"):
        case "up":
            return Fraction(math.ceil(units * scale), scale)
        case "down":
            return Fraction(math.floor(units * scale), scale)
        case "half_up":
            away = 1 if units >= 0 else -1
            return away * Fraction(math.floor(abs(units) * scale + Fraction(1, 2)), scale)
        case "half_even":
            return Fraction(round(units * scale), scale)
    return units


def settled(amount: Fraction) -> Fraction:
    """The amount as a decimal: itself where its digits end, else half up at 18 digits."""
    rest = amount.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        return amount
    assert amount >= 0
    return Fraction(math.floor(amount * 10**18 + Fraction(1, 2)), 10**18)


Rows = Sequence[tuple[Mapping[str, str], Used]]


def matrix_owes(price: Raw, rows: Rows, final: bool) -> Fraction:
    """What rows owe so far under a matrix whose cells share among their rows."""
    amount = modified(price, matrix_lines(price, rows, final), final)
    return amount * number(price.get("unit", {}).get("rate", "1"))


def matrix_lines(price: Raw, rows: Rows, final: bool) -> Fraction:
    """The sum of the lines, before the modifiers of the matrix's own amount."""
    by_cell: dict[int, list[Used]] = {}
    for dimensions, used in sorted(rows, key=lambda row: sorted(row[0].items())):
        by_cell.setdefault(cell_of(price, dimensions), []).append(used)
    order = sorted(by_cell, key=lambda position: (position < 0, position))
    pool = number(price.get("free_units", "0"))
    amount, place = ZERO, ZERO
    for position in order:
        if position < 0 and "default" not in price:
            continue
        cell = price["cells"][position]["price"] if position >= 0 else price["default"]
        quantity, events = ZERO, []
        for used in by_cell[position]:
            units, values = used.quantity, list(used.events)
            if "convert" in price:
                units = converted(price["convert"], units)
                values = [converted(price["convert"], value) for value in values]
            freed = min(max(units, ZERO), pool)
            pool -= freed
            quantity += units - freed
            events += without(values, freed)
        if price.get("tiers") == "shared":
            until = place + max(quantity, ZERO)
            amount += place_total(cell, until) - place_total(cell, place)
            place = until
        else:
            amount += owes(cell, Used(quantity, events), final)
    return amount


def place_total(cell: Raw, place: Fraction) -> Fraction:
    """What a cell of a shared ladder would owe for all units up to a place on it."""
    return model_total(cell, place, False) if place else ZERO


def matrix_owed(price: Raw, rows: Sequence[tuple[Raw, Fraction, Fraction]], final: bool) -> Fraction:
    """What the rows (dimensions, before, quantity) owe under a matrix."""
    after = [(dimensions, Used(before + quantity)) for dimensions, before, quantity in rows]
    earlier = [(dimensions, Used(before)) for dimensions, before, _ in rows]
    return matrix_owes(price, after, final) - matrix_owes(price, earlier, False)


def cell_of(price: Raw, dimensions: Raw) -> int:
    """The position of the most specific matching cell, -1 for none."""
    best, named = -1, 0
    for position, cell in enumerate(price["cells"]):
        when = cell["when"]
        if len(when) > named and all(dimensions.get(name) == value for name, value in when.items()):
            best, named = position, len(when)
    return best
