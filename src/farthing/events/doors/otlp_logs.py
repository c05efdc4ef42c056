"""OTLP log records as events: each record is one.

Its type is `event_name` (or the attribute `event.name`; `otel.log` where it has neither), its time the record's,
else when it was observed. Data: `attributes`, `resource`, `scope`, `body`, `severity_number`, `severity_text`,
`trace_id`, `span_id`, each where there is one.

Identity: the attribute `log.record.uid` where there is one. Otherwise it follows from all that the record says,
its nanosecond included, and from how many equal ones stand before it in the request: the same request again is
a duplicate. A record with neither a time nor such an attribute is not taken, since nothing would tell it from a repeat.
"""

from collections import Counter
from typing import Any

import msgspec
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from farthing.events.doors.otlp import (
    Origin,
    OtlpEvents,
    Unusable,
    as_members,
    attributes_of,
    digest,
    moment_of,
    read_logs_request,
    subject_of,
    told_of,
    value_of,
)
from farthing.events.doors.translated import Untranslatable, as_batch
from farthing.events.model import Event

TYPE_OF_NAMELESS = "otel.log"
UID = "log.record.uid"


def read_logs(body: bytes, content_type: str) -> OtlpEvents:
    """The records of a request. Raises as `read_logs_request` does, and LimitExceeded `too_many_events`."""
    translated: list[Event | Untranslatable] = []
    equals: Counter[str] = Counter()
    for of_resource in read_logs_request(body, content_type).resource_logs:
        for of_scope in of_resource.scope_logs:
            origin = Origin.of(of_resource.resource, of_scope.scope)
            for record in of_scope.log_records:
                try:
                    translated.append(_event(record, origin, equals))
                except Unusable as reason:
                    translated.append(Untranslatable("unusable_record", str(reason), None))
    batch = as_batch(translated, {})
    return OtlpEvents(batch, told_of(one.message for one in batch.rejected))


def _event(record: LogRecord, origin: Origin, equals: "Counter[str]") -> Event:
    attributes = attributes_of(record.attributes)
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano
    data = _data(record, attributes, origin)
    name = record.event_name or attributes.get("event.name")
    uid = attributes.get(UID)
    if uid is None:
        if not nanoseconds:
            raise Unusable(f"a log record without a time needs the attribute {UID}")
        uid = digest(nanoseconds, record.event_name, origin.source, data)
        equals[uid] += 1
        if equals[uid] > 1:
            uid = f"{uid}-{equals[uid]}"
    return Event(
        id=str(uid),
        source=origin.source,
        type=name if isinstance(name, str) and name else TYPE_OF_NAMELESS,
        subject=subject_of(attributes) or origin.subject,
        time=moment_of(nanoseconds),
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def _data(record: LogRecord, attributes: dict[str, object], origin: Origin) -> dict[str, Any]:
    members = {
        "attributes": as_members(attributes),
        "resource": as_members(origin.resource),
        "scope": origin.scope,
        "body": value_of(record.body),
        "severity_number": record.severity_number,
        "severity_text": record.severity_text,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
    }
    return {name: value for name, value in members.items() if value}
