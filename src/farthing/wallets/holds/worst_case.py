"""The most that usage can come to, wherever in the period it is counted. Pure.

Usage that was authorised is counted later, and by then the running quantity may stand anywhere between what is
counted already (`low`) and that with all that was authorised before (`high`). Where prices fall with volume it
costs most at `low`, where they rise at `high`, and at the bound of a tier it may cost more than at either end.

    worst(q) = max of total(y) - total(x)     low <= x <= high,  x <= y <= x + q

`total` is the one formula (`rating`). It is a line between the points where a price bends or jumps: the bounds of
its tiers, the ends of packages and blocks, where free units end, where a maximum or a discount ends. So the
largest difference lies at such points, at `low` or `high`, or `q` away from one of them, and looking at those finds
it exactly. Just behind a bound is one step of the digits that a quantity has (10^-12, ADR 0005).

Holds that are open at the same time sum to enough: taken in the order in which they were authorised, each of
them begins within its own range, whichever of them are released. What is sent without an authorisation can move
the running quantity beyond it; then the settled amount may be less than what is billed, and the invoice says so.

Not exact, but never too little: a price with a discount or maximum whose total can fall (volume) is taken without
the maximum where that is less; on a grid of more than `GRID_POINTS` packages only its two ends are looked at.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating import Price, Row, Run, rate, rate_rows
from farthing.rating.block import Block, BlockPolicy
from farthing.rating.capacity import Capacity
from farthing.rating.graduated import Graduated
from farthing.rating.graduated_percentage import GraduatedPercentage
from farthing.rating.modifiers import HUNDRED, UNMODIFIED, Modifiers, Operation
from farthing.rating.package import Package, PackageRound
from farthing.rating.percentage import Percentage
from farthing.rating.price import EventFormula
from farthing.rating.stair_step import StairStep
from farthing.rating.volume import Volume

STEP = Decimal(1).scaleb(-12)
"""The smallest difference between two quantities."""
GRID_POINTS = 64
"""Ends of packages, blocks or rounded units that are looked at from either end of the range."""

Total = Callable[[Decimal], Decimal]


def is_proportional(price: Price) -> bool:
    """Whether a quantity costs the same wherever it is counted, so that no position need be known."""
    proportional = getattr(price.model, "proportional", False)
    return bool(proportional) and price.modifiers.keep_proportion


def worst_cost(
    price: Price, low: Decimal, high: Decimal, quantity: Decimal, *, exactly: bool = False
) -> Decimal:
    """The most that up to `quantity` more can owe, counted from anywhere between `low` and `high`.

    exactly: whether it will be this quantity and no less, as once it has happened.
    The price is one of a single running quantity (no matrix, no events); never less than zero.
    """
    if quantity <= 0:
        return ZERO
    if is_proportional(price):
        return max(rate(price, quantity=quantity, final=False).amount, ZERO)
    low = max(low, ZERO)
    high = max(high, low)
    with exact():
        if not price.modifiers.change_amount or _rises(price):
            return _largest(_total_of(price), price, low, high, quantity, exactly=exactly)
        modifiers = price.modifiers
        plain = replace(price, modifiers=_without_amounts(modifiers))
        most = _largest(_total_of(plain), plain, low, high, quantity, exactly=exactly)
        most *= (HUNDRED - modifiers.discount_percent).scaleb(-2)
        return most if modifiers.maximum is None else min(most, modifiers.maximum)


def worst_event_cost(price: Price, value: Decimal, count: int) -> Decimal:
    """The most that `count` events of up to this value can owe where a price looks at each: beyond all that is free."""
    model = price.model
    assert isinstance(model, EventFormula)
    if isinstance(model, Percentage):
        model = replace(model, free_events=0, free_amount=ZERO)
    modifiers = replace(_without_amounts(price.modifiers), free_units=ZERO)
    bare = replace(price, model=model, modifiers=UNMODIFIED if modifiers == UNMODIFIED else modifiers)
    lines = rate_rows(bare, [Row.of_runs({}, [Run(value, count)])], final=False)
    with exact():
        owed = sum((line.amount for line in lines), ZERO)
        owed *= (HUNDRED - price.modifiers.discount_percent).scaleb(-2)
    return max(owed, ZERO)


def _without_amounts(modifiers: Modifiers) -> Modifiers:
    return Modifiers(convert=modifiers.convert, free_units=modifiers.free_units)


def _total_of(price: Price) -> Total:
    known: dict[Decimal, Decimal] = {}

    def total(quantity: Decimal) -> Decimal:
        amount = known.get(quantity)
        if amount is None:
            amount = known[quantity] = rate(price, quantity=quantity, final=False).amount
        return amount

    return total


def _largest(
    total: Total, price: Price, low: Decimal, high: Decimal, quantity: Decimal, *, exactly: bool
) -> Decimal:
    """The largest total(y) - total(x); see the module. `exact()` is in force."""
    bends = sorted({bend for bend in _bends(price, low, high + quantity) if low <= bend <= high + quantity})
    if price.modifiers.change_amount:
        bends = sorted({*bends, *_amount_bends(price, low, high + quantity)})
    starts = {low, high}
    starts.update(bends[: bisect_right(bends, high)])
    starts.update(bend - quantity for bend in bends if low <= bend - quantity <= high)
    if exactly or _rises(price):
        return max(ZERO, *(total(start + quantity) - total(start) for start in starts))
    # A total that can fall may be highest somewhere on the way.
    peaks = [total(bend) for bend in bends]
    most = ZERO
    for start in starts:
        between = peaks[bisect_left(bends, start) : bisect_right(bends, start + quantity)]
        most = max(most, max([total(start + quantity), *between]) - total(start))
    return most


def _rises(price: Price) -> bool:
    """Whether more never costs less in total."""
    model = price.model
    if isinstance(model, Block):
        return model.policy is BlockPolicy.ALL_TIERS
    return not isinstance(model, Volume | StairStep | Capacity)


def _bends(price: Price, low: Decimal, high: Decimal) -> Iterator[Decimal]:
    """Where the total may bend or jump, and the quantities next to it."""
    modifiers, model = price.modifiers, price.model
    places = [ZERO, modifiers.free_units] if modifiers.free_units else []
    places += [place + modifiers.free_units for place in _model_bounds(model, low, high, modifiers)]
    for place in places:
        yield from _around(_unconverted(place, modifiers))
    convert = modifiers.convert
    if convert is not None and convert.round is not None:
        unit = ONE.scaleb(-convert.scale)
        width = (
            unit * convert.factor
            if convert.operation is Operation.DIVIDE
            else _quotient(unit, convert.factor)
        )
        if convert.round in (Direction.HALF_UP, Direction.HALF_EVEN):
            width = _quotient(width, Decimal(2))
        for place in _grid(ZERO, width, low, high):
            yield from _around(place)


def _around(place: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """The place on the digits that a quantity has, and its neighbours: a quotient may lie between two of them."""
    below = divide_rounded(place, ONE, 12, Direction.DOWN)
    return below - STEP, below, below + STEP, below + STEP + STEP


def _unconverted(place: Decimal, modifiers: Modifiers) -> Decimal:
    """The metered quantity that a conversion turns into this one."""
    convert = modifiers.convert
    if convert is None:
        return place
    return (
        place * convert.factor if convert.operation is Operation.DIVIDE else _quotient(place, convert.factor)
    )


def _converted(place: Decimal, modifiers: Modifiers) -> Decimal:
    convert = modifiers.convert
    if convert is None:
        return place
    return (
        _quotient(place, convert.factor) if convert.operation is Operation.DIVIDE else place * convert.factor
    )


def _quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    return divide_rounded(dividend, divisor, 18, Direction.DOWN)


def _model_bounds(model: object, low: Decimal, high: Decimal, modifiers: Modifiers) -> Iterator[Decimal]:
    """The quantities at which a formula itself bends or jumps, after conversion and free units."""
    least = _converted(low, modifiers) - modifiers.free_units - ONE
    most = _converted(high, modifiers) - modifiers.free_units + ONE
    match model:
        case Graduated() | GraduatedPercentage() | Volume() | StairStep():
            yield ZERO
            yield from (tier.up_to for tier in model.tiers if tier.up_to is not None)
        case Capacity():
            yield ZERO
            yield from (limit for tier in model.tiers for _, limit in tier.limits)
        case Package() if model.round is not PackageRound.EXACT:
            yield from _grid(ZERO, model.package_size, least, most)
        case Block():
            yield from _block_bounds(model, least, most)


def _block_bounds(model: Block, low: Decimal, high: Decimal) -> Iterator[Decimal]:
    meter = model.meters[0] if model.meters else ""
    floor = ZERO
    for tier in model.tiers:
        size = tier.size(meter)
        # Blocks of the tier that the total reaches are counted from zero, others from where the tier begins.
        origin = ZERO if model.policy is BlockPolicy.TOP_TIER else floor
        ceiling = None if tier.max_blocks is None else floor + tier.max_blocks * size
        yield floor
        yield from _grid(origin, size, max(low, floor), high if ceiling is None else min(high, ceiling))
        if ceiling is None:
            return
        floor = ceiling
    yield floor
    if model.policy is BlockPolicy.TOP_TIER:
        yield from _grid(ZERO, model.tiers[-1].size(meter), max(low, floor), high)


def _grid(origin: Decimal, width: Decimal, low: Decimal, high: Decimal) -> Iterator[Decimal]:
    """The multiples of a width between two quantities; of very many those next to either end."""
    if width <= 0 or high < low:
        return
    first = int(divide_rounded(low - origin, width, 0, Direction.DOWN))
    last = int(divide_rounded(high - origin, width, 0, Direction.UP))
    if last - first <= 2 * GRID_POINTS:
        numbers = [*range(first, last + 1)]
    else:
        numbers = [*range(first, first + GRID_POINTS), *range(last - GRID_POINTS, last + 1)]
    for number in numbers:
        yield origin + number * width


def _amount_bends(price: Price, low: Decimal, high: Decimal) -> Iterator[Decimal]:
    """Where a rising total has used up its discount, and where it reaches its maximum."""
    modifiers = price.modifiers
    total = _total_of(replace(price, modifiers=_without_amounts(modifiers)))
    share = (HUNDRED - modifiers.discount_percent).scaleb(-2)
    levels = [modifiers.discount_amount]
    if modifiers.maximum is not None:
        levels.append(modifiers.discount_amount + modifiers.maximum)
    for level in levels:
        if not share or total(low) * share > level or total(high) * share <= level:
            continue
        below, above = int(low.scaleb(12)), int(divide_rounded(high, ONE, 12, Direction.UP).scaleb(12))
        while above - below > 1:
            middle = (below + above) // 2
            if total(Decimal(middle).scaleb(-12)) * share > level:
                above = middle
            else:
                below = middle
        for number in (below - 1, below, above, above + 1):
            place = Decimal(number).scaleb(-12)
            if low <= place <= high:
                yield place
