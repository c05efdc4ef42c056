"""Pay as you go on real books: charged when enough has accrued, and to the last digit what one invoice would be."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, instant, open_store, plan

from farthing.customers.apply import apply
from farthing.customers.life import change_subscription
from farthing.customers.service import add_alias, cancel_subscription
from farthing.customers.terms.service import add_commitment, set_collection
from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.events.segments.rewrite import merge
from farthing.events.store.books import segments
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.accrued.service import Charged, charge_accrued, list_accrued
from farthing.invoicing.accruing import accrue
from farthing.invoicing.checks import check_numbers
from farthing.invoicing.credit_notes.service import void_invoice
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.interim.checks import check_interims
from farthing.invoicing.service import invoice_documents
from farthing.kernel.checked import Checked
from farthing.kernel.errors import Conflict
from farthing.wallets.service import create_grant, create_wallet, get_grant

CENT = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.333"}}
FIFTY = {"mode": "pay_as_you_go", "threshold": "50"}


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


def charge(world: World, at: str) -> Charged:
    return charge_accrued(world.books, world.store, world.tenant_id, instant(at))


def documents(world: World, numbers: list[str]) -> list[dict[str, Any]]:
    return list(invoice_documents(world.books, world.tenant_id, numbers))


def accrued(world: World, at: str, **more: Any) -> list[dict[str, Any]]:
    return list_accrued(world.books, world.store, world.tenant_id, instant(at), **more)


def test_a_charge_at_the_threshold_and_the_rest_at_the_end(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-03", "150")  # 49.95
    assert charge(world, "2026-01-04").issued == []
    world.use("acme", "2026-01-05", "1")  # 50.283
    (first,) = documents(world, charge(world, "2026-01-06").issued)
    assert first["reason"] == "interim"
    assert first["interim"] == {"sequence": 1, "because": "threshold", "threshold": "50"}
    assert (first["total_exact"], first["total"]) == ("50.28", "50.28")
    assert [line["kind"] for line in first["lines"]] == ["usage", "carried"]
    assert first["lines"][1]["amount_exact"] == "-0.003"
    assert charge(world, "2026-01-06").issued == []
    assert charge(world, "2026-01-07").issued == []
    world.use("acme", "2026-01-08", "170")  # 321 tokens: 106.893, unbilled 56.613
    (second,) = documents(world, charge(world, "2026-01-09").issued)
    assert second["total"] == "56.61"
    assert [line["kind"] for line in second["lines"]] == ["usage", "billed", "carried"]
    assert second["lines"][1]["adjustment"]["key"] == first["number"]
    world.use("acme", "2026-01-20", "2")  # 323 tokens: 107.559
    (shown,) = accrued(world, "2026-01-21")
    assert (shown["accrued"], shown["billed"], shown["unbilled"]) == ("107.559", "106.89", "0.669")
    (last,) = documents(world, world.bill("2026-02-01").issued)
    assert last["reason"] == "period"
    assert (last["total_exact"], last["total"]) == ("0.669", "0.67")
    assert sum(Decimal(one["total"]) for one in (first, second, last)) == Decimal("107.56")
    kinds = [(one.fact.kind, one.fact.subject) for one in facts_after(world.books, world.tenant_id, 0, 100)]
    assert [kind for kind, _ in kinds if kind != "invoice.issued"] == [
        "spend.threshold_reached",
        "charge.due",
        "spend.threshold_reached",
        "charge.due",
        "charge.due",
    ]


def test_what_a_voided_charge_billed_is_billed_again(world: World) -> None:
    """151 tokens are 50.283: charged, voided, charged again under the same number within the period, voided again."""
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "151")
    (first,) = documents(world, charge(world, "2026-01-06").issued)
    void_invoice(world.books, world.tenant_id, first["number"], "a test", instant("2026-01-07"))
    assert check_interims(world.books, world.tenant_id).findings == ()
    world.use("acme", "2026-01-08", "1")  # news, so that the engine looks: 152 tokens are 50.616
    (again,) = documents(world, charge(world, "2026-01-09").issued)
    assert (again["total"], again["interim"]["sequence"]) == ("50.61", 1)
    assert [line["kind"] for line in again["lines"]] == ["usage", "carried"]
    void_invoice(world.books, world.tenant_id, again["number"], "once more", instant("2026-01-10"))
    (last,) = documents(world, world.bill("2026-02-01").issued)
    assert (last["total"], [line["kind"] for line in last["lines"]]) == ("50.62", ["usage"])
    assert check_interims(world.books, world.tenant_id).findings == ()


def test_what_has_waited_long_enough_is_charged_however_little_it_is(world: World) -> None:
    terms = FIFTY | {"charge_within_days": 7}
    world.furnish([plan(CENT, collection=terms)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-03", "3")
    assert charge(world, "2026-01-04T06:00:00Z").issued == []
    assert accrued(world, "2026-01-05")[0]["charge_by"] == "2026-01-11T06:00:00Z"
    assert charge(world, "2026-01-11T05:59:59Z").issued == []
    (only,) = documents(world, charge(world, "2026-01-11T06:00:00Z").issued)
    assert (only["interim"], only["total"]) == ({"sequence": 1, "because": "charge_within_days"}, "0.99")
    assert accrued(world, "2026-01-12")[0]["charge_by"] is None, "0.009 is nothing that could be charged"
    assert charge(world, "2026-01-31").issued == []


def test_a_late_event_after_a_charge_is_on_the_next_invoice(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "200")
    (first,) = charge(world, "2026-01-11").issued
    world.use("acme", "2026-01-02", "200")
    (second,) = documents(world, charge(world, "2026-01-11T00:00:01Z").issued)
    assert second["total"] == "66.60"  # 133.20 in all, less 66.60
    explained = explain_line(world.books, world.store, world.tenant_id, first, 1, 10)
    assert (explained["quantity_billed"], explained["quantity_now"]) == ("200", "400")
    (taken,) = [line for line in second["lines"] if line["kind"] == "billed"]
    said = explain_line(world.books, world.store, world.tenant_id, second["number"], taken["line"], 10)
    assert said["billed_on"] == first
    assert said["of"][0]["share"] == "-66.6"


def test_events_of_the_future_wait_until_they_happen(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10T12:00:00Z", "1000")
    assert charge(world, "2026-01-10T11:59:59Z").issued == []
    assert len(charge(world, "2026-01-10T13:00:01Z").issued) == 1, "at the latest when everybody is looked at"


def test_a_change_of_plan_parts_the_period_and_the_invoices_still_sum(world: World) -> None:
    plans = [
        plan(CENT, collection=FIFTY),
        plan(CENT | {"price": {"model": "per_unit", "unit_price": "1"}}, key="pro", collection=FIFTY),
    ]
    world.furnish(plans, [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")  # 66.60
    (first,) = documents(world, charge(world, "2026-01-06").issued)
    with pytest.raises(Conflict, match="until then it is invoiced"):
        change_subscription(
            world.books, world.tenant_id, "acme-payg",
            {"kind": "plan", "plan": "pro", "at": "2026-01-05T00:00:00Z"}, instant("2026-01-10"),
        )  # fmt: skip
    to_pro = {"kind": "plan", "plan": "pro", "at": "2026-01-10T00:00:00Z"}
    change_subscription(world.books, world.tenant_id, "acme-payg", to_pro, instant("2026-01-10"))
    world.use("acme", "2026-01-12", "60")
    (second,) = documents(world, charge(world, "2026-01-13").issued)
    assert [(one["kind"], one["amount_exact"]) for one in second["lines"]] == [
        ("usage", "66.6"), ("usage", "60"), ("billed", "-66.6"),
    ]  # fmt: skip
    assert second["plan"]["key"] == "pro"
    (last,) = documents(world, world.bill("2026-02-01").issued)
    totals = [Decimal(one["total"]) for one in (first, second, last)]
    assert totals == [Decimal("66.60"), Decimal("60.00"), Decimal("0.00")]


def test_an_end_within_the_period_settles_it(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")
    charge(world, "2026-01-06")
    world.use("acme", "2026-01-08", "3")
    with pytest.raises(Conflict, match="until then it is invoiced"):
        cancel_subscription(
            world.books, world.tenant_id, "acme-payg", instant("2026-01-05"), instant("2026-01-10")
        )
    cancel_subscription(
        world.books, world.tenant_id, "acme-payg", instant("2026-01-10"), instant("2026-01-10")
    )
    assert charge(world, "2026-01-11").issued == []
    (last,) = documents(world, world.bill("2026-02-01").issued)
    assert (last["period"]["end"], last["total"]) == ("2026-01-10T00:00:00Z", "1.00")
    assert accrued(world, "2026-01-20") == []


def test_terms_of_its_own_replace_those_of_the_plan_until_they_are_taken_away(world: World) -> None:
    world.furnish([plan(CENT)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")
    assert charge(world, "2026-01-06") == Charged()

    def terms(raw: object, at: str) -> dict[str, Any]:
        return set_collection(world.books, world.tenant_id, "acme-payg", raw, instant(at))[0]

    assert terms(FIFTY, "2026-01-07")["source"] == "subscription"
    assert len(charge(world, "2026-01-07T00:00:01Z").issued) == 1
    world.use("acme", "2026-01-08", "200")
    assert terms(None, "2026-01-09")["collection"] == {"mode": "at_period_end"}
    assert charge(world, "2026-01-09T00:00:01Z").issued == []
    assert terms({"mode": "pay_as_you_go", "threshold": "66.61"}, "2026-01-10")["source"] == "subscription"
    assert charge(world, "2026-01-10T00:00:01Z").issued == []
    assert terms({"mode": "pay_as_you_go", "threshold": "66.6"}, "2026-01-11")["source"] == "subscription"
    assert len(charge(world, "2026-01-11T00:00:01Z").issued) == 1


def test_what_a_prepaid_commitment_pays_for_is_not_charged(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    funds = {"key": "funds", "kind": "prepaid", "amount": "100", "interval": "year"}
    add_commitment(world.books, world.tenant_id, "acme-payg", funds, world.now)
    world.use("acme", "2026-01-05", "200")
    assert charge(world, "2026-01-06").issued == []
    assert accrued(world, "2026-01-06")[0]["held"] == "prepaid_commitment"


def test_what_a_wallet_pays_for_is_not_charged(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    wallet = {"key": "funds", "customer": "acme", "currency": "USD"}
    create_wallet(world.books, world.tenant_id, wallet, world.now)
    world.use("acme", "2026-01-05", "200")
    assert charge(world, "2026-01-06").issued == []
    assert accrued(world, "2026-01-06")[0]["held"] == "wallet"


def test_an_alias_that_is_found_later_is_charged_within_the_hour(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("key-7", "2026-01-05", "200")
    assert charge(world, "2026-01-06").issued == []
    add_alias(world.books, world.tenant_id, "acme", "key-7", world.now)
    assert charge(world, "2026-01-06T00:59:00Z").issued == []
    assert len(charge(world, "2026-01-06T01:01:00Z").issued) == 1


def test_only_customers_with_news_are_looked_at(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": f"c{n}", "plan": "payg"} for n in range(5)])
    assert charge(world, "2026-01-05").looked_at == 5
    assert charge(world, "2026-01-05T00:00:03Z").looked_at == 0
    world.use("c3", "2026-01-05", "1")
    assert charge(world, "2026-01-05T00:00:06Z").looked_at == 1
    assert charge(world, "2026-01-05T00:00:09Z").looked_at == 0
    assert charge(world, "2026-02-01").looked_at == 5, "another period"


def test_segments_that_are_put_together_are_no_news(world: World) -> None:
    """Of what was looked at, nothing is looked at again; with one that was not, all of it is."""
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": f"c{n}", "plan": "payg"} for n in range(4)])
    for place in range(3):
        world.use(f"c{place}", "2026-01-05", "1")
    assert charge(world, "2026-01-05T00:01:00Z").looked_at == 4

    def put_together() -> None:
        with world.books.read_only(world.tenant_id) as conn:
            old = segments(conn, world.tenant_id)
        assert merge(world.books, world.store, world.tenant_id, old, world.now)

    put_together()
    assert charge(world, "2026-01-05T00:01:03Z").looked_at == 0
    world.use("c3", "2026-01-05", "1")
    assert charge(world, "2026-01-05T00:01:06Z").looked_at == 1
    world.use("c3", "2026-01-05", "1")
    put_together()
    assert charge(world, "2026-01-05T00:01:09Z").looked_at == 4
    put_together()
    assert charge(world, "2026-01-05T00:01:12Z").looked_at == 0


def test_what_units_leave_is_charged_as_it_accrues(world: World) -> None:
    """Of 600 tokens 400 are paid with units: 200 x 0.333. The engine draws the units, before and after the charge."""
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    wallet = {"key": "pack", "customer": "acme", "unit": "tokens"}
    create_wallet(world.books, world.tenant_id, wallet, world.now)
    grant = {"key": "g", "kind": "paid", "amount": "400", "unit_price": "0.1"}
    create_grant(
        world.books, world.tenant_id, "pack", grant | {"effective_at": "2026-01-01T00:00:00Z"}, world.now
    )
    world.use("acme", "2026-01-03", "500")
    accrue(world.books, world.store, world.tenant_id, instant("2026-01-04"))
    assert charge(world, "2026-01-04").issued == []
    (shown,) = accrued(world, "2026-01-04T00:00:01Z")
    assert (shown["accrued"], shown["held"]) == ("33.3", None)
    world.use("acme", "2026-01-05", "100")
    (first,) = documents(world, charge(world, "2026-01-06").issued)
    assert (first["reason"], first["total"]) == ("interim", "66.60")
    assert [(one["quantity"], one["amount"]) for one in first["lines"][0]["charges"]] == [
        ("400", "0"), ("200", "66.6"),
    ]  # fmt: skip
    accrue(world.books, world.store, world.tenant_id, instant("2026-01-07"))
    assert get_grant(world.books, world.tenant_id, "g").drawn == 400
    world.use("acme", "2026-01-20", "10")
    world.now = instant("2026-02-01T00:05:00Z")
    (last,) = documents(world, world.bill("2026-02-01").issued)
    assert (last["lines"][0]["quantity"], last["total"]) == ("610", "3.33")
    assert get_grant(world.books, world.tenant_id, "g").drawn == 400
    assert check_interims(world.books, world.tenant_id).findings == ()


def test_a_clock_that_goes_back_charges_nothing_twice(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")
    assert len(charge(world, "2026-01-20").issued) == 1
    assert charge(world, "2026-01-06").issued == []
    world.use("acme", "2026-01-06", "200")
    assert len(charge(world, "2026-01-20T00:00:01Z").issued) == 1


def test_a_period_that_is_billed_already_is_not_charged_for(world: World) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")
    assert len(world.bill("2026-02-01").issued) == 1  # by somebody whose clock is ahead
    assert charge(world, "2026-01-06").issued == []


def test_two_engines_charge_once(world: World, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(20)]
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": name, "plan": "payg"} for name in names])
    other = open_store(tmp_path)
    for day in range(2, 10):
        world.use_all([(name, f"2026-01-{day:02d}", "160", {}) for name in names])
        at = instant(f"2026-01-{day + 1:02d}")
        together = threading.Barrier(2)

        def engine(store: EventStore, at: datetime = at, start: threading.Barrier = together) -> Charged:
            start.wait()
            return charge_accrued(world.books, store, world.tenant_id, at)

        with ThreadPoolExecutor(2) as pool:
            done = [each.result() for each in [pool.submit(engine, one) for one in (world.store, other)]]
        assert sum(len(one.issued) for one in done) == len(names)
        # The slower one finds the charge made, before or after it has drafted its own.
        reasons = {entry["reason"] for one in done for entry in one.skipped}
        assert reasons <= {"already_issued", "subscription_changed", "nothing_to_bill"}
    other.close()
    (last,) = {one["total"] for one in documents(world, world.bill("2026-02-01").issued)}
    assert last == "0.00", "8 x 53.28 are whole cents, and all of them are charged"
    assert check_numbers(world.books, world.tenant_id).findings == ()


def test_a_charge_and_the_billing_run_at_once_bill_everything_once(world: World, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(10)]
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": name, "plan": "payg"} for name in names])
    world.use_all([(name, "2026-01-05", "151", {}) for name in names])
    together = threading.Barrier(2)

    def charging() -> None:
        together.wait()
        charge(world, "2026-01-31T23:59:59Z")

    def billing() -> None:
        together.wait()
        world.bill("2026-02-01", now=instant("2026-02-01"))

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(charging), pool.submit(billing)]:
            each.result()
    world.bill("2026-02-01", now=instant("2026-02-01"))
    with world.books.read_only(world.tenant_id) as conn:
        rows = conn.execute(
            "SELECT sum(total) AS total, count(*) FILTER (WHERE reason = 'period') AS last FROM invoices"
            " GROUP BY subscription_id"
        ).fetchall()
    assert [(row["total"], row["last"]) for row in rows] == [(Decimal("50.28"), 1)] * len(names)


def test_a_computed_threshold_follows_what_is_spent(world: World) -> None:
    computed = {"fee_per_charge": "0.30", "cost_percent_per_day": "0.1"}
    terms = {"mode": "pay_as_you_go", "threshold": {"computed": computed}, "least": "20", "most": "500"}
    world.furnish([plan(CENT, collection=terms)], [{"customer": "acme", "plan": "payg"}])
    thresholds = []
    for day in range(1, 21):
        world.use("acme", f"2026-01-{day:02d}", "60")  # 19.98 a day
        charge(world, f"2026-01-{day + 1:02d}")
        thresholds.append(accrued(world, f"2026-01-{day + 1:02d}")[0]["threshold"])
    # sqrt(2 * 0.30 * 19.98 / 0.001) = 109.49, and it stays where it is
    assert thresholds == ["109.49"] * 20


def test_a_catalog_file_gives_a_subscription_terms_of_its_own_once(world: World) -> None:
    subscription = {"customer": "acme", "plan": "payg", "collection": FIFTY}
    world.furnish([plan(CENT)], [subscription])
    world.use("acme", "2026-01-05", "200")
    assert len(charge(world, "2026-01-06").issued) == 1
    document = {"subscriptions": [{"key": "acme-payg", "start": "2026-01-01T00:00:00Z", **subscription}]}
    again = apply(world.books, world.tenant_id, document, world.now)
    assert [change.outcome for change in again.changes] == ["unchanged"]
    document["subscriptions"][0]["collection"] = FIFTY | {"threshold": "70"}
    (changed,) = apply(world.books, world.tenant_id, document, world.now).changes
    assert [(field.field, field.before, field.after) for field in changed.fields] == [
        ("collection", FIFTY, FIFTY | {"threshold": "70"})
    ]
    del document["subscriptions"][0]["collection"]
    assert [one.outcome for one in apply(world.books, world.tenant_id, document, world.now).changes] == [
        "unchanged"
    ], "what is not named stays"
    world.use("acme", "2026-01-07", "200")
    assert charge(world, "2026-01-08").issued == []


def test_the_doctor_finds_what_is_taken_off_twice_or_never(world: World, owner: psycopg.Connection) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    for day in ("05", "06"):
        world.use("acme", f"2026-01-{day}", "200")
        charge(world, f"2026-01-{int(day) + 1:02d}")
    last = world.bill("2026-02-01").issued
    assert last == ["INV-000003"]
    assert check_interims(world.books, world.tenant_id) == Checked("2 interim invoices")
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    owner.execute("ALTER TABLE invoice_lines DISABLE TRIGGER invoice_lines_append_only")
    owner.execute(
        "UPDATE invoice_lines l SET adjustment_key = 'INV-000001' FROM invoices i"
        " WHERE l.invoice_id = i.invoice_id AND i.number = 'INV-000003' AND l.adjustment_key = 'INV-000002'"
    )
    owner.execute("ALTER TABLE invoice_lines ENABLE TRIGGER invoice_lines_append_only")
    owner.commit()
    assert check_interims(world.books, world.tenant_id).findings == (
        "INV-000003 takes off 133.2 of the 66.60 that INV-000001 billed",
        "INV-000003 takes off nothing of the 66.60 that INV-000002 billed",
    )


@pytest.mark.parametrize(
    ("reason", "sequence", "refused"),
    [
        ("interim", 1, psycopg.errors.UniqueViolation),
        ("interim", 0, psycopg.errors.CheckViolation),
        ("period", 1, psycopg.errors.CheckViolation),
    ],
)
def test_the_database_keeps_one_interim_invoice_of_each_number(
    world: World, reason: str, sequence: int, refused: type[psycopg.Error]
) -> None:
    world.furnish([plan(CENT, collection=FIFTY)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-05", "200")
    assert charge(world, "2026-01-06").issued == ["INV-000001"]
    with pytest.raises(refused), world.books.transaction(world.tenant_id) as conn:
        conn.execute(
            """
            INSERT INTO invoices (tenant_id, number, customer_id, subscription_id, plan_version_id, status, reason,
                                  sequence, currency, period_start, period_end, subtotal, tax, total, total_exact,
                                  issued_at, document)
            SELECT tenant_id, 'INV-000002', customer_id, subscription_id, plan_version_id, status, %s, %s, currency,
                   period_start, period_end, subtotal, tax, total, total_exact, issued_at, document
              FROM invoices
            """,
            [reason, sequence],
        )
