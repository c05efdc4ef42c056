"""Rating: what a quantity costs.

Owns: the price models and their formulas, the modifiers around them, how a price is read and written,
the charges with their reasons.
Does not own: where quantities come from (usage), rounding to a currency (kernel.rounding, applied by
invoicing), which plan a price stands in (catalog), wallets and credits.
Laws: pure; exact, no amount is rounded but a quotient that does not end, at 18 digits; one formula for
each model; additive: rate(quantity=b, final=False) and rate(before=b, quantity=q) sum to
rate(quantity=b + q) for every price, those that bill the whole total (volume) by owing differences;
charges sum to the amount; nothing used, nothing owed, except what a price says is owed all the same
(flat, minimum, bill_flat_on_zero); bounded, no price costs more than its own size.

Read `graduated.py` for a model, `modifiers.py` for what stands around it, `between.py` for how a part
of a period is charged, `rows.py` for usage by dimensions, `wire.py` for `farthing rate`.
"""

from farthing.rating.canonical import price_json
from farthing.rating.charge import Charge, Rated, RatedRow, Row
from farthing.rating.models import parse_price
from farthing.rating.price import Price
from farthing.rating.rows import dimensions_of, rate, rate_rows

__all__ = [
    "Charge",
    "Price",
    "Rated",
    "RatedRow",
    "Row",
    "dimensions_of",
    "parse_price",
    "price_json",
    "rate",
    "rate_rows",
]
