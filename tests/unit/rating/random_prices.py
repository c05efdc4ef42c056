"""Random prices as raw JSON, and random usage that likes to fall on and around their bounds."""

from decimal import Decimal
from random import Random
from typing import Any

MODELS = (
    "flat", "per_unit", "package", "graduated", "volume", "stair_step", "graduated_percentage", "block",
    "capacity", "dynamic",
)  # fmt: skip
"""Those of one quantity."""
EVENT_MODELS = ("percentage", "timed")
METERS = ("calls", "seats")
_AMOUNTS = ("0", "0.000000000000001", "0.0000025", "0.01", "0.3", "1", "1.1", "5", "12.345", "1000")
_SIZES = ("0.5", "1", "3", "7", "10", "1000", "1024", "0.000001")
_FACTORS = ("2", "3", "7", "60", "1000", "0.5", "1.1", "1048576")
_RATES = ("0", "0.5", "1", "2.9", "33.3", "100", "250")
_SECONDS = ("0.5", "1", "6", "30", "60", "7")


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
        case "graduated" | "volume" | "stair_step" | "graduated_percentage":
            price["tiers"] = random_tiers(random, price["model"])
        case "block":
            price |= random_blocks(random)
        case "capacity":
            price["tiers"] = random_limits(random, METERS[:1])
        case "dynamic":
            price["multiplier"] = random.choice(_AMOUNTS)
        case "percentage":
            price |= random_percentage(random)
        case "timed":
            price |= random_timed(random)
    at_zero = ("graduated", "volume", "stair_step", "graduated_percentage", "capacity")
    if price["model"] in at_zero and random.random() < 0.3:
        price["bill_flat_on_zero"] = random.random() < 0.7
    return price


def random_bounds(random: Random) -> list[Decimal]:
    bounds = sorted(
        {Decimal(random.choice((1, 5, 10, 100, 1000))) * random.randint(1, 20) / 2 for _ in range(4)}
    )
    return bounds[: random.randint(0, 4)]


def random_tiers(random: Random, model: str = "graduated") -> list[dict[str, str]]:
    tiers: list[dict[str, str]] = [{"up_to": str(bound)} for bound in random_bounds(random)] + [{}]
    for tier in tiers:
        if model == "graduated_percentage":
            tier["rate"] = random.choice(_RATES)
        elif model != "stair_step":
            tier["unit_price"] = random.choice(_AMOUNTS)
        if model == "stair_step" or random.random() < 0.4:
            tier["flat_fee"] = random.choice(_AMOUNTS)
    return tiers


def random_blocks(random: Random, meters: tuple[str, ...] = ()) -> dict[str, Any]:
    tiers: list[dict[str, Any]] = []
    for _ in range(random.randint(1, 4)):
        tier: dict[str, Any] = {
            "block_price": random.choice(_AMOUNTS),
            "max_blocks": str(random.choice((1, 2, 10, 100))),
        }
        if meters:
            tier["sizes"] = {meter: random.choice(_SIZES) for meter in meters}
        else:
            tier["block_size"] = random.choice(_SIZES)
        tiers.append(tier)
    if random.random() < 0.7:
        del tiers[-1]["max_blocks"]
    return {"policy": random.choice(("all_tiers", "top_tier")), "tiers": tiers}


def random_limits(random: Random, meters: tuple[str, ...]) -> list[dict[str, Any]]:
    bounds = random_bounds(random) or [Decimal(10)]
    tiers = [
        {
            "price": random.choice(_AMOUNTS),
            "limits": {meter: str(bound * (index + 1)) for index, meter in enumerate(meters)},
        }
        for bound in bounds
    ]
    if random.random() < 0.5:
        tiers.append({"price": random.choice(_AMOUNTS)})
    return tiers


def random_meters_price(random: Random) -> dict[str, Any]:
    """A price of several meters."""
    modifiers = random_modifiers(random, of_quantity=False)
    if random.random() < 0.5:
        return {"model": "capacity", "tiers": random_limits(random, METERS), **modifiers}
    return {"model": "block", **random_blocks(random, METERS), **modifiers}


def random_percentage(random: Random) -> dict[str, Any]:
    price: dict[str, Any] = {"rate": random.choice(_RATES)}
    if random.random() < 0.7:
        price["fixed_fee"] = random.choice(("0", "0.1", "0.3", "5"))
    if random.random() < 0.4:
        price["free_events"] = random.randint(0, 12)
    if random.random() < 0.4:
        price["free_amount"] = random.choice(("0", "0.5", "10", "50", "1000"))
    if random.random() < 0.4:
        price["event_min"] = random.choice(("0", "0.05", "0.3", "1"))
    if random.random() < 0.4:
        price["event_max"] = random.choice(("1", "1.5", "12", "1000"))
    return price


def random_timed(random: Random) -> dict[str, Any]:
    begins = sorted({random.choice((1, 30, 60, 180, 3600)) for _ in range(random.randint(0, 3))})
    steps: list[dict[str, str]] = []
    for begin in (0, *begins):
        step = {"from": str(begin), "price": random.choice(_AMOUNTS)}
        if random.random() < 0.7:
            step["per"] = random.choice(_SECONDS)
        if random.random() < 0.7:
            step["increment"] = random.choice(_SECONDS)
        steps.append(step)
    price: dict[str, Any] = {"steps": steps}
    if random.random() < 0.6:
        price["connect_fee"] = random.choice(("0", "0.1", "1"))
    return price


def random_modifiers(random: Random, *, of_quantity: bool = True) -> dict[str, Any]:
    modifiers: dict[str, Any] = {}
    if of_quantity and random.random() < 0.4:
        modifiers["convert"] = {
            "operation": random.choice(("divide", "multiply")),
            "factor": random.choice(_FACTORS),
            "round": random.choice(("up", "down", "half_up", "half_even", "none", "none")),
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
    if random.random() < 0.1:
        modifiers["unit"] = {"name": "credits", "rate": random.choice(("0.01", "2", "0.000123"))}
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


def random_value(random: Random) -> Decimal:
    """What one event is worth: an amount, or seconds."""
    match random.randint(0, 7):
        case 0:
            return Decimal(0)
        case 1:
            return -Decimal(random.randint(0, 50)) / 2
        case 2:
            return Decimal(random.randint(0, 10**7)).scaleb(-3)
        case 3 | 4:
            return Decimal(random.choice((1, 10, 30, 60, 100, 180, 3600)))
        case 5:
            return Decimal(random.choice((30, 60, 180))) + random.choice((-1, Decimal("-0.001"), 1))
        case _:
            return Decimal(random.randint(1, 200)) / 4
