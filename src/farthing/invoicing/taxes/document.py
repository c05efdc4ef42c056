"""How tax stands on an invoice's document. Pure.

"taxes": [{"name": "VAT", "country": "DE", "category": "standard", "treatment": "taxed", "code": "S", "rate": "19",
           "net": "100.00", "amount": "19.00"}]

Each line says what of it bears which of them (`tax` is a place in that list, from 1 on). An invoice from before a table
of rates was loaded has none of this.
"""

from typing import Any

from farthing.invoicing.model import InvoiceTax, LineTax
from farthing.kernel.quantity import plain, trimmed
from farthing.tax.model import TaxLine


def with_tax(document: dict[str, Any], tax: InvoiceTax) -> dict[str, Any]:
    """The document with its taxes, by line and in all, and the customer's tax ids."""
    for line, taxes in zip(document["lines"], tax.of_lines, strict=True):
        line["taxes"] = [_line_tax_json(one) for one in taxes]
    document["prices_include_tax"] = tax.inclusive
    document["taxes"] = [_tax_line_json(line) for line in tax.lines]
    if tax.tax_ids:
        document["bill_to"]["tax_ids"] = [
            {"country": tax_id.country, "number": tax_id.number} for tax_id in tax.tax_ids
        ]
    return document


def _tax_line_json(line: TaxLine) -> dict[str, Any]:
    treatment, duty = line.treatment, line.duty
    said: dict[str, Any] = {
        "name": duty.name,
        "country": treatment.country,
        "category": treatment.category,
        "treatment": treatment.kind.value,
        "code": treatment.code,
        "rate": trimmed(duty.percent),
        "net": plain(line.net),
        "amount": plain(line.amount),
    }
    if duty.region is not None:
        said["region"] = duty.region
    if treatment.note is not None:
        said["note"] = treatment.note
    return said


def _line_tax_json(tax: LineTax) -> dict[str, Any]:
    return {"tax": tax.tax_line + 1, "of": plain(tax.amount), "amount": plain(tax.tax)}
