"""What a transfer must satisfy before it is booked. Pure.

The database refuses whatever does not balance, too; here every fault of every transfer is found first, with
the path of the place.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from farthing.kernel.errors import LimitExceeded
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.kernel.reading import Faults, shown
from farthing.ledger.chart import KIND_OF, OF_A_CUSTOMER, Code
from farthing.ledger.facts import DrawnTogether
from farthing.ledger.model import Account, Side, Transfer

TRANSFERS_MAX = 10_000
"""Transfers in one statement."""
ENTRIES_MAX = 100
"""Entries of one transfer."""
KEY_CHARACTERS_MAX = 256
SCALE_MAX = 36
"""Digits after the point: those of a price (18) times those of a quantity (18)."""
WHOLE_DIGITS_MAX = 40
"""Digits before it: those of a price and of a quantity (20 each)."""
_SURELY_SHORT = 18


def check_transfers(transfers: Sequence[Transfer]) -> None:
    """Refuse transfers that cannot be booked, and name everything that is wrong with them.

    Raises:
        InvalidInput: `invalid_key`, `invalid_reference`, `invalid_instant`, `invalid_amount` (not above zero),
            `too_many_digits`, `invalid_currency`, `mixed_currencies`, `unbalanced_transfer`, `unknown_account`,
            `too_many_entries`; `invalid_transfers` where faults are of several kinds.
        LimitExceeded: `too_many_transfers`.
    """
    if len(transfers) > TRANSFERS_MAX:
        raise LimitExceeded(
            "too_many_transfers", f"{len(transfers)} transfers at once; at most {TRANSFERS_MAX} are booked"
        )
    faults = Faults("invalid_transfers")
    seen: set[Account] = set()
    with exact():
        for index, transfer in enumerate(transfers):
            _check_head(transfer, index, faults)
            _check_entries(transfer, index, seen, faults)
    faults.refuse()


def check_draws(drawn: Sequence[DrawnTogether]) -> None:
    """The same for draws in columns, whose transfers balance by how they are made.

    Raises InvalidInput `invalid_amount`, `too_many_digits`, `invalid_currency`.
    """
    faults = Faults("invalid_transfers")
    for index, some in enumerate(drawn):
        for place, amount in enumerate(some.amounts):
            complaint, code = _amount_complaint(amount)
            if complaint:
                faults.add(f"draws[{index}].amounts[{place}]", complaint, code=code)
        _check_account(Account(Code.REVENUE, some.currency), f"draws[{index}]", faults)
    faults.refuse()


def _check_head(transfer: Transfer, index: int, faults: Faults) -> None:
    for name, text in (("key", transfer.key), ("corrects", transfer.corrects)):
        if text is not None and not (1 <= len(text) <= KEY_CHARACTERS_MAX and text.isprintable()):
            complaint = f"must have 1 to {KEY_CHARACTERS_MAX} printable characters"
            faults.add(f"transfers[{index}].{name}", complaint, code="invalid_key")
    reference = transfer.reference
    if reference and not (len(reference) <= KEY_CHARACTERS_MAX and reference.isprintable()):
        complaint = f"must have at most {KEY_CHARACTERS_MAX} characters, all printable"
        faults.add(f"transfers[{index}].reference", complaint, code="invalid_reference")
    if not isinstance(transfer.effective_at, datetime) or transfer.effective_at.tzinfo is None:
        complaint = "must be an instant with an offset"
        faults.add(f"transfers[{index}].effective_at", complaint, code="invalid_instant")


def _check_entries(transfer: Transfer, index: int, seen: set[Account], faults: Faults) -> None:
    entries = transfer.entries
    if not 2 <= len(entries) <= ENTRIES_MAX:
        code = "too_many_entries" if len(entries) > ENTRIES_MAX else "unbalanced_transfer"
        complaint = f"must be 2 to {ENTRIES_MAX}, not {len(entries)}"
        faults.add(f"transfers[{index}].entries", complaint, code=code)
        return
    currency = transfer.currency
    rest: Decimal | None = ZERO
    for place, entry in enumerate(entries):
        account, amount = entry.account, entry.amount
        complaint, code = _amount_complaint(amount)
        if complaint:
            faults.add(f"transfers[{index}].entries[{place}].amount", complaint, code=code)
            rest = None
        elif rest is not None:
            rest = rest + amount if entry.side is Side.DEBIT else rest - amount
        if account.currency != currency:
            complaint = f"is {shown(account.currency)} in a transfer of {shown(currency)}"
            where = f"transfers[{index}].entries[{place}].account.currency"
            faults.add(where, complaint, code="mixed_currencies")
            rest = None
        if account not in seen:
            seen.add(account)
            _check_account(account, f"transfers[{index}].entries[{place}].account", faults)
    if rest:
        complaint = f"debit {trimmed(abs(rest))} {'more' if rest > 0 else 'less'} than they credit"
        faults.add(f"transfers[{index}].entries", complaint, code="unbalanced_transfer")


def _amount_complaint(amount: object) -> tuple[str, str]:
    """What is wrong with an amount, and its code; empty where nothing is."""
    if not isinstance(amount, Decimal) or not amount.is_finite():
        return "must be a decimal number", "invalid_amount"
    if amount <= 0:
        return f"must be greater than zero, not {str(amount)[:40]}", "invalid_amount"
    text = str(amount)
    if len(text) <= _SURELY_SHORT and "E" not in text:
        return "", ""
    _, digits, exponent = amount.normalize().as_tuple()
    assert isinstance(exponent, int), "it is finite"
    if -exponent > SCALE_MAX or len(digits) + exponent > WHOLE_DIGITS_MAX:
        return (
            f"has more than {WHOLE_DIGITS_MAX} digits before the point or {SCALE_MAX} after it",
            "too_many_digits",
        )
    return "", ""


def _check_account(account: Account, path: str, faults: Faults) -> None:
    if account.code not in KIND_OF:
        faults.add(f"{path}.code", f"{shown(account.code)} is not in the chart", code="unknown_account")
    elif (account.customer_id is not None) != (account.code in OF_A_CUSTOMER):
        complaint = "is needed" if account.code in OF_A_CUSTOMER else "is not allowed"
        complaint += f" for an account {account.code}"
        faults.add(f"{path}.customer_id", complaint, code="unknown_account")
    if account.currency not in MINOR_UNITS:
        complaint = f"{shown(account.currency)} is not an ISO 4217 currency code"
        faults.add(f"{path}.currency", complaint, code="invalid_currency")
