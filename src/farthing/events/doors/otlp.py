"""OTLP/HTTP: what its requests for metrics and logs have in common. `otlp_logs.py` and `otlp_metrics.py` do the rest.

Protobuf and JSON carry the same messages and give the same events. Names of attributes become names that a meter's
path can hold: every character but letters, digits and `_` is written as `_`, so `gen_ai.request.model` stands at
`data.attributes.gen_ai_request_model`. Whole numbers stay whole; of a double with a fraction the 15 digits are read
that a double is good for (0.1 + 0.2 is 0.3, not 0.30000000000000004).

The subject is the first of the attributes `farthing.subject`, `customer.id`, `enduser.id` and `user.id` that the
record or point has, then that its resource has.
"""

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from farthing.events.intake.formats import media_type_of
from farthing.events.model import DATA_DEPTH_MAX, ParsedBatch
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import from_unix_microseconds

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
SUBJECT_ATTRIBUTES = ("farthing.subject", "customer.id", "enduser.id", "user.id")
SOURCE_PREFIX = "otlp:"
NO_SERVICE = "unknown_service"

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
_LATEST_NS = 7_289_654_400 * 1_000_000_000  # the end of the year 2200
_EXACT_WHOLE_MAX = 2**53
_encoder = msgspec.json.Encoder(order="deterministic")


class Unusable(Exception):
    """A record or point that cannot be an event; its text says why."""


@dataclass(frozen=True, slots=True)
class OtlpEvents:
    """A request's events; `told` are the complaints about what is none of them, each once."""

    batch: ParsedBatch
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The resource and the scope that records and points come from."""

    source: str
    resource: Mapping[str, object]
    scope: Mapping[str, object]
    subject: str | None

    @classmethod
    def of(cls, resource: Any, scope: Any) -> "Origin":
        """Read from the messages. The source is `otlp:` and the name of the service."""
        attributes = attributes_of(resource.attributes)
        service = attributes.get("service.name", NO_SERVICE)
        named = {"name": scope.name, "version": scope.version}
        return cls(
            source=f"{SOURCE_PREFIX}{service}",
            resource=attributes,
            scope={name: text for name, text in named.items() if text},
            subject=subject_of(attributes),
        )


def read_logs_request(body: bytes, content_type: str) -> ExportLogsServiceRequest:
    """The message of an unpacked body. Raises InvalidInput `unsupported_media_type`, `malformed_message`."""
    request = ExportLogsServiceRequest()
    _read_into(request, body, content_type)
    if is_json(content_type):
        for of_resource in request.resource_logs:
            for of_scope in of_resource.scope_logs:
                for record in of_scope.log_records:
                    record.trace_id = _from_hexadecimal(record.trace_id)
                    record.span_id = _from_hexadecimal(record.span_id)
    return request


def read_metrics_request(body: bytes, content_type: str) -> ExportMetricsServiceRequest:
    """The message of an unpacked body. Raises InvalidInput `unsupported_media_type`, `malformed_message`."""
    request = ExportMetricsServiceRequest()
    _read_into(request, body, content_type)
    return request


def logs_answer(rejected: int, message: str, content_type: str) -> bytes:
    """The answer to a request for logs, with what was not taken."""
    answer = ExportLogsServiceResponse()
    if rejected:
        answer.partial_success.rejected_log_records = rejected
        answer.partial_success.error_message = message
    return _written(answer, content_type)


def metrics_answer(rejected: int, message: str, content_type: str) -> bytes:
    """The answer to a request for metrics, with what was not taken."""
    answer = ExportMetricsServiceResponse()
    if rejected:
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = message
    return _written(answer, content_type)


def is_json(content_type: str) -> bool:
    """Whether a request is written, and so answered, in JSON."""
    return media_type_of(content_type) == JSON


def _read_into(message: Message, body: bytes, content_type: str) -> None:
    try:
        if is_json(content_type):
            if not body.lstrip().startswith(b"{"):
                raise ValueError("it is no JSON object")
            json_format.Parse(
                body, message, ignore_unknown_fields=True, max_recursion_depth=4 * DATA_DEPTH_MAX
            )
        elif media_type_of(content_type) == PROTOBUF:
            message.ParseFromString(body)
        else:
            raise InvalidInput("unsupported_media_type", f"the content-type must be {PROTOBUF} or {JSON}")
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidInput("malformed_message", f"the body is no OTLP request: {str(error)[:300]}") from None


def _from_hexadecimal(misread: bytes) -> bytes:
    """An id that OTLP's JSON spells in hexadecimal and protobuf's reader took for base64; empty if it is neither."""
    try:
        return bytes.fromhex(base64.b64encode(misread).decode())
    except ValueError:
        return b""


def _written(answer: Message, content_type: str) -> bytes:
    if is_json(content_type):
        return str(json_format.MessageToJson(answer, indent=None)).encode()
    return bytes(answer.SerializeToString())


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, object]:
    """Attributes as values of JSON, by the names that they were sent with. Of equal names the first counts."""
    found: dict[str, object] = {}
    for pair in pairs:
        found.setdefault(pair.key, value_of(pair.value))
    return found


def as_members(attributes: Mapping[str, object]) -> dict[str, object]:
    """Attributes by names that a path can hold.

    Raises Unusable where two of them would have one name.
    """
    members = {_NOT_IN_NAMES.sub("_", name): value for name, value in attributes.items()}
    if len(members) == len(attributes):
        return members
    by_name: dict[str, str] = {}
    for name in attributes:
        written = _NOT_IN_NAMES.sub("_", name)
        if written in by_name:
            raise Unusable(f"the attributes {by_name[written]!r} and {name!r} would both be {written!r}")
        by_name[written] = name
    return members


def value_of(value: AnyValue) -> object:
    """A value as JSON has it."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "double_value":
            number = double(value.double_value)
            return str(value.double_value) if number is None else as_number(number)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [value_of(one) for one in value.array_value.values]
        case "kvlist_value":
            return attributes_of(value.kvlist_value.values)
        case kind:
            return getattr(value, kind)


def double(number: float) -> Decimal | None:
    """A double as the number it was meant for; None where it is none."""
    if not math.isfinite(number):
        return None
    if number.is_integer() and abs(number) <= _EXACT_WHOLE_MAX:
        return Decimal(int(number))
    return Decimal(f"{number:.15g}")


def as_number(number: Decimal) -> msgspec.Raw:
    """A number as JSON, all its digits written out."""
    return msgspec.Raw(f"{number:f}".encode())


def subject_of(attributes: Mapping[str, object]) -> str | None:
    """Whom the attributes are about."""
    for name in SUBJECT_ATTRIBUTES:
        found = attributes.get(name)
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found):
            return str(found)
    return None


def moment_of(nanoseconds: int) -> datetime | None:
    """The instant, digits beyond microseconds dropped; None for 0, which means that there is none.

    Raises Unusable for a time beyond every calendar.
    """
    if nanoseconds > _LATEST_NS:
        raise Unusable("its time lies beyond the year 2200")
    return from_unix_microseconds(nanoseconds // 1000) if nanoseconds else None


def digest(*parts: object) -> str:
    """A name that follows from these values alone."""
    return blake2b(_encoder.encode(parts), digest_size=16).hexdigest()


def told_of(complaints: Iterable[str]) -> tuple[str, ...]:
    """Each complaint once, in order."""
    return tuple(dict.fromkeys(complaints))
