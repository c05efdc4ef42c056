"""Invoice PDFs: forty lines on one core."""

import time
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from farthing.invoicing.paper.pdf import render_pdf

ABOUT = ""
LINES = 40


def run(bench: Bench) -> list[Row]:
    """The same document with another number each time."""
    seller = {"name": "Farthing Benchmarks", "address": {"country": "US"}}
    documents = [_document(number) for number in range(1, bench.sizes.pdfs + 1)]
    took = []
    with bench.saying(f"setting {len(documents)} invoices, {bench.sizes.repetitions} times"):
        first = render_pdf(documents[0], seller)
        require_equal("the start of a PDF", first[:5], b"%PDF-")
        require_equal("a second PDF of the same invoice", render_pdf(documents[0], seller), first)
        for _ in range(bench.sizes.repetitions):
            started = time.perf_counter()
            for document in documents:
                render_pdf(document, seller)
            took.append(time.perf_counter() - started)
    return [
        Row(f"PDF of an invoice of {LINES} lines", "PDFs/s", series(len(documents) / one for one in took)),
        Row("  size", "KiB", series([len(first) / 1024]), less_is_better=True),
    ]


def _document(number: int) -> dict[str, Any]:
    """An invoice as it is issued, with two charges on each line."""
    period = {"start": "2024-06-01T00:00:00Z", "end": "2024-07-01T00:00:00Z"}
    lines = [
        {
            "line": line,
            "rate_card": f"card-{line}",
            "meter": "input_tokens",
            "description": f"Input tokens of model {line}",
            "dimensions": {"model": f"atlas-{line}"},
            "service_period": period,
            "quantity": str(1_000_000 + 7 * line),
            "amount_exact": f"{10 + 7 * line}.00000{line:02d}",
            "amount": f"{10 + 7 * line}.00",
            "charges": [
                {"quantity": "1000000", "unit_price": "0.00001", "amount": "10", "reason": "tier 1"},
                {
                    "quantity": str(7 * line),
                    "unit_price": "1",
                    "amount": f"{7 * line}.00000{line:02d}",
                    "reason": "tier 2",
                },
            ],
        }
        for line in range(1, LINES + 1)
    ]
    total = sum(10 + 7 * line for line in range(1, LINES + 1))
    return {
        "number": f"INV-{number:06d}",
        "customer": "acme",
        "subscription": "acme-payg",
        "status": "issued",
        "currency": "USD",
        "period": period,
        "lines": lines,
        "subtotal": f"{total}.00",
        "tax": "0.00",
        "total_exact": f"{total}.000082",
        "total": f"{total}.00",
        "reason": "period",
        "issued_at": "2024-07-01T00:00:00Z",
        "due_at": "2024-07-31T00:00:00Z",
        "plan": {"key": "payg", "name": "Pay as you go", "version": 1},
        "rounding": {"scope": "invoice", "mode": "half_up"},
        "timezone": "UTC",
        "bill_to": {
            "name": "Acme",
            "address": {"line1": "1 Main Street", "city": "Springfield", "country": "US"},
        },
        "seller": {"name": "Farthing Benchmarks", "address": {"country": "US"}},
    }
