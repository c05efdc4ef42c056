"""OTLP metric points as events: each point is one, of the type that the metric is called.

| metric | event |
|---|---|
| sum, delta | `data.value`, what was added between `data.start` and the event's time |
| sum, cumulative and monotonic | the same, by the difference to the stream's point before (`otlp_streams.py`) |
| sum, cumulative and not monotonic; gauge | `data.value`, the level at the event's time |
| histogram, exponential histogram | `data.count` and `data.sum`, delta and cumulative as for sums |
| summary | not taken, and the answer says so |

Every event has `data.attributes`, `data.resource`, `data.scope` and `data.unit`, each where there is one. Identity
is the stream (resource, scope, metric, attributes) and the point's own start and time, not its value: the same
point with another value is a conflict.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric

from farthing.events.doors.otlp import (
    Origin,
    Unusable,
    as_members,
    as_number,
    attributes_of,
    digest,
    double,
    moment_of,
    read_metrics_request,
    subject_of,
)
from farthing.events.doors.otlp_streams import Reading
from farthing.events.doors.translated import Untranslatable
from farthing.events.intake.formats import EVENTS_PER_REQUEST_MAX
from farthing.events.model import Event
from farthing.kernel.errors import LimitExceeded
from farthing.kernel.instant import format_instant

_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK

_DIGITS_MAX = 30
"""Before and after the point, of a running total."""


def read_metrics(body: bytes, content_type: str) -> list[Event | Reading | Untranslatable]:
    """The points of a request, in order.

    Raises as `read_metrics_request` does, and LimitExceeded `too_many_events`.
    """
    translated: list[Event | Reading | Untranslatable] = []
    for of_resource in read_metrics_request(body, content_type).resource_metrics:
        for of_scope in of_resource.scope_metrics:
            origin = Origin.of(of_resource.resource, of_scope.scope)
            for metric in of_scope.metrics:
                for point in _points(metric):
                    translated.append(_translate(metric, point, origin))
                    if len(translated) > EVENTS_PER_REQUEST_MAX:
                        raise LimitExceeded(
                            "too_many_events", f"more than {EVENTS_PER_REQUEST_MAX} points in one request"
                        )
    return translated


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of whatever metric: what it measured, or why it cannot be taken."""

    message: Any
    measured: dict[str, Decimal]
    accumulates: bool = False
    complaint: str | None = None


def _points(metric: Metric) -> Iterator[_Point]:
    match metric.WhichOneof("data"):
        case "sum":
            cumulative = metric.sum.aggregation_temporality == _CUMULATIVE
            known = cumulative or metric.sum.aggregation_temporality == _DELTA
            for point in metric.sum.data_points:
                found = _Point(point, _value(point), accumulates=cumulative and metric.sum.is_monotonic)
                yield found if known else replace(found, complaint="a sum must be delta or cumulative")
        case "gauge":
            for point in metric.gauge.data_points:
                yield _Point(point, _value(point))
        case "histogram" | "exponential_histogram" as kind:
            histogram = getattr(metric, kind)
            cumulative = histogram.aggregation_temporality == _CUMULATIVE
            known = cumulative or histogram.aggregation_temporality == _DELTA
            for point in histogram.data_points:
                found = _Point(point, _counted(point), accumulates=cumulative)
                yield found if known else replace(found, complaint="a histogram must be delta or cumulative")
        case "summary":
            for point in metric.summary.data_points:
                yield _Point(
                    point, {}, complaint="summaries are not taken: their quantiles are no quantities"
                )


def _value(point: Any) -> dict[str, Decimal]:
    match point.WhichOneof("value"):
        case "as_int":
            return {"value": Decimal(point.as_int)}
        case "as_double" if (number := double(point.as_double)) is not None:
            return {"value": number}
        case _:
            return {}


def _counted(point: Any) -> dict[str, Decimal]:
    measured = {"count": Decimal(point.count)}
    if point.HasField("sum") and (total := double(point.sum)) is not None:
        measured["sum"] = total
    return measured


def _translate(metric: Metric, point: _Point, origin: Origin) -> Event | Reading | Untranslatable:
    try:
        return _event(metric, point, origin)
    except Unusable as reason:
        return Untranslatable("unusable_point", f"{metric.name[:100]}: {reason}", None)


def _event(metric: Metric, point: _Point, origin: Origin) -> Event | Reading:
    message = point.message
    if point.complaint is not None:
        raise Unusable(point.complaint)
    if message.flags & _NO_VALUE or not point.measured:
        raise Unusable("the point has no value")
    if not message.time_unix_nano:
        raise Unusable("the point has no time")
    attributes = attributes_of(message.attributes)
    stream = digest(origin.resource, origin.scope, metric.name, metric.unit, attributes)
    begun = moment_of(message.start_time_unix_nano)
    members = {
        "attributes": as_members(attributes),
        "resource": as_members(origin.resource),
        "scope": origin.scope,
        "unit": metric.unit,
        "start": format_instant(begun) if begun is not None else None,
    }
    data = {name: value for name, value in members.items() if value}
    measured = {name: as_number(number) for name, number in point.measured.items()}
    event = Event(
        id=digest(stream, message.start_time_unix_nano, message.time_unix_nano),
        source=origin.source,
        type=metric.name,
        subject=subject_of(attributes) or origin.subject,
        time=moment_of(message.time_unix_nano),
        data=msgspec.Raw(msgspec.json.encode({**measured, **data})),
    )
    if not point.accumulates:
        return event
    for name, number in point.measured.items():
        if not _fits(number):
            raise Unusable(f"a running total of {number} ({name}) cannot be counted on exactly")
    of_value, of_total = ("count", "sum") if "count" in point.measured else ("value", "sum")
    return Reading(
        stream=digest(stream, message.start_time_unix_nano),
        begun_known=begun is not None,
        time_ns=message.time_unix_nano,
        value=point.measured[of_value],
        total=point.measured.get(of_total),
        names=(of_value, of_total),
        event=event,
        data=data,
    )


def _fits(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_DIGITS_MAX and value.adjusted() < _DIGITS_MAX
