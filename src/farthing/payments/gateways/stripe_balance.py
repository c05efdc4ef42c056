"""What Stripe's balance says, in our words: its amounts, its balance transactions, its payouts. Pure.

Each balance transaction is one movement, and one more for the fee that was kept of it; together they are its `net`. The
transactions of a payout sum to its amount.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import exact
from farthing.payments.gateway import Movement, MovementKind, PayoutState, ProviderPayout

TWO_DIGITS = frozenset({"ISK", "UGX"})
"""Currencies without minor units that Stripe counts in hundredths all the same."""

_PAYOUTS = ("payout", "payout_minimum_balance_hold", "payout_minimum_balance_release")
_RETURNED = ("payout_failure", "payout_cancel")
_FEES = ("stripe_fee", "stripe_fx_fee", "network_cost", "tax_fee")
_STATES = {
    "paid": PayoutState.PAID,
    "pending": PayoutState.IN_TRANSIT,
    "in_transit": PayoutState.IN_TRANSIT,
    "canceled": PayoutState.FAILED,
    "failed": PayoutState.FAILED,
}


def to_stripe(amount: Decimal, currency: str) -> int:
    """In the unit that Stripe counts in: cents, or yen."""
    with exact():
        return int(amount.scaleb(_digits(currency)))


def from_stripe(count: int, currency: str) -> Decimal:
    """The amount that Stripe's count stands for."""
    return Decimal(count).scaleb(-_digits(currency)) + Decimal(0).scaleb(-MINOR_UNITS[currency])


def _digits(currency: str) -> int:
    return 2 if currency in TWO_DIGITS else MINOR_UNITS[currency]


def payout_of(one: Any) -> ProviderPayout:
    """A payout of Stripe's. The bank's statement shows its trace id, or what the seller chose to be shown."""
    currency = str(one.currency).upper()
    trace = getattr(one, "trace_id", None)
    value = getattr(trace, "value", None) if trace is not None else None
    return ProviderPayout(
        one.id,
        from_stripe(one.amount, currency),
        currency,
        _STATES.get(str(one.status), PayoutState.IN_TRANSIT),
        datetime.fromtimestamp(one.created, UTC),
        datetime.fromtimestamp(one.arrival_date, UTC).date(),
        str(value or getattr(one, "statement_descriptor", None) or ""),
        bool(getattr(one, "automatic", True)),
    )


def movements_of(one: Any) -> Iterator[Movement]:
    """A balance transaction as movements; a payout itself is none."""
    if one.type in _PAYOUTS or not (one.amount or one.fee):
        return
    source = one.source
    currency = str(one.currency).upper()
    at = datetime.fromtimestamp(one.created, UTC)
    name = str(getattr(source, "id", source) or one.id)
    kind, movement_id, subject = _kind(one, name, str(getattr(source, "payment_intent", None) or name))
    if one.amount:
        yield Movement(movement_id, kind, subject, from_stripe(abs(one.amount), currency), currency, at)
    if one.fee:
        fee = from_stripe(abs(one.fee), currency)
        yield Movement(f"{one.id}/fee", _fee_kind(kind, one.fee), subject, fee, currency, at)


def _kind(one: Any, name: str, subject: str) -> tuple[MovementKind, str, str]:
    """What a balance transaction is, what the movement is called, and what it is about."""
    if one.type in ("charge", "payment") and one.amount > 0:
        return MovementKind.PAYMENT, one.id, subject
    if one.type in ("refund", "payment_refund") and one.amount < 0:
        return MovementKind.REFUND, name, subject
    if getattr(one.source, "object", None) == "dispute":
        # Money of a dispute that was won comes back under the dispute's own name.
        if one.amount > 0:
            return MovementKind.PAYMENT, one.id, name
        return MovementKind.DISPUTE, name, name
    if one.type in _RETURNED and one.amount > 0:
        return MovementKind.PAYOUT_RETURNED, one.id, name
    if one.type in _FEES and one.amount < 0:
        return MovementKind.PROVIDER_FEE, one.id, one.id
    return (MovementKind.OTHER_IN if one.amount > 0 else MovementKind.OTHER_OUT), one.id, one.id


def _fee_kind(kind: MovementKind, fee: int) -> MovementKind:
    if fee < 0:
        return MovementKind.OTHER_IN
    if kind is MovementKind.PAYMENT:
        return MovementKind.FEE
    return MovementKind.DISPUTE_FEE if kind is MovementKind.DISPUTE else MovementKind.PROVIDER_FEE
