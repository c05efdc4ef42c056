"""Two real hours of LLM traffic, billed to the last digit.

Reads the Azure LLM inference traces of 2023 (one hour each of a coding and of a chat service) and a
public price sheet, bills each trace at the prices of two models, and shows what rounding each call
to cents would have billed instead.

    python examples/azure_llm_trace.py [DIRECTORY WITH azure-llm-2023 AND litellm-prices]

Its output is committed beside it (azure_llm_trace.out) and compared by a test.
"""

import csv
import gzip
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from farthing.app import App, open_app, read_settings, wall_clock
from farthing.customers.apply import apply
from farthing.events.ingest import ingest_file
from farthing.invoicing.service import invoice_documents, run_billing

TRACES = {"code": "AzureLLMInferenceTrace_code.csv.gz", "conv": "AzureLLMInferenceTrace_conv.csv.gz"}
MODELS = ("gpt-4o", "gpt-4o-mini")
UNTIL = datetime(2023, 12, 1, tzinfo=UTC)


def main(data: Path) -> None:
    """Bill each trace with each model's prices and print the table."""
    prices = read_prices(data / "litellm-prices" / "model_prices_and_context_window.json.gz")
    with tempfile.TemporaryDirectory(prefix="farthing-example-") as directory:
        os.chmod(directory, 0o711)
        settings = read_settings({}, {"data_dir": f"{directory}/data"})
        with open_app(settings, wall_clock) as farthing:
            apply(farthing.books, farthing.tenant_id, catalog(prices), farthing.clock())
            for trace, file in TRACES.items():
                for model in MODELS:
                    ingest(farthing, data / "azure-llm-2023" / file, f"{trace}-{model}", model)
            result = run_billing(farthing.books, farthing.store, farthing.tenant_id, UNTIL, farthing.clock())
            invoices = list(invoice_documents(farthing.books, farthing.tenant_id, result.issued))
    print(f"{'trace':<6} {'model':<12} {'calls':>7} {'exact USD':>12} {'invoice':>9} {'rounded by call':>16}")
    for invoice in sorted(invoices, key=lambda invoice: invoice["customer"]):
        trace, model = invoice["customer"].split("-", 1)
        calls, by_call = rounded_by_call(data / "azure-llm-2023" / TRACES[trace], prices[model])
        exact = invoice["total_exact"]
        print(f"{trace:<6} {model:<12} {calls:>7,} {exact:>12} {invoice['total']:>9} {by_call:>16}")


def read_prices(sheet: Path) -> dict[str, tuple[str, str]]:
    """Dollars for a token of prompt and of answer, by model, as the sheet spells them."""
    with gzip.open(sheet) as file:
        models = json.load(file, parse_float=str)
    return {
        model: (models[model]["input_cost_per_token"], models[model]["output_cost_per_token"])
        for model in MODELS
    }


def catalog(prices: dict[str, tuple[str, str]]) -> dict[str, object]:
    """Two meters, one plan that is priced by model, a customer for each trace and model."""

    def by_model(place: int) -> dict[str, object]:
        cells = [
            {"when": {"model": model}, "price": {"model": "per_unit", "unit_price": prices[model][place]}}
            for model in MODELS
        ]
        return {"model": "matrix", "dimensions": ["model"], "cells": cells}

    def meter(key: str) -> dict[str, object]:
        return {
            "key": key,
            "event_type": "llm.completion",
            "aggregation": "sum",
            "value": f"data.{key}",
            "dimensions": {"model": "data.model"},
        }

    customers = [f"{trace}-{model}" for trace in TRACES for model in MODELS]
    return {
        "meters": [meter("input_tokens"), meter("output_tokens")],
        "plans": [
            {
                "key": "payg",
                "name": "Pay as you go",
                "currency": "USD",
                "interval": "month",
                "rate_cards": [
                    {"key": "input", "name": "Input tokens", "meter": "input_tokens", "price": by_model(0)},
                    {
                        "key": "output",
                        "name": "Output tokens",
                        "meter": "output_tokens",
                        "price": by_model(1),
                    },
                ],
            }
        ],
        "customers": [{"key": key, "name": key, "currency": "USD", "timezone": "UTC"} for key in customers],
        "subscriptions": [
            {
                "key": key,
                "customer": key,
                "plan": "payg",
                "start": "2023-11-01T00:00:00Z",
                "anchor": "calendar",
            }
            for key in customers
        ],
    }


def ingest(farthing: App, trace: Path, customer: str, model: str) -> None:
    """The same as `farthing ingest TRACE --map ...`."""
    mapping = (
        f"id=#,type='llm.completion',subject='{customer}',time=TIMESTAMP,"
        f"data.input_tokens=ContextTokens,data.output_tokens=GeneratedTokens,data.model='{model}'"
    )
    ingest_file(
        farthing.books,
        farthing.store,
        farthing.tenant_id,
        trace,
        mapping=mapping,
        lateness=farthing.settings.lateness,
        clock=farthing.clock,
    )


def rounded_by_call(trace: Path, prices: tuple[str, str]) -> tuple[int, Decimal]:
    """What a system that rounds each call to cents (half to even) would bill."""
    prompt, answer = Decimal(prices[0]), Decimal(prices[1])
    cent = Decimal("0.01")
    with gzip.open(trace, "rt") as file:
        calls = [
            int(row["ContextTokens"]) * prompt + int(row["GeneratedTokens"]) * answer
            for row in csv.DictReader(file)
        ]
    return len(calls), sum((call.quantize(cent, ROUND_HALF_EVEN) for call in calls), Decimal("0.00"))


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent.parent / "shared" / "data")
