"""Random prices as raw JSON, and random quantities that like to fall on and around their bounds."""

from decimal import Decimal
from random import Random
from typing import Any

MODELS = ("flat", "per_unit", "package", "graduated", "volume")
_AMOUNTS = ("0", "0.000000000000001", "0.0000025", "0.01", "0.3", "1", "1.1", "5", "12.345", "1000")
_SIZES = ("0.5", "1", "3", "7", "10", "1000", "1024", "0.000001")
_FACTORS = ("2", "3", "7", "60", "1000", "0.5", "1.1", "1048576")


def random_price(random: Random, models: tuple[str, ...] = MODELS) -> dict[str, Any]:
    price = {"model": random.choice(models), **random_modifiers(random)}
    match price["model"]:
        case "flat":
            price["amount"] = random.choice(_AMOUNTS)
        case "per_unit":
            price["unit_price"] = random.choice(_AMOUNTS)
        case "package":
            price["package_price"] = random.choice(_AMOUNTS)
            price["package_size"] = random.choice(_SIZES)
            price["round"] = random.choice(("up", "down", "exact"))
        case "graduated" | "volume":
            price["tiers"] = random_tiers(random)
            if random.random() < 0.3:
                price["bill_flat_on_zero"] = random.random() < 0.7
    return price


def random_tiers(random: Random) -> list[dict[str, str]]:
    bounds = sorted(
        {Decimal(random.choice((1, 5, 10, 100, 1000))) * random.randint(1, 20) / 2 for _ in range(4)}
    )
    tiers = [{"up_to": str(bound)} for bound in bounds[: random.randint(0, 4)]] + [{}]
    for tier in tiers:
        tier["unit_price"] = random.choice(_AMOUNTS)
        if random.random() < 0.4:
            tier["flat_fee"] = random.choice(_AMOUNTS)
    return tiers


def random_modifiers(random: Random, *, of_quantity: bool = True) -> dict[str, Any]:
    modifiers: dict[str, Any] = {}
    if of_quantity and random.random() < 0.4:
        modifiers["convert"] = {
            "operation": random.choice(("divide", "multiply")),
            "factor": random.choice(_FACTORS),
            "round": random.choice(("up", "down", "half_up", "none", "none")),
            "scale": random.choice((0, 0, 2)),
        }
    if of_quantity and random.random() < 0.3:
        modifiers["free_units"] = random.choice(("0", "1", "2.5", "10", "100"))
    if random.random() < 0.3:
        modifiers["discount_percent"] = random.choice(("0", "10", "12.345", "33.3", "100"))
    if random.random() < 0.2:
        modifiers["discount_amount"] = random.choice(_AMOUNTS)
    if random.random() < 0.25:
        modifiers["minimum"] = random.choice(("0", "0.01", "5", "20"))
    if random.random() < 0.25:
        modifiers["maximum"] = random.choice(("20", "33.333", "1000", "1000000"))
    return modifiers


def random_quantity(random: Random) -> Decimal:
    match random.randint(0, 9):
        case 0:
            return Decimal(0)
        case 1:
            return Decimal(random.randint(0, 10**12))
        case 2:
            return -Decimal(random.randint(0, 2000)) / 2
        case 3 | 4:
            return Decimal(random.choice((1, 5, 10, 100, 1000))) * random.randint(1, 20) / 2
        case 5 | 6:
            return Decimal(random.choice((1, 10, 1000, 1024, 3, 60))) * random.randint(0, 5) + random.choice(
                (-1, 0, 1)
            )
        case 7:
            return Decimal(random.randint(0, 10**9)).scaleb(-6)
        case 8:
            return Decimal(random.randint(1, 10**4)).scaleb(-18)
        case _:
            return Decimal(random.randint(0, 3000))
