"""What is given back where a coupon had reduced what was paid, in figures worked out by hand."""

from decimal import Decimal

import pytest
from life_ledger import Ledger, at, fee, plan, shown
from term_world import coupon

from farthing.customers.terms.model import Redemption, Terms

PRO = plan("pro", fee("31"))
TEAM = plan("team", fee("62"))


def ledger(*redemptions: Redemption) -> Ledger:
    return Ledger((PRO, TEAM), at("2024-01-01"), terms=Terms(tuple(redemptions), ()))


def total(books: Ledger) -> Decimal:
    return sum((line.amount_exact for line in books.lines), Decimal(0))


def test_a_credit_is_without_what_a_coupon_had_taken_off() -> None:
    books = ledger(coupon(percent="50", duration="forever"))
    assert shown(books.bill("2024-01-01")) == [[("Base", "31"), ("Coupon", "-15.5")]]
    books.change("2024-01-13", "cancel")
    # 31 * 19/31 = 19 of 31 would be back; half of it was never paid.
    (draft,) = books.bill("2024-01-13")
    assert shown([draft]) == [[("Base, unused 19 of 31 days of Pro", "-9.5")]]
    assert [(str(charge.amount), charge.reason) for charge in draft.lines[0].charges] == [
        ("-31", "flat fee"),
        ("12", "unused 19 of 31 days"),
        ("9.5", "coupons had taken off"),
    ]
    assert total(books) == 6, "12 of 31 days at half the price"


def test_what_was_free_gives_nothing_back() -> None:
    books = ledger(coupon(percent="100", duration="once"))
    books.bill("2024-01-01")
    books.change("2024-01-13", "cancel")
    books.bill("2024-01-13")
    assert total(books) == 0


def test_an_upgrade_credits_what_was_paid_and_charges_the_price() -> None:
    books = ledger(coupon(amount="10", currency="USD", duration="once"))
    assert shown(books.bill("2024-01-01")) == [[("Base", "31"), ("Coupon", "-10")]]
    books.change("2024-01-13", "plan", plan="team")
    # 19 of 31 days: 19 less 10 * 19/31 back, 38 more, and February at 62. The coupon is used up.
    ((back, more, february),) = shown(books.bill("2024-02-01"))
    assert back == ("Base, unused 19 of 31 days of Pro", "-12.870967741935483871")
    assert (more, february) == (("Base, 19 of 31 days of Team", "38"), ("Base", "62"))


def test_a_coupon_of_later_reduces_charges_and_no_credit() -> None:
    books = ledger(coupon(start="2024-01-20", percent="50", duration="once"))
    books.bill("2024-01-01")
    books.change("2024-01-13", "plan", plan="team")
    assert shown(books.bill("2024-02-01")) == [
        [
            ("Base, unused 19 of 31 days of Pro", "-19"),
            ("Base, 19 of 31 days of Team", "38"),
            ("Base", "62"),
            ("Coupon", "-19"),
            ("Coupon", "-31"),
        ]
    ]


@pytest.mark.parametrize("percent", ["1", "33.3", "99", "100"])
@pytest.mark.parametrize("days", [(5, 9), (2, 17), (12, 13)])
def test_whatever_is_changed_no_more_comes_back_than_was_paid(percent: str, days: tuple[int, int]) -> None:
    books = ledger(coupon(percent=percent, duration="once"))
    books.bill("2024-01-01")
    paid = total(books)
    for day, (kind, body) in zip(days, [("pause", {}), ("cancel", {})], strict=True):
        books.change(f"2024-01-{day:02d}", kind, **body)
    books.bill("2024-01-31")
    assert 0 <= total(books) <= paid
