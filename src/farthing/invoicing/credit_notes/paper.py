"""A credit note on paper: what the template of invoices places, said of a credit note. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.invoicing.paper.content import paper
from farthing.invoicing.paper.pdf import pdf_of
from farthing.invoicing.paper.wording import day, money, printable
from farthing.kernel.instant import zone_named
from farthing.kernel.quantity import plain


def render_credit_note(document: Mapping[str, Any], seller: Mapping[str, Any]) -> bytes:
    """The credit note as a tagged PDF, with the logo and paper of `seller`."""
    return pdf_of(credit_note_paper(document, seller), document["issued_at"], seller)


def credit_note_paper(document: Mapping[str, Any], seller: Mapping[str, Any]) -> dict[str, Any]:
    """The credit note as the strings and rows that the template places."""
    zone, currency = zone_named(document["timezone"]), document["currency"]
    said = paper(_as_invoice(document), seller)
    issued = day(document["invoice_issued_at"], zone)
    said["facts"] = [
        ["Issued", day(document["issued_at"], zone)],
        ["Invoice", document["invoice"]],
        ["Invoiced", issued],
        *([["Time zone", zone.key]] if zone.key != "UTC" else []),
    ]
    said["headline"] = {
        "amount": f"{currency} {money(document['total'], currency)}",
        "due": "to be refunded" if document["refund"] else "to your credit",
    }
    said["notes"] = [printable(f"Reason: {document['reason']}"), *said["notes"]]
    return said | {"title": "Credit note", "named": "Credit note"}


def _as_invoice(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document in the shape of an invoice's; a line that is given back by amount shows no quantity."""
    return dict(document) | {
        "lines": [_line(line) for line in document["lines"]],
        "status": "issued",
        "due_at": document["issued_at"],
        "period": {"start": document["issued_at"], "end": document["issued_at"]},
        "plan": {"name": ""},
        "total_exact": document["total"],
        "rounding": {"scope": "invoice", "mode": "half_up"},
        "seller": {name: value for name, value in document["seller"].items() if name != "note"},
    }


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    quantity = line["quantity"]
    amount = Decimal(line["amount"])
    more: dict[str, Any] = {"quantity": quantity or "1", "charges": [], "amount_exact": plain(amount)}
    if quantity is None:
        more["adjusts"] = True
    return dict(line) | more
