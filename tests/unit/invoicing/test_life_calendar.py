"""Shares of fees on the calendar's odd days, each worked out by hand.

A fee of 100 in advance, changed at a moment to one of 200: the credit is 100 and the charge 200 times the
share of the full period that is left. Hours are counted where summer time makes a day of 23 or 25.
"""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from life_ledger import Ledger, at, fee, plan

OLD_NEW = (("old", "100"), ("new", "200"))
CASES: list[tuple[str, str, Any, str, str, str, str, str, Fraction]] = [
    # what, start, anchor, zone, interval, proration, change, run until, share of the full period that is left
    ("February of a leap year", "2024-02-01", "calendar", "UTC", "month", "second",
     "2024-02-29", "2024-03-01", Fraction(1, 29)),
    ("February of another year", "2023-02-01", "calendar", "UTC", "month", "second",
     "2023-02-28", "2023-03-01", Fraction(1, 28)),
    ("a year with 29 February", "2024-01-01", "calendar", "UTC", "year", "second",
     "2024-03-01", "2025-01-01", Fraction(306, 366)),
    ("from 29 February for a year", "2024-02-29", "anniversary", "UTC", "year", "second",
     "2024-03-01", "2025-02-28", Fraction(364, 365)),
    ("from the 31st to 29 February", "2024-01-31", "anniversary", "UTC", "month", "second",
     "2024-02-14", "2024-02-29", Fraction(15, 29)),
    ("from 29 February back to the 31st", "2024-02-29", date(2024, 1, 31), "UTC", "month", "second",
     "2024-03-16", "2024-03-31", Fraction(15, 31)),
    ("from the 31st to the 30th", "2024-03-31", date(2024, 1, 31), "UTC", "month", "second",
     "2024-04-15", "2024-04-30", Fraction(15, 30)),
    # Berlin: 31 March 2024 has 23 hours, so March has 743; from midnight of 31 March 23 are left.
    ("the day that summer time begins", "2024-02-29T23:00:00Z", "calendar", "Europe/Berlin", "month", "second",
     "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", Fraction(23, 743)),
    # By the day the short day counts as one of 31.
    ("the same by the day", "2024-02-29T23:00:00Z", "calendar", "Europe/Berlin", "month", "day",
     "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", Fraction(1, 31)),
    # Berlin: 27 October 2024 has 25 hours, so October has 745; from its midnight 25 + 4 x 24 are left.
    ("the day that summer time ends", "2024-09-30T22:00:00Z", "calendar", "Europe/Berlin", "month", "second",
     "2024-10-26T22:00:00Z", "2024-10-31T23:00:00Z", Fraction(121, 745)),
    # 13:30 in Kolkata is the 10th already begun: by the day it counts for the new plan, 21 of 30 days.
    ("a half-hour zone in the middle of a day", "2024-05-31T18:30:00Z", "calendar", "Asia/Kolkata", "month", "day",
     "2024-06-10T08:00:00Z", "2024-06-30T18:30:00Z", Fraction(21, 30)),
    # 23:00 UTC on the 9th is the 10th in Kolkata: the day is the customer's.
    ("the day is a local one", "2024-05-31T18:30:00Z", "calendar", "Asia/Kolkata", "month", "day",
     "2024-06-09T23:00:00Z", "2024-06-30T18:30:00Z", Fraction(21, 30)),
    # Apia had no 30 December 2011: the month has 30 days of 24 hours, and one is left on the 31st.
    ("a zone that skips a day", "2011-12-01T10:00:00Z", "calendar", "Pacific/Apia", "month", "second",
     "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", Fraction(1, 30)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "anchor", "timezone", "interval", "proration", "moment", "until", "left"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_share_that_is_left(
    start: str,
    anchor: Any,
    timezone: str,
    interval: str,
    proration: str,
    moment: str,
    until: str,
    left: Fraction,
) -> None:
    old, new = (plan(key, fee(amount), interval=interval, proration=proration) for key, amount in OLD_NEW)
    books = Ledger([old, new], at(start), anchor, timezone)
    (begun,) = books.bill(start)
    assert begun.lines[0].amount_exact == 100, "it begins with a full period"
    instant = at(moment)
    books.change(instant, "plan", plan="new", at=f"{instant:%Y-%m-%dT%H:%M:%SZ}")
    (draft,) = books.bill(until)
    credit, charge, following = draft.lines
    for line, exact in ((credit, -100 * left), (charge, 200 * left)):
        assert abs(Fraction(line.amount_exact) - exact) <= Fraction(1, 10**18)
    assert following.amount_exact == Decimal(200)
