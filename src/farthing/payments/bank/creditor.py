"""Who draws direct debits: the tenant as its bank knows it. Pure."""

import re
from dataclasses import dataclass

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, parse_text
from farthing.payments.bank.iban import parse_iban

NAME_LENGTH_MAX = 70
"""EPC: of Max140Text, 70 characters are passed on between banks."""
_CREDITOR_ID = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{3}[A-Z0-9]{1,28}\Z", re.ASCII)
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Creditor:
    """Its name, account and creditor identifier (of the SEPA rulebook)."""

    name: str
    iban: str
    bic: str | None
    creditor_id: str


def parse_creditor(raw: object, path: str) -> Creditor:
    """Raises InvalidInput `invalid_creditor` with every fault."""
    faults = Faults("invalid_creditor")
    fields = Fields(raw, path, faults)
    creditor = Creditor(
        fields.required("name", _parse_name),
        fields.required("iban", parse_iban),
        fields.optional("bic", parse_bic, None),
        fields.required("creditor_id", _parse_creditor_id),
    )
    fields.refuse_unknown()
    faults.refuse()
    return creditor


def _parse_name(raw: object, path: str) -> str:
    name = parse_text(raw, path)
    if len(name) > NAME_LENGTH_MAX:
        complaint = f"must have at most {NAME_LENGTH_MAX} characters"
        raise InvalidInput.of("invalid_creditor", [Fault(path, complaint)])
    return name


def parse_bic(raw: object, path: str) -> str:
    """Raises InvalidInput `invalid_bic`."""
    if isinstance(raw, str) and _BIC.match(raw):
        return raw
    raise InvalidInput.of("invalid_bic", [Fault(path, "is not a BIC of 8 or 11 capital letters and digits")])


def _parse_creditor_id(raw: object, path: str) -> str:
    """Country, two check digits (ISO 7064, modulo 97, without the business code of three), the national number."""
    text = raw if isinstance(raw, str) else ""
    if _CREDITOR_ID.match(text):
        checked = text[7:] + text[:4]
        if int("".join(str(int(sign, 36)) for sign in checked)) % 97 == 1:
            return text
    complaint = "is not a SEPA creditor identifier, or its check digits do not fit"
    raise InvalidInput.of("invalid_creditor", [Fault(path, complaint)])
