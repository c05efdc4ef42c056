"""Whether a price is in proportion: so much for each unit, whatever came before.

    per_unit                                          in proportion
    the same with a percentage off, or converted      in proportion
    a matrix of such prices                           in proportion, each combination of dimensions by itself
    tiers, packages, minimums, free units             not

Law: for a price in proportion the amount for a quantity above zero is the quantity times the amount for one, to
the last digit. So many quantities are rated by one call. A price that divides is not counted among them: what one
unit costs may have no end.
"""

from farthing.kernel.quantity import ONE
from farthing.rating.matrix import Ladder, Matrix
from farthing.rating.modifiers import Modifiers, Operation
from farthing.rating.price import EventFormula, MetersFormula, Price
from farthing.rating.time_of_use import TimeOfUse, matrix_of


def in_proportion(price: Price) -> bool:
    """Whether a price is in proportion, nested prices included."""
    if not _keeps(price.modifiers):
        return False
    matrix = matrix_of(price.model)
    if matrix is not None:
        inner = [cell.price for cell in matrix.cells]
        if matrix.default is not None:
            inner.append(matrix.default)
        return matrix.tiers is Ladder.OWN and all(map(in_proportion, inner))
    model = price.model
    assert not isinstance(model, Matrix | TimeOfUse)
    if isinstance(model, EventFormula | MetersFormula):
        return False
    return model.proportional and model.grain == ONE


def _keeps(modifiers: Modifiers) -> bool:
    convert = modifiers.convert
    divides = convert is not None and convert.operation is Operation.DIVIDE
    return modifiers.keep_proportion and not divides
