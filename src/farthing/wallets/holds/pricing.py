"""What usage is charged by, and for how much of it. Pure.

    the upper bound of a call, or its event -> uses: so much of a rate card's meter, on a ladder of its price
    uses, and where each ladder may stand    -> the most that they can come to

An event counts for every meter of its type whose filter it passes: a sum takes its value, a count and a number of
distinct values one. A meter of another kind (a maximum, an average) cannot be told ahead.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from farthing.catalog.event_data import at_path, text_of
from farthing.catalog.expression import evaluate
from farthing.catalog.model import Aggregation, Meter
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.reading import shown
from farthing.usage.reference import applies, usable
from farthing.wallets.holds.model import Bound
from farthing.wallets.holds.terms import ChargedKind, LadderKey, Slice

INVALID_AUTHORIZATION = "invalid_authorization"

Range = tuple[Decimal, Decimal]
"""Between which quantities a ladder may stand."""
NOWHERE: Range = (ZERO, ZERO)


class Use(NamedTuple):
    """So much usage that one rate card charges. Of several ladders it climbs one, and nobody knows which yet."""

    kind: ChargedKind
    quantity: Decimal
    times: int

    @property
    def total(self) -> Decimal:
        """How far it moves its ladder. `exact()` is in force."""
        return self.quantity * self.times

    def worst(self, places: Mapping[LadderKey, Range], *, exactly: bool = False) -> Decimal:
        """The most that it can come to. `exact()` is in force."""
        most = ZERO
        for ladder, key in self.kind.ladders:
            low, high = places.get(key, NOWHERE) if places else NOWHERE
            most = max(most, ladder.worst(low, high, self.quantity, self.times, exactly=exactly))
        return most.normalize()


def uses_of_bounds(slice_: Slice, bounds: Iterable[Bound], subscription: str | None) -> list[Use]:
    """What an upper bound of usage would be charged by. Raises InvalidInput with every fault."""
    uses: list[Use] = []
    faults: list[Fault] = []
    for index, bound in enumerate(bounds):
        path = f"usage[{index}]"
        meter = slice_.meters.get(bound.meter)
        if meter is None or not slice_.charges(bound.meter, subscription):
            faults.append(Fault(f"{path}.meter", f"{shown(bound.meter)} is not charged to this customer now"))
            continue
        if complaint := _complaint(meter):
            faults.append(Fault(f"{path}.meter", complaint))
            continue
        if bound.dimensions:
            names = {name for name, _ in meter.dimensions}
            faults += [
                Fault(f"{path}.dimensions.{name[:40]}", f"is not a dimension of the meter {shown(meter.key)}")
                for name in bound.dimensions
                if name not in names
            ]
        kinds = slice_.kinds(meter.key, subscription, bound.dimensions, None)
        uses += [Use(kind, bound.quantity, bound.count) for kind in kinds]
    if faults:
        raise InvalidInput.of(INVALID_AUTHORIZATION, faults)
    return uses


def uses_of_event(
    slice_: Slice,
    event_type: str,
    data: object,
    moment: datetime | None = None,
    subscription: str | None = None,
) -> list[Use]:
    """What an event is charged by. `moment`: when it happened; None: it has not yet.

    Of one that has happened, what could not be told ahead is passed by: nothing was held for it, and what it comes to
    is drawn when it is counted.

    Raises InvalidInput `invalid_value`: the event would not be counted; of one that has not happened
    `meter_not_authorizable`, `price_not_authorizable`.
    """
    uses: list[Use] = []
    event = {"type": event_type, "data": data}
    for meter in slice_.by_type.get(event_type, ()):
        if not applies(meter, event):
            continue
        quantity = _quantity(meter, event)
        try:
            uses += _uses_of_meter(slice_, meter, subscription, quantity, data, moment)
        except InvalidInput:
            if moment is None:
                raise
    return uses


def _uses_of_meter(
    slice_: Slice,
    meter: Meter,
    subscription: str | None,
    quantity: Decimal,
    data: object,
    moment: datetime | None,
) -> list[Use]:
    if complaint := _complaint(meter):
        raise InvalidInput("meter_not_authorizable", complaint, path="event")
    values = ((name, text_of(at_path(data, path))) for name, path in meter.dimensions)
    dimensions = {name: value for name, value in values if value is not None}
    return [Use(kind, quantity, 1) for kind in slice_.kinds(meter.key, subscription, dimensions, moment)]


def _complaint(meter: Meter) -> str | None:
    if meter.aggregation in (Aggregation.SUM, Aggregation.COUNT, Aggregation.UNIQUE):
        return None
    return f"{shown(meter.key)} is a {meter.aggregation.value}, whose price cannot be told ahead"


def _quantity(meter: Meter, event: Mapping[str, object]) -> Decimal:
    """What one event adds to the meter. Raises InvalidInput `invalid_value` where it would not be counted for it."""
    if meter.value is None:
        return ONE
    value = evaluate(meter.value, event["data"]) if meter.aggregation is Aggregation.SUM else None
    if value is not None:
        return value
    if meter.aggregation is Aggregation.SUM or not usable(meter, event):
        said = f"holds nothing that the meter {shown(meter.key)} can use"
        raise InvalidInput("invalid_value", f"event.data {said}", path="event.data")
    return ONE
