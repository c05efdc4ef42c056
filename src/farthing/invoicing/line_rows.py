"""The rows of lines and taxes of a batch of invoices, as one statement takes them: lists of JSON. Pure.

They are taken from the documents, so that they say the same. Of a document only what stands in rows is said again:
reading the whole of it once more would be the largest part of what issuing costs the books.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from farthing.invoicing.model import Invoice
from farthing.kernel.quantity import ZERO, exact, plain


def line_rows(invoices: Iterable[Invoice]) -> str:
    """One row for each line, with the number of its invoice."""
    rows = [_line_row(invoice.number, line) for invoice in invoices for line in invoice.content["lines"]]
    return msgspec.json.encode(rows).decode()


def tax_rows(invoices: Iterable[Invoice]) -> str:
    """One row for each tax of an invoice, with its place, from 1 on; none where no table of rates is loaded."""
    rows = [
        {"number": invoice.number, "place": place, **tax}
        for invoice in invoices
        for place, tax in enumerate(invoice.content.get("taxes", ()), start=1)
    ]
    return msgspec.json.encode(rows).decode()


def _line_row(number: str, line: Mapping[str, Any]) -> dict[str, Any]:
    service = line["service_period"]
    fee = line.get("fee_period", service)
    row = {
        "number": number,
        "line": line["line"],
        "rate_card": line["rate_card"],
        "meter": line["meter"],
        "dimensions": line["dimensions"],
        "service_start": service["start"],
        "service_end": service["end"],
        "fee_start": fee["start"],
        "fee_end": fee["end"],
        "quantity": line["quantity"],
        "amount_exact": line["amount_exact"],
        "amount": line["amount"],
        "tax": _tax_of(line),
    }
    for name in ("price", "one_off", "subscription"):
        if name in line:
            row[name] = line[name]
    if "plan" in line:
        row |= {"plan": line["plan"]["key"], "plan_version": line["plan"]["version"]}
    if "adjustment" in line:
        adjustment = line["adjustment"]
        corrected = adjustment.get("corrected", {})
        row |= {
            "adjustment": line["kind"],
            "adjustment_key": adjustment["key"],
            "corrected": corrected.get("kind"),
            "corrected_key": corrected.get("key"),
        }
    return row


def _tax_of(line: Mapping[str, Any]) -> str:
    """The tax of a line, of which it may have several."""
    taxes = line.get("taxes", ())
    if len(taxes) == 1:
        return str(taxes[0]["amount"])
    with exact():
        return plain(sum((Decimal(tax["amount"]) for tax in taxes), ZERO))
