"""Which meters fit a price: what a price needs of usage, its meters must be able to tell. Pure.

    a matrix                               each dimension of it is a dimension of each meter
    an amount of money, or seconds         the meter sums a value of its events: a percentage of a number of
                                           calls means nothing, nor does one of the largest payment
    single events                          the same: only then the events' values make up the quantity
    a capacity or block of several meters  the rate card names exactly these meters
    a time_of_use                          any meter, counted in each window by itself

By itself means: the largest value in the peak (a demand charge), the different users by day and those by
night, of whom one may be both, the latest value of each window. It is what a matrix does with the
dimensions of such meters. Only of sums and counts the windows make up the whole.
"""

from collections.abc import Mapping, Sequence

from farthing.catalog.model import Aggregation, Meter
from farthing.rating import Events, Measure, Needs, Price, needs_of
from farthing.rating.flat import Flat

Complaint = tuple[str, str]
"""The field of the rate card (or `price.model`), and what is wrong with it."""

_MEASURED = {Measure.AMOUNT: "amounts of money", Measure.SECONDS: "seconds"}


def card_complaints(meters: Sequence[str], price: Price, known: Mapping[str, Meter]) -> list[Complaint]:
    """Why a rate card of these meters, or of none, cannot have this price.

    known: meters by key; of one that is not among them nothing more is said here.
    """
    if not meters:
        fits = isinstance(price.model, Flat)
        return [] if fits else [("price.model", "must be flat for a rate card without a meter")]
    needs = needs_of(price)
    complaints = meters_complaints(meters, needs)
    for key in meters:
        if key in known:
            complaints += meter_complaints(known[key], needs)
    return complaints


def meters_complaints(meters: Sequence[str], needs: Needs) -> list[Complaint]:
    """Why these meters of a rate card are not the ones that its price counts."""
    counted = ", ".join(needs.meters)
    if len(needs.meters) > 1:
        place = "meter" if len(meters) == 1 else "meters"
        complaint = f"must be meters: [{counted}], which the price counts"
        return [] if tuple(sorted(meters)) == needs.meters else [(place, complaint)]
    if len(meters) > 1:
        return [("meters", "must be one meter, under meter: the price does not count several")]
    if needs.meters and needs.meters[0] != meters[0]:
        return [("price", f"counts the meter {needs.meters[0]!r}, and its rate card {meters[0]!r}")]
    return []


def meter_complaints(meter: Meter, needs: Needs) -> list[Complaint]:
    """Why this meter cannot tell what the price needs; a complaint of no field is about the meter itself."""
    names = {name for name, _ in meter.dimensions}
    complaints = [
        ("price.dimensions", f"names {dimension!r}, which is not a dimension of the meter {meter.key!r}")
        for dimension in needs.dimensions
        if dimension not in names
    ]
    if meter.aggregation is not Aggregation.SUM:
        measured = [_MEASURED[measure] for measure in needs.measures if measure in _MEASURED]
        wanted = measured or (["single events"] if needs.events is not Events.NONE else [])
        if wanted:
            what = f"must sum a value of its events: the price is one of {' and '.join(wanted)}"
            complaints.append(("", f"{what}, and {meter.key!r} is a {meter.aggregation.value}"))
    return complaints
