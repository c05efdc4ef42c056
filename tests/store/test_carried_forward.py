"""What is too little for an invoice is carried to the next one: never lost, never asked for twice, booked all along."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from fractions import Fraction
from pathlib import Path

import psycopg
import pytest
from billing_world import World, fee, instant, open_store, plan
from carry_world import assert_well, booked, invoices, tokens, told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tax_world import collects_tax

from farthing.customers.life import change_subscription
from farthing.customers.terms.service import get_billing_terms, put_billing_terms
from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.db.tenants import create_tenant
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.invoicing.explaining.service import explain_line
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.payments.service import balances_of
from farthing.wallets.service import create_wallet

NOW = "2026-07-10T08:00:00Z"


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, instant(NOW))
    yield world
    world.store.close()


def smallest(world: World, amount: str | None, customer: str | None = None, currency: str = "USD") -> None:
    raw = None if amount is None else {"smallest_invoice": {currency: amount}}
    put_billing_terms(world.books, world.tenant_id, customer, raw, world.now)


MONTHS = [
    ("acme-payg", [("usage", "1.332", "1.33"), ("carried_forward", "-1.332", "-1.33")], "0.00"),
    (
        "acme-payg",
        [("usage", "2.331", "2.33"), ("brought_forward", "1.332", "1.33"), ("carried_forward", "-3.663", "-3.66")],
        "0.00",
    ),
    ("acme-payg", [("usage", "1.998", "2.00"), ("brought_forward", "3.663", "3.66")], "5.66"),
]  # fmt: skip


@pytest.mark.parametrize(("at_once", "in_a_transaction"), [(True, 1000), (True, 1), (False, 1000)])
def test_three_months_until_it_is_worth_an_invoice(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: bool, in_a_transaction: int
) -> None:
    """4, 7 and 6 units of 0.333: 1.332, 2.331 and 1.998 sum to 5.661, whether billed month by month or together."""
    monkeypatch.setattr("farthing.invoicing.batches.INVOICES_PER_TRANSACTION", in_a_transaction)
    world.furnish([plan(tokens())], [{"customer": "acme", "plan": "payg"}])
    smallest(world, "5")
    for month, units in (("01", "4"), ("02", "7"), ("03", "6")):
        world.use("acme", f"2026-{month}-15", units)
    if not at_once:
        world.bill("2026-02-01", now=instant("2026-02-01T08:00:00Z"))
        assert booked(world) == {"revenue": D("-1.33"), "unbilled_receivable": D("1.33")}
        ahead = preview_billing(world.books, world.store, world.tenant_id, instant("2026-02-20"))
        assert [line["kind"] for line in ahead.upcoming[0]["lines"]] == [
            "usage", "brought_forward", "carried_forward",
        ]  # fmt: skip
        world.bill("2026-03-01", now=instant("2026-03-01T08:00:00Z"))
        assert_well(world)
    world.bill("2026-04-01")
    assert told(world) == MONTHS
    first, second, third = invoices(world)
    facts = [one.fact.body for one in facts_after(world.books, world.tenant_id, 0, 10, "invoice.issued")]
    assert [(fact["total"], fact.get("carries_forward")) for fact in facts] == [
        ("0.00", True), ("0.00", True), ("5.66", None),
    ]  # fmt: skip
    assert [(line["adjustment"]["key"], line["description"]) for line in third["lines"][1:]] == [
        ("INV-000002", "Brought forward from INV-000002")
    ]
    assert second["lines"][1]["adjustment"]["key"] == "INV-000001"
    assert first["lines"][1]["charges"][0]["reason"] == "less than 5.00, the smallest invoice"
    assert booked(world) == {"receivable": D("5.66"), "revenue": D("-5.66")}
    balances = balances_of(world.books, world.tenant_id, ["INV-000001", "INV-000003"])
    assert [balances[number].open for number in ("INV-000001", "INV-000003")] == [D(0), D("5.66")]
    assert_well(world)
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000003", 2, 10)
    assert said["brought_from"] == "INV-000002"
    said = explain_line(world.books, world.store, world.tenant_id, "INV-000002", 3, 10)
    assert [(one["line"]["line"], one["share"]) for one in said["of"]] == [(1, "-2.331"), (2, "-1.332")]


def test_runs_at_once_bring_what_is_carried_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs, one invoice in a transaction: what one of them issued in between, the others leave alone."""
    monkeypatch.setattr("farthing.invoicing.batches.INVOICES_PER_TRANSACTION", 1)
    world.furnish([plan(tokens())], [{"customer": "acme", "plan": "payg"}])
    smallest(world, "5")
    for month, units in (("01", "4"), ("02", "7"), ("03", "6")):
        world.use("acme", f"2026-{month}-15", units)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: world.bill("2026-04-01"), range(3)))
    world.bill("2026-04-01")
    assert told(world) == MONTHS
    assert_well(world)


