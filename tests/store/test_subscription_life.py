"""A subscription's life on real books and real events: changed, billed, explained, once whoever runs."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from psycopg.types.json import Jsonb

from farthing.catalog.service import publish_plan
from farthing.customers.apply import apply, plan_apply
from farthing.customers.life import (
    change_subscription,
    charge_once,
    list_changes,
    list_one_offs,
    withdraw_change,
)
from farthing.customers.model import FactKind
from farthing.customers.service import create_subscription, get_subscription
from farthing.db import Books
from farthing.db.endpoint import Endpoint
from farthing.db.external import given_postgres
from farthing.db.migration import bundled_migrations, migrate
from farthing.invoicing import service
from farthing.invoicing.ahead.plan_migration import migrate_plan, migration_json
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import invoice_documents
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput

DEARER = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.00001"}}
PRO = plan(PER_TOKEN, fee("31", "advance"), key="pro")
TEAM = plan(DEARER, fee("62", "advance"), key="team")


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    yield World(books, store, tenant_id, now)
    store.close()


@pytest.fixture
def acme(world: World) -> World:
    """acme on Pro since January 2026; Team is there to move to."""
    world.furnish([PRO, TEAM], [{"customer": "acme", "plan": "pro"}])
    return world


def change(world: World, now: str, kind: str, **body: Any) -> int:
    """A change that somebody makes at a moment."""
    moment = instant(now)
    return change_subscription(world.books, world.tenant_id, "acme-pro", {"kind": kind, **body}, moment)[
        1
    ].change_id


def billed(world: World, until: str) -> list[list[tuple[str, str]]]:
    numbers = world.bill(until, now=instant(until)).issued
    return [
        [(line["description"], line["amount_exact"]) for line in document["lines"]]
        for document in invoice_documents(world.books, world.tenant_id, numbers)
    ]


def test_usage_is_rated_by_the_plan_then_in_force_and_explained_by_it(acme: World) -> None:
    acme.bill("2026-01-01")
    acme.use("acme", "2026-01-05", "1000000")
    acme.use("acme", "2026-01-20", "2000000")
    change(acme, "2026-01-13", "plan", plan="team")
    assert billed(acme, "2026-02-01") == [
        [
            ("Tokens", "2.5"),
            ("Tokens", "20"),
            ("Platform fee, unused 19 of 31 days of Pro", "-19"),
            ("Platform fee, 19 of 31 days of Team", "38"),
            ("Platform fee", "62"),
        ]
    ]
    (document,) = list(invoice_documents(acme.books, acme.tenant_id, ["INV-000002"]))
    assert document["plan"] == {"key": "team", "name": "Team", "version": 1}
    plans = [line.get("plan", {}).get("key") for line in document["lines"]]
    assert plans == ["pro", None, "pro", None, None]
    explained = [
        explain_line(acme.books, acme.store, acme.tenant_id, "INV-000002", line, 10) for line in (1, 2, 3)
    ]
    assert [(one["plan"]["key"], one["price"]) for one in explained] == [
        ("pro", {"model": "per_unit", "unit_price": "0.0000025"}),
        ("team", {"model": "per_unit", "unit_price": "0.00001"}),
        ("pro", {"model": "flat", "amount": "31"}),
    ]
    assert [(one["quantity_now"], one["events_total"], one["changed_since"]) for one in explained[:2]] == [
        ("1000000", 1, False),
        ("2000000", 1, False),
    ]


def test_seats_do_not_begin_the_tiers_anew_and_neither_does_a_pause(world: World) -> None:
    tiers = [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.001"}]
    card = PER_TOKEN | {"price": {"model": "graduated", "tiers": tiers}}
    world.furnish([plan(card, fee("31"), key="pro")], [{"customer": "acme", "plan": "pro"}])
    for day in ("2026-01-05", "2026-01-12", "2026-01-25"):
        world.use("acme", day, "1000")
    change(world, "2026-01-08", "quantity", quantities={"fee": "2"})
    change(world, "2026-01-10", "pause")
    change(world, "2026-01-20", "resume")
    # 7 days at 1, 2 + 12 days at 2; 1000 tokens for 10, and 1000 more after the pause for 1.
    assert billed(world, "2026-02-01") == [
        [
            ("Tokens", "11"),
            ("Tokens, while paused", "0"),
            ("Platform fee, 7 of 31 days of Pro", "7"),
            ("Platform fee, 2 of 31 days of Pro", "4"),
            ("Platform fee, 12 of 31 days of Pro", "24"),
        ]
    ]
    whole, paused = (
        explain_line(world.books, world.store, world.tenant_id, "INV-000001", line, 10) for line in (1, 2)
    )
    assert (whole["quantity_now"], whole["events_total"], len(whole["events"])) == ("2000", 2, 2)
    assert (paused["quantity_now"], paused["line"]["unbilled"], len(paused["events"])) == (
        "1000",
        "paused",
        1,
    )


def test_a_minimum_is_owed_once_by_the_price_at_the_end(world: World) -> None:
    cheap, dear = (
        plan(PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "1", "minimum": least}}, key=key)
        for key, least in (("pro", "20"), ("team", "50"))
    )
    world.furnish([cheap, dear], [{"customer": "acme", "plan": "pro"}])
    world.use("acme", "2026-01-05", "3")
    change(world, "2026-01-13", "plan", plan="team")
    assert billed(world, "2026-02-01") == [[("Tokens", "3"), ("Tokens", "50")]]


def test_usage_in_a_trial_is_free_unless_it_is_charged(world: World) -> None:
    world.furnish(
        [PRO],
        [
            {"customer": "acme", "plan": "pro", "trial": {"days": 14}},
            {
                "customer": "zoe",
                "plan": "pro",
                "trial": {"until": "2026-01-15T00:00:00Z", "usage": "charged"},
            },
        ],
    )
    for name in ("acme", "zoe"):
        world.use(name, "2026-01-05", "1000000")
        world.use(name, "2026-01-20", "1000000")
    assert billed(world, "2026-01-14") == []
    assert billed(world, "2026-02-01") == [
        [("Platform fee", "17")],
        [("Platform fee", "17")],
        [("Tokens, in the trial", "0"), ("Tokens", "2.5"), ("Platform fee", "31")],
        [("Tokens", "5"), ("Platform fee", "31")],
    ]


def test_phases_ramp_and_the_last_one_ends(world: World) -> None:
    world.furnish([PRO, TEAM], [])
    phases = [
        {"plan": "pro", "quantities": {"fee": "2"}, "duration": {"interval": "month", "count": 1}},
        {"plan": "pro", "quantities": {"fee": "3"}, "duration": {"interval": "month"}},
        {"plan": "team", "until": "2026-03-11T00:00:00Z"},
    ]
    apply(
        world.books,
        world.tenant_id,
        {
            "customers": [{"key": "acme", "name": "Acme", "currency": "USD", "timezone": "UTC"}],
            "subscriptions": [
                {"key": "acme-pro", "customer": "acme", "start": "2026-01-01T00:00:00Z", "phases": phases}
            ],
        },
        world.now,
    )
    # The third phase has the quantity of the second: 3 x 62 x 10/31 = 60.
    assert billed(world, "2026-06-01") == [
        [("Platform fee", "62")],
        [("Platform fee", "93")],
        [("Platform fee", "60")],
    ]
    assert get_subscription(world.books, world.tenant_id, "acme-pro").end == instant("2026-03-11")


def test_a_file_that_says_something_else_changes_the_subscription_and_then_nothing(acme: World) -> None:
    acme.bill("2026-01-01")
    subscription = {
        "key": "acme-pro", "customer": "acme", "plan": "team", "start": "2026-01-01T00:00:00Z",
        "quantities": {"fee": "2"}, "effective": "2026-01-13T00:00:00Z",
        "add_ons": [{"key": "support", "name": "Support", "price": {"model": "flat", "amount": "31"}}],
    }  # fmt: skip
    document = {"subscriptions": [subscription]}
    moment = instant("2026-01-20")
    found = plan_apply(acme.books, acme.tenant_id, document, moment)
    assert [(one.field, one.before, one.after) for one in found.changes[0].fields] == [
        ("plan", "pro", "team"),
        ("version", 1, 1),
        ("quantities.fee", "1", "2"),
        ("add_ons.support", None, subscription["add_ons"][0] | {"timing": "arrears"}),
        ("effective", None, "2026-01-13T00:00:00Z"),
    ]
    apply(acme.books, acme.tenant_id, document, moment)
    assert apply(acme.books, acme.tenant_id, document, instant("2026-01-21")).changing() == ()
    assert billed(acme, "2026-02-01") == [
        [
            ("Platform fee, unused 19 of 31 days of Pro", "-19"),
            ("Platform fee, 19 of 31 days of Team", "76"),
            ("Platform fee", "124"),
            ("Support, 19 of 31 days", "19"),
        ]
    ]
    # To create it as it was created is no change: what it has become since does not matter.
    again = create_subscription(
        acme.books,
        acme.tenant_id,
        {"key": "acme-pro", "customer": "acme", "plan": "pro", "start": "2026-01-01T00:00:00Z"},
        moment,
    )
    assert again[1].value == "unchanged"
    with pytest.raises(Conflict) as refused:
        create_subscription(
            acme.books,
            acme.tenant_id,
            {"key": "acme-pro", "customer": "acme", "plan": "team", "start": "2026-01-01T00:00:00Z"},
            moment,
        )
    assert refused.value.code == "subscription_exists"


def test_faults_of_an_opening_are_named_with_their_places(acme: World) -> None:
    bad = {
        "key": "bad", "customer": "acme", "start": "2026-01-01T00:00:00Z",
        "phases": [
            {"plan": "pro", "quantities": {"seats": "2"}, "until": "2026-02-01T00:00:00Z"},
            {"plan": "nothing", "overrides": {"tokens": {"model": "flat", "amount": "1"}}},
        ],
        "add_ons": [{"key": "fee", "name": "Fee", "meter": "no", "price": {"model": "flat", "amount": "1"}}],
    }  # fmt: skip
    with pytest.raises(InvalidInput) as refused:
        create_subscription(acme.books, acme.tenant_id, bad, acme.now)
    assert {fault.path for fault in refused.value.faults} == {
        "add_ons[0].meter",
        "phases[0].quantities.seats",
        "phases[1].plan",
    }
    overlapping = {**bad, "add_ons": None, "phases": [
        {"plan": "pro", "until": "2026-02-01T00:00:00Z"}, {"plan": "team", "until": "2026-01-15T00:00:00Z"},
    ]}  # fmt: skip
    with pytest.raises(InvalidInput) as refused:
        create_subscription(acme.books, acme.tenant_id, overlapping, acme.now)
    assert (refused.value.code, refused.value.path) == ("invalid_phases", "phases[1].until")


def test_a_charge_is_billed_once_and_a_credit_is_said(acme: World) -> None:
    body = {"key": "setup", "description": "Setup", "amount": "250", "at": "2026-01-10T00:00:00Z"}
    first = charge_once(acme.books, acme.tenant_id, "acme-pro", body, acme.now)
    assert charge_once(acme.books, acme.tenant_id, "acme-pro", body, acme.now) == (
        first[0],
        first[1].UNCHANGED,
    )
    for wrong, code in (
        ({**body, "amount": "251"}, "charge_exists"),
        ({**body, "key": "x", "amount": "-5"}, "invalid_charge"),
        ({**body, "key": "x", "amount": "0.001"}, "invalid_number"),
        ({**body, "key": "x", "at": "2025-12-31T00:00:00Z"}, "before_start"),
    ):
        with pytest.raises(FarthingError) as refused:
            charge_once(acme.books, acme.tenant_id, "acme-pro", wrong, acme.now)
        assert refused.value.code == code
    assert billed(acme, "2026-03-01") == [
        [("Platform fee", "31")],
        [("Platform fee", "31"), ("Setup", "250")],
        [("Platform fee", "31")],
    ]
    ((charge, invoice),) = list_one_offs(acme.books, acme.tenant_id, "acme-pro", None, 9)
    assert (charge.key, invoice) == ("setup", "INV-000002")
    assert explain_line(acme.books, acme.store, acme.tenant_id, "INV-000002", 2, 10)["price"] is None


def test_a_change_made_while_a_run_drafts_is_left_to_the_next_run(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.bill("2026-01-01")
    issue = service.issue

    def change_first(*arguments: Any) -> Any:
        change(acme, "2026-01-13", "plan", plan="team")
        return issue(*arguments)

    monkeypatch.setattr(service, "issue", change_first)
    result = acme.bill("2026-02-01")
    assert [entry["reason"] for entry in result.skipped] == ["already_issued", "subscription_changed"]
    monkeypatch.setattr(service, "issue", issue)
    assert len(billed(acme, "2026-02-01")[0]) == 3


def test_changes_are_facts_and_one_is_called_off_by_another(acme: World) -> None:
    change_id = change(acme, "2026-01-13", "plan", plan="team", at="period_end")
    _, off, _ = withdraw_change(acme.books, acme.tenant_id, "acme-pro", change_id, instant("2026-01-14"))
    again = withdraw_change(acme.books, acme.tenant_id, "acme-pro", change_id, instant("2026-01-15"))
    assert (off.withdraws, again[1]) == (change_id, off)
    listed = list_changes(acme.books, acme.tenant_id, "acme-pro", 0, 9)
    assert [(fact.content.kind, by) for fact, by in listed] == [
        (FactKind.PLAN, off.change_id),
        (FactKind.WITHDRAW, None),
    ]
    assert billed(acme, "2026-02-01")[-1] == [("Platform fee", "31")]
    for statement in ("UPDATE subscription_changes SET key = 'x'", "DELETE FROM one_off_charges"):
        with pytest.raises(psycopg.Error), acme.books.transaction(acme.tenant_id) as conn:
            conn.execute(statement)


# ---- Moving subscriptions to another version


def published(world: World, amount: str) -> None:
    publish_plan(world.books, world.tenant_id, plan(DEARER, fee(amount, "advance"), key="pro"), world.now)


def migrated(world: World, at: str, **body: Any) -> dict[str, Any]:
    raw = {"to_version": 2, **body}
    return migration_json(migrate_plan(world.books, world.store, world.tenant_id, "pro", raw, instant(at)))


@pytest.mark.parametrize(
    ("mode", "effective_at", "before", "after", "lines"),
    [
        # Usage of 1,000,000 on 5 and on 20 January: 2.5 each before, 10 each by the new version. The rest of
        # January is 19 dearer, February 31.
        ("now", "2026-01-13T00:00:00Z", "36.00", "93.50", 5),
        ("start_of_period", "2026-01-01T00:00:00Z", "36.00", "113.00", 4),
        ("next_period", "2026-02-01T00:00:00Z", "67.00", "129.00", 2),
    ],
)
def test_a_migration_is_shown_with_its_money_and_done_as_shown(
    acme: World, mode: str, effective_at: str, before: str, after: str, lines: int
) -> None:
    acme.bill("2026-01-01")
    acme.use("acme", "2026-01-05", "1000000")
    acme.use("acme", "2026-01-20", "1000000")
    published(acme, "62")
    shown = migrated(acme, "2026-01-13", mode=mode)
    assert (shown["done"], shown["count"], shown["before"], shown["after"]) == (False, 1, before, after)
    assert shown["subscriptions"][0]["effective_at"] == effective_at
    assert get_subscription(acme.books, acme.tenant_id, "acme-pro").facts == (), "a dry run writes nothing"
    done = migrated(acme, "2026-01-13T00:10:00Z", mode=mode, confirm=shown["confirm"])
    assert (done["done"], done["after"]) == (True, after)
    again = migrated(acme, "2026-01-13T00:20:00Z", mode=mode, confirm=shown["confirm"])
    assert (again["done"], again["count"]) == (True, 1)
    assert len(get_subscription(acme.books, acme.tenant_id, "acme-pro").facts) == 1
    (january,) = billed(acme, "2026-02-01")
    assert len(january) == lines
    assert migrated(acme, "2026-02-02", mode=mode)["count"] == 0, "nobody is left to move"


def test_what_has_changed_since_it_was_shown_is_not_done(acme: World) -> None:
    published(acme, "62")
    shown = migrated(acme, "2026-01-13", mode="now")
    with pytest.raises(Conflict) as refused:
        migrated(acme, "2026-01-13T02:00:00Z", mode="now", confirm=shown["confirm"])
    assert refused.value.code == "confirmation_expired"
    with pytest.raises(Conflict) as refused:
        migrated(acme, "2026-01-13T00:10:00Z", mode="next_period", confirm=shown["confirm"])
    assert refused.value.code == "migration_changed"
    change(acme, "2026-01-13T00:05:00Z", "quantity", quantities={"fee": "2"})
    with pytest.raises(Conflict) as refused:
        migrated(acme, "2026-01-13T00:10:00Z", mode="now", confirm=shown["confirm"])
    assert refused.value.code == "migration_changed"
    with pytest.raises(InvalidInput) as wrong:
        migrated(acme, "2026-01-13", mode="now", to_version=9)
    assert (wrong.value.code, wrong.value.path) == ("unknown_version", "to_version")


# ---- The migration of the books


@pytest.fixture
def endpoint(given_server: Any) -> Endpoint:
    return given_postgres(given_server.new_database()[1])


def test_standing_subscriptions_keep_their_ends_as_facts(endpoint: Endpoint, now: datetime) -> None:
    """On a PostgreSQL whose owner is no superuser, so that row-level security holds for it too."""
    migrate(endpoint, now, bundled_migrations()[:4])
    with psycopg.connect(endpoint.owner) as conn:
        conn.execute(
            "SELECT set_config('farthing.operator', 'on', false), set_config('farthing.tenant', '2', false)"
        )
        conn.execute("INSERT INTO tenants (key, name, created_at) VALUES ('t', 'T', %s)", [now])
        conn.execute(
            "INSERT INTO customers VALUES (2, DEFAULT, 'c', 'C', 'USD', 'UTC', NULL, '{}', %s, %s)",
            [now, now],
        )
        conn.execute("INSERT INTO plans VALUES (2, DEFAULT, 'p', %s)", [now])
        conn.execute("INSERT INTO plan_versions VALUES (2, DEFAULT, 1, 1, %s, %s)", [Jsonb({}), now])
        for key, end in (("ends", instant("2027-01-01")), ("goes-on", None)):
            conn.execute(
                "INSERT INTO subscriptions VALUES (2, DEFAULT, %s, 1, 1, 'calendar', %s, %s, %s)",
                [key, instant("2026-01-01"), end, now],
            )
    migrate(endpoint, now)
    with psycopg.connect(endpoint.owner) as conn:
        conn.execute("SELECT set_config('farthing.tenant', '2', false)")
        found = conn.execute(
            "SELECT s.key, c.key, c.kind, c.effective_at, c.made_at FROM subscriptions s"
            " JOIN subscription_changes c USING (tenant_id, subscription_id)"
        ).fetchall()
        assert found == [("ends", "end", "cancel", instant("2027-01-01"), now)]
        conn.execute("SELECT set_config('farthing.tenant', '', false)")
        assert conn.execute("SELECT count(*) FROM subscriptions").fetchone() == (0,), "forced again"
