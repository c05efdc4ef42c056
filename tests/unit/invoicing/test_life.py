"""What each change of a subscription does to the money, in figures worked out by hand."""

from decimal import Decimal
from typing import Any

import pytest
from life_ledger import Ledger, at, fee, plan, shown

from farthing.customers.model import OneOffCharge
from farthing.invoicing.model import Reason
from farthing.kernel.errors import FarthingError

PRO = plan("pro", fee("31"))
TEAM = plan("team", fee("62"))


def ledger(*plans: Any, start: str = "2024-01-01", **more: Any) -> Ledger:
    return Ledger(plans or (PRO, TEAM), at(start), **more)


def test_an_upgrade_at_once_is_a_credit_and_a_charge_on_the_next_invoice() -> None:
    books = ledger()
    assert shown(books.bill("2024-01-01")) == [[("Base", "31")]]
    books.change("2024-01-13", "plan", plan="team")
    assert books.bill("2024-01-20") == []
    # 31 * 19/31 = 19 back, 62 * 19/31 = 38 more; February in advance is 62.
    assert shown(books.bill("2024-02-01")) == [
        [("Base, unused 19 of 31 days of Pro", "-19"), ("Base, 19 of 31 days of Team", "38"), ("Base", "62")]
    ]
    (draft,) = [draft for key, draft in books.issued.items() if key.reason is Reason.PERIOD]
    assert (draft.bill.plan.key, [line.plan for line in draft.lines]) == (
        "team",
        [("pro", 1, "Pro"), None, None],
    )
    credit = draft.lines[0]
    assert [(str(charge.quantity), str(charge.amount), charge.reason) for charge in credit.charges] == [
        ("-1", "-31", "flat fee"),
        ("-1", "12", "unused 19 of 31 days"),
    ]


def test_a_downgrade_at_the_end_of_the_period_credits_nothing() -> None:
    books = ledger(TEAM, PRO)
    books.bill("2024-01-01")
    fact = books.change("2024-01-13", "plan", plan="pro", at="period_end")
    assert fact.effective_at == at("2024-02-01")
    assert shown(books.bill("2024-02-01")) == [[("Base", "31")]]


def test_an_upgrade_that_is_invoiced_at_once_has_an_invoice_of_its_own() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "plan", plan="team", invoice="now")
    (draft,) = books.bill("2024-01-13")
    assert draft.bill.reason is Reason.CHANGE
    assert shown([draft]) == [
        [("Base, unused 19 of 31 days of Pro", "-19"), ("Base, 19 of 31 days of Team", "38")]
    ]
    assert shown(books.bill("2024-02-01")) == [[("Base", "62")]]


def test_more_seats_and_fewer_seats() -> None:
    books = ledger(plan("seats", fee("31", key="seat")))
    books.change("2024-01-01", "quantity", quantities={"seat": "5"})
    assert shown(books.bill("2024-01-01")) == [[("Seat", "155")]]
    books.change("2024-01-13", "quantity", quantities={"seat": "8"})
    books.change("2024-01-23", "quantity", quantities={"seat": "2"})
    # 5 seats for 12 days 60, 8 for 10 days 80, 2 for 9 days 18: 158 in all, 155 are paid.
    (draft,) = books.bill("2024-02-01")
    assert [(str(line.quantity), line.description, str(line.amount_exact)) for line in draft.lines] == [
        ("-5", "Seat, unused 19 of 31 days of Seats", "-95"),
        ("8", "Seat, 10 of 31 days of Seats", "80"),
        ("2", "Seat, 9 of 31 days of Seats", "18"),
        ("2", "Seat", "62"),
    ]


def test_cancelled_at_once_what_was_paid_for_the_rest_comes_back() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "cancel")
    (draft,) = books.bill("2024-01-13")
    assert shown([draft]) == [[("Base, unused 19 of 31 days of Pro", "-19")]]
    assert str(draft.totals.total) == "-19.00", "a total below zero is a credit to the customer"
    assert books.bill("2025-01-01") == []


def test_cancelled_without_a_refund_or_at_the_end_nothing_comes_back() -> None:
    for body in ({"refund": "none"}, {"at": "period_end"}):
        books = ledger()
        books.bill("2024-01-01")
        books.change("2024-01-13", "cancel", **body)
        assert books.bill("2025-01-01") == []


def test_cancelled_from_the_very_beginning_of_a_paid_period() -> None:
    """No period is left that an invoice could be of: the credit has one of its own."""
    books = ledger()
    books.bill("2024-02-01")
    books.change("2024-02-20", "cancel", at="2024-02-01T00:00:00Z")
    (draft,) = books.bill("2024-02-20")
    assert (draft.bill.reason, shown([draft])) == (
        Reason.CHANGE,
        [[("Base, unused 29 of 29 days of Pro", "-31")]],
    )
    assert books.bill("2025-01-01") == []