def test_subscriptions_of_a_customer_bring_what_another_carried(world: World) -> None:
    """Of one currency: euros, and another customer's dollars, wait for themselves."""
    plans = [
        plan(tokens()),
        plan(tokens("0.5"), key="other"),
        plan(tokens("0.1"), key="euro", currency="EUR"),
    ]
    world.furnish(
        plans,
        [
            {"customer": "acme", "plan": "payg"},
            {"customer": "acme", "plan": "other"},
            {"customer": "bolt", "plan": "payg"},
            {"customer": "cafe", "plan": "euro"},
        ],
    )
    smallest(world, "2.50")
    smallest(world, "0.05", "bolt")
    for customer in ("acme", "bolt", "cafe"):
        world.use(customer, "2026-01-15", "3")
    world.bill("2026-02-01")
    assert told(world) == [
        ("acme-other", [("usage", "1.5", "1.50"), ("carried_forward", "-1.5", "-1.50")], "0.00"),
        ("acme-payg", [("usage", "0.999", "1.00"), ("brought_forward", "1.5", "1.50"),
                       ("carried_forward", "-0.999", "-1.00"), ("carried_forward", "-1.5", "-1.50")], "0.00"),
        ("bolt-payg", [("usage", "0.999", "1.00")], "1.00"),
        ("cafe-euro", [("usage", "0.3", "0.30")], "0.30"),
    ]  # fmt: skip
    # A setting that is taken back: what waits goes onto the next invoice, and nothing is carried any more.
    smallest(world, "0")
    world.use("acme", "2026-02-15", "1")
    world.bill("2026-03-01")
    assert told(world)[4:6] == [
        ("acme-other", [("usage", "0.5", "0.50"), ("brought_forward", "0.999", "1.00"),
                        ("brought_forward", "1.5", "1.50")], "3.00"),
        ("acme-payg", [("usage", "0.333", "0.33")], "0.33"),
    ]  # fmt: skip
    assert_well(world)


def test_the_last_invoice_takes_it(world: World) -> None:
    """acme ends with its last period; bolt is ended after that was billed, and has a bill of its own for what waits."""
    world.furnish(
        [plan(tokens())],
        [
            {"customer": "acme", "plan": "payg", "end": "2026-03-01T00:00:00Z"},
            {"customer": "bolt", "plan": "payg"},
        ],
    )
    smallest(world, "5")
    world.use("acme", "2026-01-15", "1")
    world.use("bolt", "2026-01-15", "2")
    world.now = instant("2026-02-01T00:00:00Z")
    assert world.bill("2026-02-01").issued == ["INV-000001", "INV-000002"]
    change_subscription(world.books, world.tenant_id, "bolt-payg", {"kind": "cancel"}, world.now)
    world.now = instant(NOW)
    world.bill("2026-07-01")
    assert told(world)[2:] == [
        ("bolt-payg", [("brought_forward", "0.666", "0.67")], "0.67"),
        ("acme-payg", [("brought_forward", "0.333", "0.33")], "0.33"),
    ]
    assert [one["reason"] for one in invoices(world)[2:]] == ["settlement", "period"]
    assert world.bill("2026-07-01").issued == []
    assert booked(world) == {"receivable": D("1.00"), "revenue": D("-1.00")}
    assert_well(world)


