"""Invoice PDFs: forty lines on one page, and forty lines with two tiers each; on one core, and on all."""

import io
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pypdf import PdfReader

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from farthing.invoicing.paper.pdf import render_pdf, render_pdfs

ABOUT = ""
LINES = 40


SELLER = {"name": "Farthing Benchmarks", "address": {"country": "US"}}


def run(bench: Bench) -> list[Row]:
    """No two documents have a number or a quantity in common: nothing that was set once serves again."""
    count = bench.sizes.pdfs
    plain = [_document(number, _plain_charges) for number in range(1, count + 1)]
    tiered = [_document(number, _tiers) for number in range(1, count + 1)]
    with bench.saying(f"setting {3 * count} invoices, {bench.sizes.repetitions} times"):
        first, first_tiered = _checked(plain[0], 1), _checked(tiered[0], 4)
        repetitions = range(bench.sizes.repetitions)
        one_core = [_seconds(lambda: [render_pdf(one, SELLER) for one in plain]) for _ in repetitions]
        all_cores = [_seconds(lambda: list(render_pdfs(plain, SELLER))) for _ in repetitions]
        with_tiers = [_seconds(lambda: [render_pdf(one, SELLER) for one in tiered]) for _ in repetitions]
    return [
        _rate("PDF, one page, 40 lines", one_core, count),
        _rate("  on all cores", all_cores, count),
        Row("  size", "KiB", series([len(first) / 1024]), less_is_better=True),
        _rate("PDF, 40 lines of two tiers", with_tiers, count),
        Row("  its size", "KiB", series([len(first_tiered) / 1024]), less_is_better=True),
    ]


def _checked(document: dict[str, Any], pages: int) -> bytes:
    """The PDF, if a second one is the same and it has so many pages."""
    pdf = render_pdf(document, SELLER)
    require_equal("a second PDF of the same invoice", render_pdf(document, SELLER), pdf)
    require_equal("pages", len(PdfReader(io.BytesIO(pdf)).pages), pages)
    return pdf


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rate(title: str, seconds: Sequence[float], count: int) -> Row:
    return Row(title, "PDFs/s", series(count / one for one in seconds))


def _plain_charges(quantity: int, amount: str) -> list[dict[str, str]]:
    return [{"quantity": str(quantity), "unit_price": "0.00001", "amount": amount, "reason": "usage"}]


def _tiers(quantity: int, amount: str) -> list[dict[str, str]]:
    beyond = quantity - 1_000_000
    rest = str(Decimal(amount) - 10)
    return [
        {"quantity": "1000000", "unit_price": "0.00001", "amount": "10", "reason": "tier 1"},
        {"quantity": str(beyond), "unit_price": "1", "amount": rest, "reason": "tier 2"},
    ]


def _document(number: int, charges: Callable[[int, str], list[dict[str, str]]]) -> dict[str, Any]:
    """An invoice as it is issued."""
    period = {"start": "2024-06-01T00:00:00Z", "end": "2024-07-01T00:00:00Z"}
    amounts = [f"{10 + 7 * line + number}.00000{line:02d}" for line in range(1, LINES + 1)]
    lines = [
        {
            "line": line,
            "rate_card": f"card-{line}",
            "meter": "input_tokens",
            "description": f"Input tokens of model {line}-{number}",
            "dimensions": {"model": f"atlas-{line}"} if charges is _tiers else {},
            "service_period": period,
            "quantity": str(1_000_000 + 7 * line + number),
            "amount_exact": amount,
            "amount": f"{10 + 7 * line + number}.00",
            "charges": charges(1_000_000 + 7 * line + number, amount),
        }
        for line, amount in enumerate(amounts, start=1)
    ]
    total = sum(10 + 7 * line + number for line in range(1, LINES + 1))
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
