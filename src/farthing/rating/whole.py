"""Whether what a unit costs depends on the units that come after it. Pure.

Graduated tiers and units at a price are sums: what was owed for the first thousand units stays owed when
more follow. A volume price, a stair step, a capacity and blocks of the top tier price the whole total by its last
unit: a unit more may make all of them cheaper, or dearer. The difference that one event makes to such a total is a
number that can be computed, and no price of the event.
"""

from farthing.rating.block import Block, BlockPolicy
from farthing.rating.capacity import Capacity
from farthing.rating.price import Price
from farthing.rating.stair_step import StairStep
from farthing.rating.time_of_use import matrix_of
from farthing.rating.volume import Volume


def prices_whole_total(price: Price) -> bool:
    """Whether the price, or one that it is made of, prices the whole total."""
    matrix = matrix_of(price.model)
    if matrix is not None:
        prices = [cell.price for cell in matrix.cells]
        if matrix.default is not None:
            prices.append(matrix.default)
        return any(prices_whole_total(one) for one in prices)
    model = price.model
    if isinstance(model, Block):
        return model.policy is BlockPolicy.TOP_TIER
    return isinstance(model, Volume | StairStep | Capacity)