def test_a_void_gives_back_what_was_brought_and_nothing_is_voided_beneath_it(
    world: World, owner: psycopg.Connection
) -> None:
    world.furnish(
        [plan(tokens()), plan(tokens(), key="other")],
        [{"customer": "acme", "plan": "payg"}, {"customer": "acme", "plan": "other"}],
    )
    smallest(world, "0.50")
    world.use("acme", "2026-01-15", "1")
    world.bill("2026-02-01")
    before = told(world)
    assert before == [
        ("acme-other", [("usage", "0.333", "0.33"), ("carried_forward", "-0.333", "-0.33")], "0.00"),
        ("acme-payg", [("usage", "0.333", "0.34"), ("brought_forward", "0.333", "0.33")], "0.67"),
    ]
    with pytest.raises(Conflict, match="INV-000002 was issued later and builds on it"):
        void_invoice(world.books, world.tenant_id, "INV-000001", "mistake", world.now)
    void_invoice(world.books, world.tenant_id, "INV-000002", "mistake", world.now)
    assert booked(world) == {"revenue": D("-0.33"), "unbilled_receivable": D("0.33")}
    world.bill("2026-02-01")
    assert told(world)[2:] == before[1:]
    assert_well(world)
    wanted = {"invoice": "INV-000003", "key": "back", "reason": "goodwill"}
    lines = [{"line": 2, "amount": "0.33"}]
    issue_credit_note(world.books, world.tenant_id, wanted | {"lines": lines}, world.now)
    assert booked(world) == {"receivable": D("0.34"), "revenue": D("-0.34")}
    assert_well(world)
    # The database itself refuses what would ask twice, or for something else than was carried.
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    for columns, complaint in (
        ("brings, brings_again", "invoices_brings"),
        ("brings_again", "what invoice INV-9 carries or brings forward is not what it says"),
    ):
        with pytest.raises(psycopg.Error, match=complaint), owner.transaction():
            forge(owner, columns)
    with (
        pytest.raises(psycopg.Error, match="what invoice INV-000001 carried was brought"),
        owner.transaction(),
    ):
        owner.execute(
            "INSERT INTO invoice_voids SELECT tenant_id, invoice_id, 'why', issued_at FROM invoices"
            " WHERE tenant_id = current_tenant() AND number = 'INV-000001'"
        )


def forge(owner: psycopg.Connection, columns: str) -> None:
    """Another invoice like INV-000003, of another period, with one line of what is brought."""
    owner.execute(
        f"INSERT INTO invoices ({columns}, number, tenant_id, customer_id, subscription_id, plan_version_id, status,"
        " reason, currency, period_start, period_end, subtotal, tax, total, total_exact, issued_at, document)"
        f" SELECT {columns}, 'INV-9', tenant_id, customer_id, subscription_id, plan_version_id, status, reason,"
        " currency, period_start + interval '1 day', period_end, 0.33, 0, 0.33, 0.333, issued_at, document"
        " FROM invoices WHERE tenant_id = current_tenant() AND number = 'INV-000003'"
    )
    owner.execute(
        "INSERT INTO invoice_lines (tenant_id, invoice_id, line, dimensions, service_start, service_end,"
        " quantity, amount_exact, amount, adjustment, adjustment_key)"
        " SELECT tenant_id, invoice_id, 1, '{}', period_start, period_end, 1, 0.333, 0.33,"
        " 'brought_forward', 'INV-000001' FROM invoices WHERE tenant_id = current_tenant() AND number = 'INV-9'"
    )


def test_what_is_asked_for_at_once_is_not_carried(world: World) -> None:
    """A fee in advance of 1.00 is below 5.00, and asked for; the fee for the next month waits with the usage."""
    world.furnish([plan(tokens(), fee("1", timing="advance"))], [{"customer": "acme", "plan": "payg"}])
    smallest(world, "5")
    world.use("acme", "2026-01-15", "1")
    world.bill("2026-02-01", now=instant("2026-02-01T08:00:00Z"))
    assert told(world) == [
        ("acme-payg", [("fee", "1", "1.00")], "1.00"),
        ("acme-payg", [("usage", "0.333", "0.33"), ("fee", "1", "1.00"), ("carried_forward", "-1.333", "-1.33")],
         "0.00"),
    ]  # fmt: skip
    assert booked(world) == {
        "receivable": D("1.00"), "unbilled_receivable": D("1.33"), "deferred_revenue": D("-1.00"),
        "revenue": D("-1.33"),
    }  # fmt: skip
    assert_well(world)


