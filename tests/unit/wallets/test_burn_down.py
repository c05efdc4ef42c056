"""The order in which grants pay, and what time does to them. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import permutations

from farthing.kernel.quantity import exact
from farthing.wallets.balances import may_top_up
from farthing.wallets.burn_down import Funds, in_order
from farthing.wallets.model import EVERYTHING, AutoTopUp, OpenGrant, Scope
from farthing.wallets.recurrence import rolled_over

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def grant(number: int, left: str = "10", **more: object) -> OpenGrant:
    given = {
        "wallet_id": 1,
        "wallet_priority": 100,
        "paid": True,
        "priority": 100,
        "scope": EVERYTHING,
        "effective_at": NOW - timedelta(days=1),
        "expires_at": None,
        "currency": "USD",
    }
    return OpenGrant(number, left=D(left), **{**given, **more})


ORDERED = [
    grant(9, wallet_priority=1, priority=500),
    grant(8, priority=1),
    grant(7, expires_at=NOW + timedelta(days=1)),
    grant(6, expires_at=NOW + timedelta(days=2), paid=False),
    grant(5, expires_at=NOW + timedelta(days=2)),
    grant(3, paid=False),
    grant(1),
    grant(2),
]


def test_the_order_does_not_depend_on_the_order_given() -> None:
    for some in permutations(ORDERED[2:]):
        assert in_order([*some, ORDERED[1], ORDERED[0]]) == ORDERED


def taken(funds: Funds, amount: str, at: datetime = NOW, meter: str = "m", card: str = "c") -> list[tuple]:
    with exact():
        return list(funds.take(D(amount), at, (meter,), card, "USD"))


def test_a_charge_takes_from_one_after_the_other() -> None:
    funds = Funds([grant(1, "5"), grant(2, "3"), grant(3, "0")])
    assert taken(funds, "6.5") == [(1, D(5)), (2, D("1.5"))]
    assert taken(funds, "6.5") == [(2, D("1.5"))]
    assert taken(funds, "1") == []
    with exact():
        funds.give_back(1, D(2))
    assert taken(funds, "9") == [(1, D(2))]


def test_only_what_is_in_force_in_scope_and_of_the_currency_pays() -> None:
    funds = Funds(
        [
            grant(1, effective_at=NOW + timedelta(days=1)),
            grant(2, expires_at=NOW),
            grant(3, currency="EUR"),
            grant(4, scope=Scope(meters=("other",))),
            grant(5, scope=Scope(rate_cards=("other",))),
            grant(6, scope=Scope(meters=("m",), rate_cards=("other",))),
            grant(7, currency=None, unit="m"),
        ]
    )
    assert taken(funds, "50") == [(6, D(10))]
    assert taken(funds, "50", card="other") == [(5, D(10))]
    assert taken(funds, "50", at=NOW - timedelta(hours=1), meter="x") == [(2, D(10))]
    assert taken(funds, "50", at=NOW + timedelta(days=1), meter="x") == [(1, D(10))]


def test_what_rolls_over_is_a_share_up_to_a_maximum() -> None:
    with exact():
        assert rolled_over(D("3.3333333"), D(50), None) == D("1.66666665")
        assert rolled_over(D(10), D(50), D(4)) == 4
        assert rolled_over(D(10), D(0), None) == 0


def test_a_top_up_waits_for_the_one_before_and_for_its_cooldown() -> None:
    terms = AutoTopUp(D(5), D(20), 3600, D(50))
    assert may_top_up(terms, 0, None, D(0), NOW)
    assert not may_top_up(terms, 1, None, D(0), NOW)
    assert not may_top_up(terms, 0, NOW - timedelta(seconds=3599), D(0), NOW)
    assert may_top_up(terms, 0, NOW - timedelta(seconds=3600), D(30), NOW)
    assert not may_top_up(terms, 0, None, D("30.01"), NOW)
    assert may_top_up(terms, 0, NOW + timedelta(days=400), D(0), NOW), "a clock that was set back"
