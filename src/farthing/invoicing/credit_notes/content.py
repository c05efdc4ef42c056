"""How a credit note is asked for, and its document. Pure.

{"key": "outage-3-may", "invoice": "INV-000001", "reason": "Outage on 3 May"}              all that is left
{..., "amount": "11.90", "refund": true}                                                    an amount, with tax
{..., "lines": [{"line": 1, "quantity": "500"}, {"line": 2, "amount": "5.00"}, {"line": 3}]}     some lines
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.invoicing.credit_notes.model import Credit, CreditedLine, CreditWanted, LineWanted
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, parse_decimal, plain, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_count,
    parse_flag,
    parse_list,
    parse_subject,
    parse_text,
)

NUMBER_PREFIX = "CN-"
NUMBER_DIGITS = 6
LINES_MAX = 10_000
LINE_MAX = 2**31 - 1


def credit_note_number(count: int) -> str:
    """`CN-000001`; numbers beyond a million just grow."""
    return f"{NUMBER_PREFIX}{count:0{NUMBER_DIGITS}d}"


def parse_document(text: str) -> dict[str, Any]:
    """A document as it is kept."""
    document: dict[str, Any] = json.loads(text)
    return document


def parse_credit(raw: object) -> CreditWanted:
    """Raises InvalidInput `invalid_credit_note`, or the code of its parts, with every fault."""
    faults = Faults("invalid_credit_note")
    fields = Fields(raw, "", faults)
    key = fields.required("key", parse_subject)
    invoice = fields.required("invoice", parse_subject)
    reason = fields.required("reason", parse_text)
    amount = fields.optional("amount", _parse_positive, None)
    lines = fields.optional("lines", _parse_lines, ())
    refund = fields.optional("refund", _parse_flag, False)
    fields.refuse_unknown()
    if "amount" in fields and "lines" in fields:
        faults.add("lines", "must not stand beside amount: give back an amount, or lines")
    faults.refuse()
    return CreditWanted(key, invoice, reason, amount, lines, refund)


def parse_void(raw: object) -> str:
    """Why an invoice is voided: `{"reason": "..."}`. Raises InvalidInput `invalid_void`, `invalid_text`."""
    faults = Faults("invalid_void")
    fields = Fields(raw, "", faults)
    reason = fields.required("reason", parse_text)
    fields.refuse_unknown()
    faults.refuse()
    return reason


def wanted_json(wanted: CreditWanted) -> dict[str, Any]:
    """What was asked for, as it is kept beside the key: asked again, it must be the same."""
    return {
        "invoice": wanted.invoice,
        "reason": wanted.reason,
        "amount": None if wanted.amount is None else trimmed(wanted.amount),
        "lines": [
            {
                "line": one.line,
                "quantity": None if one.quantity is None else trimmed(one.quantity),
                "amount": None if one.amount is None else trimmed(one.amount),
            }
            for one in wanted.lines
        ],
        "refund": wanted.refund,
    }


def document_of(
    credit: Credit,
    wanted: CreditWanted,
    number: str,
    invoice: Mapping[str, Any],
    seller: Mapping[str, Any],
    issued_at: datetime,
    to_wallets: Decimal = ZERO,
) -> dict[str, Any]:
    """The credit note as a document; amounts are above zero, and given back. The parties are the invoice's customer
    as it was billed, and the seller as it is now. to_wallets: what of it goes back there.
    """
    document: dict[str, Any] = {
        "number": number,
        "invoice": wanted.invoice,
        "invoice_issued_at": invoice["issued_at"],
        "customer": invoice["customer"],
        "subscription": invoice["subscription"],
        "currency": invoice["currency"],
        "reason": wanted.reason,
        "refund": wanted.refund,
        "lines": [_line(place, line) for place, line in enumerate(credit.lines, start=1)],
        "subtotal": plain(credit.subtotal),
        "tax": plain(credit.tax),
        "total": plain(credit.total),
        "issued_at": format_instant(issued_at),
        "timezone": invoice["timezone"],
        "bill_to": invoice["bill_to"],
        "seller": dict(seller),
    }
    if to_wallets:
        document["to_wallets"] = plain(to_wallets)
    if "taxes" in invoice:
        document["prices_include_tax"] = invoice["prices_include_tax"]
        document["taxes"] = [
            invoice["taxes"][tax.place] | {"net": plain(tax.net), "amount": plain(tax.amount)}
            for tax in credit.taxes
        ]
    return document


def _line(place: int, line: CreditedLine) -> dict[str, Any]:
    """What is given back of a line. `of`: its number on the invoice."""
    said = line.line.said
    return {
        "line": place,
        "of": line.line.number,
        "rate_card": said["rate_card"],
        "description": said["description"],
        "dimensions": said["dimensions"],
        "service_period": said["service_period"],
        "quantity": None if line.quantity is None else trimmed(line.quantity),
        "amount": plain(line.amount),
        "tax": plain(line.tax),
    }


def _parse_lines(raw: object, path: str) -> tuple[LineWanted, ...]:
    faults = Faults("invalid_credit_note")
    if raw == []:
        faults.add(path, "must have at least one item")
    lines = parse_list(raw, path, _parse_line, most=LINES_MAX, faults=faults)
    first_at: dict[int, int] = {}
    for index, one in enumerate(lines):
        if first_at.setdefault(one.line, index) != index:
            faults.add(f"{path}[{index}].line", f"stands at {path}[{first_at[one.line]}] already")
    faults.refuse()
    return tuple(lines)


def _parse_line(raw: object, path: str) -> LineWanted:
    faults = Faults("invalid_credit_note")
    fields = Fields(raw, path, faults)
    line = fields.required("line", _parse_place)
    quantity = fields.optional("quantity", _parse_positive, None)
    amount = fields.optional("amount", _parse_amount, None)
    fields.refuse_unknown()
    if "quantity" in fields and "amount" in fields:
        faults.add(fields.at("amount"), "must not stand beside quantity")
    faults.refuse()
    return LineWanted(line, quantity, amount)


def _parse_place(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=LINE_MAX, code="invalid_credit_note")


def _parse_amount(raw: object, path: str) -> Decimal:
    return parse_decimal(raw, path, code="invalid_amount")


def _parse_positive(raw: object, path: str) -> Decimal:
    number = parse_decimal(raw, path, code="invalid_amount")
    if number <= 0:
        raise InvalidInput.of("invalid_amount", [Fault(path, "must be greater than zero")])
    return number


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code="invalid_credit_note")
