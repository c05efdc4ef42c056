"""Rating: what a quantity costs.

Owns: the price models and their formulas, the modifiers around them, how a price is read and written,
the charges with their reasons.
Does not own: where quantities come from (usage), rounding to a currency (kernel.rounding, applied by
invoicing), which plan a price stands in (catalog), wallets and credits.
Laws: pure; exact, no amount is rounded but a quotient that does not end, at 18 digits; one formula for
each model; additive: rate(quantity=b, final=False) and rate(before=b, quantity=q) sum to
rate(quantity=b + q) for every price, those that bill the whole total (volume, stair step, capacity) by
owing differences; charges sum to the amount; nothing used, nothing owed, except what a price says is
owed all the same (flat, minimum, bill_flat_on_zero); bounded, no price costs more than its own size.

Read `graduated.py` for a model, `modifiers.py` for what stands around it, `price.py` for the kinds of
formula, `between.py` for how a part of a period is charged, `rows.py` for usage by dimensions, `wire.py`
for `farthing rate`.

How usage is handed over. `needs_of(price)` says what to ask for; the answer is one `Row` for each group.

    needs.dimensions     Group by these dimensions of the meter. `Row.dimensions` holds those that an event has.
    needs.clocks         Group by the window of each event's time as well: for each clock put its window's label
                         under `clock.dimension`. `clock.label_at(event_time)` is the rule; in SQL it is the
                         piece of `clock.week` (local seconds since Monday 00:00, each piece with its label) that
                         the event's wall-clock time in `clock.timezone` lies in. Lines carry the label.
    needs.events         none   `Row.quantity` is all.
                         count  `Row.events`: how many events the quantity is the sum of.
                         first  `Row.runs`: the first `needs.first_events` events of the group in the order of
                                (event time, source, id), and further ones until those of them above zero sum to
                                `needs.first_amount`, as runs of equal values. `quantity` and `events` stay those
                                of all events; what the runs leave of them is rated as a sum.
                         every  All events of the group as runs: `Row.of_runs(dimensions, runs)`. The first ones,
                                as above, in their order; those after them in any order, equal ones together.
                         The value of an event is the meter's value of that one event (an amount, seconds).
    needs.meters         With several, ask for each meter's quantity and hand over `Row.quantities` by meter key, one
                         row for each combination of dimensions that any of them has. With one, it must be the
                         rate card's meter, and `Row.quantity` is enough.

`before`, `events_before`, `runs_before` and `quantities_before` say the same of what an earlier part of the
period was charged for; without them the whole period is rated. A row that tells less than the price needs
is an error (`events_missing`, `meters_missing`), never a wrong amount. `RatedRow.quantities` says what of
each meter was used where a line counts several.
"""

from farthing.rating.canonical import price_json
from farthing.rating.charge import Charge, Rated, RatedRow, Row, UnitCharge
from farthing.rating.clock import Clock
from farthing.rating.models import parse_price
from farthing.rating.needs import Events, Needs, dimensions_of, needs_of
from farthing.rating.price import Measure, Price
from farthing.rating.proportion import in_proportion
from farthing.rating.rows import rate, rate_rows
from farthing.rating.runs import Run

__all__ = [
    "Charge",
    "Clock",
    "Events",
    "Measure",
    "Needs",
    "Price",
    "Rated",
    "RatedRow",
    "Row",
    "Run",
    "UnitCharge",
    "dimensions_of",
    "in_proportion",
    "needs_of",
    "parse_price",
    "price_json",
    "rate",
    "rate_rows",
]