def test_reactivated_before_its_end_nothing_has_happened() -> None:
    books = ledger()
    books.bill("2024-01-01")
    cancelled = books.change("2024-01-13", "cancel", at="period_end")
    back = books.change("2024-01-20", "reactivate")
    assert (back.withdraws, books.subscription.end) == (cancelled.change_id, None)
    assert shown(books.bill("2024-02-01")) == [[("Base", "31")]]


def test_an_end_that_is_invoiced_is_not_undone_by_reactivating_before_it() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "cancel")
    books.bill("2024-01-14")
    with pytest.raises(FarthingError) as caught:
        books.change("2024-01-20", "reactivate", at="2024-01-05T00:00:00Z")
    assert caught.value.code == "already_invoiced"
    assert books.subscription.end == at("2024-01-13")


def test_reactivated_after_its_end_it_has_a_new_life() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-13", "cancel")
    books.bill("2024-01-13")
    books.change("2024-01-25", "reactivate")
    drafts = books.bill("2024-02-01")
    assert [(draft.bill.reason.value, draft.bill.period.start.day) for draft in drafts] == [
        ("start", 25),
        ("period", 25),
    ]
    assert shown(drafts) == [[("Base", "7")], [("Base", "31")]]


def test_paused_fees_stop_and_come_back() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-11", "pause")
    books.change("2024-01-21", "resume")
    assert shown(books.bill("2024-02-01")) == [[("Base, unused 10 of 31 days of Pro", "-10"), ("Base", "31")]]
    books.change("2024-02-11", "pause")
    # Nothing is billed in advance for a March that is paused.
    assert shown(books.bill("2024-03-01")) == [
        [("Base, unused 19 of 29 days of Pro", "-20.310344827586206897")]
    ]
    assert books.bill("2024-04-01") == []
    books.change("2024-04-16", "resume")
    # March had nothing to bill and has no invoice yet: it has room for the fees in advance of April.
    assert shown(books.bill("2024-05-01")) == [[("Base, 15 of 30 days of Pro", "15.5")], [("Base", "31")]]


def test_a_trial_is_free_and_fees_begin_with_its_end() -> None:
    books = ledger()
    books.change("2024-01-01", "trial", until="2024-01-15T00:00:00Z")
    assert books.bill("2024-01-14") == []
    (start,) = books.bill("2024-01-15")
    assert (start.bill.reason, start.bill.period.start, shown([start])) == (
        Reason.START,
        at("2024-01-15"),
        [[("Base", "17")]],
    )
    assert shown(books.bill("2024-02-01")) == [[("Base", "31")]]


def test_a_trial_of_whole_periods_leaves_the_fee_to_the_invoice_of_the_last_one() -> None:
    books = ledger()
    books.change("2024-01-01", "trial", until="2024-03-01T00:00:00Z")
    drafts = books.bill("2024-03-01")
    assert [(draft.bill.reason.value, *shown([draft])) for draft in drafts] == [("period", [("Base", "31")])]


def test_a_trial_may_be_made_longer() -> None:
    books = ledger()
    books.change("2024-01-01", "trial", until="2024-01-15T00:00:00Z")
    books.change("2024-01-10", "trial", until="2024-01-22T00:00:00Z")
    assert shown(books.bill("2024-01-31")) == [[("Base", "10")]]


def test_a_monthly_plan_becomes_a_yearly_one_at_once() -> None:
    yearly = plan("yearly", fee("366"), interval="year")
    books = ledger(PRO, yearly, anchor="anniversary")
    books.bill("2024-01-01")
    books.change("2024-01-13", "plan", plan="yearly")
    (draft,) = books.bill("2024-01-13")
    assert (draft.bill.reason, draft.bill.period.end) == (Reason.PERIOD, at("2024-01-13"))
    # The year is counted from the change: an anniversary of its own.
    assert shown([draft]) == [[("Base, unused 19 of 31 days of Pro", "-19"), ("Base", "366")]]
    assert books.bill("2025-01-12") == []
    assert shown(books.bill("2025-01-13")) == [[("Base", "366")]]


def test_a_yearly_plan_becomes_a_monthly_one_at_once_and_never_again_is_it_credited() -> None:
    yearly = plan("yearly", fee("366"), interval="year")
    books = ledger(yearly, PRO, anchor="calendar")
    books.bill("2024-01-01")
    books.change("2024-02-01", "plan", plan="pro")
    drafts = books.bill("2024-05-01")
    assert shown(drafts) == [
        [("Base, unused 335 of 366 days of Yearly", "-335"), ("Base", "31")],
        [("Base", "31")],
        [("Base", "31")],
        [("Base", "31")],
    ]


