"""Usage, the slow way: what every store must answer, in plain Python, one event after the other.

An event here is a dict: `source`, `id`, `type`, `subject` (text or None), `time` and `received_at`
(aware), and `data` as `read_data` gives it. `decode_event` makes one of a CloudEvent's JSON.

The law of numbers: a number taken from an event has at most 18 digits before and 12 after the point.
It is a JSON number by its value, or a JSON string of plain digits without an exponent. Each side of
a multiplication has at most 12 digits before and 6 after the point, and what an expression comes to
is a number under the first bound again. Anything beyond makes the event unusable for the meter: it
goes to quarantine when it is sealed, and where the meter came later it is left out. It is never
rounded. Of equal keys in one object the first counts. (`catalog/event_data.py` holds this law and
the law of text, by which dimensions, distinct values and filters compare.)

Quantities are exact; only an average, which may not end, has 18 digits after the point, half up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, TypeAlias, assert_never

from farthing.catalog.event_data import at_path, number_of, read_data, text_of
from farthing.catalog.expression import Path, evaluate
from farthing.catalog.model import Aggregation, Condition, Meter, Operator
from farthing.kernel.instant import zone_named
from farthing.kernel.period import local_midnight
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import quotient
from farthing.rating import Clock, Events, Run
from farthing.rating.clock import OTHER_TIMES
from farthing.usage.model import Detail, Span, UsageGroup, UsageQuery, UsageRow, Window

Event: TypeAlias = Mapping[str, Any]
Value: TypeAlias = Decimal | str
"""What a meter takes from an event: a number, or for distinct values a text."""


def decode_event(text: str, received_at: datetime) -> dict[str, Any]:
    """An event as the door takes it in, decoded without losing a digit."""
    read = read_data(text)
    assert isinstance(read, dict)
    time = read.get("time")
    return {
        "source": read["source"],
        "id": read["id"],
        "type": read["type"],
        "subject": read.get("subject"),
        "time": received_at if time is None else datetime.fromisoformat(time).astimezone(UTC),
        "received_at": received_at,
        "data": read.get("data"),
    }


def usable(meter: Meter, event: Event) -> bool:
    """Whether sealing lets the event pass for this meter: it does not apply to it, or has a value that it can use."""
    return not applies(meter, event) or meter.value is None or _value(meter, event) is not None


def quantity_of(meter: Meter, event: Event) -> Value | None:
    """What one event is to the meter: its value, 1 where events are counted; None where it does not count for it."""
    if not applies(meter, event):
        return None
    return ONE if meter.value is None else _value(meter, event)


def usage_groups(
    events: Iterable[Event], meter: Meter, query: UsageQuery, customers: Mapping[str, str]
) -> list[UsageGroup]:
    """The answer to a usage question. `customers`: the key of the customer that each known subject means."""
    paths = dict(meter.dimensions)

    def group_value(event: Event, name: str) -> str | None:
        match name:
            case "customer":
                return customers.get(event["subject"])
            case "subject" | "source":
                found: str | None = event[name]
                return found
            case _:
                return text_of(at_path(event["data"], paths[name]))

    def asked_for(event: Event) -> bool:
        return (
            query.start <= event["time"] < query.end
            and (query.customer is None or customers.get(event["subject"]) == query.customer)
            and all(group_value(event, name) == value for name, value in (query.filter or {}).items())
        )

    def key(event: Event) -> tuple[tuple[str | None, ...], datetime | None]:
        return tuple(group_value(event, name) for name in query.group_by), _window_start(query, event["time"])

    return [
        UsageGroup(dict(zip(query.group_by, names, strict=True)), window, quantity, count)
        for (names, window), (quantity, count) in _quantities(meter, filter(asked_for, events), key).items()
    ]


def usage_by_span(
    events: Sequence[Event],
    meter: Meter,
    detail: Detail,
    spans: Iterable[Span],
    customers: Mapping[str, int],
) -> list[UsageRow]:
    """The usage of each span. `customers`: the id of the customer that each known subject means."""
    paths = dict(meter.dimensions)

    def key(event: Event) -> tuple[str | None, ...]:
        return (
            *(text_of(at_path(event["data"], paths[name])) for name in detail.dimensions),
            *(window_label(clock, event["time"]) for clock in detail.clocks),
        )

    rows = []
    for span in spans:
        within = [
            event
            for event in events
            if customers.get(event["subject"]) == span.customer_id and span.start <= event["time"] < span.end
        ]
        for values, (quantity, count) in _quantities(meter, within, key).items():
            named = zip(detail.names, values, strict=True)
            dimensions = {name: value for name, value in named if value is not None}
            runs: tuple[Run, ...] = ()
            if detail.events in (Events.FIRST, Events.EVERY):
                runs = _runs(meter, [event for event in within if key(event) == values], detail)
            rows.append(UsageRow(span.span_id, dimensions, quantity, count, runs))
    return rows


def window_label(clock: Clock, time: datetime) -> str:
    """The first window of the clock that holds the moment: of its own day, or from the evening before."""
    local = time.astimezone(zone_named(clock.timezone))
    second = local.hour * 3600 + local.minute * 60 + local.second
    today, yesterday = local.isoweekday(), (local.isoweekday() - 2) % 7 + 1
    for window in clock.windows:
        over_midnight = window.end <= window.start
        in_evening = (
            today in window.days and second >= window.start and (over_midnight or second < window.end)
        )
        in_morning = over_midnight and yesterday in window.days and second < window.end
        if in_evening or in_morning:
            return window.label
    return OTHER_TIMES


def in_order(meter: Meter, events: Iterable[Event]) -> list[Decimal]:
    """The values of the events that count for the meter, in the order of (time, source, id)."""
    taken = [(event, _value(meter, event)) for event in events if applies(meter, event)]
    counted = [(event, _number(value)) for event, value in taken if value is not None]
    return [
        value
        for _, value in sorted(counted, key=lambda one: (one[0]["time"], one[0]["source"], one[0]["id"]))
    ]


def _runs(meter: Meter, events: Sequence[Event], detail: Detail) -> tuple[Run, ...]:
    """The first events as the detail asks for them and, for every event, the others from the smallest on."""
    values = in_order(meter, events)
    above = ZERO
    told = 0
    with exact():
        while told < len(values) and (told < detail.first_events or above < detail.first_amount):
            above += max(values[told], ZERO) if told >= detail.first_events else ZERO
            told += 1
    rest = sorted(values[told:]) if detail.events is Events.EVERY else []
    return tuple(Run(value, len(list(alike))) for value, alike in groupby((*values[:told], *rest)))


def _quantities(
    meter: Meter, events: Iterable[Event], key: Callable[[Event], Any]
) -> dict[Any, tuple[Decimal, int]]:
    """The quantity of each group, and how many events it comes from. Groups without events are left out."""
    groups: dict[Any, list[tuple[Event, Value | None]]] = {}
    for event in events:
        value = _value(meter, event)
        if applies(meter, event) and (meter.value is None or value is not None):
            groups.setdefault(key(event), []).append((event, value))
    return {group: (_aggregate(meter.aggregation, taken), len(taken)) for group, taken in groups.items()}


def applies(meter: Meter, event: Event) -> bool:
    """Whether the event is of the meter's type and passes its filter."""
    return event["type"] == meter.event_type and all(
        _holds(condition, event["data"]) for condition in meter.filter
    )