def test_who_has_a_wallet_is_asked_for_every_amount(world: World) -> None:
    world.furnish([plan(tokens())], [{"customer": "acme", "plan": "payg"}])
    smallest(world, "5")
    create_wallet(
        world.books, world.tenant_id, {"key": "w", "customer": "acme", "currency": "USD"}, world.now
    )
    world.use("acme", "2026-01-15", "1")
    world.bill("2026-02-01")
    assert told(world) == [("acme-payg", [("usage", "0.333", "0.33")], "0.33")]


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("rounding", ["invoice", "line"])
def test_tax_is_asked_for_once_by_the_invoice_that_brings(
    world: World, inclusive: bool, rounding: str
) -> None:
    """1.00 standard and 2.00 reduced in January and in February: tax on 2.00 at 19 % and on 4.00 at 7 %."""
    cards = [
        tokens("0.1"),
        fee("2") | {"tax_category": "reduced"},
    ]
    world.furnish(
        [plan(*cards, prices_include_tax=inclusive, rounding=rounding)],
        [{"customer": "acme", "plan": "payg"}],
        address={"country": "DE"},
    )
    collects_tax(world)
    smallest(world, "5")
    world.use("acme", "2026-01-15", "10")
    world.use("acme", "2026-02-15", "10")
    world.bill("2026-02-01")
    world.bill("2026-03-01")
    first, second = invoices(world)
    assert [(tax["category"], tax["net"], tax["amount"]) for tax in first["taxes"]] == [
        ("standard", "0.00", "0.00"),
        ("reduced", "0.00", "0.00"),
    ]
    assert [(line["kind"], line["amount"], line["adjustment"]["key"]) for line in first["lines"][2:]] == [
        ("carried_forward", "-1.00", "standard"),
        ("carried_forward", "-2.00", "reduced"),
    ]
    by_category = {tax["category"]: (tax["net"], tax["amount"]) for tax in second["taxes"]}
    if inclusive:  # 2 x 19/119 = 0.3193, 4 x 7/107 = 0.2617
        assert by_category == {"standard": ("1.68", "0.32"), "reduced": ("3.74", "0.26")}
        assert (first["total"], second["total"]) == ("0.00", "6.00")
        assert booked(world) == {"receivable": D("6.00"), "revenue": D("-5.42"), "tax_payable": D("-0.58")}
    else:
        assert by_category == {"standard": ("2.00", "0.38"), "reduced": ("4.00", "0.28")}
        assert (first["total"], second["total"]) == ("0.00", "6.66")
        assert booked(world) == {"receivable": D("6.66"), "revenue": D("-6.00"), "tax_payable": D("-0.66")}
    assert_well(world)


def test_terms_are_read_and_refused(world: World) -> None:
    world.furnish([plan(tokens())], [{"customer": "acme", "plan": "payg"}])
    raw = {"smallest_invoice": {"USD": "5", "JPY": 500}, "grace_hours": 72}
    said = {"smallest_invoice": {"JPY": "500", "USD": "5.00"}, "grace_hours": 72}
    books, tenant_id = world.books, world.tenant_id
    assert put_billing_terms(books, tenant_id, None, raw, world.now)["billing_terms"] == said
    own = {"smallest_invoice": {"USD": "0"}}
    assert put_billing_terms(books, tenant_id, "acme", own, world.now) == {
        "customer": "acme",
        "own": {"smallest_invoice": {"USD": "0.00"}},
        "billing_terms": {"smallest_invoice": {"JPY": "500", "USD": "0.00"}, "grace_hours": 72},
    }
    assert put_billing_terms(books, tenant_id, "acme", None, world.now)["own"] is None
    assert get_billing_terms(books, tenant_id, "acme")["billing_terms"] == said
    with pytest.raises(NotFound, match="there is no customer 'nobody'"):
        put_billing_terms(books, tenant_id, "nobody", own, world.now)
    bad = {"smallest_invoice": {"USD": "0.005", "XXX": "1", "EUR": "-1"}, "grace_hours": 721, "foo": 1}
    with pytest.raises(InvalidInput) as refused:
        put_billing_terms(books, tenant_id, None, bad, world.now)
    assert {fault.path for fault in refused.value.faults} == {
        "smallest_invoice.USD", "smallest_invoice.XXX", "smallest_invoice.EUR", "grace_hours", "foo",
    }  # fmt: skip


