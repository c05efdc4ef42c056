"""An invoice as it is written but for its number: its document, and the rows that say the same in columns. Pure.

A batch of invoices is one statement, which takes lists of JSON. What the lines and taxes say is taken from the
document; reading the whole of that once more would be the largest part of what issuing costs the books. Rows name
their invoice by a place, as its number is not known before those in front of it are issued.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.rowset import rowset
from farthing.invoicing.carrying.forward import carries
from farthing.invoicing.document import document_of, document_text, due_at
from farthing.invoicing.model import Draft
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.value import value

_BEGINS = '{"number":""'
_BEFORE_NUMBER = len(_BEGINS) - 1


@value
class Written:
    """The document of a draft without its number, and its rows: JSON objects with commas between them.

    place: what the rows call the invoice. No two of a statement have the same.
    """

    place: int
    document: str
    row: str
    line_rows: str
    tax_rows: str

    def numbered(self, number: str) -> str:
        """The document with this number, which needs no escape."""
        return self.document[:_BEFORE_NUMBER] + number + self.document[_BEFORE_NUMBER:]


@value
class Invoice:
    """A draft with its number, and the document, which is kept byte for byte.

    brings: the number of the invoice whose carried amount it brings forward.
    """

    number: str
    draft: Draft
    written: Written
    brings: str | None = None


def written(draft: Draft, place: int, seller: Mapping[str, Any], issued_at: datetime) -> Written:
    """The draft as it is issued at that moment."""
    content = document_of(draft, "", seller, issued_at)
    document = document_text(content)
    assert document.startswith(_BEGINS), "the number comes first"
    lines = (_line_row(place, line) for line in content["lines"])
    taxes = (
        {"at": place, "place": number, **tax} for number, tax in enumerate(content.get("taxes", ()), start=1)
    )
    return Written(
        place, document, _objects([_row(place, draft, issued_at)]), _objects(lines), _objects(taxes)
    )


def rows_of(objects: Iterable[str]) -> str:
    """The rows of many invoices as one list."""
    return f"[{','.join(filter(None, objects))}]"


def _objects(rows: Iterable[Mapping[str, Any]]) -> str:
    return rowset(list(rows))[1:-1]


def _row(place: int, draft: Draft, issued_at: datetime) -> dict[str, Any]:
    """What stands in the row of the invoice itself, but for its number and what wallets paid."""
    bill, totals, key = draft.bill, draft.totals, draft.bill.key
    return {
        "at": place,
        "customer_id": bill.customer.customer_id,
        "subscription_id": key.subscription_id,
        "plan_version_id": bill.plan_version_id,
        "reason": key.reason.value,
        "currency": bill.plan.currency,
        "period_start": bill.period.start,
        "period_end": bill.period.end,
        "subtotal": plain(totals.subtotal),
        "tax": plain(totals.tax),
        "total": plain(totals.total),
        "total_exact": plain(totals.total_exact),
        "sequence": key.sequence,
        "prices_include_tax": draft.tax is not None and draft.tax.inclusive,
        "carries": carries(draft),
        "due_at": due_at(bill, issued_at),
    }


def _line_row(place: int, line: Mapping[str, Any]) -> dict[str, Any]:
    service = line["service_period"]
    fee = line.get("fee_period", service)
    row = {
        "at": place,
        "line": line["line"],
        "rate_card": line["rate_card"],
        "meter": line["meter"],
        "dimensions": line["dimensions"],
        "service_start": service["start"],
        "service_end": service["end"],
        "fee_start": fee["start"],
        "fee_end": fee["end"],
        "quantity": line["quantity"],
        "amount_exact": line["amount_exact"],
        "amount": line["amount"],
        "tax": _tax_of(line),
    }
    for name in ("price", "one_off", "subscription"):
        if name in line:
            row[name] = line[name]
    if "plan" in line:
        row |= {"plan": line["plan"]["key"], "plan_version": line["plan"]["version"]}
    if "adjustment" in line:
        adjustment = line["adjustment"]
        corrected = adjustment.get("corrected", {})
        row |= {
            "adjustment": line["kind"],
            "adjustment_key": adjustment["key"],
            "corrected": corrected.get("kind"),
            "corrected_key": corrected.get("key"),
        }
    return row


def _tax_of(line: Mapping[str, Any]) -> str:
    """The tax of a line, of which it may have several."""
    taxes = line.get("taxes", ())
    if len(taxes) == 1:
        return str(taxes[0]["amount"])
    with exact():
        return plain(sum((Decimal(tax["amount"]) for tax in taxes), ZERO))
