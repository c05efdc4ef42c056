"""The tax report: what is owed by place, category, treatment and rate, and it is what the tax account moved by."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from billing_world import World, fee, instant, open_store, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from tax_world import FRENCH, collects_tax, knows

from farthing.db import Books
from farthing.finance.model import ReportName, WrittenOffTax
from farthing.finance.service import make_report
from farthing.finance.tax_by_rate import written_off_rows
from farthing.finance.wire import report_csv
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.kernel.quantity import exact
from farthing.ledger.facts import TaxRemitted
from farthing.ledger.recipes import tax_remitted
from farthing.ledger.service import post
from farthing.payments.service import write_off

HANDBOOK = fee("30", key="book") | {"tax_category": "reduced"}
NOW = instant("2026-06-10T08:00:00Z")


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield world
    world.store.close()


def subscribed(world: World, name: str, key: str, **address: str) -> None:
    plans = {
        "euro": plan(fee("100"), HANDBOOK, key="euro", currency="EUR"),
        "gross": plan(fee("119"), key="gross", currency="EUR", prices_include_tax=True),
        "dollar": plan(fee("100"), key="dollar", currency="CAD"),
    }
    world.furnish([plans[key]], [{"customer": name, "plan": key}], address=address)


def report(world: World, start: str | None = None, end: str | None = None) -> list[tuple[Any, ...]]:
    """The rows, after the ties were looked at."""
    since, until = (day and instant(day) for day in (start, end))
    made = make_report(world.books, world.tenant_id, ReportName.TAX, since, until, NOW)
    assert all(tie.holds for tie in made.ties), made.ties
    assert report_csv(made).count("\r\n") == len(made.rows) + 1
    return list(made.rows)


def test_tax_is_told_by_place_category_treatment_and_rate(world: World) -> None:
    """February: five invoices, a credit note and a void; March: what is open of Berlin's is written off.

    Berlin    100 at 19 %, 30 at 7 %; the 30 are given back, then 119.00 are given up
    Bonn      119 with 19 % in it
    Hamburg   exempt, and void
    Lyon      a business: it accounts for the tax itself
    Quebec    100.00 at 5 % and, on top, at 9.975 %: 9.98
    """
    collects_tax(world)
    subscribed(world, "berlin", "euro", country="DE")
    subscribed(world, "bonn", "gross", country="DE")
    subscribed(world, "hamburg", "euro", country="DE")
    knows(world, "hamburg", exemption={"reason": "A charity"})
    subscribed(world, "lyon", "euro", country="FR")
    knows(world, "lyon", tax_ids=[FRENCH])
    subscribed(world, "quebec", "dollar", country="CA", region="QC")
    world.bill("2026-02-01", now=instant("2026-02-01T08:00:00Z"))
    body = {"key": "k", "invoice": "INV-000001", "reason": "Unread", "lines": [{"line": 2}]}
    issue_credit_note(world.books, world.tenant_id, body, instant("2026-02-10"))
    void_invoice(world.books, world.tenant_id, "INV-000003", "Wrong", instant("2026-02-11"))
    write_off(
        world.books, world.tenant_id, "INV-000001", {"reason": "insolvent"}, instant("2026-03-05T00:00:00Z")
    )
    with world.books.transaction(world.tenant_id) as conn:
        paid = TaxRemitted("2026-02", "EUR", D("38.00"), instant("2026-03-10"))
        post(conn, world.tenant_id, [tax_remitted(paid)], NOW)

    quebec = [
        ("CA", None, "GST", "standard", "taxed", "5", "net", "invoices", "1", "CAD", D("100.00"), D("5.00")),
        ("CA", "QC", "QST", "standard", "taxed", "9.975", "net", "invoices", "1", "CAD", D("100.00"), D("9.98")),
    ]  # fmt: skip
    february = [
        ("DE", None, "Tax", "reduced", "exempt", "0", "net", "invoices", "1", "EUR", D("30.00"), D("0.00")),
        ("DE", None, "Tax", "reduced", "exempt", "0", "net", "voids", "1", "EUR", D("-30.00"), D("0.00")),
        ("DE", None, "VAT", "reduced", "taxed", "7", "net", "invoices", "1", "EUR", D("30.00"), D("2.10")),
        ("DE", None, "VAT", "reduced", "taxed", "7", "net", "credit notes", "1", "EUR", D("-30.00"), D("-2.10")),
        ("DE", None, "Tax", "standard", "exempt", "0", "net", "invoices", "1", "EUR", D("100.00"), D("0.00")),
        ("DE", None, "Tax", "standard", "exempt", "0", "net", "voids", "1", "EUR", D("-100.00"), D("0.00")),
        ("DE", None, "VAT", "standard", "taxed", "19", "gross", "invoices", "1", "EUR", D("100.00"), D("19.00")),
        ("DE", None, "VAT", "standard", "taxed", "19", "net", "invoices", "1", "EUR", D("100.00"), D("19.00")),
    ]  # fmt: skip
    lyon = [
        ("FR", None, "VAT", "reduced", "reverse_charge", "0", "net", "invoices", "1", "EUR", D("30.00"),
         D("0.00")),
        ("FR", None, "VAT", "standard", "reverse_charge", "0", "net", "invoices", "1", "EUR", D("100.00"),
         D("0.00")),
    ]  # fmt: skip
    given_up = (
        "DE", None, "VAT", "standard", "taxed", "19", "net", "write-offs", "1", "EUR", D("-100.00"), D("-19.00"),
    )  # fmt: skip
    assert report(world, "2026-02-01", "2026-03-01") == quebec + february + lyon
    assert report(world, "2026-03-01", "2026-04-01") == [given_up]
    assert report(world, None, "2026-02-01") == []
    everything = report(world)
    assert everything == [*quebec, *february, given_up, *lyon]
    assert sum(row[-1] for row in everything if row[9] == "EUR") == D("19.00")


def test_what_was_invoiced_before_there_was_a_table_says_so(world: World) -> None:
    subscribed(world, "berlin", "euro", country="DE")
    world.bill("2026-02-01")
    issue_credit_note(
        world.books,
        world.tenant_id,
        {"key": "k", "invoice": "INV-000001", "reason": "x", "amount": "30"},
        NOW,
    )
    assert [(row[4], row[7], row[-2], row[-1]) for row in report(world)] == [
        ("no table", "invoices", D("130.00"), D(0)),
        ("no table", "credit notes", D("-30.00"), D(0)),
    ]


CENTS = st.integers(0, 10**7)


@settings(max_examples=100)
@given(st.lists(st.tuples(CENTS, CENTS, st.integers(0, 100)), min_size=1, max_size=4), st.integers(1, 1000))
def test_a_write_off_is_spread_to_the_cent(taxes: list[tuple[int, int, int]], permille: int) -> None:
    """However much is given up, and whatever was credited before: its parts sum to it, none above what is left."""
    left = [tax - tax * share // 100 for _, tax, share in taxes]
    net, given_up = permille, sum(left) * permille // 1000
    rows = written_off_rows(
        [
            WrittenOffTax(1, place, "DE", None, "VAT", f"c{place}", "taxed", "19", "net", "EUR", cents(base),
                          cents(tax), cents(tax - left[place]), cents(net), cents(given_up))
            for place, (base, tax, _) in enumerate(taxes)
        ]
    )  # fmt: skip
    with exact():
        assert sum(row.net for row in rows) == -cents(net)
        assert sum(row.tax for row in rows) == -cents(given_up)
    for row in rows:
        assert -cents(left[int(row.category[1:])]) <= row.tax <= 0


def cents(count: int) -> D:
    return D(count).scaleb(-2)
