"""What finance files: every report ties to the ledger, as of any date, and a closed month takes nothing any more."""

import csv
import io
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_world import LedgerWorld
from ledger_world import furnished as ledger_furnished

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.finance.model import Report, ReportName
from farthing.finance.service import close_books, make_report, recognise_revenue
from farthing.finance.wire import report_csv, report_document
from farthing.invoicing.credit_notes.service import issue_credit_note
from farthing.kernel.errors import Conflict, InvalidInput
from farthing.ledger.facts import GrantFunded, PaymentReceived, WalletDrawn
from farthing.ledger.recipes import grant_funded, payment_received, wallet_drawn
from farthing.ledger.service import close_period, period_closings, post

YEARLY = fee("120", timing="advance", key="year")
SEAT = fee("31", timing="advance", key="seat")
NOW = "2026-06-10T08:00:00Z"


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, instant(NOW))
    yield world
    world.store.close()


def made(
    world: World | LedgerWorld, name: ReportName, start: str | None = None, end: str | None = None
) -> Report:
    since, until = (day and instant(f"{day}T00:00:00Z") for day in (start, end))
    report = make_report(world.books, world.tenant_id, name, since, until, instant(NOW))
    assert all(tie.holds for tie in report.ties), report.ties
    return report


def rows(report: Report) -> list[dict[str, Any]]:
    """Rows by the keys of the columns, without what is zero."""
    return [
        {
            column.key: cell
            for column, cell in zip(report.columns, row, strict=True)
            if cell not in (None, D(0))
        }
        for row in report.rows
    ]


@pytest.fixture
def seats(world: World) -> World:
    """A seat for 31.00 a month in advance and tokens in arrears, January to March, each billed on the 2nd."""
    world.furnish([plan(PER_TOKEN, SEAT)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "1000000")
    for month in ("2026-01", "2026-02", "2026-03"):
        world.bill(f"{month}-01", now=instant(f"{month}-02T08:00:00Z"))
    return world


def test_a_month_in_advance_is_earned_in_that_month(seats: World) -> None:
    """January's seat, 31.00, is deferred on 2 January and earned when January ends; so is each one after it."""
    assert (
        recognise_revenue(seats.books, seats.tenant_id, instant("2026-03-15T00:00:00Z"), instant(NOW)).booked
        == 2
    )
    report = made(seats, ReportName.DEFERRED_REVENUE, "2026-02-01", "2026-03-01")
    assert rows(report) == [
        {
            "customer": "acme", "currency": "USD",
            "invoiced": D("31.00"), "recognised": D("-31.00"),
        }
    ]  # fmt: skip
    until_march = made(seats, ReportName.DEFERRED_REVENUE, "2026-03-01", "2026-03-20")
    assert rows(until_march)[0]["closing"] == D("31.00")


def test_recognising_again_books_nothing_and_a_killed_run_goes_on(seats: World) -> None:
    until = instant("2026-03-15T00:00:00Z")
    assert (
        recognise_revenue(seats.books, seats.tenant_id, instant("2026-02-05T00:00:00Z"), instant(NOW)).booked
        == 1
    )
    assert recognise_revenue(seats.books, seats.tenant_id, until, instant(NOW)).booked == 1
    assert recognise_revenue(seats.books, seats.tenant_id, until, instant(NOW)).booked == 0
    assert recognise_revenue(seats.books, seats.tenant_id, instant(NOW), instant(NOW)).booked == 1
    assert rows(made(seats, ReportName.DEFERRED_REVENUE)) == [
        {
            "customer": "acme", "currency": "USD",
            "invoiced": D("93.00"), "recognised": D("-93.00"),
        }
    ]  # fmt: skip


def test_an_invoice_that_comes_late_is_recognised_from_its_beginning(world: World) -> None:
    """The seat of January to March is invoiced on 10 March only: January and February are earned on that day."""
    world.furnish([plan(SEAT)], [{"customer": "acme", "plan": "payg"}])
    recognise_revenue(world.books, world.tenant_id, instant("2026-03-09T00:00:00Z"), instant(NOW))
    world.bill("2026-03-01", now=instant("2026-03-10T00:00:00Z"))
    revenue = made(world, ReportName.REVENUE, "2026-03-01", "2026-03-20")
    assert rows(revenue) == [{"product": "seat", "customer": "acme", "currency": "USD", "amount": D("62.00")}]
    recognise_revenue(world.books, world.tenant_id, instant("2026-04-01T00:00:00Z"), instant(NOW))
    assert rows(made(world, ReportName.REVENUE))[0]["amount"] == D("93.00")


def test_what_is_deferred_stands_in_the_schedule_of_the_months_to_come(world: World) -> None:
    yearly = {**plan(YEARLY), "interval": "year"}
    world.furnish([yearly], [{"customer": "acme", "plan": "payg", "start": "2026-01-01T00:00:00Z"}])
    world.bill("2026-01-01", now=instant("2026-01-02T00:00:00Z"))
    recognise_revenue(world.books, world.tenant_id, instant(NOW), instant(NOW))
    schedule = rows(made(world, ReportName.RECOGNITION_SCHEDULE))
    assert [row["month"] for row in schedule] == [f"2026-{month:02}" for month in range(6, 13)]
    assert sum(row["amount"] for row in schedule) == D("120.00") * (365 - 151) / 365 // D("0.01") * D(
        "0.01"
    ) + D("0.01")


