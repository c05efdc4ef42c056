"""How a tenant's invoices come about, and a customer's where it has terms of its own. Pure.

    {"smallest_invoice": {"USD": "5", "EUR": "4.50"}, "grace_hours": 72, "collective": true}

`smallest_invoice`: what a bill below that comes to is not asked for, but carried forward to the next bill of the
customer and currency; tax aside. "0": every bill is worth an invoice. `grace_hours`: how long a period that is over
stands as a draft before its invoice is issued, so that late events land in it. `collective`: what several subscriptions
of the customer come to in the same currency when their periods end together is asked for by one invoice.

What a customer says replaces what the tenant says, field by field, and of the smallest invoice currency by currency.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.money import MINOR_UNITS, amount_text, parse_currency
from farthing.kernel.quantity import ZERO, parse_decimal, trimmed
from farthing.kernel.reading import Faults, Fields, kind, parse_count

INVALID_BILLING_TERMS = "invalid_billing_terms"
AMOUNT_MAX = Decimal(10) ** 9
GRACE_HOURS_MAX = 30 * 24


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """What one says of how invoices come about; what is not said (None, or no currency) somebody else may say."""

    smallest_invoice: Mapping[str, Decimal] = field(default_factory=dict)
    grace_hours: int | None = None
    collective: bool | None = None

    def over(self, others: "BillingTerms") -> "BillingTerms":
        """These terms, and where they say nothing those others."""
        return BillingTerms(
            {**others.smallest_invoice, **self.smallest_invoice},
            others.grace_hours if self.grace_hours is None else self.grace_hours,
            others.collective if self.collective is None else self.collective,
        )

    def smallest(self, currency: str) -> Decimal | None:
        """The smallest amount that is worth an invoice; None where every amount is."""
        return self.smallest_invoice.get(currency) or None

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=self.grace_hours or 0)


NO_BILLING_TERMS = BillingTerms()


def parse_billing_terms(raw: object) -> BillingTerms:
    """Raises InvalidInput `invalid_billing_terms` with every fault."""
    faults = Faults(INVALID_BILLING_TERMS)
    fields = Fields(raw, "", faults)
    smallest = fields.optional("smallest_invoice", _parse_amounts, {})
    grace = fields.optional("grace_hours", _parse_grace, None)
    collective = fields.optional("collective", _parse_flag, None)
    fields.refuse_unknown()
    faults.refuse()
    return BillingTerms(smallest, grace, collective)


def billing_terms_json(terms: BillingTerms) -> dict[str, Any]:
    """As `parse_billing_terms` reads it; a field about which nothing is said is absent."""
    said: dict[str, Any] = {}
    if terms.smallest_invoice:
        said["smallest_invoice"] = {
            currency: amount_text(amount, currency)
            for currency, amount in sorted(terms.smallest_invoice.items())
        }
    if terms.grace_hours is not None:
        said["grace_hours"] = terms.grace_hours
    if terms.collective is not None:
        said["collective"] = terms.collective
    return said


def _parse_amounts(raw: object, path: str) -> dict[str, Decimal]:
    if not isinstance(raw, dict):
        raise _refused(path, f"must be an object of amounts by currency, not {kind(raw)}")
    faults = Faults(INVALID_BILLING_TERMS)
    found: dict[str, Decimal] = {}
    for name, amount in raw.items():
        try:
            currency = parse_currency(name, f"{path}.{str(name)[:40]}")
            found[currency] = _parse_amount(amount, f"{path}.{currency}", currency)
        except InvalidInput as error:
            faults.absorb(error, path)
    faults.refuse()
    return found


def _parse_amount(raw: object, path: str, currency: str) -> Decimal:
    amount = parse_decimal(raw, path, code=INVALID_BILLING_TERMS)
    if not ZERO <= amount <= AMOUNT_MAX:
        raise _refused(path, f"must be from 0 to {AMOUNT_MAX}")
    if len(trimmed(amount).partition(".")[2]) > MINOR_UNITS[currency]:
        raise _refused(
            path, f"has more than the {MINOR_UNITS[currency]} digits after the point of {currency}"
        )
    return amount


def _parse_grace(raw: object, path: str) -> int:
    return parse_count(raw, path, least=0, most=GRACE_HOURS_MAX, code=INVALID_BILLING_TERMS)


def _parse_flag(raw: object, path: str) -> bool:
    if not isinstance(raw, bool):
        raise _refused(path, f"must be true or false, not {kind(raw)}")
    return raw


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput.of(INVALID_BILLING_TERMS, [Fault(path, message)])
