"""Meters: what is let in, every way of being wrong, and that the stored form reads back the same."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.expression import Literal, Mul, Path
from farthing.catalog.meter import meter_json, parse_meter
from farthing.catalog.model import Aggregation, Condition, Meter, Operator
from farthing.kernel.errors import InvalidInput

GOOD: dict[str, object] = {
    "key": "input_tokens",
    "event_type": "llm.completion",
    "aggregation": "sum",
    "value": "data.input_tokens",
    "dimensions": {"region": "data.region", "model": "data.model"},
    "filter": [{"field": "data.status", "op": "eq", "value": "ok"}],
}


def test_the_meter_of_the_contract() -> None:
    assert parse_meter(GOOD) == Meter(
        key="input_tokens",
        event_type="llm.completion",
        aggregation=Aggregation.SUM,
        value=Path("data.input_tokens"),
        dimensions=(("model", "data.model"), ("region", "data.region")),
        filter=(Condition("data.status", Operator.EQ, "ok"),),
    )


def test_the_shortest_meter() -> None:
    meter = parse_meter({"key": "calls", "event_type": "api call", "aggregation": "count"})
    assert meter == Meter("calls", "api call", Aggregation.COUNT, None)
    assert meter_json(meter) == {
        "key": "calls", "event_type": "api call", "aggregation": "count", "dimensions": {}, "filter": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("op", "raw", "value"),
    [
        ("eq", "ok", "ok"),
        ("eq", 200, "200"),
        ("ne", Decimal("1.50"), "1.5"),
        ("eq", True, "true"),
        ("eq", "", ""),
        ("in", ["a", 1, False, "a"], ("a", "1", "false")),
        ("not_in", ["x"], ("x",)),
        ("gt", "1.5", Decimal("1.5")),
        ("gte", 3, Decimal(3)),
        ("lt", Decimal("0.1"), Decimal("0.1")),
        ("lte", "-7", Decimal(-7)),
        ("exists", False, False),
        ("exists", None, True),
    ],
)
def test_conditions(op: str, raw: object, value: object) -> None:
    meter = parse_meter(GOOD | {"filter": [{"field": "data.x", "op": op, "value": raw}]})
    assert meter.filter == (Condition("data.x", Operator(op), value),)  # type: ignore[arg-type]
    assert parse_meter(meter_json(meter)) == meter


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"key": "9lives"}, "invalid_key", "meters[0].key"),
        ({"key": "a" * 129}, "invalid_key", "meters[0].key"),
        ({"key": "a b"}, "invalid_key", "meters[0].key"),
        ({"event_type": ""}, "invalid_text", "meters[0].event_type"),
        ({"aggregation": "median"}, "invalid_aggregation", "meters[0].aggregation"),
        ({"aggregation": "percentile"}, "unsupported_aggregation", "meters[0].aggregation"),
        ({"aggregation": "weighted_sum"}, "unsupported_aggregation", "meters[0].aggregation"),
        ({"aggregation": ["sum"]}, "invalid_aggregation", "meters[0].aggregation"),
        ({"aggregation": "count"}, "invalid_meter", "meters[0].value"),
        ({"value": None}, "invalid_meter", "meters[0].value"),
        ({"value": "data.x / 2"}, "invalid_expression", "meters[0].value"),
        ({"aggregation": "unique", "value": "data.x + 1"}, "invalid_path", "meters[0].value"),
        ({"dimensions": ["data.x"]}, "invalid_meter", "meters[0].dimensions"),
        ({"dimensions": {"model": "model"}}, "invalid_path", "meters[0].dimensions.model"),
        ({"dimensions": {"model": None}}, "invalid_meter", "meters[0].dimensions.model"),
        ({"dimensions": {"a b": "data.x"}}, "invalid_key", "meters[0].dimensions.a b"),
        ({"dimensions": {f"d{i}": "data.x" for i in range(17)}}, "invalid_meter", "meters[0].dimensions"),
        ({"filter": {"field": "data.x"}}, "invalid_condition", "meters[0].filter"),
        ({"filter": [{"field": "x", "op": "eq", "value": 1}]}, "invalid_path", "meters[0].filter[0].field"),
        ({"filter": [{"field": "data.x", "op": "like", "value": 1}]}, "invalid_condition", "meters[0].filter[0].op"),
        ({"filter": [{"field": "data.x", "op": "eq"}]}, "invalid_condition", "meters[0].filter[0].value"),
        ({"filter": [{"field": "data.x", "op": "in", "value": []}]}, "invalid_condition", "meters[0].filter[0].value"),
        ({"filter": [{"field": "data.x", "op": "in", "value": "a"}]}, "invalid_condition", "meters[0].filter[0].value"),
        ({"filter": [{"field": "data.x", "op": "gt", "value": "a"}]}, "invalid_condition", "meters[0].filter[0].value"),
        ({"filter": [{"field": "data.x", "op": "exists", "value": 1}]}, "invalid_condition", None),
        ({"filter": [{"field": "data.x", "op": "eq", "value": {}}]}, "invalid_text", None),
        ({"filter": [{"field": "data.x", "op": "in", "value": ["a"] * 1001}]}, "invalid_condition", None),
        ({"filter": [{"field": "data.x", "op": "exists"}] * 33}, "invalid_condition", "meters[0].filter"),
        ({"filter": ["data.x"]}, "invalid_condition", "meters[0].filter[0]"),
        ({"unit": "token"}, "invalid_meter", "meters[0].unit"),
    ],
)  # fmt: skip
def test_faults(change: dict[str, object], code: str, path: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_meter(GOOD | change, "meters[0]")
    assert refused.value.code == code
    if path:
        assert refused.value.path == path


@pytest.mark.parametrize("raw", [None, [], "meter", 3])
def test_what_is_no_object(raw: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_meter(raw, "meters[0]")
    assert refused.value.code == "invalid_meter"


def test_all_faults_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_meter({"key": "-", "aggregation": "sum", "filter": [{"field": "x", "op": "y"}], "color": 1})
    assert refused.value.code == "invalid_meter"
    assert [fault.path for fault in refused.value.faults] == [
        "key",
        "event_type",
        "value",
        "filter[0].field",
        "filter[0].op",
        "color",
    ]


words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
paths = st.builds(lambda names: ".".join(["data", *names]), st.lists(words, min_size=1, max_size=3))
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1, max_size=20
).filter(lambda text: bool(text.strip()))
bounds = st.decimals(-(10**9), 10**9, places=4)
conditions = st.one_of(
    st.builds(Condition, paths, st.sampled_from([Operator.EQ, Operator.NE]), texts),
    st.builds(
        Condition,
        paths,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(texts, min_size=1, max_size=4, unique=True).map(tuple),
    ),
    st.builds(
        Condition, paths, st.sampled_from([Operator.GT, Operator.GTE, Operator.LT, Operator.LTE]), bounds
    ),
    st.builds(Condition, paths, st.just(Operator.EXISTS), st.booleans()),
)
meters = st.builds(
    Meter,
    words,
    texts,
    st.sampled_from([Aggregation.SUM, Aggregation.MAX, Aggregation.LATEST]),
    st.builds(Mul, st.builds(Path, paths), st.builds(Literal, bounds.map(lambda bound: bound or Decimal(0)))),
    st.dictionaries(words, paths, max_size=4).map(lambda found: tuple(sorted(found.items()))),
    st.lists(conditions, max_size=4).map(tuple),
)


@given(meters)
def test_the_stored_form_reads_back_as_the_same_meter(meter: Meter) -> None:
    stored = meter_json(meter)
    assert parse_meter(stored) == meter
    assert meter_json(parse_meter(stored)) == stored
