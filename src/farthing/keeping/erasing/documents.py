"""An issued document without its buyer. Pure.

Number, lines, quantities, amounts, taxes and times stay as they were issued, and so does the order in which they
stand; who was billed, and what was written for it alone, is replaced by what the rows beside the document say.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LeftLine:
    """What the row of an invoice's line says by now.

    commitment: the key of the one that it is made of. corrected: of the one whose line it corrects.
    """

    dimensions: Mapping[str, Any]
    one_off: str | None
    commitment: str | None
    corrected: str | None


def document_left(
    text: str, pseudonym: str, subscription: str, lines: Mapping[int, LeftLine], credit_note: bool
) -> str:
    """The document as it is kept from now on. lines: by their numbers on the invoice."""
    document = json.loads(text)
    document["customer"], document["subscription"] = pseudonym, subscription
    document["bill_to"] = {"name": pseudonym, "address": {}}
    if credit_note:
        document["reason"] = ""
    for line in document["lines"]:
        _leave(line, lines[line["of"] if credit_note else line["line"]], pseudonym)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _leave(line: dict[str, Any], left: LeftLine, pseudonym: str) -> None:
    replaced = [
        (str(old), str(left.dimensions[name]))
        for name, old in line["dimensions"].items()
        if old is not None and left.dimensions.get(name, old) != old
    ]
    line["dimensions"] = {name: left.dimensions.get(name) for name in line["dimensions"]}
    line["description"] = _without(line["description"], replaced)
    for charge in line.get("charges", ()):
        charge["reason"] = _without(charge["reason"], replaced)
    if left.commitment is not None:
        line["description"] = pseudonym
        if "adjustment" in line:
            line["adjustment"]["key"] = left.commitment
    if left.corrected is not None:
        line["description"] = pseudonym
        if "adjustment" in line:
            line["adjustment"]["corrected"]["key"] = left.corrected
    if left.one_off is not None:
        line["description"], line["rate_card"] = pseudonym, left.one_off
        if "one_off" in line:
            line["one_off"] = left.one_off


def _without(text: str, replaced: Sequence[tuple[str, str]]) -> str:
    for old, new in replaced:
        text = text.replace(old, new)
    return text
