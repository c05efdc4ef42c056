"""Tax identification numbers: read, checked, written. Pure.

    {"country": "DE", "number": "DE 136 695 976"}     ->  DE136695976, checked

A number of a country whose rules are known (`stdnum`) must have the length, the form and the check digits that
they ask for; the fault says which of them fails. Where no rules are known the number is kept and is not
`checked`; reverse charge asks for a checked one.
"""

import re
from datetime import date
from functools import cache
from types import ModuleType
from typing import Any

from stdnum import get_cc_module
from stdnum.exceptions import InvalidChecksum, InvalidComponent, InvalidFormat, InvalidLength, ValidationError

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, parse_text, shown
from farthing.tax.european_union import PREFIXES, is_member
from farthing.tax.model import TaxId

TAX_IDS_MAX = 20

_COUNTRY = re.compile(r"[A-Z]{2}\Z", re.ASCII)
_UNCHECKED = re.compile(r"[A-Z0-9][A-Z0-9./ -]{1,38}[A-Z0-9]\Z", re.ASCII)
_CHECKS: tuple[tuple[type[ValidationError], str], ...] = (
    (InvalidLength, "has the wrong length for"),
    (InvalidFormat, "has characters in the wrong places for"),
    (InvalidChecksum, "fails its check digits as"),
    (InvalidComponent, "has a part that does not exist in"),
)


def parse_tax_id(raw: object, path: str) -> TaxId:
    """Raises InvalidInput `invalid_tax_id` that names the check that fails."""
    faults = Faults("invalid_tax_id")
    fields = Fields(raw, path, faults)
    country = fields.required("country", parse_country)
    number = fields.required("number", parse_text)
    fields.refuse_unknown()
    faults.refuse()
    return checked_id(country, number, fields.at("number"))


def checked_id(country: str, number: str, path: str) -> TaxId:
    """The number in its canonical form: no spaces, and in the European Union with the letters of its country."""
    rules = _rules(country)
    if rules is None:
        text = " ".join(number.upper().split())
        if not _UNCHECKED.match(text):
            raise _bad(path, f"{shown(number)} is not a tax id: use 3 to 40 letters and digits")
        return TaxId(country, text, checked=False)
    try:
        compact = str(rules.validate(number))
    except ValidationError as error:
        said = next((words for kind, words in _CHECKS if isinstance(error, kind)), "is not")
        raise _bad(path, f"{shown(number)} {said} a tax id of {country}") from None
    prefix = PREFIXES.get(country, country) if is_member(country, date.max) else ""
    return TaxId(country, prefix + compact.removeprefix(prefix), checked=True)


def tax_id_json(tax_id: TaxId) -> dict[str, Any]:
    """A tax id as it is kept and shown."""
    return {"country": tax_id.country, "number": tax_id.number, "checked": tax_id.checked}


def parse_country(raw: object, path: str) -> str:
    """An ISO 3166 code of two capital letters."""
    if isinstance(raw, str) and _COUNTRY.match(raw):
        return raw
    complaint = f"must be a country code of two capital letters, not {shown(raw)}"
    raise InvalidInput.of("invalid_country", [Fault(path, complaint)])


@cache
def _rules(country: str) -> ModuleType | None:
    """What is known of a country's numbers: of value added tax, of goods and services tax, of businesses."""
    module = get_cc_module(country.lower(), "vat")
    assert module is None or isinstance(module, ModuleType)
    return module


def _bad(path: str, message: str) -> InvalidInput:
    return InvalidInput.of("invalid_tax_id", [Fault(path, message)])
