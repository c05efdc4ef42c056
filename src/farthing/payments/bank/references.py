"""The invoices that a payer names in the text of a transfer. Pure.

People write `INV-000123`, `inv 123`, `INV000123, INV-000124`; all of them name the same invoices.
"""

import re

REFERENCES_MAX = 20
"""Invoices that one transfer may pay by name; what is left pays what is oldest."""

_NUMBER = re.compile(r"INV[\s\-/.:#]{0,3}0*([0-9]{1,12})(?![0-9])", re.ASCII | re.IGNORECASE)


def invoices_named(text: str) -> list[str]:
    """Their numbers, in the order they stand in, each once."""
    found = dict.fromkeys(f"INV-{int(match[1]):06d}" for match in _NUMBER.finditer(text) if match[1])
    return list(found)[:REFERENCES_MAX]
