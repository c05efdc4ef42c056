"""A customer is erased: no byte of the person is left, and every sum stands to the last digit."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import LATENESS, PER_TOKEN, World, instant, open_store, plan
from erasing_world import ALIAS, PERSON, Person, found_in, marked
from given_server import GivenServer

from farthing.app import App, read_settings
from farthing.catalog.service import put_meter
from farthing.cli.doctor import examine
from farthing.customers.service import cancel_subscription
from farthing.db import Books, open_books
from farthing.db.erasing import erasing_transaction
from farthing.events.engine import seal_what_waits
from farthing.events.erasing.erased import ERASED_SOURCE, ERASED_SUBJECT
from farthing.events.sealing.sealer import Sealer, only_sealer, rebuild_index
from farthing.events.segments.removal import nothing_removed
from farthing.events.segments.rewrite import back_fill
from farthing.events.store import books as event_rows
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.checks import check_documents
from farthing.keeping.backup import take_backup
from farthing.keeping.erasing.model import Erasure, Stage
from farthing.keeping.erasing.service import carry_on, get_erasure, request_erasure
from farthing.keeping.restore import restore
from farthing.kernel.errors import Conflict, NotFound, Unavailable
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

NOW = instant("2026-02-04T08:00:00Z")
JANUARY, FEBRUARY = instant("2026-01-01"), instant("2026-02-01")

SUMS = (
    "SELECT invoice_id, number, subtotal, tax, total, total_exact, period_start, issued_at FROM invoices ORDER BY 1",
    "SELECT invoice_id, line, meter_key, quantity, amount_exact, amount, tax FROM invoice_lines ORDER BY 1, 2",
    "SELECT transfer_id, kind, account_ids, amounts, effective_at, booked_at FROM transfers ORDER BY 1",
    "SELECT account_id, balance, entries FROM account_balances ORDER BY 1",
    "SELECT * FROM invoice_balances ORDER BY invoice_id",
    "SELECT grant_id, amount, drawn, held, settled, expired FROM grants ORDER BY 1",
    "SELECT payment_id, amount, state, allocated, refunded, paid_at FROM payments ORDER BY 1",
    "SELECT credit_note_id, number, subtotal, total FROM credit_notes ORDER BY 1",
    "SELECT sum(counted), sum(quarantined) FROM seals",
    "SELECT count(*) FROM voided_events",
)


def nothing(*_: object) -> None:
    """Nobody looks at the progress."""


def sums(books: Books, store: EventStore, tenant_id: int = 1) -> list[object]:
    """Everything that is counted, owed, paid and booked."""
    with books.read_only(tenant_id) as conn:
        rows: list[object] = [conn.execute(one).fetchall() for one in SUMS]
        documents = conn.execute("SELECT document FROM invoices ORDER BY invoice_id").fetchall()
    said = [json.loads(row["document"]) for row in documents]
    amounts = [
        (one["number"], one["total"], one["subtotal"], one["period"], one["due_at"],
         [(line["quantity"], line["amount"], line["amount_exact"], line["charges"]) for line in one["lines"]])
        for one in said
    ]  # fmt: skip
    return [*rows, amounts, used(books, store, tenant_id)]


def used(books: Books, store: EventStore, tenant_id: int = 1, meter: str = "tokens") -> dict[str, Any]:
    """What was used in January in all, and of a model that others use, too."""
    found: dict[str, Any] = {}
    for name, how in (("all", {}), ("shared", {"filter": {"model": "shared"}})):
        query = UsageQuery(meter, JANUARY, FEBRUARY, **how)  # type: ignore[arg-type]
        found[name] = [(row.quantity, row.events) for row in query_usage(books, store, tenant_id, query, NOW)]
    by_customer = query_usage(
        books, store, tenant_id, UsageQuery(meter, JANUARY, FEBRUARY, group_by=("customer",)), NOW
    )
    return found | {"customers": sorted((row.quantity, row.events) for row in by_customer)}


def off(books: Books, data_dir: Path) -> list[str]:
    """What the doctor finds."""
    house = App(read_settings({}, {"data_dir": str(data_dir)}), books, 1, lambda: NOW)
    try:
        return examine(house, nothing)
    finally:
        house.close()


def go_on(
    books: Books, store: EventStore, erasure: Erasure, at: datetime = NOW, tenant_id: int = 1
) -> Erasure:
    """What the engine does again and again."""
    carry_on(
        books, store, tenant_id, lambda: seal_what_waits(books, store, LATENESS, lambda: at, 5), lambda: at
    )
    return get_erasure(books, tenant_id, erasure.erasure_id)


def test_no_byte_is_left_and_every_sum_stands(used_dir: Path, tmp_path: Path) -> None:
    with open_books(used_dir, None, now=NOW) as books:
        person = Person(books, used_dir)
        person.live()
        world, store = person.world, person.store
        world.now = NOW
        world.log(world.events([(PERSON, "2026-01-20", "11", {"unsealed": marked("tail")})]))
        seal_what_waits(books, store, LATENESS, lambda: NOW, 5)
        assert off(books, used_dir) == []
        before = sums(books, store)
        places = {place.split("/")[0] for place in found_in(used_dir)}
        assert places == {"log", "segments", "postgres"}

        place = tmp_path / "backups"
        old = take_backup(books, used_dir, place, "test", NOW, nothing)
        erasure = _cut_short_at_every_part(books, person)
        assert erasure.stage() is Stage.COMPLETE
        assert list(found_in(used_dir)) == []
        assert sums(books, store) == before
        assert off(books, used_dir) == []
        assert request_erasure(books, store, 1, PERSON, NOW) == (erasure, False)

        _what_comes_again_counts_no_more(books, person)
        # A backup shares files with the one before it, and none that the person is in.
        backup = take_backup(books, used_dir, place, "test", NOW + timedelta(days=1), nothing)
        assert list(found_in(backup.path)) == []
        again = used_dir.with_name("again")
        restore(place, again, None, NOW, nothing, nothing)
        assert list(found_in(again)) == []
        with open_books(again, None, now=NOW) as restored:
            copied = open_store(again)
            assert used(restored, copied) == used(books, store)
            assert off(restored, again) == []
            copied.close()
        store.close()
        # An older one, restored after all: the newer one knows who is to be erased.
        older = used_dir.with_name("older")
        restore(old.path, older, None, NOW, nothing, nothing)
        with open_books(older, None, now=NOW) as restored:
            copied = open_store(older)
            assert go_on(restored, copied, erasure).pseudonym == erasure.pseudonym
            assert sums(restored, copied) == before
            copied.close()
        assert list(found_in(older)) == []
    assert list(found_in(used_dir)) == []


def _cut_short_at_every_part(books: Books, person: Person) -> Erasure:
    """Begun again and again, as after a kill, until nothing is left to do."""
    store, data_dir = person.store, person.store.data_dir
    erasure, new = request_erasure(books, store, 1, PERSON, NOW, documents=True)
    assert (new, erasure.stage()) == (True, Stage.EVENTS)
    counted = used(books, store)
    # While a backup copies the log, segments are done, and the log is not.
    with nothing_removed(data_dir), pytest.raises(Unavailable, match="a backup is copying the log"):
        go_on(books, store, erasure)
    assert get_erasure(books, 1, erasure.erasure_id).stage() is Stage.EVENTS
    assert used(books, store) == counted
    with only_sealer(data_dir) as alone:  # A server is at work: its readers may have old files open.
        assert alone
        person.world.log(person.january[4:])  # a repeat, which nobody seals
        with pytest.raises(Unavailable, match="engine does not seal"):
            go_on(books, store, erasure)
        Sealer(books, store, data_dir / "log", LATENESS).seal_next(NOW)
        erasure = go_on(books, store, erasure)
        assert erasure.stage() is Stage.CLEANING
        assert used(books, store) == counted
        assert {place.split("/")[0] for place in found_in(data_dir)} == {"segments", "postgres"}
    return go_on(books, store, erasure)


def _what_comes_again_counts_no_more(books: Books, person: Person) -> None:
    """A repeat is a duplicate; what is new is set aside, and none of its bytes stay behind the log."""
    store, world = person.store, person.world
    with books.read_only(1) as conn:
        before = event_rows.tally(conn, 1)
    world.send([*person.january[:2], {**person.january[0], "id": marked("new"), "subject": ALIAS}])
    with books.read_only(1) as conn:
        after = event_rows.tally(conn, 1)
        (held,) = conn.execute("SELECT * FROM quarantine ORDER BY quarantine_id DESC LIMIT 1").fetchall()
    assert {name: after[name] - before[name] for name in after} == {
        "accepted": 3, "counted": 0, "duplicate": 2, "quarantined": 1,
    }  # fmt: skip
    assert (held["reason"], bytes(held["raw"]), held["event_id"]) == (ERASED_SUBJECT, b"", None)
    assert {place.split("/")[0] for place in found_in(store.data_dir)} == {"log"}
    with only_sealer(store.data_dir):
        # The index can be made anew from what is left of events, and so can columns of later meters.
        rebuild_index(books, store, 1, NOW)
    counted = used(books, store)
    put_meter(books, 1, {"key": "calls", "event_type": "llm.completion", "aggregation": "count",
                         "dimensions": {"model": "data.model", "place": "data.place"}}, NOW)  # fmt: skip
    assert back_fill(books, store, 1, NOW) > 0
    assert used(books, store) == counted
    ((_, events),) = counted["all"]
    assert used(books, store, meter="calls")["all"] == [(events, events)]
    world.send(person.january[:2])
    assert used(books, store) == counted
    with only_sealer(store.data_dir):
        sealer = Sealer(books, store, store.data_dir / "log", LATENESS)
        assert sealer.seal_next(NOW) is None
        assert sealer.remove_sealed_logs(NOW + timedelta(days=36500), 0) > 0


# -------------------------------------------------------------------------------------------------


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    """Acme, who has left, and its neighbour: a tenant among others."""
    world = World(books, open_store(tmp_path), tenant_id, NOW)
    subscriptions = [{"customer": "acme", "plan": "payg"}, {"customer": "other", "plan": "payg"}]
    world.furnish([plan(PER_TOKEN)], subscriptions, email="ann@acme.example")
    world.use("acme", "2026-01-10", "1000000")
    world.use("other", "2026-01-10", "2000000")
    yield world
    world.store.close()


@pytest.fixture
def billed(world: World) -> World:
    """Both have their invoice for January."""
    world.bill("2026-02-01")
    return world


def ask(world: World, **how: Any) -> Erasure:
    return request_erasure(world.books, world.store, world.tenant_id, "acme", NOW, **how)[0]


def refused(world: World) -> str:
    with pytest.raises(Conflict) as conflict:
        ask(world)
    return conflict.value.code


def documents(world: World) -> list[str]:
    with world.books.read_only(world.tenant_id) as conn:
        return [row["document"] for row in conn.execute("SELECT document FROM invoices ORDER BY invoice_id")]


def test_nobody_is_erased_in_the_middle_of_something(world: World) -> None:
    with pytest.raises(NotFound):
        request_erasure(world.books, world.store, world.tenant_id, "nobody", NOW)
    assert refused(world) == "customer_subscribed"
    cancel_subscription(world.books, world.tenant_id, "acme-payg", FEBRUARY, NOW)
    assert refused(world) == "customer_unbilled"
    world.bill("2026-02-01")
    assert ask(world).stage() is Stage.EVENTS


def test_documents_are_kept_until_their_time_is_over(world: World) -> None:
    cancel_subscription(world.books, world.tenant_id, "acme-payg", FEBRUARY, NOW)
    world.bill("2026-02-01")
    issued = documents(world)
    erasure = go_on(world.books, world.store, ask(world), tenant_id=world.tenant_id)
    assert erasure.stage() is Stage.DOCUMENTS_KEPT
    assert erasure.documents_from == instant("2037-01-01")
    assert documents(world) == issued
    assert "ann@acme.example" in issued[0]
    assert check_documents(world.books, world.tenant_id).findings == ()

    erasure = go_on(world.books, world.store, erasure, instant("2037-01-01"), world.tenant_id)
    assert erasure.stage() is Stage.COMPLETE
    left = [json.loads(document) for document in documents(world)]
    theirs = next(place for place, document in enumerate(issued) if '"customer":"other"' in document)
    assert json.dumps(left[theirs], ensure_ascii=False, separators=(",", ":")) == issued[theirs]
    was, is_now = json.loads(issued[1 - theirs]), left[1 - theirs]
    assert is_now["bill_to"] == {"name": erasure.pseudonym, "address": {}}
    assert [name for name in was if was[name] != is_now[name]] == ["customer", "subscription", "bill_to"]
    assert list(was) == list(is_now)
    assert check_documents(world.books, world.tenant_id).findings == ()


def test_who_asked_for_documents_later_has_them_erased(world: World) -> None:
    cancel_subscription(world.books, world.tenant_id, "acme-payg", FEBRUARY, NOW)
    world.bill("2026-02-01")
    erasure = go_on(world.books, world.store, ask(world), tenant_id=world.tenant_id)
    assert erasure.documents_at is None
    again = ask(world, documents=True)  # By its old key, which nothing but a keyed hash knows any more.
    assert again.erasure_id == erasure.erasure_id
    assert go_on(world.books, world.store, again, tenant_id=world.tenant_id).stage() is Stage.COMPLETE


def change(world: World, statement: str, erasing: str = "on") -> None:
    """As the owner, who erases."""
    with erasing_transaction(world.books.endpoint, world.tenant_id) as conn:
        conn.execute("SELECT set_config('farthing.erasing', %s, true)", [erasing])
        assert conn.execute(statement.encode()).rowcount


def change_as_application(world: World, statement: str) -> None:
    """As somebody who merely says that it erases."""
    with world.books.transaction(world.tenant_id) as conn:
        conn.execute("SELECT set_config('farthing.erasing', 'on', true)")
        conn.execute(statement.encode())


def test_the_database_lets_erasing_replace_who_it_was_and_nothing_else(billed: World) -> None:
    for statement in (
        "UPDATE invoices SET total = total + 1, subtotal = subtotal + 1",
        "UPDATE invoices SET number = 'INV-1'",
        "UPDATE invoice_lines SET amount = 0",
        "UPDATE transfers SET amounts = ARRAY[1, -1]",
        "UPDATE outbox SET occurred_at = now()",
        "UPDATE customers SET currency = 'EUR'",
        "DELETE FROM invoices",
        "DELETE FROM transfers",
        "DELETE FROM customers",
        "TRUNCATE invoices CASCADE",
        "UPDATE seals SET accepted = accepted",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            change(billed, statement)


def test_nobody_but_the_owner_who_says_so_erases(billed: World) -> None:
    change(billed, "UPDATE invoices SET document = document")
    with pytest.raises(psycopg.errors.RestrictViolation):
        change(billed, "UPDATE invoices SET document = document", erasing="off")
    for statement in ("UPDATE invoices SET document = '{}'", "UPDATE customer_tax_facts SET tax_ids = '[]'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            change_as_application(billed, statement)


def test_the_source_of_erased_events_is_nobodys(world: World) -> None:
    event = world.events([("other", "2026-01-20", "1", {})])[0] | {"source": ERASED_SOURCE}
    world.send([event])
    with world.books.read_only(world.tenant_id) as conn:
        assert event_rows.quarantine_reasons(conn, world.tenant_id) == {"reserved_source": 1}


def test_books_by_url_forget_as_far_as_their_owner_can(given_server: GivenServer, tmp_path: Path) -> None:
    """Who it was is replaced on every version; when its log is gone is for the server's operator."""
    _, url = given_server.new_database()
    with open_books(tmp_path, url, now=NOW) as books:
        world = World(books, open_store(tmp_path), 1, NOW)
        world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}], email="ann@acme.example")
        world.use("acme", "2026-01-10", "1000000", model="mine")
        cancel_subscription(books, 1, "acme-payg", FEBRUARY, NOW)
        world.bill("2026-02-01")
        before = sums(books, world.store)
        erasure = go_on(books, world.store, ask(world, documents=True))
        assert erasure.cleaned_at is not None
        given_server.execute("CHECKPOINT")
        assert go_on(books, world.store, erasure).stage() is Stage.COMPLETE
        assert sums(books, world.store)[:-2] == before[:-2]
        with books.read_only(1) as conn:
            (held,) = conn.execute("SELECT key, name, email FROM customers").fetchall()
            assert held == {"key": erasure.pseudonym, "name": erasure.pseudonym, "email": None}
        world.store.close()
