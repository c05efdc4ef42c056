"""The tables that others keep can be loaded, and say what they say."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.tax.content import parse_rates
from farthing.tax.table import TaxTable

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
EARLIEST = "1900-01-01"


def read(name: str) -> Any:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return json.loads(path.read_text(), parse_float=Decimal)


def test_vat_rates_of_europe() -> None:
    rows = [
        {
            "country": country,
            "category": category,
            "rate": str(rate),
            "name": "VAT",
            "from": EARLIEST if period["effective_from"].startswith("0000") else period["effective_from"],
        }
        for country, periods in read("vat-rates/vat-rates.json")["items"].items()
        for period in periods
        for category, rate in period["rates"].items()
    ]
    table = TaxTable(parse_rates({"rates": rows}))

    def standard(country: str, day: str) -> list[str]:
        return [str(rate.percent) for rate in table.rates(country, None, "standard", date.fromisoformat(day))]

    assert standard("DE", "2020-07-01") == ["16"]
    assert standard("DE", "2021-01-01") == ["19"]
    assert standard("HU", "2026-01-01") == ["27"]
    # A category that a country does not have bears its standard rate.
    (rate,) = table.rates("DK", None, "reduced", date(2026, 1, 1))
    assert str(rate.percent) == "25"


def test_sales_taxes_of_the_world() -> None:
    rows: list[dict[str, str]] = []
    for country, said in read("sales-tax-world/sales_tax_rates.json").items():
        if said["rate"]:
            rows.append({"country": country, "rate": str(said["rate"] * 100), "name": said["type"].upper()})
        for region, state in said.get("states", {}).items():
            # There a region's rate is what it adds; below zero it takes away, which here is another rate instead.
            rate, adds = (state["rate"], "yes") if state["rate"] > 0 else (said["rate"] + state["rate"], "no")
            row = {"country": country, "region": region, "rate": str(rate * 100), "name": state["type"]}
            rows.append(row | {"adds": adds})
    table = TaxTable(parse_rates({"rates": rows}))
    day = date(2026, 1, 1)
    assert [str(rate.percent.normalize()) for rate in table.rates("AU", None, "standard", day)] == ["1E+1"]
    canada = table.rates("CA", "qc", "standard", day)
    assert [rate.name for rate in canada][:1] == ["GST"]
    assert len(canada) == 2
    assert len(table.rates("US", "NY", "standard", day)) == 1
    assert [str(rate.percent) for rate in table.rates("ES", "GC", "standard", day)] == ["7"]
    assert [str(rate.percent) for rate in table.rates("ES", None, "standard", day)] == ["21"]
