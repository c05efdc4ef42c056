"""The registry of price models, and how a price is read.

A new model is one new file with a class like `per_unit.PerUnit`, and one entry here.
"""

from typing import Protocol, cast

from farthing.kernel.errors import InvalidInput
from farthing.kernel.reading import Fields, kind, parse_choice
from farthing.rating.block import Block
from farthing.rating.capacity import Capacity
from farthing.rating.dynamic import Dynamic
from farthing.rating.flat import Flat
from farthing.rating.graduated import Graduated
from farthing.rating.graduated_percentage import GraduatedPercentage
from farthing.rating.matrix import Matrix
from farthing.rating.modifiers import UNMODIFIED, read_modifiers
from farthing.rating.package import Package
from farthing.rating.per_unit import PerUnit
from farthing.rating.percentage import Percentage
from farthing.rating.price import Model, Price
from farthing.rating.several_meters import check_meters
from farthing.rating.sheet import INVALID_PRICE, Sheet, refused
from farthing.rating.stair_step import StairStep
from farthing.rating.time_of_use import TimeOfUse
from farthing.rating.timed import Timed
from farthing.rating.unit import in_unit, read_unit
from farthing.rating.volume import Volume


class ModelReader(Protocol):
    """A class that reads its own fields of a price and leaves the rest."""

    def read(self, fields: Fields, sheet: Sheet) -> Model: ...


MODELS: dict[str, ModelReader] = {
    "flat": Flat,
    "per_unit": PerUnit,
    "package": Package,
    "graduated": Graduated,
    "volume": Volume,
    "stair_step": StairStep,
    "percentage": Percentage,
    "graduated_percentage": GraduatedPercentage,
    "block": Block,
    "capacity": Capacity,
    "matrix": Matrix,
    "dynamic": Dynamic,
    "time_of_use": TimeOfUse,
    "timed": Timed,
}


def parse_price(raw: object, path: str = "price") -> Price:
    """Read a price as it stands in a catalog or a request.

    Raises:
        InvalidInput: `invalid_price`, with every fault and its path: `price.tiers[1].up_to`. With
            path "" the paths are relative to the price: `tiers[1].up_to`.
    """
    if not path and not isinstance(raw, dict):
        raise refused("price", f"must be an object, not {kind(raw)}")
    sheet = Sheet(_read_price)
    price = _read_price(raw, path, sheet)
    check_meters(price, path, sheet)
    try:
        sheet.faults.refuse()
    except InvalidInput as error:  # Texts and choices have codes of their own; here all are one.
        raise InvalidInput.of(INVALID_PRICE, error.faults) from None
    return price


def _read_price(raw: object, path: str, sheet: Sheet) -> Price:
    fields = sheet.fields(raw, path)
    name = fields.required("model", _parse_model)
    if not name:
        return cast(Price, None)  # never used: the fault refuses the whole price
    unit = fields.optional("unit", lambda raw, path: read_unit(raw, path, sheet), None)
    with in_unit(sheet, fields):
        model = MODELS[name].read(fields, sheet)
    modifiers = read_modifiers(fields, sheet)
    fields.refuse_unknown()
    return Price(model, UNMODIFIED if modifiers == UNMODIFIED else modifiers, unit)


def _parse_model(raw: object, path: str) -> str:
    return parse_choice(raw, path, tuple(MODELS), code=INVALID_PRICE)