def test_the_same_interval_from_the_beginning_of_a_paid_period() -> None:
    books = ledger()
    books.bill("2024-02-01")
    books.change("2024-02-02", "plan", plan="team", at="2024-02-01T00:00:00Z")
    assert shown(books.bill("2024-03-01")) == [
        [("Base, unused 29 of 29 days of Pro", "-31"), ("Base", "62"), ("Base", "62")]
    ]


def test_a_new_version_with_the_same_fee_moves_no_money() -> None:
    books = ledger(PRO, plan("pro", fee("31"), fee("10", key="more")))
    books.bill("2024-01-01")
    books.change("2024-01-22", "plan", plan="pro")
    assert shown(books.bill("2024-02-01")) == [
        [("Base", "31"), ("More, 10 of 31 days of Pro", "3.225806451612903226"), ("More", "10")]
    ]


def test_a_price_of_the_customers_own() -> None:
    books = ledger()
    books.change("2024-01-01", "override", overrides={"base": {"model": "flat", "amount": "15.5"}})
    (draft,) = books.bill("2024-01-01")
    assert (shown([draft]), draft.lines[0].price is not None) == ([[("Base", "15.5")]], True)
    books.change("2024-01-13", "override", overrides={"base": None})
    assert shown(books.bill("2024-02-01")) == [
        [("Base, unused 19 of 31 days of Pro", "-9.5"), ("Base, 19 of 31 days of Pro", "19"), ("Base", "31")]
    ]


def test_an_override_ends_with_its_plan() -> None:
    books = ledger()
    books.change("2024-01-01", "override", overrides={"base": {"model": "flat", "amount": "15.5"}})
    books.change("2024-01-13", "plan", plan="team", at="period_end")
    assert shown(books.bill("2024-02-01"))[-1] == [("Base", "62")]


def test_an_add_on_comes_and_goes_and_stays_when_the_plan_changes() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-22", "add_on", rate_card=fee("62", key="support"))
    books.change("2024-01-27", "plan", plan="team", at="period_end")
    # 10 of 31 days of 62 is 20.
    assert shown(books.bill("2024-02-01")) == [
        [("Base", "62"), ("Support, 10 of 31 days", "20"), ("Support", "62")]
    ]
    books.change("2024-02-29", "remove_add_on", add_on="support", at="2024-02-29T00:00:00Z")
    (draft,) = books.bill("2024-03-01")
    assert [line.description for line in draft.lines] == ["Base", "Support, unused 1 of 29 days"]


def test_a_change_that_is_called_off_leaves_no_trace_in_the_money() -> None:
    books = ledger()
    books.bill("2024-01-01")
    fact = books.change("2024-01-13", "plan", plan="team")
    books.withdraw(fact, at("2024-01-14"))
    assert shown(books.bill("2024-02-01")) == [[("Base", "31")]]


def test_up_and_down_again_within_a_period() -> None:
    books = ledger()
    books.bill("2024-01-01")
    books.change("2024-01-05", "plan", plan="team", invoice="now")
    books.bill("2024-01-05")
    books.change("2024-01-07", "plan", plan="pro")
    # Two days of Team for 4 in place of two days of Pro for 2: all that the month cost beside 31.
    (draft,) = books.bill("2024-02-01")
    assert shown([draft]) == [
        [("Base, unused 25 of 31 days of Team", "-50"), ("Base, 25 of 31 days of Pro", "25"), ("Base", "31")]
    ]
    assert sum(line.amount_exact for line in books.lines) == 31 + 2 + 31


def test_fees_in_arrears_are_parted_when_the_period_is_over() -> None:
    books = ledger(plan("pro", fee("31", timing="arrears")), plan("team", fee("62", timing="arrears")))
    books.change("2024-01-13", "plan", plan="team")
    assert shown(books.bill("2024-02-01")) == [
        [("Base, 12 of 31 days of Pro", "12"), ("Base, 19 of 31 days of Team", "38")]
    ]


def test_by_day_a_started_day_is_that_of_the_new_plan() -> None:
    books = ledger(plan("pro", fee("31"), proration="day"), plan("team", fee("62"), proration="day"))
    books.bill("2024-01-01")
    books.change("2024-01-13T15:00:00Z", "plan", plan="team")
    assert shown(books.bill("2024-02-01")) == [
        [("Base, unused 19 of 31 days of Pro", "-19"), ("Base, 19 of 31 days of Team", "38"), ("Base", "62")]
    ]


