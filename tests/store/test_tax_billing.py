"""Invoices bear the tax of their table: on lines, in totals, in the ledger, in the explanation; and it stays so."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal as D
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, fee, open_store, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from tax_world import FRENCH, GERMAN, collects_tax, knows

from farthing.catalog.service import put_coupon
from farthing.customers.terms.service import redeem_coupon
from farthing.db import Books
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.checks import check_booked, check_documents, check_sums
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import get_invoice, list_invoices
from farthing.kernel.errors import InvalidInput, NotFound
from farthing.ledger.service import trial_balance
from farthing.tax.service import get_facts, import_rates, list_rates, put_facts, treatment_now

BERLIN = {"address": {"city": "Berlin", "country": "DE"}}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield world
    world.store.close()


def invoice(world: World, number: str = "INV-000001") -> dict[str, Any]:
    return get_invoice(world.books, world.tenant_id, number)


def taxes(document: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    return [
        (tax["name"], tax["treatment"], tax["rate"], tax["net"], tax["amount"]) for tax in document["taxes"]
    ]


def booked(world: World) -> dict[str, D]:
    """Debits less credits by code."""
    return {
        row.code.value: row.debit - row.credit for row in trial_balance(world.books, world.tenant_id).rows
    }


def well(world: World) -> bool:
    return not any(
        check(world.books, world.tenant_id).findings for check in (check_sums, check_documents, check_booked)
    )


def card(key: str, amount: str, **more: Any) -> dict[str, Any]:
    return fee(amount, key=key) | more


def test_without_a_table_there_is_no_tax_and_no_word_of_it(world: World) -> None:
    world.furnish([plan(fee("10"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    knows(world, "acme", tax_ids=[GERMAN])
    world.bill("2026-02-01")
    found = invoice(world)
    assert (found["tax"], found["total"]) == ("0.00", "10.00")
    assert not {"taxes", "prices_include_tax"} & set(found)
    assert "taxes" not in found["lines"][0]
    assert "tax_ids" not in found["bill_to"]


def test_tax_stands_on_lines_in_totals_and_in_the_ledger(world: World) -> None:
    """30 in arrears at 19 %, 10 at 7 %, and tokens over 0.0025, which make 40.00 and 5.70 + 0.70 of tax."""
    cards = [card("fee", "30"), card("book", "10", tax_category="reduced"), PER_TOKEN]
    world.furnish([plan(*cards)], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    world.use("acme", "2026-01-10", "1000")
    collects_tax(world)
    knows(world, "acme", tax_ids=[GERMAN])
    world.bill("2026-02-01")
    found = invoice(world)
    assert taxes(found) == [
        ("VAT", "taxed", "19", "30.00", "5.70"),
        ("VAT", "taxed", "7", "10.00", "0.70"),
    ]
    assert (found["subtotal"], found["tax"], found["total"]) == ("40.00", "6.40", "46.40")
    assert found["total_exact"] == "46.4025"
    assert [line["taxes"] for line in found["lines"]] == [
        [{"tax": 1, "of": "30.00", "amount": "5.70"}],
        [{"tax": 2, "of": "10.00", "amount": "0.70"}],
        [{"tax": 1, "of": "0.00", "amount": "0.00"}],
    ]
    assert found["bill_to"]["tax_ids"] == [GERMAN]
    assert booked(world) == {"receivable": D("46.40"), "revenue": D("-40.00"), "tax_payable": D("-6.40")}
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000001", 2, 10)
    assert [tax["rate"] for tax in said["taxes"]] == ["7"]
    assert [one["tax"] for one in list_invoices(world.books, world.tenant_id, None, 10)] == ["6.40"]
    assert well(world)


def test_prices_may_include_it(world: World) -> None:
    world.furnish(
        [plan(fee("119"), prices_include_tax=True)], [{"customer": "acme", "plan": "payg"}], **BERLIN
    )
    collects_tax(world)
    world.bill("2026-02-01")
    found = invoice(world)
    assert taxes(found) == [("VAT", "taxed", "19", "100.00", "19.00")]
    assert (found["subtotal"], found["tax"], found["total"]) == ("119.00", "19.00", "119.00")
    assert (found["total_exact"], found["prices_include_tax"]) == ("119", True)
    assert booked(world) == {"receivable": D(119), "revenue": D(-100), "tax_payable": D(-19)}
    assert well(world)


def test_each_customer_bears_the_tax_of_its_place_and_status(world: World) -> None:
    names = ("berlin", "paris", "lyon", "quebec", "tokyo", "charity")
    world.furnish([plan(fee("100"))], [{"customer": name, "plan": "payg"} for name in names])
    collects_tax(world)
    places = {
        "berlin": {"country": "DE"}, "paris": {"country": "FR"}, "lyon": {"country": "FR"},
        "quebec": {"country": "CA", "region": "QC"}, "tokyo": {"country": "JP"}, "charity": {"country": "DE"},
    }  # fmt: skip
    from farthing.customers.service import update_customer

    for name, address in places.items():
        update_customer(world.books, world.tenant_id, name, {"address": address}, world.now)
    knows(world, "lyon", tax_ids=[FRENCH])
    knows(world, "charity", exemption={"reason": "Charity"})
    world.bill("2026-02-01")
    found = {
        document["customer"]: [tax[1:3] for tax in taxes(document)] + [document["total"]]
        for document in (invoice(world, f"INV-00000{place}") for place in range(1, 7))
    }
    assert found == {
        "berlin": [("taxed", "19"), "119.00"],
        "charity": [("exempt", "0"), "100.00"],
        "lyon": [("reverse_charge", "0"), "100.00"],
        "paris": [("taxed", "20"), "120.00"],
        "quebec": [("taxed", "5"), ("taxed", "9.975"), "114.98"],
        "tokyo": [("not_collected", "0"), "100.00"],
    }
    assert well(world)


def test_the_day_of_the_service_decides_the_rate_not_the_day_of_billing(world: World) -> None:
    """In arrears until 30 June at 19 %; the fee in advance for July is due on 1 July, and bears 16 %."""
    lowered = {"country": "DE", "rate": "16", "name": "VAT", "from": "2026-07-01"}
    advance = fee("50", timing="advance", key="seat")
    world.furnish(
        [plan(fee("100"), advance)],
        [{"customer": "acme", "plan": "payg", "start": "2026-05-31T22:00:00Z"}],
        timezone="Europe/Berlin",
        **BERLIN,
    )
    collects_tax(world, lowered)
    assert world.bill("2026-07-02").issued == ["INV-000001", "INV-000002"]
    assert taxes(invoice(world, "INV-000002")) == [
        ("VAT", "taxed", "19", "100.00", "19.00"),
        ("VAT", "taxed", "16", "50.00", "8.00"),
    ]
    assert taxes(invoice(world)) == [("VAT", "taxed", "19", "50.00", "9.50")]


def test_a_coupon_lowers_the_tax_of_the_lines_that_it_is_of(world: World) -> None:
    """10 % off 100 at 19 % and 50 at 7 %: 90 and 45 are left to tax."""
    cards = [card("fee", "100"), card("book", "50", tax_category="reduced")]
    world.furnish([plan(*cards)], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    coupon = {"key": "ten", "name": "Ten off", "percent": "10", "duration": "forever"}
    put_coupon(world.books, world.tenant_id, coupon, world.now)
    wanted = {"coupon": "ten", "start": "2026-01-01T00:00:00Z"}
    redeem_coupon(world.books, world.tenant_id, "acme-payg", wanted, world.now)
    world.bill("2026-02-01")
    found = invoice(world)
    assert taxes(found) == [
        ("VAT", "taxed", "19", "90.00", "17.10"),
        ("VAT", "taxed", "7", "45.00", "3.15"),
    ]
    assert found["lines"][2]["taxes"] == [
        {"tax": 1, "of": "-10.00", "amount": "-1.90"},
        {"tax": 2, "of": "-5.00", "amount": "-0.35"},
    ]
    assert well(world)


def test_rounding_by_line_rounds_the_tax_of_each_line(world: World) -> None:
    cards = [card(f"c{place}", "0.33") for place in range(3)]
    world.furnish(
        [plan(*cards), plan(*cards, key="lines", rounding="line")],
        [{"customer": "acme", "plan": "payg"}, {"customer": "bolt", "plan": "lines"}],
        **BERLIN,
    )
    collects_tax(world)
    world.bill("2026-02-01")
    assert [invoice(world, number)["tax"] for number in ("INV-000001", "INV-000002")] == ["0.19", "0.18"]
    assert well(world)


def test_a_preview_says_what_billing_issues(world: World) -> None:
    world.furnish([plan(fee("100"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    ahead = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    world.bill("2026-11-01")
    issued = invoice(world)
    names = ("taxes", "tax", "total", "lines", "prices_include_tax")
    assert {name: ahead[0][name] for name in names} == {name: issued[name] for name in names}


def test_an_issued_invoice_keeps_its_tax_whatever_comes(world: World) -> None:
    world.furnish([plan(fee("100"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    world.bill("2026-02-01")
    before = invoice(world)
    import_rates(world.books, world.tenant_id, [{"country": "DE", "rate": "21", "name": "VAT", "from": "2007-01-01"}],
                 world.now)  # fmt: skip
    knows(world, "acme", exemption={"reason": "Charity"})
    assert invoice(world) == before
    world.bill("2026-03-01")
    assert taxes(invoice(world, "INV-000002")) == [("Tax", "exempt", "0", "100.00", "0.00")]
    knows(world, "acme")
    world.bill("2026-04-01")
    assert taxes(invoice(world, "INV-000003")) == [("VAT", "taxed", "21", "100.00", "21.00")]
    assert well(world)


def test_a_table_is_loaded_whole_or_not_at_all_and_twice_is_once(world: World) -> None:
    rows = [{"country": "DE", "rate": "19"}, {"country": "FR", "rate": "20"}]
    assert import_rates(world.books, world.tenant_id, rows, world.now) == (2, 0)
    assert import_rates(world.books, world.tenant_id, rows, world.now) == (0, 2)
    with pytest.raises(InvalidInput):
        import_rates(
            world.books, world.tenant_id, [{"country": "IT", "rate": "22"}, {"country": "x"}], world.now
        )
    changed = [{"country": "DE", "rate": "20"}, rows[1]]
    assert import_rates(world.books, world.tenant_id, changed, world.now) == (1, 1)
    found = [(rate.country, str(rate.percent)) for _, rate in list_rates(world.books, world.tenant_id, 0, 10)]
    assert found == [("DE", "20"), ("FR", "20")]
    assert [place for place, _ in list_rates(world.books, world.tenant_id, 1, 10)] == [2]


def test_facts_are_of_a_customer_that_exists(world: World) -> None:
    with pytest.raises(NotFound) as refused:
        put_facts(world.books, world.tenant_id, "nobody", {}, world.now)
    assert refused.value.code == "customer_not_found"
    world.furnish([plan(fee("1"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    assert put_facts(world.books, world.tenant_id, "acme", {"tax_ids": [GERMAN]}, world.now)[1] == "created"
    assert put_facts(world.books, world.tenant_id, "acme", {"tax_ids": [GERMAN]}, world.now)[1] == "unchanged"
    assert put_facts(world.books, world.tenant_id, "acme", {}, world.now)[1] == "changed"
    assert get_facts(world.books, world.tenant_id, "acme").tax_ids == ()


def test_a_supply_is_explained_by_the_code_that_bills(world: World) -> None:
    world.furnish([plan(fee("1"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    seller = {"address": {"country": "DE"}}
    day = world.now.date()
    found = treatment_now(world.books, world.tenant_id, "acme", "reduced", day, seller)
    assert (found.kind, [str(duty.percent) for duty in found.duties]) == ("taxed", ["7"])


def test_the_database_refuses_taxes_that_do_not_sum(world: World) -> None:
    world.furnish([plan(fee("100"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    world.bill("2026-02-01")
    line = """
        INSERT INTO invoice_lines (tenant_id, invoice_id, line, rate_card, dimensions, service_start, service_end,
                                   quantity, amount_exact, amount, tax)
        SELECT tenant_id, invoice_id, 2, 'x', '{}', period_start, period_end, 0, 0, 0, 1 FROM invoices
    """
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="do not sum"),
        world.books.transaction(world.tenant_id) as conn,
    ):
        conn.execute(line)


LOST_LINE = """
    INSERT INTO invoice_lines (tenant_id, invoice_id, line, rate_card, dimensions, service_start, service_end, quantity,
                               amount_exact, amount)
    SELECT tenant_id, invoice_id + 1000000, 1, 'x', '{}', period_start, period_end, 0, 0, 0 FROM invoices
