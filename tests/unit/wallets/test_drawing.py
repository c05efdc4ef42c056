"""Who pays for charges, what goes back, and how a period is settled. Pure; every amount by hand."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from farthing.kernel.quantity import exact
from farthing.wallets.drawing import OWED, Drawing
from farthing.wallets.model import (
    EVERYTHING,
    CardTotal,
    ChargeKey,
    OpenGrant,
    SettledHold,
    Settlement,
    UsageCharge,
)

NOW = datetime(2026, 1, 10, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
ACME = 7


def grant(number: int, left: str) -> OpenGrant:
    return OpenGrant(number, 1, 100, True, 100, EVERYTHING, START, None, D(left), "USD")


def key(card: str = "calls") -> ChargeKey:
    return ChargeKey(1, START, card)


def charge(amount: str, card: str = "calls", *settled: SettledHold) -> UsageCharge:
    return UsageCharge(key(card), ACME, "USD", (card,), D(amount), NOW, settled)


def settlement(payable: str, **totals: str) -> Settlement:
    found = tuple(CardTotal(card, (card,), D(amount)) for card, amount in totals.items())
    return Settlement(1, START, ACME, "USD", 2, found, D(payable), NOW)


def moved(drawing: Drawing) -> dict[int, D]:
    """What each grant paid, less what it got back."""
    with exact():
        sums = Counter[int]()
        for part in drawing.parts:
            sums[part.grant_id] += part.amount
    return {number: amount for number, amount in sums.items() if amount}


@pytest.mark.parametrize(
    ("funds", "paid", "left"),
    [
        ("20", "12.35", "7.65"),
        ("10", "10.00", "0"),
        ("5.005", "5.00", "0.005"),
        ("12.3456", "12.34", "0.0056"),
    ],
)
def test_a_settlement_comes_to_whole_minor_units(funds: str, paid: str, left: str) -> None:
    with exact():
        drawing = Drawing({ACME: [grant(1, funds)]}, {})
        drawing.charge(charge("12.3456"))
        assert drawing.settle(settlement("12.35", calls="12.3456")) == D(paid)
        assert moved(drawing) == {1: D(paid)}
        assert drawing.funds[ACME].available(NOW) == {1: D(left)}


def test_what_was_drawn_too_much_goes_back_to_whoever_paid_last() -> None:
    standing = {key(): [(1, D(5)), (2, D(4)), (OWED, D(1))]}
    with exact():
        drawing = Drawing({ACME: [grant(1, "0"), grant(2, "6")]}, standing)
        assert drawing.charge(charge("-3")) == -2, "one of the three was owed, and is no longer"
    assert moved(drawing) == {2: D(-2)}
    assert drawing.owed == {key(): D(-1)}


def test_what_is_owed_is_tried_again_at_the_end() -> None:
    standing = {key(): [(1, D(5)), (OWED, D("7.5"))]}
    with exact():
        drawing = Drawing({ACME: [grant(1, "0"), grant(2, "100")]}, standing)
        assert drawing.settle(settlement("12.50", calls="12.5")) == D("12.50")
    assert moved(drawing) == {2: D("7.5")}
    assert drawing.owed == {key(): D("-7.5")}


def test_a_card_that_the_invoice_does_not_charge_by_gives_back() -> None:
    standing = {key("old"): [(1, D(5))], key("calls"): [(1, D(2))]}
    with exact():
        drawing = Drawing({ACME: [grant(1, "10")]}, standing)
        assert drawing.settle(settlement("3.00", calls="3")) == D("3.00")
    assert moved(drawing) == {1: D(-4)}


def test_without_totals_everything_goes_back() -> None:
    standing = {key(): [(1, D(5)), (2, D("2.25")), (OWED, D(1))]}
    with exact():
        drawing = Drawing({ACME: [grant(1, "0"), grant(2, "0")]}, standing)
        assert drawing.settle(settlement("0")) == 0
    assert moved(drawing) == {1: D(-5), 2: D("-2.25")}
    assert drawing.owed == {key(): D(-1)}


def test_a_grant_that_is_used_up_and_put_aside_gets_back_what_it_paid() -> None:
    with exact():
        drawing = Drawing({}, {key(): [(1, D(5))]})
        drawing.charge(charge("-2"))
    assert moved(drawing) == {1: D(-2)}


def test_settled_holds_pay_first_and_the_rest_of_them_pays_for_what_comes_after() -> None:
    hold = SettledHold(2, D(6))
    with exact():
        drawing = Drawing({ACME: [grant(1, "1"), grant(2, "0")]})
        assert drawing.charge(charge("4", "calls", hold)) == 4
        assert drawing.charge(charge("5", "other")) == 3
    assert moved(drawing) == {1: D(1), 2: D(6)}
    assert [part.settled for part in drawing.parts] == [6, 0, 0]
    assert drawing.owed == {key("other"): D(2)}


def test_a_hold_for_usage_that_costs_nothing_is_let_go() -> None:
    with exact():
        drawing = Drawing({ACME: [grant(1, "0")]})
        assert drawing.charge(charge("0", "calls", SettledHold(1, D(3)))) == 0
        assert drawing.funds[ACME].available(NOW) == {1: D(3)}
    assert [(part.amount, part.settled) for part in drawing.parts] == [(0, 3)]
