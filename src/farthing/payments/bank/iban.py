"""Account numbers: IBAN (ISO 13616), checked by their two check digits (ISO 7064, modulo 97). Pure."""

import re

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import shown

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\Z", re.ASCII)


def parse_iban(raw: object, path: str) -> str:
    """An IBAN without spaces. Raises InvalidInput `invalid_iban`, and says whether it is the check digits."""
    text = raw.replace(" ", "").upper() if isinstance(raw, str) else ""
    if not _IBAN.match(text):
        raise InvalidInput.of("invalid_iban", [Fault(path, f"{shown(raw)} is not written like an IBAN")])
    if int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 != 1:
        complaint = f"the check digits {text[2:4]} do not fit the rest of the account number"
        raise InvalidInput.of("invalid_iban", [Fault(path, complaint)])
    return text
