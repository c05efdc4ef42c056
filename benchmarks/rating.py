"""Rating by itself: quantities through a graduated price, one core, beside a loop that only adds up.

It waits for nothing, so processor time is measured: what else the machine does does not count.
"""

import random
import time
from decimal import Decimal

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from farthing.rating import parse_price, rate

ABOUT = (
    "Rating: baseline is a bare loop over the tiers in Decimal that gives the amount alone: no charges with "
    "reasons, no context, no modifiers, no quantity before."
)
_SEED = 20_240_229
_TIERS = (("1000", "0.01"), ("10000", "0.008"), ("100000", "0.005"), ("1000000", "0.002"), (None, "0.001"))


def run(bench: Bench) -> list[Row]:
    """The same quantities through both, in turn."""
    tiers = [{"unit_price": price} | ({"up_to": up_to} if up_to else {}) for up_to, price in _TIERS]
    price = parse_price({"model": "graduated", "tiers": tiers})
    chance = random.Random(_SEED)
    quantities = [Decimal(int(chance.lognormvariate(9, 2.5))) for _ in range(bench.sizes.ratings)]
    bounds = [(Decimal(up_to) if up_to else None, Decimal(unit)) for up_to, unit in _TIERS]
    pairs = []
    with bench.saying(f"rating {len(quantities):,} quantities"):
        ours = [rate(price, quantity=quantity).amount for quantity in quantities]
        require_equal("amounts", ours, [_by_hand(bounds, quantity) for quantity in quantities])
        for _ in range(bench.sizes.repetitions):
            started = time.process_time()
            for quantity in quantities:
                rate(price, quantity=quantity)
            between = time.process_time()
            for quantity in quantities:
                _by_hand(bounds, quantity)
            pairs.append((between - started, time.process_time() - between))
    return [
        Row(
            "Rating: graduated, 5 tiers, one core",
            "prices/s",
            series(len(quantities) / one for one, _ in pairs),
            series(len(quantities) / other for _, other in pairs),
        )
    ]


def _by_hand(tiers: list[tuple[Decimal | None, Decimal]], quantity: Decimal) -> Decimal:
    total, floor = Decimal(0), Decimal(0)
    for up_to, unit_price in tiers:
        if up_to is None or quantity <= up_to:
            return total + (quantity - floor) * unit_price
        total += (up_to - floor) * unit_price
        floor = up_to
    raise AssertionError("the last tier has no bound")
