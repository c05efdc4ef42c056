"""Which row of the table holds, and how a table is read."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.tax.content import parse_rates, rate_json, rows_of_csv
from farthing.tax.model import TaxRate
from farthing.tax.table import TaxTable

CSV = b"""country,region,category,rate,name,from,until,adds
DE,,standard,19,VAT,2007-01-01,,
DE,,standard,16,VAT,2020-07-01,,
DE,,standard,19,VAT,2021-01-01,,
DE,,reduced,7,VAT,1983-07-01,,
ES,,standard,21,VAT,2012-09-01,,
ES,,reduced,10,VAT,2012-09-01,,
ES,Canarias,standard,0,IGIC,,,
CA,,standard,5,GST,2008-01-01,,
CA,QC,standard,9.975,QST,2013-01-01,,yes
CA,ON,standard,13,HST,2010-07-01,,no
US,NY,standard,4,Sales tax,,2026-07-01,
"""
TABLE = TaxTable(parse_rates(rows_of_csv(CSV)))


def asked(country: str, region: str | None, category: str, day: str) -> list[str]:
    found = TABLE.rates(country, region, category, date.fromisoformat(day))
    return [f"{rate.name} {rate.percent}" for rate in found]


@pytest.mark.parametrize(
    ("country", "region", "category", "day", "rates"),
    [
        ("DE", None, "standard", "2006-12-31", []),
        ("DE", None, "standard", "2007-01-01", ["VAT 19"]),
        ("DE", None, "standard", "2020-06-30", ["VAT 19"]),
        ("DE", None, "standard", "2020-07-01", ["VAT 16"]),
        ("DE", None, "standard", "2020-12-31", ["VAT 16"]),
        ("DE", None, "standard", "2021-01-01", ["VAT 19"]),
        ("DE", None, "reduced", "2026-01-01", ["VAT 7"]),
        ("DE", None, "books", "2026-01-01", ["VAT 19"]),
        ("DE", "Bavaria", "reduced", "2026-01-01", ["VAT 7"]),
        ("ES", "canarias", "reduced", "2026-01-01", ["IGIC 0"]),
        ("ES", "Madrid", "reduced", "2026-01-01", ["VAT 10"]),
        ("CA", "qc", "standard", "2026-01-01", ["GST 5", "QST 9.975"]),
        ("CA", " ON ", "standard", "2026-01-01", ["HST 13"]),
        ("CA", "AB", "standard", "2026-01-01", ["GST 5"]),
        ("US", "NY", "standard", "2026-06-30", ["Sales tax 4"]),
        ("US", "NY", "standard", "2026-07-01", []),
        ("US", "CA", "standard", "2026-01-01", []),
        ("FR", None, "standard", "2026-01-01", []),
    ],
)
def test_examples(country: str, region: str | None, category: str, day: str, rates: list[str]) -> None:
    assert asked(country, region, category, day) == rates


def row(percent: int, valid_from: date, valid_until: date | None) -> TaxRate:
    return TaxRate("DE", None, "standard", Decimal(percent), "VAT", valid_from, valid_until)


days = st.dates(date(2020, 1, 1), date(2020, 2, 15))
table_rows = st.lists(st.tuples(days, st.none() | st.integers(1, 30)), max_size=12)


@given(table_rows, days)
def test_a_row_holds_until_the_next_begins_or_it_ends(rows: list[tuple[date, int | None]], day: date) -> None:
    """The oracle goes through the rows as they were loaded and remembers which began last."""
    rates = [
        row(number, start, None if length is None else date.fromordinal(start.toordinal() + length))
        for number, (start, length) in enumerate(rows)
    ]
    begun: TaxRate | None = None
    for rate in rates:
        if rate.valid_from <= day and (begun is None or rate.valid_from >= begun.valid_from):
            begun = rate
    if begun is not None and begun.valid_until is not None and begun.valid_until <= day:
        begun = None
    assert TaxTable(rates).rates("DE", None, "standard", day) == (() if begun is None else (begun,))


def test_a_table_is_read_back_as_it_was_written() -> None:
    rates = parse_rates(rows_of_csv(CSV))
    assert parse_rates({"rates": [rate_json(rate) for rate in rates]}) == rates


@pytest.mark.parametrize(
    ("row", "path", "complaint"),
    [
        ({"country": "Germany", "rate": "19"}, "rates[0].country", "two capital letters"),
        ({"country": "DE"}, "rates[0].rate", "is missing"),
        ({"country": "DE", "rate": "-1"}, "rates[0].rate", "from 0 to 1000"),
        ({"country": "DE", "rate": "1000.1"}, "rates[0].rate", "from 0 to 1000"),
        ({"country": "DE", "rate": "0.0000001"}, "rates[0].rate", "at most 6 decimals"),
        ({"country": "DE", "rate": 19.5}, "rates[0].rate", "binary float"),
        ({"country": "DE", "rate": "19", "from": "2020-13-01"}, "rates[0].from", "is not a date"),
        (
            {"country": "DE", "rate": "19", "from": "2020-01-02", "until": "2020-01-02"},
            "rates[0].until",
            "must be later than from",
        ),
        ({"country": "DE", "rate": "19", "adds": True}, "rates[0].adds", "is for a region"),
        ({"country": "DE", "rate": "19", "category": "a b"}, "rates[0].category", "is not a key"),
        ({"country": "DE", "rate": "19", "percent": "1"}, "rates[0].percent", "is not a known field"),
    ],
)
def test_a_fault_names_its_place(row: dict[str, object], path: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint) as refused:
        parse_rates({"rates": [row]})
    assert refused.value.path == path


@pytest.mark.parametrize("raw", [[], {"rates": []}, {}, None, "DE", 7])
def test_nothing_is_no_table(raw: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_rates(raw)
    assert refused.value.code == "invalid_tax_table"


def test_two_rows_for_the_same_day_are_named() -> None:
    same = {"country": "ES", "region": "canarias", "rate": "7"}
    with pytest.raises(InvalidInput, match=r"is for the same as rates\[0\]") as refused:
        parse_rates([same, same | {"region": "Canarias "}])
    assert refused.value.path == "rates[1]"


@pytest.mark.parametrize(
    "content",
    [b"country,rate\nDE\n", b"country,rate\nDE,19,x\n", b'country,rate\n"DE,19\n', b"country,rate\n\xff,1\n"],
)
def test_a_broken_csv_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        rows_of_csv(content)
    assert refused.value.code == "malformed_csv"
