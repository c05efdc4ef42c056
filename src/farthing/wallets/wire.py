"""Wallets and grants as the API and the command line show them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import exact, trimmed
from farthing.wallets.content import PAID, PROMOTIONAL, every_json, wallet_settings_json
from farthing.wallets.model import Grant, Recurring, Wallet


def wallet_document(found: tuple[Wallet, Mapping[str, Decimal]]) -> dict[str, Any]:
    """A wallet with its balance."""
    wallet, balance = found
    names = ("available", "available_paid", "held", "settled", "scheduled")
    return {
        "key": wallet.key,
        "customer": wallet.customer,
        "currency": wallet.currency,
        "unit": wallet.unit,
        **wallet_settings_json(wallet),
        "balance_state": wallet.balance_state.value,
        "balance": {name: trimmed(balance[name]) for name in names},
        "created_at": format_instant(wallet.created_at),
    }


def grant_document(grant: Grant) -> dict[str, Any]:
    """A grant with its counters."""
    with exact():
        left = grant.left
    return {
        "key": grant.key,
        "wallet": grant.wallet,
        "kind": PAID if grant.paid else PROMOTIONAL,
        "amount": trimmed(grant.amount),
        "unit_price": None if grant.unit_price is None else trimmed(grant.unit_price),
        "priority": grant.priority,
        "meters": list(grant.scope.meters),
        "rate_cards": list(grant.scope.rate_cards),
        "effective_at": format_instant(grant.effective_at),
        "expires_at": None if grant.expires_at is None else format_instant(grant.expires_at),
        "reference": grant.reference,
        "recurring": grant.recurring,
        "rolled_from": grant.rolled_from,
        "created_at": format_instant(grant.created_at),
        "drawn": trimmed(grant.drawn),
        "held": trimmed(grant.held),
        "settled": trimmed(grant.settled),
        "expired": trimmed(grant.expired),
        "left": trimmed(left),
    }


def recurring_document(promise: Recurring) -> dict[str, Any]:
    """A promise of grants."""
    content = promise.content
    return {
        "key": content.key,
        "wallet": promise.wallet,
        "kind": PAID if content.paid else PROMOTIONAL,
        "amount": trimmed(content.amount),
        "unit_price": None if content.unit_price is None else trimmed(content.unit_price),
        "priority": content.priority,
        "meters": list(content.scope.meters),
        "rate_cards": list(content.scope.rate_cards),
        "effective_at": format_instant(promise.start),
        "every": every_json(content),
        "next_start": format_instant(promise.next_start),
    }


def granted_document(granted: Grant | Recurring) -> dict[str, Any]:
    """Whichever of the two was made."""
    return grant_document(granted) if isinstance(granted, Grant) else recurring_document(granted)
