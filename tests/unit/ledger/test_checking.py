"""What cannot be booked is refused with a code and the path of every place."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from farthing.kernel.errors import Conflict, InvalidInput, LimitExceeded
from farthing.ledger.batch import batch_of
from farthing.ledger.chart import Code
from farthing.ledger.checking import ENTRIES_MAX, TRANSFERS_MAX, check_transfers
from farthing.ledger.model import Account, Entry, Side, Transfer, TransferKind

AT = datetime(2026, 2, 1, tzinfo=UTC)
OWED = Account(Code.RECEIVABLE, "USD", 7)
CASH = Account(Code.CASH, "USD")


def transfer(*entries: Entry, key: str = "payment:1", **more: object) -> Transfer:
    return Transfer(key, TransferKind.PAYMENT_RECEIVED, AT, entries, **more)


def pay(amount: str | D = "10", debit: Account = CASH, credit: Account = OWED, **more: object) -> Transfer:
    amount = D(amount)
    return transfer(Entry(debit, Side.DEBIT, amount), Entry(credit, Side.CREDIT, amount), **more)


def refused(*transfers: Transfer) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check_transfers(transfers)
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "code", "path"),
    [
        (pay("0"), "invalid_amount", "transfers[0].entries[0].amount"),
        (pay("-1"), "invalid_amount", "transfers[0].entries[0].amount"),
        (pay("NaN"), "invalid_amount", "transfers[0].entries[0].amount"),
        (pay("sNaN"), "invalid_amount", "transfers[0].entries[0].amount"),
        (pay("Infinity"), "invalid_amount", "transfers[0].entries[0].amount"),
        (pay("1e-37"), "too_many_digits", "transfers[0].entries[0].amount"),
        (pay("1e40"), "too_many_digits", "transfers[0].entries[0].amount"),
        (pay("1e999999"), "too_many_digits", "transfers[0].entries[0].amount"),
        (
            pay(credit=Account(Code.RECEIVABLE, "EUR", 7)),
            "mixed_currencies",
            "transfers[0].entries[1].account.currency",
        ),
        (
            pay(debit=Account(Code.CASH, "XAU"), credit=Account(Code.RECEIVABLE, "XAU", 7)),
            "invalid_currency",
            "transfers[0].entries[0].account.currency",
        ),
        (pay(credit=Account("petty_cash", "USD")), "unknown_account", "transfers[0].entries[1].account.code"),
        (pay(credit=Account(Code.RECEIVABLE, "USD")), "unknown_account", "transfers[0].entries[1].account.customer_id"),
        (pay(debit=Account(Code.CASH, "USD", 7)), "unknown_account", "transfers[0].entries[0].account.customer_id"),
        (
            transfer(Entry(CASH, Side.DEBIT, D("10.01")), Entry(OWED, Side.CREDIT, D(10))),
            "unbalanced_transfer",
            "transfers[0].entries",
        ),
        (
            transfer(Entry(CASH, Side.DEBIT, D(1)), Entry(OWED, Side.DEBIT, D(1))),
            "unbalanced_transfer",
            "transfers[0].entries",
        ),
        (transfer(Entry(CASH, Side.DEBIT, D(1))), "unbalanced_transfer", "transfers[0].entries"),
        (transfer(), "unbalanced_transfer", "transfers[0].entries"),
        (
            transfer(*[Entry(CASH, Side.DEBIT, D(1)), Entry(OWED, Side.CREDIT, D(1))] * 51),
            "too_many_entries",
            "transfers[0].entries",
        ),
        (pay(key=""), "invalid_key", "transfers[0].key"),
        (pay(key="two\nlines"), "invalid_key", "transfers[0].key"),
        (pay(key="k" * 257), "invalid_key", "transfers[0].key"),
        (pay(corrects="\x00"), "invalid_key", "transfers[0].corrects"),
        (pay(reference="a\tb"), "invalid_reference", "transfers[0].reference"),
        (replace(pay(), effective_at=datetime(2026, 2, 1)), "invalid_instant", "transfers[0].effective_at"),
    ],
)  # fmt: skip
def test_it_is_refused_with_a_code_and_the_place(wrong: Transfer, code: str, path: str) -> None:
    error = refused(wrong)
    assert error.code == code
    assert error.path == path


def test_all_faults_of_all_transfers_are_named_at_once() -> None:
    error = refused(pay("0"), pay(key="payment:2"), pay(key="", credit=Account(Code.RECEIVABLE, "EUR", 7)))
    assert error.code == "invalid_transfers"
    assert [fault.path for fault in error.faults] == [
        "transfers[0].entries[0].amount",
        "transfers[0].entries[1].amount",
        "transfers[2].key",
        "transfers[2].entries[1].account.currency",
    ]


def test_a_float_is_no_amount() -> None:
    error = refused(transfer(Entry(CASH, Side.DEBIT, 0.1), Entry(OWED, Side.CREDIT, 0.1)))
    assert error.code == "invalid_amount"


def test_the_digits_of_a_price_times_a_quantity_are_kept() -> None:
    check_transfers([pay("1234567890123456789012345678901234567890.123456789012345678901234567890123456")])
    check_transfers([pay("0." + "0" * 35 + "1")])


def test_a_difference_in_the_last_of_many_digits_is_a_difference() -> None:
    long = "99999999999999999999.000000000000000000000000000000000001"
    wrong = transfer(Entry(CASH, Side.DEBIT, D(long)), Entry(OWED, Side.CREDIT, D(99999999999999999999)))
    assert refused(wrong).code == "unbalanced_transfer"


def test_limits_have_names() -> None:
    with pytest.raises(LimitExceeded) as caught:
        check_transfers([pay()] * (TRANSFERS_MAX + 1))
    assert caught.value.code == "too_many_transfers"
    half = ENTRIES_MAX // 2
    check_transfers([transfer(*[Entry(CASH, Side.DEBIT, D(1)), Entry(OWED, Side.CREDIT, D(1))] * half)])


def test_the_same_transfer_twice_in_a_batch_is_one() -> None:
    assert len(batch_of([pay("1.50"), pay("1.5"), pay("2", key="payment:2")]).rows) == 2


@pytest.mark.parametrize(
    "other",
    [
        pay("11"),
        pay(credit=Account(Code.RECEIVABLE, "USD", 8)),
        pay(reference="INV-1"),
        pay(corrects="payment:0"),
        replace(pay(), effective_at=datetime(2026, 2, 2, tzinfo=UTC)),
        replace(pay(), kind=TransferKind.REFUND_PAID),
        pay(debit=OWED, credit=CASH),
    ],
)
def test_the_same_key_for_something_else_is_a_conflict(other: Transfer) -> None:
    with pytest.raises(Conflict) as caught:
        batch_of([pay(), other])
    assert caught.value.code == "transfer_conflict"
    assert caught.value.path == "transfers[1].key"
