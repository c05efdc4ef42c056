"""How payment methods, payments and refunds are read, and how they are shown. Pure.

payment method  {"key": "acme-card", "customer": "acme", "gateway": "stripe", "reference": "pm_1Nv0FG",
                 "default": true}
                {"key": "acme-debit", "customer": "acme", "gateway": "sepa", "mandate": {"iban": "DE89...",
                 "holder": "Acme GmbH", "mandate_id": "M-7", "signed_on": "2026-01-31"}}
money received  {"key": "cheque-17", "customer": "acme", "amount": "119.00", "currency": "EUR",
                 "paid_at": "2026-02-01T00:00:00Z", "invoice": "INV-000001", "reference": "cheque no. 17"}
a charge        {"key": "INV-000001-again", "method": "acme-card", "invoice": "INV-000001"}
refund          {"key": "goodwill-3", "payment": "cheque-17", "amount": "19.00", "reason": "outage"}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_date, parse_instant
from farthing.kernel.money import MINOR_UNITS, amount_text, parse_currency
from farthing.kernel.quantity import parse_decimal, plain
from farthing.kernel.reading import Faults, Fields, parse_flag, parse_subject, parse_text
from farthing.payments.bank.creditor import parse_bic
from farthing.payments.bank.iban import parse_iban
from farthing.payments.model import (
    SEPA,
    Balance,
    Dispute,
    DisputeKind,
    DisputeState,
    Mandate,
    Payment,
    PaymentDetail,
    PaymentMethod,
    Purpose,
    Refund,
    RefundState,
    State,
    status_of,
)

KEY_LENGTH_MAX = 128
"""Keys of payments stand in longer keys of the ledger."""
WHOLE_DIGITS_MAX = 15
MANDATE_LENGTH_MAX = 35
"""ISO 20022: Max35Text."""
OWN_PREFIXES = ("collect:", "won:", "bank:", "topup:", "fix:")
"""Keys that begin so are made here."""


@dataclass(frozen=True, slots=True)
class MethodContent:
    """A payment method as it was sent."""

    key: str
    customer: str
    gateway: str
    reference: str
    mandate: Mandate | None
    is_default: bool


@dataclass(frozen=True, slots=True)
class ReceivedContent:
    """Money that came in, as it was sent."""

    key: str
    customer: str
    amount: Decimal
    currency: str
    paid_at: datetime
    invoice: str | None
    reference: str


@dataclass(frozen=True, slots=True)
class ChargeContent:
    """A charge that is asked for, as it was sent. Without an amount: what is open of the invoice."""

    key: str
    method: str
    invoice: str | None
    amount: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class RefundContent:
    """A refund as it was sent. Without an amount: all that is left of the payment."""

    key: str
    payment: str
    amount: Decimal | None
    reason: str


def parse_payment_key(raw: object, path: str) -> str:
    """A key that the caller chose; at most 128 characters. Raises InvalidInput `invalid_key`."""
    key = parse_subject(raw, path)
    if len(key) > KEY_LENGTH_MAX:
        complaint = f"must have at most {KEY_LENGTH_MAX} characters"
        raise InvalidInput.of("invalid_key", [Fault(path, complaint)])
    if key.startswith(OWN_PREFIXES):
        raise InvalidInput.of("invalid_key", [Fault(path, f"must not begin with {key.split(':')[0]}:")])
    return key


def parse_amount(raw: object, path: str) -> Decimal:
    """An amount above zero. Raises InvalidInput `invalid_amount`."""
    amount = parse_decimal(raw, path, code="invalid_amount")
    if amount <= 0:
        raise InvalidInput.of("invalid_amount", [Fault(path, "must be greater than zero")])
    if amount.adjusted() >= WHOLE_DIGITS_MAX:
        complaint = f"has more than {WHOLE_DIGITS_MAX} digits before the point"
        raise InvalidInput.of("invalid_amount", [Fault(path, complaint)])
    return amount


def check_minor_units(amount: Decimal, currency: str, path: str) -> None:
    """Money moves in whole minor units. Raises InvalidInput `invalid_amount`."""
    digits = MINOR_UNITS[currency]
    if amount != amount.quantize(Decimal(1).scaleb(-digits)):
        complaint = f"{currency} has {digits} digits after the point"
        raise InvalidInput.of("invalid_amount", [Fault(path, complaint)])


def parse_method(raw: object) -> MethodContent:
    """Raises InvalidInput with every fault."""
    faults = Faults("invalid_payment_method")
    fields = Fields(raw, "", faults)
    key = fields.required("key", parse_payment_key)
    customer = fields.required("customer", parse_subject)
    gateway = fields.required("gateway", parse_text)
    mandate = fields.optional("mandate", _parse_mandate, None)
    reference = fields.optional("reference", parse_text, "")
    is_default = fields.optional("default", _parse_flag, True)
    fields.refuse_unknown()
    if gateway == SEPA and "mandate" not in fields:
        faults.add("mandate", "is missing: a direct debit needs one")
    elif gateway not in (SEPA, None) and "mandate" in fields:
        faults.add("mandate", "stands only beside the gateway sepa")
    elif gateway not in (SEPA, None) and not reference:
        faults.add("reference", "is missing: what the gateway calls it")
    faults.refuse()
    return MethodContent(key, customer, gateway, reference, mandate, is_default)


def parse_received(raw: object) -> ReceivedContent:
    """Raises InvalidInput with every fault."""
    faults = Faults("invalid_payment")
    fields = Fields(raw, "", faults)
    content = ReceivedContent(
        fields.required("key", parse_payment_key),
        fields.required("customer", parse_subject),
        fields.required("amount", parse_amount),
        fields.required("currency", parse_currency),
        fields.required("paid_at", parse_instant),
        fields.optional("invoice", parse_text, None),
        fields.optional("reference", parse_text, ""),
    )
    fields.refuse_unknown()
    faults.refuse()
    check_minor_units(content.amount, content.currency, "amount")
    return content


def parse_charge(raw: object) -> ChargeContent:
    """Raises InvalidInput with every fault."""
    faults = Faults("invalid_payment")
    fields = Fields(raw, "", faults)
    content = ChargeContent(
        fields.required("key", parse_payment_key),
        fields.required("method", parse_subject),
        fields.optional("invoice", parse_text, None),
        fields.optional("amount", parse_amount, None),
        fields.optional("currency", parse_currency, None),
    )
    fields.refuse_unknown()
    if "invoice" not in fields:
        for name in ("amount", "currency"):
            if name not in fields:
                faults.add(name, "is missing: there is no invoice to take it from")
    faults.refuse()
    if content.amount is not None and content.currency is not None:
        check_minor_units(content.amount, content.currency, "amount")
    return content


def parse_refund(raw: object) -> RefundContent:
    """Raises InvalidInput with every fault."""
    faults = Faults("invalid_refund")
    fields = Fields(raw, "", faults)
    content = RefundContent(
        fields.required("key", parse_payment_key),
        fields.required("payment", parse_text),
        fields.optional("amount", parse_amount, None),
        fields.optional("reason", parse_text, ""),
    )
    fields.refuse_unknown()
    faults.refuse()
    return content


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code="invalid_payment_method")


def _parse_mandate(raw: object, path: str) -> Mandate:
    faults = Faults("invalid_mandate")
    fields = Fields(raw, path, faults)
    mandate = Mandate(
        fields.required("iban", parse_iban),
        fields.optional("bic", parse_bic, None),
        fields.required("holder", parse_text),
        fields.required("mandate_id", _parse_mandate_id),
        fields.required("signed_on", lambda value, at: parse_date(value, at).isoformat()),
    )
    fields.refuse_unknown()
    faults.refuse()
    return mandate


def _parse_mandate_id(raw: object, path: str) -> str:
    text = parse_text(raw, path)
    if len(text) > MANDATE_LENGTH_MAX or not text.isascii():
        complaint = f"must have at most {MANDATE_LENGTH_MAX} characters, all ASCII"
        raise InvalidInput.of("invalid_mandate", [Fault(path, complaint)])
    return text


# ---- From rows


def method_of(row: Mapping[str, Any]) -> PaymentMethod:
    """A payment method from its row."""
    mandate = row["mandate"]
    return PaymentMethod(
        row["key"],
        row["customer"],
        row["gateway"],
        row["kind"],
        row["label"],
        row["reference"],
        None if mandate is None else Mandate(**mandate),
        row["is_default"],
        row["created_at"],
        row["removed_at"],
    )


def payment_of(row: Mapping[str, Any]) -> Payment:
    """A payment from its row."""
    names = Payment.__dataclass_fields__
    values = {name: row[name] for name in names}
    return Payment(**{**values, "purpose": Purpose(row["purpose"]), "state": State(row["state"])})


def refund_of(row: Mapping[str, Any]) -> Refund:
    """A refund from its row."""
    values = {name: row[name] for name in Refund.__dataclass_fields__}
    return Refund(**{**values, "state": RefundState(row["state"])})


def dispute_of(row: Mapping[str, Any]) -> Dispute:
    """A dispute from its row."""
    values = {name: row[name] for name in Dispute.__dataclass_fields__}
    return Dispute(**{**values, "kind": DisputeKind(row["kind"]), "state": DisputeState(row["state"])})


# ---- Documents


def method_json(method: PaymentMethod) -> dict[str, Any]:
    """As the API and the command line show it; of an account number, the last four digits."""
    shown: dict[str, Any] = {
        "key": method.key,
        "customer": method.customer,
        "gateway": method.gateway,
        "kind": method.kind,
        "label": method.label,
        "default": method.is_default,
        "created_at": format_instant(method.created_at),
        "removed_at": _instant(method.removed_at),
    }
    if method.mandate is not None:
        shown["mandate"] = {"mandate_id": method.mandate.mandate_id, "signed_on": method.mandate.signed_on}
    return shown


def payment_json(payment: Payment) -> dict[str, Any]:
    """As the API and the command line show it."""
    return {
        "key": payment.key,
        "customer": payment.customer,
        "state": payment.state.value,
        "amount": plain(payment.amount),
        "currency": payment.currency,
        "purpose": payment.purpose.value,
        "invoice": payment.invoice,
        "top_up": payment.top_up,
        "gateway": payment.gateway,
        "method": payment.method,
        "reference": payment.reference,
        "provider_id": payment.provider_id,
        "failure": payment.failure,
        "attempts": payment.attempts,
        "requested_at": format_instant(payment.requested_at),
        "next_attempt_at": _instant(payment.next_attempt_at),
        "paid_at": _instant(payment.paid_at),
        "fee": plain(payment.fee),
        "allocated": plain(payment.allocated),
        "refunded": plain(payment.refunded),
        "charged_back": plain(payment.charged_back),
        "credit": plain(payment.credit),
    }


def detail_json(detail: PaymentDetail) -> dict[str, Any]:
    """With all that happened to it, in order."""
    return payment_json(detail.payment) | {
        "history": [
            {
                "from": row["from_state"],
                "to": row["to_state"],
                "cause": row["cause"],
                "at": format_instant(row["moved_at"]),
            }
            for row in detail.moves
        ],
        "tries": [
            {
                "attempt": row["attempt"],
                "sent_at": format_instant(row["sent_at"]),
                "outcome": row["outcome"],
                "code": row["code"],
            }
            for row in detail.attempts
        ],
        "allocations": [
            {
                "invoice": row["invoice"],
                "amount": plain(row["amount"]),
                "cause": row["cause"],
                "at": format_instant(row["allocated_at"]),
            }
            for row in detail.allocations
        ],
        "grants": [
            {
                "grant": row["grant"],
                "wallet": row["wallet"],
                "amount": plain(row["amount"]),
                "cause": row["cause"],
                "at": format_instant(row["moved_at"]),
            }
            for row in detail.grants
        ],
    }


def refund_json(refund: Refund) -> dict[str, Any]:
    """As the API and the command line show it."""
    return {
        "key": refund.key,
        "payment": refund.payment,
        "amount": plain(refund.amount),
        "currency": refund.currency,
        "reason": refund.reason,
        "state": refund.state.value,
        "failure": refund.failure,
        "requested_at": format_instant(refund.requested_at),
        "moved_at": format_instant(refund.moved_at),
    }


def dispute_json(dispute: Dispute) -> dict[str, Any]:
    """As the API and the command line show it."""
    return {
        "key": dispute.key,
        "payment": dispute.payment,
        "customer": dispute.customer,
        "kind": dispute.kind.value,
        "reason": dispute.reason,
        "amount": plain(dispute.amount),
        "fee": plain(dispute.fee),
        "currency": dispute.currency,
        "state": dispute.state.value,
        "opened_at": format_instant(dispute.opened_at),
        "respond_by": _instant(dispute.respond_by),
    }


def balance_json(balance: Balance, now: datetime) -> dict[str, Any]:
    """What is shown beside an invoice."""
    said = {
        "payment_status": status_of(balance, now).value,
        "amount_paid": amount_text(balance.paid, balance.currency),
        "amount_open": amount_text(balance.open, balance.currency),
        "due_at": format_instant(balance.due_at),
    }
    if balance.from_credit:
        said["amount_from_credit"] = amount_text(balance.from_credit, balance.currency)
    return said


def _instant(at: datetime | None) -> str | None:
    return None if at is None else format_instant(at)