"""
LOST_TAX = """
    INSERT INTO invoice_taxes (tenant_id, invoice_id, place, name, category, treatment, percent, net, amount)
    SELECT tenant_id, invoice_id + 1000000, 1, 'VAT', 'standard', 'taxed', 19, 0, 0 FROM invoices
"""


@pytest.mark.parametrize("row", [LOST_LINE, LOST_TAX])
def test_the_database_refuses_lines_and_taxes_of_no_invoice(world: World, row: str) -> None:
    world.furnish([plan(fee("100"))], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    world.bill("2026-02-01")
    with (
        pytest.raises(psycopg.errors.ForeignKeyViolation, match="names an invoice that is not there"),
        world.books.transaction(world.tenant_id) as conn,
    ):
        conn.execute(row)


amounts_of_cards = st.lists(
    st.tuples(st.decimals(0, 1000, places=5), st.sampled_from(["standard", "reduced", "zero", "books"])),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=25)
@given(amounts_of_cards, st.booleans(), st.booleans(), st.sampled_from(["0", "12.5", "33"]))
def test_any_plan_is_taxed_as_fractions_say(
    books: Books, session_now: datetime, tmp_path_factory: Any, cards: list[tuple[D, str]], inclusive: bool,
    by_line: bool, off: str,
) -> None:  # fmt: skip
    """The oracle knows amounts, categories and the percentage off; never how lines were made."""
    from farthing.db.tenants import create_tenant

    number = next(_numbers)
    tenant_id = create_tenant(books, f"taxed-{number}", f"Taxed {number}", session_now)
    world = World(books, open_store(tmp_path_factory.mktemp("taxed")), tenant_id, session_now)
    made = [card(f"c{at}", str(amount), tax_category=category) for at, (amount, category) in enumerate(cards)]
    how = {"prices_include_tax": inclusive, "rounding": "line" if by_line else "invoice"}
    world.furnish([plan(*made, **how)], [{"customer": "acme", "plan": "payg"}], **BERLIN)
    collects_tax(world)
    if off != "0":
        coupon = {"key": "off", "name": "Off", "percent": off, "duration": "forever"}
        put_coupon(books, tenant_id, coupon, session_now)
        wanted = {"coupon": "off", "start": "2026-01-01T00:00:00Z"}
        redeem_coupon(books, tenant_id, "acme-payg", wanted, session_now)
    world.bill("2026-02-01")
    if not any(amount for amount, _ in cards):
        world.store.close()
        return
    found = invoice(world)
    percents = {"standard": 19, "reduced": 7, "zero": 0, "books": 19}
    left = {category: Fraction(0) for category in percents}
    for amount, category in cards:
        left[category] += Fraction(amount) * (1 - Fraction(off) / 100)
    for tax in found["taxes"]:
        assert percents[tax["category"]] == D(tax["rate"])
        gross = Fraction(tax["net"]) + (Fraction(tax["amount"]) if inclusive else 0)
        # What lines show of a category differs from the exact amount by their rounding: less than a cent a line.
        assert abs(gross - left[tax["category"]]) < Fraction(len(found["lines"]), 100)
        exact = Fraction(tax["net"]) * percents[tax["category"]] / 100
        cents = Fraction(len(found["lines"]) if by_line else 1, 100)
        assert abs(Fraction(tax["amount"]) - exact) < cents
    total_tax = sum(D(tax["amount"]) for tax in found["taxes"])
    assert (
        D(found["tax"])
        == total_tax
        == sum(D(one["amount"]) for line in found["lines"] for one in line["taxes"])
    )
    assert D(found["total"]) == D(found["subtotal"]) + (0 if inclusive else total_tax)
    assert -booked(world).get("tax_payable", D(0)) == total_tax
    assert well(world)
    world.store.close()


_numbers = iter(range(10**6))
