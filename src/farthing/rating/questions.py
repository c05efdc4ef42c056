"""What `farthing rate` may be asked: the usage of a line, or of each of its rows, read for a price.

Every kind of price takes `quantity` and `before`, of these `dimensions` if any are told, and `rows` of
them. Beside these

    percentage, dynamic,      events: [{"amount": "10", "count": 3}, ...] and events_before. With only a
    graduated_percentage      quantity that is one event of this amount, and before is an earlier one
    timed                     seconds, or start and end, of one call; events of {"seconds"} or of
                              {"start", "end"}. With only a quantity that is one call of so many seconds
    time_of_use               start and a quantity, used at that moment; start and end, whose seconds are
                              split exactly at the edges of the windows; events of {"time", "quantity"}
    capacity, several meters  quantities: {"seats": "12"} and quantities_before, or before: {"seats": "3"}

`count` is 1 unless given. Events are in their order. `before` beside events is one earlier event of this
value; it is refused where it matters how many events there were. What does not fit the price is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from farthing.kernel.instant import microseconds, parse_instant
from farthing.kernel.quantity import ZERO, exact, parse_decimal
from farthing.kernel.reading import Faults, Fields, kind, parse_list, parse_text
from farthing.rating.charge import Row
from farthing.rating.flat import Flat
from farthing.rating.meters import METERS_MAX
from farthing.rating.needs import Events, needs_of
from farthing.rating.price import Measure, Price
from farthing.rating.runs import Run
from farthing.rating.sheet import parse_whole, refused
from farthing.rating.time_of_use import TimeOfUse, matrix_of

INVALID_INPUT: Final = "invalid_input"
ROWS_MAX = 10_000
EVENTS_MAX = 10_000
COUNT_MAX = 10**15
"""Most equal events that one entry of `events` may stand for."""
ROW_DIMENSIONS_MAX = 50

_T = TypeVar("_T")

_PLAIN = ("quantity", "before")
_EVENTS = ("events", "events_before")
_TIMES = ("seconds", "time", "start", "end")
_METERS = ("quantities", "quantities_before")
USAGE_FIELDS = ("rows", "dimensions", *_PLAIN, *_EVENTS, *_TIMES, *_METERS)


@dataclass(frozen=True, slots=True)
class _Use:
    """Something used: so many times this value at a moment, or for as long as it lasted."""

    value: Decimal
    count: int = 1
    start: datetime | None = None
    end: datetime | None = None


class Question:
    """Reads the usage that a price is asked about; what is wrong with it stands among the faults."""

    def __init__(self, price: Price, faults: Faults) -> None:
        self._price = price
        self._faults = faults
        needs = needs_of(price)
        self._measures = needs.measures
        self._meters = needs.meters
        self._several = len(needs.meters) > 1
        self._timed = Measure.SECONDS in needs.measures
        self._counts_events = needs.first_events > 0
        takes_events = needs.events is not Events.NONE or Measure.AMOUNT in needs.measures or needs.clocks
        self._accepted = [
            *(() if self._several else _PLAIN),
            *(_EVENTS if takes_events else ()),
            *(("seconds",) if self._timed else ()),
            *(("time",) if needs.clocks else ()),
            *(("start", "end") if needs.clocks or self._timed else ()),
            *(_METERS if needs.meters else ()),
        ]
        forms = ("quantity", "quantities", "events", "seconds", "start")
        self._wanted = " or ".join([name for name in forms if name in self._accepted] + ["rows"])

    def rows(self, fields: Fields) -> list[Row]:
        """The rows that a line lists, or the usage that it says itself."""
        listed = fields.optional("rows", self._read_rows, None)
        dimensions = fields.optional("dimensions", self._read_dimensions, {})
        usage = self._read_usage(fields, dimensions or {}, needed="rows" not in fields)
        if "rows" not in fields:
            return usage
        beside = [name for name in (*self._accepted, "dimensions") if name in fields]
        if beside:
            told = _PLAIN if set(beside) <= set(_PLAIN) else beside
            self._faults.add("rows", f"have quantities of their own: leave out {' and '.join(told)}")
        return listed or []

    def _read_rows(self, raw: object, path: str) -> list[Row]:
        listed = parse_list(raw, path, self._read_row, most=ROWS_MAX, faults=self._faults)
        return [row for rows in listed for row in rows]

    def _read_row(self, raw: object, path: str) -> list[Row]:
        fields = Fields(raw, path, self._faults)
        dimensions = fields.optional("dimensions", self._read_dimensions, {})
        rows = self._read_usage(fields, dimensions or {}, needed=True)
        fields.refuse_unknown()
        return rows

    def _read_dimensions(self, raw: object, path: str) -> dict[str, str]:
        fields = Fields(raw, path, self._faults)
        if not isinstance(raw, dict):
            return {}
        if len(raw) > ROW_DIMENSIONS_MAX:
            self._faults.add(path, f"has {len(raw)} dimensions; at most {ROW_DIMENSIONS_MAX} are allowed")
            return {}
        return {name: fields.required(name, parse_text) for name in raw if isinstance(name, str)}

    def _read_usage(self, fields: Fields, dimensions: Mapping[str, str], *, needed: bool) -> list[Row]:
        """The usage that one object says, as one row, or as one for each window that it touches."""
        faults_before = len(self._faults)
        quantity = self._taken(fields, "quantity", parse_decimal)
        by_meter = self._before_by_meter(fields)
        before = None if by_meter else self._taken(fields, "before", parse_decimal)
        seconds = self._taken(fields, "seconds", _parse_seconds)
        time = self._taken(fields, "time", parse_instant)
        start = self._taken(fields, "start", parse_instant) or time
        end = self._taken(fields, "end", parse_instant)
        events = self._taken(fields, "events", self._read_events)
        earlier = self._taken(fields, "events_before", self._read_events)
        quantities = self._taken(fields, "quantities", self._read_quantities) or {}
        quantities_before = self._taken(fields, "quantities_before", self._read_quantities) or {}
        if by_meter:
            quantities_before = fields.optional("before", self._read_quantities, {}) or {}
        self._refuse_unfit(fields, needed=needed, by_meter=by_meter)
        if len(self._faults) > faults_before or not fields.is_object:
            return []
        if end is not None and start is not None:
            if end < start:
                self._faults.add(fields.at("end"), "must not be before start")
            events = [_Use(_length(start, end), 1, start, end)]
        value = seconds if quantity is None else quantity
        if value:
            events = [_Use(value, 1, start)]
        if before:
            earlier = [_Use(before, 1, start)]
        if quantities or quantities_before:
            return [Row(dimensions, quantities=quantities, quantities_before=quantities_before)]
        return self._rows_of(events or [], earlier or [], dimensions, fields)

    def _taken(self, fields: Fields, name: str, parse: Callable[[object, str], _T]) -> _T | None:
        """A field of the usage; one that this price is not rated on is not looked into."""
        if name in self._accepted:
            return fields.optional(name, parse, None)
        fields.optional(name, lambda raw, path: raw, None)
        return None

    def _refuse_unfit(self, fields: Fields, *, needed: bool, by_meter: bool) -> None:
        """Note the fields that this price is not rated on, and those that do not go together."""
        for name in (*_PLAIN, *_EVENTS, *_TIMES, *_METERS):
            if name in fields and name not in self._accepted and not (by_meter and name == "before"):
                at = fields.at(name)
                self._faults.add(at, f"is not what this price is rated on: give {self._wanted}")
        forms = [
            form
            for form, names in (
                ("quantity", ("quantity",)),
                ("quantities", (*_METERS, "before") if by_meter else _METERS),
                ("events", _EVENTS),
                ("seconds", ("seconds",)),
                ("end", ("end",)),
            )
            if any(name in fields and name in self._accepted for name in names)
        ]
        if len(forms) > 1:
            self._faults.add(fields.at(forms[1]), f"cannot stand beside {forms[0]}: give one of them")
        if "time" in fields and "start" in fields:
            self._faults.add(fields.at("time"), "cannot stand beside start: give one of them")
        if by_meter and "quantities_before" in fields:
            self._faults.add(fields.at("before"), "cannot stand beside quantities_before: give one of them")
        takes_before = ["quantity", "seconds"]
        if "events_before" not in fields and not self._counts_events:
            takes_before.append("events")
        if "before" in fields and not by_meter and forms and forms[0] not in takes_before:
            instead = {"quantities": "quantities_before", "events": "events_before"}.get(forms[0], "rows")
            self._faults.add(fields.at("before"), f"cannot stand beside {forms[0]}: give {instead}")
        if "end" in fields and "start" not in fields:
            self._faults.add(fields.at("start"), "is missing")
        if not forms and needed and fields.is_object and not isinstance(self._price.model, Flat):
            self._faults.add(fields.at("quantities" if self._several else "quantity"), "is missing")

    def _before_by_meter(self, fields: Fields) -> bool:
        """Whether `before` says how much of each meter there was."""
        before = fields.optional("before", lambda raw, path: raw, None) if self._meters else None
        return isinstance(before, dict)

    def _read_quantities(self, raw: object, path: str) -> dict[str, Decimal]:
        if not isinstance(raw, dict):
            self._faults.add(path, f"must be an object of meters and quantities, not {kind(raw)}")
            return {}
        if len(raw) > METERS_MAX:
            self._faults.add(path, f"names {len(raw)} meters; at most {METERS_MAX} are allowed")
            return {}
        fields = Fields(raw, path, self._faults)
        for name in raw:
            if name not in self._meters:
                at = fields.at(str(name)[:40])
                self._faults.add(at, f"is not a meter of this price: it counts {', '.join(self._meters)}")
        return {meter: fields.optional(meter, parse_decimal, ZERO) for meter in self._meters if meter in raw}

    def _read_events(self, raw: object, path: str) -> list[_Use]:
        return parse_list(raw, path, self._read_event, most=EVENTS_MAX, faults=self._faults)

    def _read_event(self, raw: object, path: str) -> _Use:
        fields = Fields(raw, path, self._faults)
        count = fields.optional("count", _parse_count, 1)
        start = fields.optional("start", parse_instant, None)
        start = fields.optional("time", parse_instant, start)
        names = dict.fromkeys((*self._measures, Measure.QUANTITY))
        values = {
            name: fields.optional(name, _parse_seconds if name is Measure.SECONDS else parse_decimal, ZERO)
            for name in names
            if name in fields
        }
        end = fields.optional("end", parse_instant, None) if self._takes("end") else None
        fields.refuse_unknown()
        if fields.is_object and len(values) + ("end" in fields and self._takes("end")) != 1:
            one = " or ".join([*names, *(("start and end",) if self._takes("end") else ())])
            self._faults.add(path, f"needs {one}, and only one of them")
        if end is not None and start is None:
            self._faults.add(fields.at("start"), "is missing")
        if end is None or start is None:
            return _Use(next(iter(values.values()), ZERO), count, start)
        if end < start:
            self._faults.add(fields.at("end"), "must not be before start")
        return _Use(_length(start, end), count, start, end)

    def _takes(self, name: str) -> bool:
        return name in self._accepted

    def _rows_of(
        self, uses: Sequence[_Use], earlier: Sequence[_Use], dimensions: Mapping[str, str], fields: Fields
    ) -> list[Row]:
        """One row, or for a price by time one for each window that was used."""
        priced = _by_time(self._price, dimensions)
        if priced is None or priced.clock.dimension in dimensions:
            return [Row.of_runs(dimensions, *([_run(use) for use in side] for side in (uses, earlier)))]
        found: dict[str, tuple[list[Run], list[Run]]] = {}
        for side, used in enumerate((uses, earlier)):
            for use in used:
                if use.start is None:
                    self._faults.add(fields.at("start"), "is missing: the price depends on the time")
                    return []
                for label, run in _by_window(priced, use, use.start):
                    found.setdefault(label, ([], []))[side].append(run)
        clock = priced.clock.dimension
        return [Row.of_runs({**dimensions, clock: label}, *sides) for label, sides in found.items()]


def _by_time(price: Price, dimensions: Mapping[str, str]) -> TimeOfUse | None:
    """The price by time that usage of these dimensions comes to, if it comes to one."""
    inner: Price | None = price
    while inner is not None and not isinstance(inner.model, TimeOfUse):
        matrix = matrix_of(inner.model)
        if matrix is None:
            return None
        position = matrix.cell_for(dimensions)
        inner = matrix.default if position is None else matrix.cells[position].price
    return inner.model if inner is not None and isinstance(inner.model, TimeOfUse) else None


def _by_window(priced: TimeOfUse, use: _Use, start: datetime) -> Iterator[tuple[str, Run]]:
    """What is used in each window. Calls that are priced as a whole are in the one in which they begin."""
    as_a_whole = use.end is None or Measure.SECONDS in needs_of(Price(priced)).measures
    if as_a_whole or use.end is None:
        yield priced.clock.label_at(start), _run(use)
        return
    for label, seconds in priced.clock.seconds(start, use.end).items():
        yield label, Run(seconds, use.count)


def _run(use: _Use) -> Run:
    return Run(use.value, use.count)


def _length(start: datetime, end: datetime) -> Decimal:
    """Seconds between two instants, exactly."""
    with exact():
        return Decimal(microseconds(end - start)).scaleb(-6)


def _parse_seconds(raw: object, path: str) -> Decimal:
    seconds = parse_decimal(raw, path, code=INVALID_INPUT)
    if seconds < 0:
        raise refused(path, "must not be negative")
    return seconds


def _parse_count(raw: object, path: str) -> int:
    return parse_whole(raw, path, most=COUNT_MAX)
