"""Wallets of units: what they pay is not priced, and is revenue at the price that was paid for it. By hand.

Tokens cost 0.01 up to 1,000 a month and 0.005 above. Units of them were paid for at 0.002.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, instant, plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wallet_world import WalletWorld, wallet_world

from farthing.customers.apply import apply
from farthing.db import Books
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.invoicing.accruing import accrue
from farthing.invoicing.ahead.estimate import parse_question
from farthing.invoicing.ahead.preview import estimate_usage, preview_billing
from farthing.invoicing.checks import check_booked, check_documents, check_sums
from farthing.invoicing.credit_notes.service import void_invoice
from farthing.invoicing.explaining.tracing import trace_event
from farthing.invoicing.service import draft_batches, get_invoice, issue, subscribed_by
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.ledger.checks import check_balances
from farthing.payments.credit_checks import check_credit
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import create_wallet, void_grant
from farthing.wallets.top_ups import request_top_up
from farthing.wallets.upkeep import keep_up

TIERS = [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}]
CLIMBING = PER_TOKEN | {"price": {"model": "graduated", "tiers": TIERS}}


class UnitWorld(WalletWorld):
    def units(self, key: str, amount: str, unit_price: str | None = "0.002", **more: Any) -> None:
        kind = "promotional" if unit_price is None else "paid"
        priced = {} if unit_price is None else {"unit_price": unit_price}
        self.grant(key, amount, "acme-tokens", kind, **priced, **more)

    def accrue(self) -> None:
        accrue(self.books, self.store, self.tenant_id, self.now)

    def issue(self, until: str) -> list[dict[str, Any]]:
        return [get_invoice(self.books, self.tenant_id, number) for number in self.bill(until).issued]

    def holds(self, **balances: str) -> None:
        """The trial balance is this, and every law holds."""
        assert self.trial_balance() == balances
        for check in (
            check_overspent, check_counters, check_prepaid, check_balances, check_credit, check_sums,
            check_documents, check_booked,
        ):  # fmt: skip
            assert check(self.books, self.tenant_id).findings == (), check.__name__
        for name in (ReportName.WALLETS, ReportName.INCOME, ReportName.REVENUE, ReportName.RECEIVABLES):
            report = make_report(self.books, self.tenant_id, name, None, None, self.now + timedelta(days=1))
            assert all(tie.holds for tie in report.ties), name


def charges(line: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["quantity"], one["amount"], one["reason"]) for one in line["charges"]]


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[UnitWorld]:
    made = wallet_world(books, tenant_id, instant("2026-01-01T00:05:00Z"), tmp_path)
    world = UnitWorld(made.books, made.store, made.tenant_id, made.now)
    world.furnish([plan(CLIMBING)], [{"customer": "acme", "plan": "payg"}])
    raw = {"key": "acme-tokens", "customer": "acme", "unit": "tokens"}
    create_wallet(books, tenant_id, raw, world.now)
    yield world
    world.store.close()


def test_units_pay_before_usage_is_priced(world: UnitWorld) -> None:
    """January uses 4,000 of 10,000 units; February the other 6,000, and 2,000 are priced from the first tier on."""
    world.units("pack", "10000")  # 20.00
    world.holds(receivable="20", prepaid="-20")
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "3000")
    for _ in range(2):
        world.accrue()
    assert world.available("acme-tokens") == 7000
    world.holds(receivable="20", prepaid="-14", revenue="-6")
    (upcoming,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    assert (upcoming["total"], charges(upcoming["lines"][0])[0][0]) == ("0.00", "3000")
    world.use("acme", "2026-01-20", "1000")
    world.now = instant("2026-02-01T00:05:00Z")
    (january,) = world.issue("2026-02-01")
    (line,) = january["lines"]
    assert (january["total"], line["quantity"]) == ("0.00", "4000")
    assert charges(line)[0] == ("4000", "0", "prepaid units of acme-tokens")
    world.holds(receivable="20", prepaid="-12", revenue="-8")

    world.now = instant("2026-02-20T00:05:00Z")
    world.use("acme", "2026-02-10", "8000")
    world.accrue()
    assert world.available("acme-tokens") == 0
    assert world.told("wallet.exhausted") == [("wallet.exhausted", "acme-tokens")]
    world.now = instant("2026-03-01T00:05:00Z")
    (february,) = world.issue("2026-03-01")
    (line,) = february["lines"]
    assert (february["total"], line["quantity"], line["amount_exact"]) == ("15.00", "8000", "15")
    assert charges(line) == [
        ("6000", "0", "prepaid units of acme-tokens"), ("1000", "10", "tier 1"), ("1000", "5", "tier 2"),
    ]  # fmt: skip
    world.holds(receivable="35", revenue="-35")

    # Void, February is not billed: its units are back, and are drawn again with the next bill.
    void_invoice(world.books, world.tenant_id, february["number"], "wrong", world.now)
    assert world.available("acme-tokens") == 6000
    world.holds(receivable="20", prepaid="-12", revenue="-8")
    (again,) = world.issue("2026-03-01")
    assert (again["total"], again["lines"]) == (february["total"], february["lines"])
    world.holds(receivable="35", revenue="-35")


def test_money_pays_what_units_do_not(world: UnitWorld) -> None:
    """The order: units, gifts of them first; then money, for what is priced."""
    world.wallet()
    world.grant("cash", "12")
    world.units("gift", "500", None)
    world.units("pack", "1000")  # 2.00
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "2500")  # 500 given, 1,000 paid for, 1,000 priced: 10.00
    assert (world.available(), world.available("acme-tokens")) == (12, 1500), "sealing leaves it to the duty"
    world.accrue()
    assert (world.available(), world.available("acme-tokens")) == (2, 0)
    world.holds(receivable="14", prepaid="-2", revenue="-12")
    world.now = instant("2026-02-01T00:05:00Z")
    (january,) = world.issue("2026-02-01")
    assert (january["total"], january["paid_from_wallets"], january["amount_due"]) == (
        "10.00",
        "10.00",
        "0.00",
    )
    world.holds(receivable="14", prepaid="-2", revenue="-12")
    assert [(one["movement"], one["amount"]) for one in world.history("acme-tokens")] == [
        ("drawn", "-1000"), ("drawn", "-500"), ("granted", "1000"), ("granted", "500"),
    ]  # fmt: skip


def test_an_estimate_and_the_preview_before_it_are_the_preview_after(world: UnitWorld) -> None:
    """Units pay for the first 700 of it, and money for the rest at its place; an earlier month has its own first."""
    world.units("pack", "1500")
    world.use("acme", "2026-01-15", "300")
    world.now = instant("2026-02-10T12:00:00Z")
    world.use("acme", "2026-02-05", "500")

    def upcoming() -> D:
        shown = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
        return sum((D(one["total_exact"]) for one in shown), D(0))

    before = upcoming()
    question = parse_question({"customer": "acme", "usage": [{"meter": "tokens", "quantity": "2000"}]})
    said = estimate_usage(world.books, world.store, world.tenant_id, question, world.now)
    (line,) = said["lines"]
    assert (line["quantity"], line["amount_exact"]) == ("2000", "11.5")  # 1,000 x 0.01 + 300 x 0.005
    assert charges(line) == [
        ("700", "0", "prepaid units of acme-tokens"), ("1000", "10", "tier 1"), ("300", "1.5", "tier 2"),
    ]  # fmt: skip
    world.use("acme", "2026-02-06", "2000")
    assert upcoming() == before + D(said["amount_exact"])


def test_what_is_corrected_goes_back_to_whoever_paid_last(world: UnitWorld) -> None:
    world.units("first", "100", "0.01", priority=1)
    world.units("second", "100", "0.02", priority=2)
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "150")
    world.accrue()
    world.holds(receivable="3", prepaid="-1", revenue="-2")
    world.use("acme", "2026-01-16", "-80")
    world.accrue()
    assert (world.drawn("first"), world.drawn("second")) == (70, 0)
    world.holds(receivable="3", prepaid="-2.3", revenue="-0.7")


def test_units_expire_and_are_called_off_at_what_was_paid_for_them(world: UnitWorld) -> None:
    world.units("short", "333", "0.01", expires_at="2026-02-01T00:00:00Z", priority=1)  # 3.33
    world.units("long", "1000", "0.015")  # 15.00
    every = {"interval": "month", "end": "2026-03-01T00:00:00Z"}
    world.units("monthly", "50", None, every=every, priority=0)
    keep_up(world.books, world.tenant_id, world.now)
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "151")  # 50 of the month's, 101 of the short one
    world.accrue()
    world.holds(receivable="18.33", prepaid="-17.32", revenue="-1.01")
    world.now = instant("2026-02-01T01:00:00Z")
    assert [one["total"] for one in world.issue("2026-02-01")] == ["0.00"]
    keep_up(world.books, world.tenant_id, world.now)
    world.holds(receivable="18.33", prepaid="-15", revenue="-1.01", breakage="-2.32")
    assert world.of("short").expired == 232
    assert world.available("acme-tokens") == 1050
    world.use("acme", "2026-02-01", "51")  # 50 of February's, 1 of the long one
    world.accrue()
    void_grant(world.books, world.tenant_id, "long", "", world.now)  # 999 x 0.015 = 14.985
    world.holds(receivable="3.35", revenue="-1.025", breakage="-2.325")


def test_two_subscriptions_share_units_and_other_prices_do_not(world: UnitWorld) -> None:
    """What one bill takes, the next does not find; a price that tells usage apart is not paid by units."""
    cells = [{"when": {"model": "a"}, "price": {"model": "per_unit", "unit_price": "0.01"}}]
    matrix = {"model": "matrix", "dimensions": ["model"], "cells": cells}
    world.furnish(
        [plan(PER_TOKEN | {"price": matrix}, key="apart"), plan(CLIMBING, key="second")],
        [{"customer": "acme", "plan": "second"}, {"customer": "acme", "plan": "apart"}],
    )
    world.units("pack", "1500")
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "1000", model="a")
    world.accrue()
    assert world.available("acme-tokens") == 0
    world.now = instant("2026-02-01T00:05:00Z")
    issued = {one["subscription"]: one for one in world.issue("2026-02-01")}
    assert {key: (one["total"], charges(one["lines"][0])[0][0]) for key, one in issued.items()} == {
        "acme-payg": ("0.00", "1000"), "acme-second": ("5.00", "500"), "acme-apart": ("10.00", "1000"),
    }  # fmt: skip
    world.holds(receivable="18", revenue="-18")


def test_usage_that_comes_late_is_priced(world: UnitWorld) -> None:
    """The units of a period are settled by its invoice; late usage is rated after them, and billed with the next."""
    world.units("pack", "1000")
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "900")
    world.now = instant("2026-02-01T00:05:00Z")
    (january,) = world.issue("2026-02-01")
    assert january["total"] == "0.00"
    world.now = instant("2026-02-02T12:00:00Z")
    world.use("acme", "2026-01-31", "300")  # 300 x 0.01
    world.use("acme", "2026-02-02", "50")
    world.now = instant("2026-03-01T00:05:00Z")
    (february,) = world.issue("2026-03-01")
    assert february["total"] == "3.00"
    assert world.available("acme-tokens") == 50
    world.holds(receivable="5", prepaid="-0.1", revenue="-4.9")


def test_a_draft_whose_units_are_gone_is_left_to_the_next_run(world: UnitWorld) -> None:
    world.units("pack", "1000")
    world.now = instant("2026-01-15T12:00:00Z")
    world.use("acme", "2026-01-15", "300")
    world.now, until = instant("2026-02-01T00:05:00Z"), instant("2026-02-01")
    billed = subscribed_by(world.books, world.tenant_id, until)
    due = billed.due(until)
    (batch,) = draft_batches(world.books, world.store, world.tenant_id, due, billed.terms, world.now)
    void_grant(world.books, world.tenant_id, "pack", "", world.now)
    numbers, skipped = issue(world.books, world.tenant_id, batch, world.now, Counter())
    assert (numbers, [one["reason"] for one in skipped]) == ([], ["subscription_changed"])
    world.holds()
    assert [one["total"] for one in world.issue("2026-02-01")] == ["3.00"]
    world.holds(receivable="3", revenue="-3")


def test_an_event_that_units_paid_costs_nothing(world: UnitWorld) -> None:
    """Units pay the first usage of a period: 100 of them, of two events of 80."""
    world.units("pack", "100")
    world.now = instant("2026-01-15T12:00:00Z")
    for day in ("2026-01-14", "2026-01-15"):
        world.use("acme", day, "80")
    world.accrue()
    costs = []
    for event in ("0", "1"):
        (bill,) = trace_event(world.books, world.store, world.tenant_id, "test", event, world.now)["bills"]
        costs.append(bill["rate_cards"][0]["amount_exact"])
    assert costs == ["0", "0.6"]


def test_bad_input_is_named(world: UnitWorld) -> None:
    def refused(error: type[Exception], match: str) -> Any:
        return pytest.raises(error, match=match)

    books, tenant_id, now = world.books, world.tenant_id, world.now
    with refused(NotFound, "no meter"):
        create_wallet(books, tenant_id, {"key": "w", "customer": "acme", "unit": "nothing"}, now)
    with refused(InvalidInput, "says nothing beside currency"):
        create_wallet(
            books, tenant_id, {"key": "w", "customer": "acme", "unit": "tokens", "currency": "USD"}, now
        )
    with refused(InvalidInput, "for wallets of money"):
        top_up = {"below": "1", "amount": "2"}
        create_wallet(
            books, tenant_id, {"key": "w", "customer": "acme", "unit": "tokens", "top_up": top_up}, now
        )
    with refused(Conflict, "holds units"):
        request_top_up(books, tenant_id, "acme-tokens", {"key": "t", "amount": "5"}, now)
    with refused(InvalidInput, "unit_price"):
        world.grant("g", "100", "acme-tokens")
    with refused(InvalidInput, "0.333 USD in all"):
        world.units("g", "333", "0.001")
    with refused(InvalidInput, "for units that are paid for"):
        world.grant("g", "100", "acme-tokens", "promotional", unit_price="1")
    world.wallet()
    with refused(InvalidInput, "not a known field"):
        world.grant("g", "100", unit_price="1")
    with (
        refused(psycopg.errors.CheckViolation, "price of units"),
        books.transaction(tenant_id) as conn,
    ):
        conn.execute(
            "INSERT INTO grants (tenant_id, key, wallet_id, customer_id, paid, amount, priority, meters, rate_cards,"
            " effective_at, reference, input_hash, created_at) SELECT tenant_id, 'x', wallet_id, customer_id, true, 5,"
            " 1, '{}', '{}', now(), '', '', now() FROM wallets WHERE unit IS NOT NULL"
        )
    world.holds()


def test_units_that_could_pay_for_nothing_are_refused(world: UnitWorld) -> None:
    """Of a maximum there are none; for a matrix they pay nothing. What stands already is not asked again."""
    books, tenant_id, now = world.books, world.tenant_id, world.now
    cells = [{"when": {"model": "a"}, "price": {"model": "per_unit", "unit_price": "0.01"}}]
    apart = plan(
        PER_TOKEN | {"price": {"model": "matrix", "dimensions": ["model"], "cells": cells}}, key="apart"
    )
    peak = {"key": "peak", "event_type": "llm.completion", "aggregation": "max", "value": "data.tokens"}
    nobody = {"key": "nobody", "name": "Nobody", "currency": "USD"}
    world.furnish([apart], [{"customer": "globex", "plan": "apart"}])
    apply(books, tenant_id, {"meters": [peak], "customers": [nobody]}, now)
    for customer in ("globex", "nobody"):
        create_wallet(books, tenant_id, {"key": customer, "customer": customer, "unit": "tokens"}, now)
    scopes: tuple[dict[str, Any], ...] = ({}, {"rate_cards": ["tokens"]}, {"every": {"interval": "month"}})
    for scope in scopes:
        with pytest.raises(InvalidInput, match="would pay for nothing: of tokens none") as refused:
            world.grant("g", "100", "globex", "promotional", **scope)
        assert refused.value.code == "units_not_usable"
    with pytest.raises(InvalidInput, match="which these units are of"):
        world.units("g", "100", meters=["peak"])
    with pytest.raises(InvalidInput, match="is a max") as refused:
        create_wallet(books, tenant_id, {"key": "peaks", "customer": "acme", "unit": "peak"}, now)
    assert refused.value.code == "units_not_usable"
    world.grant("early", "100", "nobody", "promotional")
    world.furnish([apart], [{"customer": "nobody", "plan": "apart"}])
    world.grant("early", "100", "nobody", "promotional")
    assert world.available("nobody") == 100


def priced(tokens: D) -> D:
    """The tiers once more, in other words."""
    return min(tokens, D(1000)) * D("0.01") + max(tokens - 1000, D(0)) * D("0.005")


_names = itertools.count(1)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packs=st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from(["0.01", "0.02", None])), min_size=1, max_size=3
    ),
    uses=st.lists(st.integers(-900, 2500), min_size=1, max_size=4),
    draws=st.sets(st.integers(0, 3), max_size=2),
)
def test_what_is_drawn_and_what_is_priced_are_all_usage(
    world: UnitWorld, packs: list[tuple[int, str | None]], uses: list[int], draws: set[int]
) -> None:
    """Against plain arithmetic: however often it was reckoned up on the way, a month ends the same."""
    name = f"c{next(_names)}"
    world.now = instant("2026-01-01T00:05:00Z")
    world.furnish([plan(CLIMBING)], [{"customer": name, "plan": "payg"}])
    raw = {"key": name, "customer": name, "unit": "tokens"}
    create_wallet(world.books, world.tenant_id, raw, world.now)
    earned = D(world.trial_balance().get("revenue", "0"))
    for number, (hundreds, price) in enumerate(packs):
        kind, priced_at = ("promotional", {}) if price is None else ("paid", {"unit_price": price})
        world.grant(f"{name}-{number}", str(hundreds * 100), name, kind, priority=number, **priced_at)
    for number, tokens in enumerate(uses):
        world.now = instant(f"2026-01-{2 + number:02}")
        world.use(name, "2026-01-02", str(tokens))
        if number in draws:
            world.accrue()
    world.now = instant("2026-02-01T00:05:00Z")
    (invoice,) = world.issue("2026-02-01")
    total, drawn, revenue = max(D(sum(uses)), D(0)), D(0), D(0)
    for hundreds, price in packs:
        part = min(D(hundreds * 100), total - drawn)
        drawn, revenue = drawn + part, revenue + part * D(price or 0)
    assert D(invoice["total_exact"]) == priced(total - drawn)
    assert world.available(name) == 100 * sum(hundreds for hundreds, _ in packs) - drawn
    assert earned - D(world.trial_balance().get("revenue", "0")) == revenue + D(invoice["total"])
    for check in (check_overspent, check_counters, check_prepaid, check_balances):
        assert check(world.books, world.tenant_id).findings == ()