def _value(meter: Meter, event: Event) -> Value | None:
    if meter.value is None:
        return None
    if meter.aggregation is Aggregation.UNIQUE:
        assert isinstance(meter.value, Path)
        return text_of(at_path(event["data"], meter.value.path))
    return evaluate(meter.value, event["data"])


def _holds(condition: Condition, data: object) -> bool:
    """A field that is absent, or for an ordering no number, satisfies `ne`, `not_in` and `exists: false` only."""
    raw = at_path(data, condition.field)
    text, number, wanted = text_of(raw), number_of(raw), condition.value
    match condition.op:
        case Operator.EXISTS:
            return (text is not None) == wanted
        case Operator.EQ:
            return text == wanted
        case Operator.NE:
            return text != wanted
        case Operator.IN | Operator.NOT_IN:
            assert isinstance(wanted, tuple)
            return (text in wanted) == (condition.op is Operator.IN)
    assert isinstance(wanted, Decimal)
    if number is None:
        return False
    match condition.op:
        case Operator.GT:
            return number > wanted
        case Operator.GTE:
            return number >= wanted
        case Operator.LT:
            return number < wanted
        case Operator.LTE:
            return number <= wanted
        case _:
            assert_never(condition.op)


def _aggregate(aggregation: Aggregation, taken: Sequence[tuple[Event, Value | None]]) -> Decimal:
    match aggregation:
        case Aggregation.COUNT:
            return Decimal(len(taken))
        case Aggregation.UNIQUE:
            return Decimal(len({value for _, value in taken}))
        case Aggregation.LATEST:
            # Events of one moment are told apart by receipt, then by identity, so the answer never varies.
            return max((_moment(event), _number(value)) for event, value in taken)[1]
    numbers = [_number(value) for _, value in taken]
    with exact():
        match aggregation:
            case Aggregation.SUM:
                return sum(numbers, ZERO)
            case Aggregation.MAX:
                return max(numbers)
            case Aggregation.MIN:
                return min(numbers)
            case Aggregation.AVG:
                return quotient(sum(numbers, ZERO), Decimal(len(numbers)))
            case _:
                assert_never(aggregation)


def _moment(event: Event) -> tuple[datetime, datetime, str, str]:
    return event["time"], event["received_at"], event["source"], event["id"]


def _number(value: Value | None) -> Decimal:
    assert isinstance(value, Decimal)
    return value


def _window_start(query: UsageQuery, time: datetime) -> datetime | None:
    """When the local window of an instant began. Hours and minutes are counted back, so that the hour which
    a change of the clock repeats is two windows."""
    if query.window is None:
        return None
    local = time.astimezone(zone_named(query.timezone))
    match query.window:
        case Window.MINUTE:
            return time - timedelta(seconds=local.second, microseconds=local.microsecond)
        case Window.HOUR:
            return time - timedelta(
                minutes=local.minute, seconds=local.second, microseconds=local.microsecond
            )
        case Window.DAY:
            return local_midnight(local.date(), query.timezone)
        case Window.MONTH:
            return local_midnight(local.date().replace(day=1), query.timezone)
        case _:
            assert_never(query.window)
