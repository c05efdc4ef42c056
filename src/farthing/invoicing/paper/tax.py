"""How tax reads on a printed invoice: a row for each tax among the totals, the notes that the law asks for. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.invoicing.paper.wording import grouped, money, printable
from farthing.tax.model import TreatmentKind

_UNTAXED = {
    TreatmentKind.EXEMPT: "exempt",
    TreatmentKind.REVERSE_CHARGE: "reverse charge",
    TreatmentKind.NOT_COLLECTED: "not collected",
}


def tax_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Names and amounts of the taxes; of an invoice from before there was a table, one row of zero."""
    currency = document["currency"]
    if not document.get("taxes"):
        return [["Tax", money(document["tax"], currency)]]
    inclusive = document["prices_include_tax"]
    return [
        [
            ("incl. " if inclusive else "") + f"{_name(tax)} on {money(tax['net'], currency)}",
            money(tax["amount"], currency),
        ]
        for tax in document["taxes"]
    ]


def tax_notes(document: Mapping[str, Any]) -> list[str]:
    """The notes of the treatments, each once, in the order of the taxes."""
    return list(dict.fromkeys(tax["note"] for tax in document.get("taxes", ()) if "note" in tax))


def line_tax_notes(line: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """What a line bears, where not all lines of the invoice bear the same."""
    taxes = document.get("taxes", ())
    treatments = {(tax["treatment"], tax["category"], tax["country"]) for tax in taxes}
    if len(treatments) < 2 or not line.get("taxes"):
        return []
    borne = [taxes[one["tax"] - 1] for one in line["taxes"]]
    return [" + ".join(dict.fromkeys(_name(tax) for tax in borne))]


def tax_id_rows(party: Mapping[str, Any]) -> list[str]:
    """The tax ids of a party as they stand under its address."""
    return [f"Tax ID {tax_id['number']}" for tax_id in party.get("tax_ids", ())]


def _name(tax: Mapping[str, Any]) -> str:
    """`VAT 19 %`, `VAT 0 % (reverse charge)`, `Tax (not collected)`"""
    kind = TreatmentKind(tax["treatment"])
    rate = f"{printable(tax['name'])} {grouped(tax['rate'])} %"
    if kind not in _UNTAXED:
        return rate
    named = (
        printable(tax["name"])
        if Decimal(tax["rate"]) == 0 and kind is not TreatmentKind.REVERSE_CHARGE
        else rate
    )
    return f"{named} ({_UNTAXED[kind]})"
