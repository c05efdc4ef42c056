"""What a price of several meters may hold: whatever is in it says of which meter it counts how much.

So it holds capacities and blocks by meter, in matrices if need be, and nothing that works on a quantity
without saying which: no other model, no `convert`, no `free_units`. A time_of_use does not hold it, for
a capacity is bought for the period and not for an hour.
"""

from collections.abc import Iterator

from farthing.rating.matrix import Matrix
from farthing.rating.price import MetersFormula, Price
from farthing.rating.sheet import Sheet
from farthing.rating.time_of_use import TimeOfUse


def check_meters(price: Price | None, path: str, sheet: Sheet) -> None:
    """Note what does not fit a price of several meters. Prices that could not be read are passed over."""
    prices = list(_prices(price, path))
    meters = {meter for _, inner in prices for meter in _meters(inner)}
    if len(meters) < 2:
        return
    named = ", ".join(sorted(meters))
    for at, inner in prices:
        if isinstance(inner.model, TimeOfUse):
            sheet.faults.add(_join(at, "model"), f"must not hold a price of several meters ({named})")
        elif not isinstance(inner.model, Matrix) and not _meters(inner):
            sheet.faults.add(_join(at, "model"), f"must say which of the meters it counts ({named})")
        if inner.modifiers.convert is not None:
            sheet.faults.add(_join(at, "convert"), f"must be left out of a price of several meters ({named})")
        if inner.modifiers.free_units:
            sheet.faults.add(
                _join(at, "free_units"), f"must be left out of a price of several meters ({named})"
            )


def _prices(price: Price | None, path: str) -> Iterator[tuple[str, Price]]:
    """The price and those in it, with their paths."""
    if price is None:
        return
    yield path, price
    if isinstance(price.model, Matrix):
        for index, cell in enumerate(price.model.cells):
            yield from _prices(cell.price, _join(path, f"cells[{index}].price"))
    if isinstance(price.model, TimeOfUse):
        for index, window in enumerate(price.model.windows):
            yield from _prices(window.price, _join(path, f"windows[{index}].price"))
    if isinstance(price.model, Matrix | TimeOfUse):
        yield from _prices(price.model.default, _join(path, "default"))


def _meters(price: Price) -> tuple[str, ...]:
    return price.model.meters if isinstance(price.model, MetersFormula) else ()


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
