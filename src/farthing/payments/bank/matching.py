"""What each entry of a statement is, given what is known here. Pure.

Money that came in pays a direct debit that we sent (by its end-to-end name, or by the name of the block that the bank
booked as one), else the invoices that its text names, if they are of one customer and of its currency; else it is
nobody's yet. Money that left is a direct debit that came back, or none of our business.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from farthing.kernel.quantity import ZERO, exact
from farthing.payments.bank.camt053 import Entry
from farthing.payments.bank.references import invoices_named
from farthing.payments.model import State

_END_TO_END = re.compile(r"P([0-9]{1,18})-([0-9]{1,4})\Z", re.ASCII)
DebitName = tuple[int, int]


class Effect(StrEnum):
    """What an entry did here."""

    PAID = "paid"
    DEBIT_PAID = "debit_paid"
    RETURNED = "returned"
    """A direct debit that had been paid came back."""
    DECLINED = "declined"
    """A direct debit was refused before it was paid."""
    UNMATCHED = "unmatched"
    OUTGOING = "outgoing"


@dataclass(frozen=True, slots=True)
class Matched:
    """An entry and what it is. debits: (payment, attempt) each; invoices: in the order they are paid."""

    entry: Entry
    effect: Effect
    debits: tuple[DebitName, ...] = ()
    customer_id: int | None = None
    invoices: tuple[int, ...] = field(default=())


def end_to_end(payment_id: int, attempt: int) -> str:
    """What a direct debit is called from our books to the payer's statement and back."""
    return f"P{payment_id}-{attempt}"


def debit_named(text: str) -> DebitName | None:
    """The (payment, attempt) of such a name."""
    found = _END_TO_END.match(text)
    return None if found is None else (int(found[1]), int(found[2]))


def match_entries(
    entries: Sequence[Entry],
    debits: Mapping[DebitName, Mapping[str, Any]],
    blocks: Mapping[str, Sequence[Mapping[str, Any]]],
    balances: Mapping[str, Mapping[str, Any]],
) -> list[Matched]:
    """Each entry with what it is, in order."""
    return [
        _incoming(entry, debits, blocks, balances) if entry.amount > 0 else _outgoing(entry, debits)
        for entry in entries
    ]


def _incoming(
    entry: Entry,
    debits: Mapping[DebitName, Mapping[str, Any]],
    blocks: Mapping[str, Sequence[Mapping[str, Any]]],
    balances: Mapping[str, Mapping[str, Any]],
) -> Matched:
    name = debit_named(entry.end_to_end)
    found = None if name is None else debits.get(name)
    if name is not None and found is not None:
        same = (found["amount"], found["currency"]) == (entry.amount, entry.currency)
        if same and found["state"] != State.SUCCEEDED:
            return Matched(entry, Effect.DEBIT_PAID, (name,))
        return Matched(entry, Effect.UNMATCHED)
    if entry.batch in blocks:
        some = blocks[entry.batch]
        with exact():
            total = sum((row["amount"] for row in some), ZERO)
        if total == entry.amount and entry.currency == "EUR":
            names = tuple((row["payment_id"], row["attempt"]) for row in some)
            return Matched(entry, Effect.DEBIT_PAID, names)
        return Matched(entry, Effect.UNMATCHED)
    named = [balances[number] for number in invoices_named(entry.remittance) if number in balances]
    own = [one for one in named if one["currency"] == entry.currency]
    if own and len({one["customer_id"] for one in own}) == 1:
        invoices = tuple(one["invoice_id"] for one in own)
        return Matched(entry, Effect.PAID, (), own[0]["customer_id"], invoices)
    return Matched(entry, Effect.UNMATCHED)


def _outgoing(entry: Entry, debits: Mapping[DebitName, Mapping[str, Any]]) -> Matched:
    name = debit_named(entry.end_to_end)
    found = None if name is None else debits.get(name)
    if name is None or found is None or entry.returned is None:
        return Matched(entry, Effect.OUTGOING)
    paid = found["state"] == State.SUCCEEDED
    return Matched(entry, Effect.RETURNED if paid else Effect.DECLINED, (name,))


def fee_of_return(entry: Entry, amount: Decimal) -> Decimal:
    """What the payer's bank took for a debit that came back: what left the account beyond the debit itself."""
    with exact():
        return max(-entry.amount - amount, ZERO)