def test_income_is_what_was_earned_less_what_was_spent(seats: World) -> None:
    recognise_revenue(seats.books, seats.tenant_id, instant(NOW), instant(NOW))
    income = rows(made(seats, ReportName.INCOME, "2026-02-01", "2026-03-01"))
    # Tokens of January, 2.50, are earned when they are invoiced on 2 February; the seat of February by its end.
    assert income == [
        {"kind": "income", "account": "revenue", "currency": "USD", "amount": D("33.50")},
        {"kind": "", "account": "result", "currency": "USD", "amount": D("33.50")},
    ]


def test_receivables_by_age_know_the_day_an_invoice_fell_due(seats: World) -> None:
    with seats.books.transaction(seats.tenant_id) as conn:
        customer = conn.execute("SELECT customer_id FROM customers").fetchone()["customer_id"]
        paid = PaymentReceived("p1", customer, "USD", D("40.00"), instant("2026-03-05T00:00:00Z"))
        post(conn, seats.tenant_id, [payment_received(paid)], instant(NOW))
    # 31.00 of 2 January, 33.50 of 2 February and 31.00 of 2 March, each due in 30 days; 40.00 pay the oldest first.
    assert rows(made(seats, ReportName.RECEIVABLES, None, "2026-04-01")) == [
        {
            "customer": "acme", "currency": "USD", "not_due": D("31.00"), "1_to_30": D("24.50"),
            "total": D("55.50"),
        }
    ]  # fmt: skip
    assert rows(made(seats, ReportName.RECEIVABLES, None, "2026-03-05"))[0]["total"] == D("95.50")


def test_a_credit_note_is_taken_off_its_own_invoice(seats: World) -> None:
    """Of 31.00, 33.50 and 31.00, the first two overdue in April, the last one is given back whole."""
    issue_credit_note(
        seats.books,
        seats.tenant_id,
        {"key": "c", "invoice": "INV-000003", "reason": "goodwill"},
        instant(NOW),
    )
    assert rows(made(seats, ReportName.RECEIVABLES)) == [
        {"customer": "acme", "currency": "USD", "over_90": D("64.50"), "total": D("64.50")}
    ]


def test_a_closed_month_takes_nothing_any_more(books: Books, tenant_id: int, now: datetime) -> None:
    world = ledger_furnished(books, tenant_id, now)
    month = now.replace(day=1, hour=0)
    world.post(world.moved("before", "1", at=month - timedelta(days=3)))
    close_books(books, tenant_id, month, "filed", now)
    with pytest.raises(Conflict) as refused:
        world.post(
            world.moved("fine", "1", at=month), world.moved("late", "1", at=month - timedelta(microseconds=1))
        )
    assert refused.value.code == "period_closed"
    assert "late" in refused.value.message
    assert world.balances()["cash", None, "USD"] == D(1)
    world.post(world.moved("fine", "1", at=month))
    close_period(books, tenant_id, None, "an invoice was missing", now)
    world.post(world.moved("late", "1", at=month - timedelta(microseconds=1)))
    assert [one.closed_until for one in period_closings(books, tenant_id)] == [None, month]


def test_what_was_booked_before_the_closing_may_be_said_again(
    books: Books, tenant_id: int, now: datetime
) -> None:
    """A repeat books nothing, so there is nothing to refuse."""
    world = ledger_furnished(books, tenant_id, now)
    world.post(world.moved("once", "1", at=now - timedelta(days=40)))
    close_books(books, tenant_id, now, "filed", now)
    again = world.post(world.moved("once", "1", at=now - timedelta(days=40)))
    assert (again.booked, again.repeated) == (0, 1)


def test_another_tenant_is_not_closed(books: Books, tenant_id: int, now: datetime) -> None:
    other = create_tenant(books, f"open-{tenant_id}", "Open", now)
    close_books(books, tenant_id, now, "filed", now)
    world = ledger_furnished(books, other, now)
    assert world.post(world.moved("t", "1", at=now - timedelta(days=1))).booked == 1


