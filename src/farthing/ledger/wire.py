"""How accounts, entries and trial balances are written as JSON, over HTTP and by commands. Pure.

Balances are written in the account's own sense: what a customer owes and what was earned are both above zero.
"""

import re
from typing import Any

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import trimmed
from farthing.ledger.chart import in_own_sense
from farthing.ledger.model import AccountBalance, BookedEntry, Side, TrialBalance

_PLACE = re.compile(r"([0-9]{1,18})\.([0-9]{1,3})", re.ASCII)


def account_document(account: AccountBalance) -> dict[str, Any]:
    """An account and its balance."""
    return {
        "account_id": account.account_id,
        "code": account.code.value,
        "kind": account.kind.value,
        "customer": account.customer,
        "currency": account.currency,
        "balance": trimmed(in_own_sense(account.kind, account.balance)),
        "entries": account.entries,
    }


def entry_document(entry: BookedEntry) -> dict[str, Any]:
    """An entry with the transfer that it is part of."""
    return {
        "entry": entry_place(entry),
        "account_id": entry.account_id,
        "code": entry.code.value,
        "customer": entry.customer,
        "side": (Side.CREDIT if entry.amount < 0 else Side.DEBIT).value,
        "amount": trimmed(entry.amount.copy_abs()),
        "currency": entry.currency,
        "transfer": entry.transfer,
        "kind": entry.kind,
        "reference": entry.reference,
        "corrects": entry.corrects,
        "effective_at": format_instant(entry.effective_at),
        "booked_at": format_instant(entry.booked_at),
    }


def trial_balance_document(found: TrialBalance) -> dict[str, Any]:
    """The rows, and for each currency the sums of both sides."""
    return {
        "rows": [
            {
                "code": row.code.value,
                "kind": row.kind.value,
                "currency": row.currency,
                "debit": trimmed(row.debit),
                "credit": trimmed(row.credit),
            }
            for row in found.rows
        ],
        "totals": [
            {"currency": currency, "debit": trimmed(debit), "credit": trimmed(credit)}
            for currency, (debit, credit) in found.totals.items()
        ],
    }


def entry_place(entry: BookedEntry) -> str:
    """Where an entry stands in the journal: `1041.2` is the second one of transfer 1041."""
    return f"{entry.transfer_id}.{entry.place}"


def parse_entry_place(text: str, path: str, code: str) -> tuple[int, int]:
    """The transfer and the place in it."""
    matched = _PLACE.fullmatch(text)
    if matched is None:
        raise InvalidInput.of(code, [Fault(path, f"{text[:40]!r} is no place of an entry, like 1041.2")])
    return int(matched[1]), int(matched[2])
