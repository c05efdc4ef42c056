"""Invoices as documents, for what is printed of them."""

from decimal import Decimal
from typing import Any

JANUARY = {"start": "2024-01-01T00:00:00Z", "end": "2024-02-01T00:00:00Z"}
FEBRUARY = {"start": "2024-02-01T00:00:00Z", "end": "2024-03-01T00:00:00Z"}

Charges = list[tuple[str, str, str, str]]


def line(
    place: int, description: str, quantity: str, charges: Charges, amount: str, **more: Any
) -> dict[str, Any]:
    """Charges are (quantity, unit price, amount, reason)."""
    names = ("quantity", "unit_price", "amount", "reason")
    return {
        "line": place,
        "rate_card": description,
        "meter": "tokens",
        "description": description,
        "dimensions": {},
        "service_period": JANUARY,
        "quantity": quantity,
        "amount_exact": str(sum(Decimal(charge[2]) for charge in charges)),
        "amount": amount,
        "charges": [dict(zip(names, charge, strict=True)) for charge in charges],
    } | more


def tokens(place: int, model: str, **more: Any) -> dict[str, Any]:
    """18,059,974 tokens of a model at 0.0000025."""
    charge = ("18059974", "0.0000025", "45.149935", "usage")
    said = line(place, "Output tokens", "18059974", [charge], "45.15", dimensions={"model": model})
    return said | more


def invoice(lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    total = sum(Decimal(one["amount"]) for one in lines)
    return {
        "number": "INV-000042",
        "customer": "acme",
        "subscription": "acme-payg",
        "status": "issued",
        "currency": "USD",
        "period": JANUARY,
        "lines": lines,
        "subtotal": str(total),
        "tax": str(total * 0),
        "total_exact": str(sum(Decimal(one["amount_exact"]) for one in lines)),
        "total": str(total),
        "reason": "period",
        "issued_at": "2024-02-01T06:00:00Z",
        "due_at": "2024-03-02T06:00:00Z",
        "plan": {"key": "payg", "name": "Pay as you go", "version": 3},
        "rounding": {"scope": "invoice", "mode": "half_up"},
        "timezone": "UTC",
        "bill_to": {
            "name": "Acme Inc.",
            "email": "billing@acme.example",
            "address": {
                "line1": "500 Howard Street", "city": "San Francisco", "region": "CA", "postcode": "94105",
                "country": "US",
            },
        },
        "seller": {
            "name": "Northwind AI",
            "address": {"line1": "Torstr. 33", "city": "Berlin", "postcode": "10119", "country": "DE"},
            "tax_id": "VAT DE 123 456 789",
        },
    } | more  # fmt: skip