def test_one_off_charges_stand_on_the_invoice_of_their_period_or_the_next() -> None:
    books = ledger(plan("pro", fee("31", timing="arrears")))

    def charge(key: str, amount: str, moment: str) -> None:
        books.one_offs.append(
            OneOffCharge(key, "acme-p", 3, key.title(), Decimal(amount), at(moment), at(moment))
        )

    charge("setup", "250", "2024-01-10")
    assert shown(books.bill("2024-02-01")) == [[("Base", "31"), ("Setup", "250")]]
    charge("sorry", "-20", "2024-01-20")  # January is invoiced.
    assert shown(books.bill("2024-03-01")) == [[("Base", "31"), ("Sorry", "-20")]]


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("plan", {"plan": "nothing"}, "unknown_plan"),
        ("plan", {"plan": "team", "version": 7}, "unknown_plan"),
        ("plan", {"plan": "team", "at": "2023-12-31T00:00:00Z"}, "before_start"),
        ("plan", {"plan": "team", "at": "2024-01-31T00:00:00Z"}, "already_invoiced"),
        ("quantity", {"quantities": {"nothing": "5"}}, "unknown_rate_card"),
        ("quantity", {"quantities": {"base": "-1"}}, "invalid_quantity"),
        ("override", {"overrides": {"nothing": None}}, "unknown_rate_card"),
        ("override", {"overrides": {"base": {"model": "per_unit", "unit_price": "1"}}}, "invalid_price"),
        ("add_on", {"rate_card": fee("1")}, "rate_card_taken"),
        ("add_on", {"rate_card": fee("1", key="x") | {"timing": "arrears", "meter": "no"}}, "unknown_meter"),
        ("remove_add_on", {"add_on": "support"}, "unknown_rate_card"),
        ("resume", {}, "not_paused"),
        ("reactivate", {}, "not_cancelled"),
        ("trial", {"until": "2024-03-01T00:00:00Z"}, "trial_not_at_start"),
        ("cancel", {"at": "2024-01-01T00:00:00Z"}, "invalid_change"),
        ("cancel", {"refund": "all"}, "invalid_refund"),
        ("pause", {"at": "whenever"}, "invalid_instant"),
        ("nap", {}, "invalid_kind"),
    ],
)
def test_what_cannot_be_is_refused_by_name(kind: str, body: dict[str, Any], code: str) -> None:
    books = ledger()
    books.bill("2024-02-01")
    before = books.subscription
    with pytest.raises(FarthingError) as refused:
        books.change("2024-02-10", kind, **body)
    if (kind, body.get("at")) == ("cancel", "2024-01-01T00:00:00Z"):
        assert refused.value.code == "invalid_end"
    else:
        assert refused.value.code == code
    assert books.subscription == before


def test_once_is_enough() -> None:
    books = ledger()
    books.change("2024-01-10", "pause")
    with pytest.raises(FarthingError) as refused:
        books.change("2024-01-11", "pause")
    assert refused.value.code == "already_paused"
    books.change("2024-01-12", "cancel", at="period_end")
    with pytest.raises(FarthingError) as refused:
        books.change("2024-01-13", "cancel")
    assert refused.value.code == "already_cancelled"
    with pytest.raises(FarthingError) as refused:
        books.change("2024-01-13", "plan", plan="team", at="2024-03-01T00:00:00Z")
    assert refused.value.code == "subscription_ended"


def test_under_one_key_a_change_is_made_once() -> None:
    books = ledger()
    first = books.change("2024-01-10", "plan", plan="team", key="up")
    assert books.change("2024-01-11", "plan", plan="team", key="up") == first
    with pytest.raises(FarthingError) as refused:
        books.change("2024-01-11", "plan", plan="pro", key="up")
    assert refused.value.code == "change_exists"
    books.withdraw(first, at("2024-01-12"))
    with pytest.raises(FarthingError) as refused:
        books.change("2024-01-13", "plan", plan="team", key="up")
    assert refused.value.code == "change_withdrawn"


def test_a_cut_that_is_invoiced_stays() -> None:
    books = ledger()
    books.bill("2024-01-01")
    ended = books.change("2024-01-13", "cancel")
    books.bill("2024-01-13")
    with pytest.raises(FarthingError) as refused:
        books.withdraw(ended, at("2024-01-14"))
    assert refused.value.code == "already_invoiced"
    back = books.change("2024-01-20", "reactivate")
    books.bill("2024-01-20")
    with pytest.raises(FarthingError) as refused:
        books.withdraw(back, at("2024-01-21"))
    assert refused.value.code == "already_invoiced"


def test_everything_that_is_wrong_is_named_at_once() -> None:
    books = ledger()
    with pytest.raises(FarthingError) as refused:
        books.change(
            "2024-01-10",
            "plan",
            plan="team",
            quantities={"seats": "5"},
            overrides={"base": {"model": "per_unit", "unit_price": "1"}},
        )
    assert refused.value.code == "invalid_change"
    assert [fault.path for fault in refused.value.faults] == ["quantities.seats", "overrides.base.model"]