@pytest.mark.parametrize(
    ("until", "reason"),
    [(timedelta(seconds=1), "x"), (timedelta(), ""), (timedelta(), "a\nb"), (timedelta(), "x" * 501)],
)
def test_a_closing_that_makes_no_sense_is_refused(
    books: Books, tenant_id: int, now: datetime, until: timedelta, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        close_books(books, tenant_id, now + until, reason, now)
    assert refused.value.code == "invalid_period_closing"
    assert period_closings(books, tenant_id) == []


def test_closing_waits_for_who_is_posting_and_who_posts_sees_the_closing(
    books: Books, tenant_id: int, now: datetime
) -> None:
    """However they meet: what is booked before the end was booked before it was closed."""
    world = ledger_furnished(books, tenant_id, now)
    end = now - timedelta(days=1)
    posting, closed = threading.Event(), threading.Event()

    def close() -> None:
        posting.wait()
        close_period(books, tenant_id, end, "filed", now)
        closed.set()

    thread = threading.Thread(target=close)
    thread.start()
    with books.transaction(tenant_id) as conn:
        post(conn, tenant_id, [world.moved("in time", "1", at=end - timedelta(days=1))], now)
        posting.set()
        assert not closed.wait(0.2), "closing has to wait for this transaction"
    thread.join()
    with pytest.raises(Conflict):
        world.post(world.moved("too late", "1", at=end - timedelta(days=1)))


def test_a_report_over_a_time_that_makes_no_sense_is_refused(
    books: Books, tenant_id: int, now: datetime
) -> None:
    for name, start, end in (
        (ReportName.RECEIVABLES, now, None),
        (ReportName.REVENUE, now, now),
        (ReportName.CASH, now, now - timedelta(days=1)),
    ):
        with pytest.raises(InvalidInput) as refused:
            make_report(books, tenant_id, name, start, end, now)
        assert refused.value.code == "invalid_report_period"


def test_reports_of_nothing_are_empty_and_tie(books: Books, tenant_id: int, now: datetime) -> None:
    for name in ReportName:
        report = make_report(books, tenant_id, name, None, None, now)
        assert report.rows == ()
        assert all(tie.holds for tie in report.ties)


def test_csv_has_the_same_rows_and_no_formula(books: Books, tenant_id: int, now: datetime) -> None:
    world = ledger_furnished(books, tenant_id, now, ("=1+1", "plain"))
    for key in ("=1+1", "plain"):
        fact = GrantFunded(f"g-{key}", world.customers[key], "USD", D("5.000001"), True, now)
        world.post(grant_funded(fact))
    report = make_report(books, tenant_id, ReportName.WALLETS, None, None, now)
    read = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert [(row["customer"], row["closing"]) for row in read] == [
        ("'=1+1", "5.000001"),
        ("plain", "5.000001"),
    ]
    assert [row["customer"] for row in report_document(report)["rows"]] == ["=1+1", "plain"]


FACTS = st.lists(
    st.tuples(
        st.sampled_from(("paid", "granted", "given", "drawn")),
        st.sampled_from(("acme", "bolt")),
        st.integers(1, 10**9),
        st.integers(0, 90),
    ),
    max_size=15,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FACTS, st.integers(0, 90), st.integers(1, 60))
def test_every_report_ties_over_any_time(
    books: Books, now: datetime, facts: list[tuple[str, str, int, int]], first: int, days: int
) -> None:
    tenant = create_tenant(books, f"ties-{next(_numbers)}", "Ties", now)
    world = ledger_furnished(books, tenant, now)
    for place, (what, who, tenth_microdollars, day) in enumerate(facts):
        amount, at = D(tenth_microdollars).scaleb(-7), now - timedelta(days=day)
        customer = world.customers[who]
        transfer = {
            "paid": lambda: payment_received(PaymentReceived(str(place), customer, "USD", amount, at)),  # noqa: B023
            "granted": lambda: grant_funded(GrantFunded(str(place), customer, "USD", amount, True, at)),  # noqa: B023
            "given": lambda: grant_funded(GrantFunded(str(place), customer, "USD", amount, False, at)),  # noqa: B023
            "drawn": lambda: wallet_drawn(WalletDrawn(str(place), customer, "USD", amount, D(1), at)),  # noqa: B023
        }[what]()
        world.post(transfer)
    start = now - timedelta(days=first)
    # Payments and credit have rows of their own; these facts are entries of the ledger alone.
    for name in set(ReportName) - {ReportName.CUSTOMER_CREDIT}:
        over = name.value in (
            "income", "revenue", "deferred-revenue", "tax", "tax-payable", "cash", "wallets",
        )  # fmt: skip
        report = make_report(books, tenant, name, start if over else None, start + timedelta(days=days), now)
        assert all(tie.holds for tie in report.ties), (name, report.ties)
    cash = make_report(books, tenant, ReportName.CASH, start, start + timedelta(days=days), now)
    expected = sum(
        D(amount).scaleb(-7)
        for what, _, amount, day in facts
        if what == "paid" and first - days < day <= first
    )
    payments = [column.key for column in cash.columns].index("payments")
    assert sum(row[payments] for row in cash.rows) == expected


_numbers = iter(range(10**6))
