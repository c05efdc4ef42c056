"""A price written back as JSON: one text for one meaning, so that versions can be compared and hashed.

Law: parse_price(price_json(p)) == p, and what stands at its default is left out.
"""

from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.quantity import trimmed
from farthing.rating.matrix import Cell
from farthing.rating.meters import ByMeter
from farthing.rating.models import MODELS
from farthing.rating.price import Price

_NAMES = {model: name for name, model in MODELS.items()}


def price_json(price: Price) -> dict[str, object]:
    """The price as the object that a catalog holds: `{"model": "per_unit", "unit_price": "0.01"}`."""
    name = _NAMES[type(price.model)]  # type: ignore[index]
    unit = {"unit": _fields_json(price.unit)} if price.unit else {}
    return {"model": name, **_fields_json(price.model), **_fields_json(price.modifiers), **unit}


def _fields_json(value: object) -> dict[str, object]:
    """The fields of a dataclass, named as in JSON; what holds its default, or nothing, is left out."""
    assert is_dataclass(value)
    held = ((field, getattr(value, field.name)) for field in fields(value) if field.init)
    return {
        field.metadata.get("json", field.name): _json(content)
        for field, content in held
        if content is not None and (field.default is MISSING or content != field.default)
    }


def _json(value: object) -> object:
    match value:
        case Decimal():
            return trimmed(value)
        case StrEnum():
            return value.value
        case Price():
            return price_json(value)
        case Cell():
            return {"when": dict(value.when), "price": price_json(value.price)}
        case ByMeter():
            return {meter: trimmed(number) for meter, number in value}
        case tuple():
            return [_json(item) for item in value]
        case str() | int():
            return value
        case _:
            return _fields_json(value)
