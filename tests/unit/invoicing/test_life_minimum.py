"""A plan's minimum beside what happens to a subscription, in figures worked out by hand."""

from typing import Any

from life_ledger import Ledger, at, fee, plan, shown

PRO = plan("pro", fee("31"), minimum="62")
TEAM = plan("team", fee("62"), minimum="93")
FREE = plan("free", fee("1", "help", "arrears"))


def ledger(*plans: Any) -> Ledger:
    return Ledger(plans or (PRO, TEAM), at("2024-01-01"))


def least(books: Ledger, until: str) -> list[tuple[str, str]]:
    """The minimums of a run."""
    drafts = books.bill(until)
    return [line for lines in shown(drafts) for line in lines if line[0] == "Minimum spend"]


def test_a_pause_has_no_share_of_the_minimum() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-11", "pause")
    books.change("2024-01-21", "resume")
    # 62 * 21/31 = 42, of which the fee is 31 - 10 = 21.
    assert least(books, "2024-02-01") == [("Minimum spend", "21")]


def test_a_period_that_is_paused_has_no_minimum() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-31", "pause", at="2024-02-01T00:00:00Z")
    assert least(books, "2024-02-01") == [("Minimum spend", "31")]
    assert least(books, "2024-03-01") == []


def test_a_trial_has_no_minimum() -> None:
    books = ledger()
    books.change("2024-01-01", "trial", until="2024-02-15T00:00:00Z")
    assert least(books, "2024-02-01") == []
    # 15 of 29 days: 62 * 15/29 = 32.07, and the fee for them 16.03.
    assert least(books, "2024-03-01") == [("Minimum spend", "16.034482758620689655")]


def test_each_plan_of_a_period_has_the_minimum_of_its_time() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "plan", plan="team")
    # 62 * 12/31 = 24 and 93 * 19/31 = 57 are 81; the fees are 31 - 19 + 38 = 50.
    assert least(books, "2024-02-01") == [("Minimum spend", "31")]
    assert least(books, "2024-03-01") == [("Minimum spend", "31")]


def test_the_minimum_of_a_plan_that_was_left_is_owed_for_its_time() -> None:
    books = ledger(PRO, FREE)
    books.bill("2024-01-01")
    books.change("2024-01-13", "plan", plan="free")
    # 62 * 12/31 = 24; the fees are 31 - 19 = 12 and 19/31 of help.
    assert least(books, "2024-02-01") == [("Minimum spend", "11.387096774193548387")]


def test_what_comes_back_at_the_end_does_not_count_toward_the_minimum() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "cancel")
    # 62 * 12/31 = 24, of which the fee is 31 - 19 = 12.
    assert shown(books.bill("2024-01-13")) == [
        [("Base, unused 19 of 31 days of Pro", "-19"), ("Minimum spend", "12")]
    ]


def test_seats_do_not_part_the_minimum() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-05", "quantity", quantities={"base": "0.5"})
    # The fee is 31 * 4/31 + 15.5 * 27/31 = 17.5.
    assert least(books, "2024-02-01") == [("Minimum spend", "44.5")]
