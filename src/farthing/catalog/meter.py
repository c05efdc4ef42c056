"""How a meter is read and written.

{"key": "input_tokens", "event_type": "llm.completion", "aggregation": "sum",
 "value": "data.input_tokens", "dimensions": {"model": "data.model"},
 "filter": [{"field": "data.status", "op": "eq", "value": "ok"}]}
"""

from decimal import Decimal

from farthing.catalog.expression import Expression, Path, expression_text, parse_expression, parse_path
from farthing.catalog.model import Aggregation, Condition, ConditionValue, Meter, Operator
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    kind,
    parse_choice,
    parse_flag,
    parse_key,
    parse_list,
    parse_text,
)

DIMENSIONS_MAX = 16
CONDITIONS_MAX = 32
CONDITION_VALUES_MAX = 1000

ENVELOPE_GROUPS = ("customer", "subject", "source")
"""Names by which the usage of any meter can be told apart; no dimension is called so."""

_LATER = ("weighted_sum", "percentile")


def parse_meter(raw: object, path: str = "") -> Meter:
    """The meter that a definition describes.

    Raises InvalidInput with every fault: `invalid_meter`, or the code of its parts where they are
    the only ones (invalid_key, invalid_expression, invalid_path, invalid_aggregation,
    unsupported_aggregation, invalid_condition).
    """
    faults = Faults("invalid_meter")
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_key)
    event_type = fields.required("event_type", parse_text)
    aggregation = fields.required("aggregation", _parse_aggregation)
    value = _value(fields, aggregation, faults)
    dimensions = fields.optional("dimensions", _parse_dimensions, ())
    conditions = fields.optional("filter", _parse_filter, ())
    fields.refuse_unknown()
    faults.refuse()
    return Meter(key, event_type, aggregation, value, dimensions, conditions)


def meter_json(meter: Meter) -> dict[str, object]:
    """The meter in its canonical form, as it is stored and shown; `parse_meter` reads the same meter back."""
    definition: dict[str, object] = {
        "key": meter.key,
        "event_type": meter.event_type,
        "aggregation": meter.aggregation.value,
    }
    if meter.value is not None:
        definition["value"] = expression_text(meter.value)
    definition["dimensions"] = dict(meter.dimensions)
    definition["filter"] = [_condition_json(condition) for condition in meter.filter]
    return definition


def _parse_aggregation(raw: object, path: str) -> Aggregation:
    if raw in _LATER:
        raise InvalidInput.of("unsupported_aggregation", [Fault(path, f"{raw} is not supported yet")])
    return Aggregation(parse_choice(raw, path, tuple(Aggregation), code="invalid_aggregation"))


def _value(fields: Fields, aggregation: Aggregation | None, faults: Faults) -> Expression | None:
    match aggregation:
        case None:  # The aggregation is a fault already; whether a value is needed is not known.
            return fields.optional("value", parse_expression, None)
        case Aggregation.COUNT:
            if "value" in fields:
                faults.add(fields.at("value"), "must be left out: count takes no value")
            return fields.optional("value", lambda _raw, _path: None, None)
        case Aggregation.UNIQUE:
            return fields.required("value", lambda raw, path: Path(parse_path(raw, path)))
        case _:
            return fields.required("value", parse_expression)


def _parse_dimensions(raw: object, path: str) -> tuple[tuple[str, str], ...]:
    faults = Faults("invalid_meter")
    if not isinstance(raw, dict):
        raise InvalidInput.of("invalid_meter", [Fault(path, f"must map names to paths, not {kind(raw)}")])
    if len(raw) > DIMENSIONS_MAX:
        complaint = f"has {len(raw)} items; at most {DIMENSIONS_MAX} are allowed"
        raise InvalidInput.of("invalid_meter", [Fault(path, complaint)])
    fields = Fields(raw, path, faults)
    dimensions: list[tuple[str, str]] = []
    for name in raw:
        try:
            parse_key(name, f"{path}.{str(name)[:40]}")
        except InvalidInput as error:
            faults.absorb(error)
            continue
        if name in ENVELOPE_GROUPS:
            faults.add(f"{path}.{name}", "is what every event is told apart by already: use another name")
        dimensions.append((name, fields.required(name, parse_path)))
    faults.refuse()
    return tuple(sorted(dimensions))


def _parse_filter(raw: object, path: str) -> tuple[Condition, ...]:
    faults = Faults("invalid_condition")
    conditions = parse_list(raw, path, _parse_condition, most=CONDITIONS_MAX, faults=faults)
    faults.refuse()
    return tuple(conditions)


def _parse_condition(raw: object, path: str) -> Condition:
    faults = Faults("invalid_condition")
    fields = Fields(raw, path, faults)
    field = fields.required("field", parse_path)
    op = fields.required("op", _parse_operator)
    value = _condition_value(fields, op)
    fields.refuse_unknown()
    faults.refuse()
    return Condition(field, op, value)


def _parse_operator(raw: object, path: str) -> Operator:
    return Operator(parse_choice(raw, path, tuple(Operator), code="invalid_condition"))


def _condition_value(fields: Fields, op: Operator | None) -> ConditionValue:
    match op:
        case None:  # The operator is a fault already.
            return fields.optional("value", lambda _raw, _path: "", "")
        case Operator.EXISTS:
            return fields.optional("value", _parse_flag, True)
        case Operator.EQ | Operator.NE:
            return fields.required("value", _parse_comparand)
        case Operator.IN | Operator.NOT_IN:
            return fields.required("value", _parse_comparands)
        case _:
            return fields.required("value", _parse_bound)


def _parse_comparand(raw: object, path: str) -> str:
    """What a field is compared with, as the text it has in an event: `ok`, `200`, `true`."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | Decimal):
        return trimmed(parse_decimal(raw, path, code="invalid_condition"))
    if raw == "":
        return ""
    return parse_text(raw, path)


def _parse_comparands(raw: object, path: str) -> tuple[str, ...]:
    faults = Faults("invalid_condition")
    values = parse_list(raw, path, _parse_comparand, most=CONDITION_VALUES_MAX, faults=faults)
    if raw == []:
        faults.add(path, "must have at least one item")
    faults.refuse()
    return tuple(dict.fromkeys(values))


def _parse_bound(raw: object, path: str) -> Decimal:
    return parse_decimal(raw, path, code="invalid_condition")


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code="invalid_condition")


def _condition_json(condition: Condition) -> dict[str, object]:
    value: object = condition.value
    if isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, Decimal):
        value = trimmed(value)
    return {"field": condition.field, "op": condition.op.value, "value": value}
