"""A second rater, naive and independent: prices as raw JSON, arithmetic in fractions, no charges.

It states each model as a total over the whole running quantity and takes differences, so it shares
neither code nor approach with `farthing.rating`.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

Raw = Mapping[str, Any]
ZERO = Fraction(0)


@cache
def number(text: str) -> Fraction:
    return Fraction(text)


def owed(price: Raw, before: Fraction, quantity: Fraction, final: bool) -> Fraction:
    """What a part of a period owes."""
    return settled(total(price, before + quantity, final)) - settled(total(price, before, False))


def total(price: Raw, quantity: Fraction, final: bool) -> Fraction:
    """What a period owes that has used this much so far."""
    units = max(quantity, ZERO)
    if "convert" in price:
        units = converted(price["convert"], units)
    units = max(units - number(price.get("free_units", "0")), ZERO)
    return modified(price, model_total(price, units, final), final)


def modified(price: Raw, amount: Fraction, final: bool) -> Fraction:
    amount *= 1 - number(price.get("discount_percent", "0")) / 100
    amount = max(amount - number(price.get("discount_amount", "0")), ZERO)
    if "maximum" in price:
        amount = min(amount, number(price["maximum"]))
    if final:
        amount = max(amount, number(price.get("minimum", "0")))
    return amount


def model_total(price: Raw, units: Fraction, final: bool) -> Fraction:
    match price["model"]:
        case "flat":
            return number(price["amount"]) if units or final else ZERO
        case "per_unit":
            return units * number(price["unit_price"])
        case "package":
            packages = units / number(price["package_size"])
            whole = {"up": math.ceil, "down": math.floor, "exact": Fraction}[price.get("round", "up")]
            return Fraction(whole(packages)) * number(price["package_price"])
        case "graduated" | "volume":
            if not units:
                owed_at_zero = final and price.get("bill_flat_on_zero", False)
                return number(price["tiers"][0].get("flat_fee", "0")) if owed_at_zero else ZERO
            return graduated(price["tiers"], units) if price["model"] == "graduated" else volume(price, units)
    raise AssertionError(price["model"])


def graduated(tiers: Sequence[Raw], units: Fraction) -> Fraction:
    amount = ZERO
    lower = ZERO
    for tier in tiers:
        if units > lower:
            upper = number(tier["up_to"]) if "up_to" in tier else units
            amount += (min(upper, units) - lower) * number(tier.get("unit_price", "0"))
            amount += number(tier.get("flat_fee", "0"))
            lower = upper
    return amount


def volume(price: Raw, units: Fraction) -> Fraction:
    reached = next(tier for tier in price["tiers"] if "up_to" not in tier or units <= number(tier["up_to"]))
    return units * number(reached.get("unit_price", "0")) + number(reached.get("flat_fee", "0"))


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
            return Fraction(math.floor(units * scale + Fraction(1, 2)), scale)
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


def matrix_owed(price: Raw, rows: Sequence[tuple[Raw, Fraction, Fraction]], final: bool) -> Fraction:
    """What the rows (dimensions, before, quantity) owe under a matrix whose cells share among their rows."""
    by_cell: dict[int, list[tuple[Fraction, Fraction]]] = {}
    for dimensions, before, quantity in rows:
        by_cell.setdefault(cell_of(price, dimensions), []).append((before, quantity))
    lines: list[tuple[Raw, Fraction, Fraction]] = []
    for position, parts in by_cell.items():
        if position >= 0 or "default" in price:
            cell = price["cells"][position]["price"] if position >= 0 else price["default"]
            before, quantity = sum(part[0] for part in parts), sum(part[1] for part in parts)
            lines.append((cell, Fraction(before), Fraction(quantity)))
    earlier = sum((settled(total(cell, before, False)) for cell, before, _ in lines), ZERO)
    amount = sum((owed(cell, before, quantity, final) for cell, before, quantity in lines), ZERO)
    return modified(price, earlier + amount, final) - modified(price, earlier, False)


def cell_of(price: Raw, dimensions: Raw) -> int:
    """The position of the most specific matching cell, -1 for none."""
    best, named = -1, 0
    for position, cell in enumerate(price["cells"]):
        when = cell["when"]
        if len(when) > named and all(dimensions.get(name) == value for name, value in when.items()):
            best, named = position, len(when)
    return best
