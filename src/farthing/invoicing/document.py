"""The invoice as a document: JSON that is written once and kept byte for byte. Pure.

Keys stand in a fixed order, numbers are decimal text, times are RFC 3339 in UTC, and nothing in it is
random: the same draft, number, seller and moment give the same bytes.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from farthing.customers.content import address_json
from farthing.customers.model import Customer
from farthing.invoicing.model import Adjustment, Bill, Draft, Line
from farthing.invoicing.taxes.document import with_tax
from farthing.kernel.instant import format_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import exact, plain, trimmed
from farthing.rating import Charge, Measure, UnitCharge, price_json

NO_TIME = timedelta(0)
"""An interim invoice is due at once, which is what it is for."""
NUMBER_PREFIX = "INV-"
NUMBER_DIGITS = 6


def invoice_number(count: int) -> str:
    """`INV-000001`; numbers beyond a million just grow."""
    return f"{NUMBER_PREFIX}{count:0{NUMBER_DIGITS}d}"


def document_of(draft: Draft, number: str, seller: Mapping[str, Any], issued_at: datetime) -> dict[str, Any]:
    """The invoice in the shape of DESIGN 5.5, and what a printed one needs besides."""
    bill, totals = draft.bill, draft.totals
    plan = bill.plan
    document: dict[str, Any] = {
        "number": number,
        "customer": bill.customer.key,
        "subscription": bill.subscription.key,
        "status": "issued",
        "currency": plan.currency,
        "period": instants(bill.period),
        "lines": [
            _line(place, line, amount)
            for place, (line, amount) in enumerate(zip(draft.lines, totals.amounts, strict=True), start=1)
        ],
        "subtotal": plain(totals.subtotal),
        "tax": plain(totals.tax),
        "total_exact": trimmed(totals.total_exact),
        "total": plain(totals.total),
        **_paid(draft),
        "reason": bill.reason.value,
        "issued_at": format_instant(issued_at),
        "due_at": format_instant(due_at(bill, issued_at)),
        "plan": {"key": plan.key, "name": plan.name, "version": bill.version},
        "rounding": {"scope": plan.rounding.value, "mode": plan.rounding_mode.value},
        "timezone": bill.customer.timezone,
        "bill_to": _party(bill.customer),
        "seller": dict(seller),
    } | _interim(bill)
    return document if draft.tax is None else with_tax(document, draft.tax)


def due_at(bill: Bill, issued_at: datetime) -> datetime:
    """When what the invoice of a bill asks for is to be paid."""
    return issued_at + (NO_TIME if bill.interim else timedelta(days=bill.plan.net_days))


def _interim(bill: Bill) -> dict[str, Any]:
    """What only an interim invoice says."""
    if bill.interim is None:
        return {}
    interim = bill.interim
    said: dict[str, Any] = {"sequence": interim.sequence, "because": interim.because.value}
    if interim.threshold is not None:
        said["threshold"] = trimmed(interim.threshold)
    return {"interim": said}


def _paid(draft: Draft) -> dict[str, Any]:
    """What most invoices have no need to say: what wallets paid, and what is left to pay."""
    if not draft.paid:
        return {}
    with exact():
        due = draft.totals.total - draft.paid
    return {"paid_from_wallets": plain(draft.paid), "amount_due": plain(due)}


def document_text(document: Mapping[str, Any]) -> str:
    """The bytes that are kept."""
    return msgspec.json.encode(document).decode()


def _line(place: int, line: Line, amount: Decimal) -> dict[str, Any]:
    said: dict[str, Any] = {
        "line": place,
        "kind": line.kind.value,
        "rate_card": line.rate_card,
        "meter": line.meter,
        "description": line.description,
        "dimensions": dict(sorted(line.dimensions.items())),
        "service_period": instants(line.service_period),
        "quantity": trimmed(line.quantity),
        "amount_exact": trimmed(line.amount_exact),
        "amount": plain(amount),
        "charges": [charge_json(charge) for charge in line.charges],
    }
    _say_usage_of(line, said)
    _say_more_of(line, said)
    if line.adjustment is not None:
        said["adjustment"] = _adjustment(line.adjustment)
    return said


def _say_more_of(line: Line, more: dict[str, Any]) -> None:
    """What most lines have no need to say: their plan is the invoice's, their price the plan's."""
    if line.plan is not None:
        key, version, name = line.plan
        more["plan"] = {"key": key, "name": name, "version": version}
    if line.price is not None:
        more["price"] = price_json(line.price)
    if line.fee is not None and line.fee.full != line.service_period:
        more["fee_period"] = instants(line.fee.full)
    if line.parts:
        more["parts"] = [instants(part) for part in line.parts]
    if line.unbilled is not None:
        more["unbilled"] = line.unbilled
    if line.one_off is not None:
        more["one_off"] = line.one_off
    if line.subscription is not None:
        more["subscription"] = line.subscription


def _say_usage_of(line: Line, more: dict[str, Any]) -> None:
    """What most lines have no need to say: what is counted where that is no number of things, how much of
    each of several meters, and whether the line only adjusts others."""
    if line.measure is not Measure.QUANTITY:
        more["measure"] = line.measure.value
    if line.quantities:
        more["quantities"] = {meter: trimmed(used) for meter, used in sorted(line.quantities.items())}
    if line.adjusts:
        more["adjusts"] = True


def _adjustment(adjustment: Adjustment) -> dict[str, Any]:
    """Of which coupon, commitment or plan a line is, and of which lines it was made."""
    said: dict[str, Any] = {
        "key": adjustment.key,
        "of": [{"line": share.line, "amount": trimmed(share.amount)} for share in adjustment.of],
    }
    if adjustment.term is not None:
        said["term"] = instants(adjustment.term)
    if adjustment.since is not None:
        said["since"] = format_instant(adjustment.since)
    if adjustment.corrected is not None:
        said["corrected"] = {"kind": adjustment.corrected.kind.value, "key": adjustment.corrected.key}
    if adjustment.committed is not None and adjustment.before is not None:
        said |= {"committed": trimmed(adjustment.committed), "before": trimmed(adjustment.before)}
    return said


def charge_json(charge: Charge) -> dict[str, Any]:
    """A charge as it is written."""
    said: dict[str, Any] = {
        "quantity": trimmed(charge.quantity),
        "unit_price": trimmed(charge.unit_price),
        "amount": trimmed(charge.amount),
        "reason": charge.reason,
    }
    if isinstance(charge, UnitCharge):
        said["in_unit"] = {
            "unit": charge.unit,
            "unit_price": trimmed(charge.unit_price_in_unit),
            "amount": trimmed(charge.amount_in_unit),
        }
    return said


def instants(period: Period) -> dict[str, str]:
    """A period as it is written."""
    return dict(_instants(period.start, period.end))


@lru_cache(maxsize=1024)
def _instants(start: datetime, end: datetime) -> tuple[tuple[str, str], ...]:
    # A billing run writes the same few periods over and over.
    return (("start", format_instant(start)), ("end", format_instant(end)))


def _party(customer: Customer) -> dict[str, Any]:
    party: dict[str, Any] = {"name": customer.name}
    if customer.email is not None:
        party["email"] = customer.email
    return party | {"address": address_json(customer.address)}
