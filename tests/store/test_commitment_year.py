"""A year with an annual commitment, billed monthly: every figure written by hand.

Acme pays 2.50 for a million tokens and commits to 1,000 a year; what lies beyond costs 120 percent. The
first two invoices are 10 percent off. In each month tokens for 100 are used (40 million), in July none.

    month       usage    coupon   counts     so far    overage         invoice
    January       100       -10       90         90                      90
    February      100       -10       90        180                      90
    March to June 100                100        580                     100 each
    July            0                             -                     none
    August to November 100           100        980                     100 each
    December      150                150      1,130    130 * 20% = 26   176

The next year is committed to 1,500, and used for 100 in January only: the subscription ends on 10
February 2027, and the invoice of that part of a month owes 1,400.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, instant, open_store, plan

from farthing.catalog.service import put_coupon
from farthing.customers.service import cancel_subscription
from farthing.customers.terms.service import add_commitment, redeem_coupon
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.invoicing.checks import check_documents, check_numbers, check_sums
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import get_invoice, invoice_documents, list_commitments, list_redemptions

MONTHS = [f"2026-{month:02d}" for month in range(1, 13)] + ["2027-01"]
TOKENS = dict.fromkeys(MONTHS, "40000000") | {"2026-12": "60000000"}
del TOKENS["2026-07"]
BILLED = [*MONTHS[1:], "2027-02"]


def furnished(books: Books, tenant_id: int, now: datetime, directory: Path) -> World:
    world = World(books, open_store(directory), tenant_id, now)
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    coupon = {"key": "hello", "name": "Hello", "percent": "10", "duration": "repeating", "periods": 2}
    put_coupon(books, tenant_id, coupon, now)
    redemption = {"coupon": "hello", "start": "2026-01-01T00:00:00Z"}
    redeem_coupon(books, tenant_id, "acme-payg", redemption, now)
    for key, start, amount in (("y1", "2026-01-01", "1000"), ("y2", "2027-01-01", "1500")):
        commitment = {
            "key": key,
            "name": "Annual commitment",
            "kind": "minimum",
            "amount": amount,
            "start": f"{start}T00:00:00Z",
            "interval": "year",
            "overage_percent": "120",
        }
        add_commitment(books, tenant_id, "acme-payg", commitment, now)
    world.use_all([("acme", f"{month}-15", tokens, {}) for month, tokens in TOKENS.items()])
    return world


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    world = furnished(books, tenant_id, now, tmp_path)
    yield world
    world.store.close()


def told(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["kind"], line["amount"]) for line in document["lines"]]


def test_the_year(world: World) -> None:
    for month in BILLED:
        world.bill(f"{month}-01")
    cancel_subscription(world.books, world.tenant_id, "acme-payg", instant("2027-02-10"), world.now)
    world.bill("2027-02-10")
    numbers = [f"INV-{number:06d}" for number in range(1, 14)]
    issued = list(invoice_documents(world.books, world.tenant_id, numbers))
    assert [(one["period"]["start"][:7], one["total"]) for one in issued] == [
        ("2026-01", "90.00"),
        ("2026-02", "90.00"),
        ("2026-03", "100.00"),
        ("2026-04", "100.00"),
        ("2026-05", "100.00"),
        ("2026-06", "100.00"),
        ("2026-08", "100.00"),
        ("2026-09", "100.00"),
        ("2026-10", "100.00"),
        ("2026-11", "100.00"),
        ("2026-12", "176.00"),
        ("2027-01", "100.00"),
        ("2027-02", "1400.00"),
    ]
    assert told(issued[0]) == [("usage", "100.00"), ("coupon", "-10.00"), ("commitment", "0.00")]
    assert told(issued[10]) == [("usage", "150.00"), ("commitment", "0.00"), ("overage", "26.00")]
    assert told(issued[12]) == [("true_up", "1400.00")]
    assert [one["lines"][-1]["adjustment"]["before"] for one in issued[2:4]] == ["180", "280"]
    states = list_commitments(world.books, world.tenant_id, "acme-payg")
    assert [(one["used"], one["left"], one["overage"], one["true_up"]) for one in states] == [
        ("1130", "0", "26", "0"),
        ("100", "0", "0", "1400"),
    ]
    (state,) = list_redemptions(world.books, world.tenant_id, "acme-payg")
    assert (state["invoices_reduced"], state["invoices_left"], state["taken_off"]) == (2, 0, "20")
    for check in (check_sums, check_numbers, check_documents):
        assert check(world.books, world.tenant_id).findings == ()


def test_a_year_billed_at_once_is_twelve_months_billed_one_by_one(
    world: World, books: Books, now: datetime, tmp_path: Path
) -> None:
    other = furnished(
        books, create_tenant(books, f"other-{tmp_path.name}", "Other", now), now, tmp_path / "other"
    )
    for month in BILLED:
        world.bill(f"{month}-01")
    other.bill("2027-02-01")
    other.store.close()

    def documents(one: World) -> list[dict[str, Any]]:
        with one.books.read_only(one.tenant_id) as conn:
            found = conn.execute("SELECT document FROM invoices ORDER BY invoice_id").fetchall()
        return [json.loads(row["document"]) | {"seller": None} for row in found]

    assert len(documents(world)) == 12
    assert documents(world) == documents(other)


def test_lines_made_of_lines_are_explained_by_them(world: World) -> None:
    world.bill("2027-01-01")

    def explained(number: str, line: int) -> dict[str, Any]:
        return explain_line(world.books, world.store, world.tenant_id, number, line, limit=1)

    coupon = explained("INV-000001", 2)
    assert (coupon["coupon"]["percent"], coupon["line"]["charges"][0]["reason"]) == ("10", "10 % off 100.00")
    assert [(one["share"], one["line"]["description"]) for one in coupon["of"]] == [("-10", "Tokens")]
    counted = explained("INV-000001", 3)
    assert (counted["commitment"]["key"], counted["line"]["quantity"]) == ("y1", "90")
    overage = explained("INV-000011", 3)
    assert overage["line"]["charges"] == [
        {
            "quantity": "130",
            "unit_price": "0.2",
            "amount": "26",
            "reason": "130.00 beyond 1,000.00 at 120 %",
        }
    ]
    assert [one["share"] for one in overage["of"]] == ["130"]


def test_the_rows_say_what_the_lines_are(world: World) -> None:
    world.bill("2027-01-01")
    with world.books.read_only(world.tenant_id) as conn:
        rows = conn.execute(
            "SELECT l.rate_card, l.adjustment, l.adjustment_key, l.quantity FROM invoice_lines l"
            " JOIN invoices i USING (tenant_id, invoice_id) WHERE i.number = 'INV-000011' ORDER BY line"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("tokens", None, None, Decimal(60_000_000)),
        (None, "commitment", "y1", Decimal(150)),
        (None, "overage", "y1", Decimal(130)),
    ]
    assert get_invoice(world.books, world.tenant_id, "INV-000011")["lines"][1]["adjustment"] == {
        "key": "y1",
        "of": [{"line": 1, "amount": "150"}],
        "term": {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
        "committed": "1000",
        "before": "980",
    }
