"""The party that invoices come from: read, and what of it stands on a document. Pure.

{"name": "Northwind AI", "address": {"line1": "Torstr. 33", "city": "Berlin", "postcode": "10119", "country": "DE"},
 "email": "accounts@northwind.example", "website": "northwind.example", "tax_id": "VAT DE 123 456 789",
 "note": "Please pay to IBAN ...", "paper": "a4", "logo_svg": "<svg ...>"}

Only the name is required. A tenant that says nothing sells under its own name.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, kind, parse_choice, parse_text
from farthing.tax.identification import parse_country

PAPERS = ("a4", "us-letter")
LOGO_BYTES_MAX = 262_144
ADDRESS_FIELDS = ("line1", "line2", "city", "postcode", "region", "country")
FACTS = ("name", "address", "email", "website", "tax_id", "note")
"""What is written into each document. Paper and logo are how it is shown, and may change later."""

_PNG = b"\x89PNG\r\n\x1a\n"


def parse_seller(raw: object) -> dict[str, Any]:
    """The seller as it is kept. Raises InvalidInput with every fault."""
    faults = Faults("invalid_seller")
    fields = Fields(raw, "", faults)
    seller: dict[str, Any] = {"name": fields.required("name", parse_text)}
    seller["address"] = fields.optional("address", _parse_address, None)
    for name in ("email", "website", "tax_id", "note"):
        seller[name] = fields.optional(name, parse_text, None)
    seller["paper"] = fields.optional("paper", _parse_paper, None)
    seller["logo_svg"] = fields.optional("logo_svg", _parse_svg, None)
    seller["logo_png"] = fields.optional("logo_png", _parse_png, None)
    fields.refuse_unknown()
    if "logo_svg" in fields and "logo_png" in fields:
        faults.add("logo_png", "must not stand beside logo_svg: there is one logo")
    faults.refuse()
    return {name: value for name, value in seller.items() if value is not None}


def seller_on_document(seller: Mapping[str, Any], tenant_name: str) -> dict[str, Any]:
    """The facts of the seller, which stay on the document whatever the seller changes later."""
    facts = {name: seller[name] for name in FACTS if name in seller}
    return {"name": tenant_name} | facts


def _parse_address(raw: object, path: str) -> dict[str, str]:
    faults = Faults("invalid_seller")
    fields = Fields(raw, path, faults)
    parsers = {"country": parse_country}
    parts = {name: fields.optional(name, parsers.get(name, parse_text), None) for name in ADDRESS_FIELDS}
    fields.refuse_unknown()
    faults.refuse()
    return {name: part for name, part in parts.items() if part is not None}


def _parse_paper(raw: object, path: str) -> str:
    return parse_choice(raw, path, PAPERS, code="invalid_seller")


def _parse_svg(raw: object, path: str) -> str:
    if not isinstance(raw, str) or "<svg" not in raw:
        raise _bad(path, f"must be the text of an SVG image, not {kind(raw)}")
    if len(raw.encode()) > LOGO_BYTES_MAX:
        raise _bad(path, f"is larger than {LOGO_BYTES_MAX} bytes")
    return raw


def _parse_png(raw: object, path: str) -> str:
    try:
        data = base64.b64decode(raw, validate=True) if isinstance(raw, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data.startswith(_PNG):
        raise _bad(path, "must be a PNG image in base64")
    if len(data) > LOGO_BYTES_MAX:
        raise _bad(path, f"is larger than {LOGO_BYTES_MAX} bytes")
    assert isinstance(raw, str)
    return raw


def _bad(path: str, message: str) -> InvalidInput:
    return InvalidInput.of("invalid_seller", [Fault(path, message)])