# ---- Beside an oracle: fractions, one chain for each customer and currency

Use = tuple[int, int, int]  # customer, subscription, units, of a month


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    months=st.lists(st.tuples(*[st.integers(0, 40)] * 3), min_size=2, max_size=6),
    least=st.sampled_from(["0.01", "1", "3.50", "20"]),
    together=st.booleans(),
    ends=st.booleans(),
)
@example(months=[(20, 32, 16), (37, 36, 15), (0, 0, 0)], least="3.50", together=True, ends=True)
def test_sums_over_all_invoices_are_what_was_used(
    world: World, months: list[tuple[int, int, int]], least: str, together: bool, ends: bool
) -> None:
    """Two subscriptions of acme at 0.0371 and 0.333 a unit of any meter, and one of bolt, for some months."""
    tenant = create_tenant(world.books, f"carry-{world.now.timestamp()}-{next(world._ids)}", "T", world.now)
    mine = World(world.books, world.store, tenant, world.now, world._ids)
    prices = {"payg": Fraction("0.0371"), "other": Fraction("0.333"), "small": Fraction("0.0004")}
    plans = [plan(tokens(str(float(price)), meter="tokens"), key=key) for key, price in prices.items()]
    end = {"end": f"2026-{len(months) + 1:02}-01T00:00:00Z"} if ends else {}
    mine.furnish(
        plans,
        [
            {"customer": "acme", "plan": "payg"} | end,
            {"customer": "acme", "plan": "other"} | end,
            {"customer": "bolt", "plan": "small"} | end,
        ],
    )
    smallest(mine, least)
    mine.use_all(
        [
            (customer, f"2026-{place:02}-15", str(units), {})
            for place, month in enumerate(months, start=1)
            for customer, units in (("acme", month[0]), ("bolt", month[2] * 100))
            if units
        ]
    )
    for place in range(1, len(months) + 1):
        if not together or place == len(months):
            mine.bill(f"2026-{place + 1:02}-01")
    found = invoices(mine)
    expected: list[tuple[str, Fraction, bool]] = []
    waiting = {"acme": Fraction(0), "bolt": Fraction(0)}
    left_by = {"acme": "", "bolt": ""}  # Its last bill brings it even where nothing else is on it.
    asked = {"acme": Fraction(0), "bolt": Fraction(0)}
    for place, month in enumerate(months, start=1):
        for name in ("acme-other", "acme-payg", "bolt-small"):
            customer, key = name.split("-")
            units = month[0] if customer == "acme" else month[2] * 100
            last = ends and place == len(months)
            total = units * prices[key] + waiting[customer]
            if not units and not (last and waiting[customer] and left_by[customer] == name):
                continue
            if 0 < total < Fraction(least) and not last:
                waiting[customer], left_by[customer] = total, name
                expected.append((name, Fraction(0), True))
            else:
                waiting[customer] = Fraction(0)
                asked[customer] += total
                expected.append((name, total, False))
    assert [
        (
            one["subscription"],
            Fraction(one["total_exact"]),
            any(line["kind"] == "carried_forward" for line in one["lines"]),
        )
        for one in found
    ] == expected
    for one in found:
        assert abs(Fraction(one["total"]) - Fraction(one["total_exact"])) <= Fraction("0.005")
    for customer in asked:
        used = sum(
            Fraction(line["amount_exact"])
            for one in found
            for line in one["lines"]
            if one["customer"] == customer and line["kind"] == "usage"
        )
        assert used == asked[customer] + waiting[customer]
    assert_well(mine)
