"""What usage in columns costs, against the same worked out row by row in decimals. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal as D

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.kernel.quantity import exact
from farthing.wallets.proportional import amounts_of, usage_columns_of

NAMES = ("model", "region")
UNIT_AMOUNTS = {
    "opus": D("0.0000025"),
    "haiku": D("12.5"),
    "large": D("123456789012345678.123456789012345678"),
    "free": D(0),
    None: D(-3),
}


def unit_amount(dimensions: Mapping[str, str]) -> D:
    if dimensions.get("model") == "unpriced":
        raise InvalidInput("no_cell", "no price for it")
    return UNIT_AMOUNTS[dimensions.get("model")] * (2 if dimensions.get("region") == "eu" else 1)


def table_of(rows: list[tuple[int, str | None, str | None, D]], scale: int) -> pa.Table:
    places, models, regions, quantities = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "span_id": pa.array(places, pa.int64()),
            "model": pa.array(models, pa.string()),
            "region": pa.array(regions, pa.string()),
            "quantity": pa.array(quantities, pa.decimal128(38, scale)),
        }
    )


def one_by_one(rows: list[tuple[int, str | None, str | None, D]]) -> dict[int, D]:
    sums: dict[int, D] = defaultdict(D)
    unknown = {place for place, model, _, _ in rows if model == "unpriced"}
    with exact():
        for place, model, region, quantity in rows:
            dimensions = {
                name: value for name, value in zip(NAMES, (model, region), strict=True) if value is not None
            }
            sums[place] += D(0) if place in unknown else quantity * unit_amount(dimensions)
    return dict(sums)


def rows_of(scale: int, most: int) -> st.SearchStrategy[list[tuple[int, str | None, str | None, D]]]:
    quantity = st.integers(-most, most).map(lambda number: D(number).scaleb(-scale))
    models = st.sampled_from([*UNIT_AMOUNTS, "unpriced"])
    row = st.tuples(st.integers(0, 6), models, st.sampled_from(["eu", None]), quantity)
    return st.lists(row, max_size=12).map(lambda rows: sorted(rows, key=lambda one: one[0]))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([0, 3, 12]), st.sampled_from([1000, 2**62, 10**25]))
def test_the_sums_are_exact_however_large(data: st.DataObject, scale: int, most: int) -> None:
    rows = data.draw(rows_of(scale, most))
    with exact():
        places, amounts = amounts_of(usage_columns_of(table_of(rows, scale), NAMES), unit_amount)
    assert dict(zip(places.tolist(), amounts, strict=True)) == one_by_one(rows)


@settings(max_examples=60, deadline=None)
@given(rows_of(3, 10**6))
def test_rows_are_told_one_by_one_as_they_are(rows: list[tuple[int, str | None, str | None, D]]) -> None:
    usage = usage_columns_of(table_of(rows, 3), NAMES)
    with exact():
        told = usage.rows(*usage.between(0, 7))
        some = usage.of([(1, 3), (5, 7)])
        chosen = some.rows(0, len(some.places))
    assert [
        (place, dimensions.get("model"), dimensions.get("region"), quantity)
        for place, dimensions, quantity in told
    ] == rows
    assert chosen == [row for row in told if row[0] in (1, 2, 5, 6)]


def test_events_are_counted_in_whole_numbers() -> None:
    table = pa.table(
        {"span_id": pa.array([3, 3, 4], pa.int64()), "quantity": pa.array([2, 5, 1], pa.int64())}
    )
    usage = usage_columns_of(table, ())
    assert (usage.scale, usage.dimensions) == (0, ({},))
    with exact():
        places, amounts = amounts_of(usage, lambda _: D("0.01"))
    assert np.array_equal(places, [3, 4])
    assert amounts == [D("0.07"), D("0.01")]
