"""One event's whole way: found wherever it is, named with its bill and its cost; nothing is passed over in silence."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from billing_world import World, fee, instant, plan
from event_works import EventWorks, event, open_event_works
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.catalog.service import put_meter
from farthing.customers.service import add_alias
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.checks import check_corrections
from farthing.events.correcting.service import list_corrections, replace_event, void_event
from farthing.events.find import Wanted, events_of_id, find_events, way_of
from farthing.events.horizon import REMEMBERED_SECONDS, check_horizon
from farthing.events.ids.filter import id_filter, probes
from farthing.events.log.files import LogWriter
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.segments.rewrite import rewrite
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.ahead.preview import preview_billing
from farthing.invoicing.explaining.tracing import Sought, search_events, trace_event
from farthing.invoicing.explaining.unbilled import unbilled
from farthing.invoicing.late.later import effects_after_invoice
from farthing.invoicing.service import get_invoice
from farthing.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from farthing.rating import parse_price, rate
from farthing.usage.later import BilledTime, later_effects

GRADUATED = {
    "key": "tokens", "name": "Tokens", "meter": "tokens",
    "price": {"model": "graduated", "tiers": [{"up_to": "100", "unit_price": "0.01", "flat_fee": "1"},
                                              {"unit_price": "0.003"}], "free_units": "7"},
}  # fmt: skip
VOLUME = {
    "key": "volume", "name": "Volume", "meter": "tokens",
    "price": {"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5"}]},
}  # fmt: skip


@pytest.fixture
def works(books: Books, now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, now) as works:
        yield works


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[World]:
    store = EventStore(tmp_path, threads=2, memory_limit="500MB")
    yield World(books, store, tenant_id, instant("2026-02-10"))
    store.close()


def trace(world: World, event_id: str, source: str = "test") -> dict[str, Any]:
    return trace_event(world.books, world.store, world.tenant_id, source, event_id, world.now)


def call(
    event_id: str, tokens: int | str, time: str = "2026-01-10T10:00:00Z", **attributes: Any
) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": event_id, "source": "test", "type": "llm.completion", "subject": "acme",
        "time": time, "data": {"tokens": tokens}, **attributes,
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------
# Finding


def test_a_filter_never_leaves_out_what_it_was_made_of() -> None:
    random = Random(1)
    numbers = [np.array([random.getrandbits(64) for _ in range(5000)], dtype="u8") for _ in range(4)]
    keys, checks, *others = numbers
    made = id_filter(keys, checks)
    held = [
        all(made[int(place) % (8 * len(made)) // 8] >> (int(place) % 8) & 1 for place in places)
        for places in zip(*probes(keys, checks), strict=True)
    ]
    assert all(held)
    found = [
        all(made[int(place) % (8 * len(made)) // 8] >> (int(place) % 8) & 1 for place in places)
        for places in zip(*probes(*others), strict=True)
    ]
    assert sum(found) < 100  # 1.2 of a hundred is expected


def test_an_event_is_found_by_its_id_in_the_one_segment_that_holds_it(
    works: EventWorks, tenant_id: int
) -> None:
    for batch in range(20):
        works.take(tenant_id, [event(f"{batch}-{n}", source=f"s{n % 3}") for n in range(50)])
    way = way_of(works.books, works.store, tenant_id, ("s1", "7-1"))
    assert way.event is not None
    assert (way.event.id, way.event.state) == ("7-1", "counted")
    assert 1 <= way.segments_read <= 3
    assert way_of(works.books, works.store, tenant_id, ("s2", "7-1")).event is None
    assert events_of_id(works.books, works.store, tenant_id, "7-1").identities == (("s1", "7-1"),)
    assert rewrite(
        works.books, works.store, tenant_id, works.segments(tenant_id), wanted_columns([]), works.now
    )
    way = way_of(works.books, works.store, tenant_id, ("s1", "7-1"))
    assert way.event is not None
    assert way.segments_read == 1
    with works.books.operator_transaction() as conn:
        conn.execute("SELECT set_config('farthing.tenant', %s, true)", [str(tenant_id)])
        assert conn.execute("SELECT sources FROM segments").fetchone() == {"sources": ["s0", "s1", "s2"]}


@pytest.mark.parametrize("event_id", ["é", "a\0b", 'q"\\', "x" * 256, "👩\u200d👧", "%_", "\u2028"])
def test_every_id_is_found(works: EventWorks, tenant_id: int, event_id: str) -> None:
    assert events_of_id(works.books, works.store, tenant_id, event_id).identities == ()
    works.append(tenant_id, event(event_id))
    found = way_of(works.books, works.store, tenant_id, ("test", event_id)).event
    assert found is not None
    assert found.state == "waiting"
    assert events_of_id(works.books, works.store, tenant_id, event_id).identities == (("test", event_id),)
    works.seal()
    works.take(tenant_id, event(event_id))
    way = way_of(works.books, works.store, tenant_id, ("test", event_id))
    assert way.event is not None
    assert way.event.state == "counted"
    assert [one.outcome for one in way.attempts] == ["counted", "duplicate"]
    assert events_of_id(works.books, works.store, tenant_id, event_id).identities == (("test", event_id),)


def test_events_of_one_id_are_told_apart_by_source_with_what_the_log_has_of_each(
    works: EventWorks, tenant_id: int
) -> None:
    works.take(tenant_id, [event("one", source="s1"), event("one", source="s2"), event("one", source="s1")])
    works.append(tenant_id, [event("one", source="s3"), event("other", source="s4")])
    same = events_of_id(works.books, works.store, tenant_id, "one")
    assert same.identities == (("s1", "one"), ("s2", "one"), ("s3", "one"))
    for identity in same.identities:
        told = way_of(works.books, works.store, tenant_id, identity, same.in_log(identity[0]))
        assert told == way_of(works.books, works.store, tenant_id, identity)
    ways = [way_of(works.books, works.store, tenant_id, one, same.in_log(one[0])) for one in same.identities]
    assert [[attempt.outcome for attempt in way.attempts] for way in ways] == [
        ["counted", "duplicate"],
        ["counted"],
        ["waiting"],
    ]
    # Where the log has more than is told at once, each event is looked for by itself.
    works.append(tenant_id, [event("one", source="s1") for _ in range(100)])
    many = events_of_id(works.books, works.store, tenant_id, "one")
    assert many.in_log("s1") is None


def test_every_attempt_is_told_and_what_became_of_it(works: EventWorks, tenant_id: int) -> None:
    later = works.now + timedelta(seconds=5)
    works.take(tenant_id, [event("a", 1), event("a", 1), event("a", 2)])
    works.take(tenant_id, event("a", 1), received_at=later)
    works.append(tenant_id, event("a", 3), received_at=later)
    way = way_of(works.books, works.store, tenant_id, ("test", "a"))
    assert [one.outcome for one in way.attempts] == [
        "counted",
        "duplicate",
        "quarantined",
        "duplicate",
        "waiting",
    ]
    assert [row["reason"] for row in way.quarantined] == ["conflict"]
    assert {one.origin for one in way.attempts} == {"http"}


def test_a_damaged_segment_is_named(works: EventWorks, tenant_id: int) -> None:
    works.take(tenant_id, event("a"))
    path = works.store.data_dir / works.segments(tenant_id)[0].path
    works.take(tenant_id, event("b"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = way_of(works.books, works.store, tenant_id, ("test", "b")).event
    assert found is not None
    for ask in (
        lambda: way_of(works.books, works.store, tenant_id, ("test", "a")),
        lambda: find_events(works.books, works.store, tenant_id, Wanted(), None, 10),
    ):
        with pytest.raises(Corrupt) as named:
            ask()
        assert named.value.code == "segment_damaged"
        assert path.name in named.value.message


def test_a_correction_of_an_event_that_cannot_be_read_is_in_effect_when_it_can(
    works: EventWorks, tenant_id: int
) -> None:
    definition = {"key": "n", "event_type": "call", "aggregation": "sum", "value": "data.n"}
    put_meter(works.books, tenant_id, definition, works.now)
    works.take(tenant_id, [event("a", {"n": 5}), event("b", {"n": 7})])
    path = works.store.data_dir / works.segments(tenant_id)[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    works.append(tenant_id, event("v", type="farthing.void", corrects="a"))
    works.seal()
    path.write_bytes(whole)
    assert works.segments(tenant_id)[0].voids == (("test", "a"),)


@settings(max_examples=10)
@given(
    seconds=st.lists(st.integers(0, 5), min_size=1, max_size=25),
    limit=st.integers(1, 4),
    kept=st.integers(0, 10),
)
def test_pages_show_every_event_once_the_newest_first(
    books: Books, session_now: datetime, seconds: list[int], limit: int, kept: int
) -> None:
    tenant_id = create_tenant(books, f"pages-{Random().random()}", "Pages", session_now)
    with open_event_works(books, session_now) as works:
        sent = [
            event(f"e{n}", time=(session_now + timedelta(seconds=second)).isoformat(), subject=f"s{n % 2}")
            for n, second in enumerate(seconds)
        ]
        for first in range(0, max(0, len(sent) - kept), 4):
            works.take(tenant_id, sent[first : first + 4])
        sealed = 4 * len(range(0, max(0, len(sent) - kept), 4))
        if sent[sealed:]:
            works.append(tenant_id, sent[sealed:])
        for subjects in (None, ("s1",)):
            wanted = [one for one in sent if subjects is None or one["subject"] in subjects]
            expected = sorted(wanted, key=lambda one: (str(one["time"]), str(one["id"])), reverse=True)
            found, before = list[str](), None
            while True:
                some = find_events(books, works.store, tenant_id, Wanted(subjects), before, limit)
                found += [one.id for one in some]
                if len(some) < limit:
                    break
                before = some[-1].place
            assert found == [one["id"] for one in expected]


def test_events_are_looked_for_by_who_what_and_when(world: World) -> None:
    world.furnish([plan(GRADUATED)], [{"customer": "acme", "plan": "payg"}])
    add_alias(world.books, world.tenant_id, "acme", "key-7", world.now)
    world.send(
        [call("a", 1), call("b", 2, subject="key-7", time="2026-01-11T00:00:00Z"), call("c", 3, subject="other"),
         call("d", 4, type="image")]
    )  # fmt: skip

    def ids(**sought: Any) -> list[str]:
        found = search_events(world.books, world.store, world.tenant_id, Sought(**sought), None, 10)
        return [one.id for one in found]

    assert ids() == ["b", "d", "c", "a"]
    assert ids(customer="acme") == ["b", "d", "a"]
    assert ids(customer="acme", subject="key-7") == ["b"]
    assert ids(customer="acme", event_type="image") == ["d"]
    assert ids(start=instant("2026-01-11")) == ["b"]
    assert ids(end=instant("2026-01-11"), subject="other") == ["c"]
    assert ids(event_id="c") == ["c"]
    assert ids(event_id="c", customer="acme") == []
    with pytest.raises(NotFound):
        ids(customer="nobody")
    with pytest.raises(InvalidInput):
        ids(source="test")


# -------------------------------------------------------------------------------------------------
# What it costs


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=1, max_size=8))
def test_the_costs_of_all_events_sum_to_what_the_rate_card_charges(
    books: Books, session_now: datetime, used: list[tuple[int, int]]
) -> None:
    tenant_id = create_tenant(books, f"costs-{Random().random()}", "Costs", session_now)
    with open_event_works(books, session_now) as works:
        world = World(books, works.store, tenant_id, instant("2026-02-10"))
        world.furnish([plan(GRADUATED)], [{"customer": "acme", "plan": "payg"}])
        world.send([call(f"e{n}", tokens, f"2026-01-10T10:0{at}:00Z") for n, (tokens, at) in enumerate(used)])
        in_order = sorted(range(len(used)), key=lambda n: (used[n][1], f"e{n}"))
        price, before = parse_price(GRADUATED["price"]), Decimal(0)
        for n in in_order:
            (bill,) = trace(world, f"e{n}")["bills"]
            (card,) = bill["rate_cards"]
            alone = rate(price, before=before, quantity=Decimal(used[n][0]), final=False).amount
            assert Decimal(card["amount_exact"]) == alone
            before += used[n][0]
        whole = rate(price, quantity=before, final=False).amount
        assert Decimal(card["whole_amount_exact"]) == whole


def test_a_trace_names_the_bill_that_an_event_is_on(world: World) -> None:
    world.furnish([plan(GRADUATED, VOLUME, fee("5"))], [{"customer": "acme", "plan": "payg"}])
    world.send(
        [call("jan", 5), call("feb", 5, "2026-02-05T00:00:00Z"), call("before", 5, "2025-12-31T00:00:00Z")]
    )
    assert trace(world, "jan")["bills"][0]["status"] == "due"
    (number,) = world.bill("2026-02-01").issued
    (bill,) = trace(world, "jan")["bills"]
    assert (bill["status"], bill["invoice"]["number"], bill["invoice"]["came_later"]) == (
        "issued",
        number,
        False,
    )
    assert [(card["rate_card"], card["amount_exact"], card["whole_amount_exact"], card["prices_whole_total"])
            for card in bill["rate_cards"]] == [("tokens", "0", "0", False), ("volume", None, "5", True)]  # fmt: skip
    (bill,) = trace(world, "feb")["bills"]
    assert (bill["status"], bill["invoice"]) == ("open", None)
    outside = trace(world, "before")
    assert (outside["bills"], outside["unbilled"]) == ([], "no_subscription")
    assert outside["meters"] == [{"meter": "tokens", "value": "5"}]
    world.now = instant("2026-02-11")
    world.send([call("late", 500, "2026-01-20T00:00:00Z")])
    (bill,) = trace(world, "late")["bills"]
    assert bill["invoice"]["came_later"]
    with pytest.raises(NotFound) as missing:
        trace(world, "nothing")
    assert missing.value.code == "event_not_found"


# -------------------------------------------------------------------------------------------------
# Corrections, as they are asked for


@pytest.fixture
def log(world: World) -> Iterator[LogWriter]:
    log = LogWriter(world.store.data_dir / "log", f"correct-{Random().random()}")
    yield log
    log.close()


def test_what_was_invoiced_stays_and_what_comes_next_follows(world: World, log: LogWriter) -> None:
    per_token = {**GRADUATED, "price": {"model": "per_unit", "unit_price": "1"}}
    world.furnish([plan(per_token)], [{"customer": "acme", "plan": "payg"}])
    world.send([call("jan", 5), call("jan-2", 3), call("feb", 7, "2026-02-05T00:00:00Z")])
    (number,) = world.bill("2026-02-01").issued
    issued = get_invoice(world.books, world.tenant_id, number)
    world.now = instant("2026-02-11")
    asked = (world.books, world.store, log, world.tenant_id, "test")
    assert void_event(*asked, "jan", "twice", world.now).event_id == "void:jan"
    sent = replace_event(*asked, "feb", "", {"data": {"tokens": Decimal("2.50")}}, world.now)
    assert (sent.kind, sent.event_id) == ("replace", "replace:feb")
    world.seal()
    assert get_invoice(world.books, world.tenant_id, number) == issued
    assert trace(world, "jan")["state"] == "voided"
    replacement = trace(world, "replace:feb")
    assert (replacement["time"], replacement["customer"]) == ("2026-02-05T00:00:00Z", "acme")
    assert json.loads(replacement["data_text"], parse_float=Decimal) == {"tokens": Decimal("2.50")}
    (upcoming,) = preview_billing(world.books, world.store, world.tenant_id, world.now).upcoming
    assert (
        upcoming["total_exact"] == "-2.5"
    )  # 2.5 of February, less 5 of January that were invoiced and voided since
    history = list_corrections(world.books, world.tenant_id, 0, 9, "acme")
    assert [(row["kind"], row["target_id"]) for row in history] == [("void", "jan"), ("replace", "feb")]
    assert check_corrections(world.books, world.store, world.tenant_id).findings == ()
    assert void_event(*asked, "jan", "twice", world.now).again
    for target, code in (
        ("jan", "already_corrected"),
        ("void:jan", "corrects_a_void"),
        ("feb", "already_corrected"),
    ):
        with pytest.raises(Conflict) as refused:
            void_event(*asked, target, "other", world.now)
        assert refused.value.code == code
    with pytest.raises(NotFound):
        void_event(*asked, "nothing", "", world.now)
    with pytest.raises(InvalidInput):
        replace_event(*asked, "jan-2", "", {"id": "jan-2"}, world.now)


def test_what_came_or_was_voided_after_a_bill_is_told(world: World, log: LogWriter) -> None:
    world.furnish([plan(GRADUATED)], [{"customer": "acme", "plan": "payg"}])
    world.send([call("a", 5), call("b", 3)])
    (number,) = world.bill("2026-02-01").issued
    since = world.now
    world.now = instant("2026-02-11")
    world.send(
        [
            call("late", 1),
            call("late-2", 1),
            call("feb", 1, "2026-02-05T00:00:00Z"),
            call("x", 1, subject="no"),
        ]
    )
    for target in ("a", "late-2"):
        void_event(world.books, world.store, log, world.tenant_id, "test", target, "", world.now)
    replace_event(
        world.books, world.store, log, world.tenant_id, "test", "b", "", {"data": {"tokens": 4}}, world.now
    )
    world.seal()
    with world.books.read_only(world.tenant_id) as conn:
        row = conn.execute("SELECT customer_id FROM customers").fetchone()
        assert row is not None
        billed = BilledTime(3, row["customer_id"], instant("2026-01-01"), instant("2026-02-01"), since)
        found = later_effects(world.store, conn, world.tenant_id, [billed], 100)
        assert [(one.number, one.effect, one.event_id) for one in found] == [
            (3, "voided", "a"), (3, "voided", "b"), (3, "came", "late"), (3, "came", "replace:b"),
        ]  # fmt: skip
        nothing = BilledTime(3, row["customer_id"], instant("2026-01-01"), instant("2026-02-01"), world.now)
        assert later_effects(world.store, conn, world.tenant_id, [nothing], 100) == []
    told = effects_after_invoice(world.books, world.store, world.tenant_id, number, 3)
    assert [(one["effect"], one["id"]) for one in told["events"]] == [
        ("voided", "a"), ("voided", "b"), ("came", "late"),
    ]  # fmt: skip
    assert told["more"]
    with pytest.raises(NotFound):
        effects_after_invoice(world.books, world.store, world.tenant_id, "INV-9", 3)


# -------------------------------------------------------------------------------------------------
# What nobody is billed for


def test_unbilled_events_are_told_by_cause_and_with_what_they_would_make(world: World) -> None:
    filtered = {"key": "ok", "event_type": "check", "aggregation": "count",
                "filter": [{"field": "data.status", "op": "eq", "value": "ok"}]}  # fmt: skip
    unpriced = {"key": "images", "event_type": "image", "aggregation": "count"}
    for meter in (filtered, unpriced):
        put_meter(world.books, world.tenant_id, meter, world.now)
    world.furnish([plan({**GRADUATED, "price": {"model": "per_unit", "unit_price": "0.5"}})], [
        {"customer": "acme", "plan": "payg", "start": "2026-01-05T00:00:00Z"},
    ])  # fmt: skip
    world.send(
        [
            call("billed", 5),
            call("early", 3, "2026-01-04T23:59:59Z"),
            call("earlier", 4, "2026-01-01T00:00:00Z"),
            call("nobody", 5, subject="nobody"),
            call("none", 5, subject=None),
            call("image", 5, type="image"),
            call("check", 5, type="check"),
            call("odd", 5, type="odd"),
            call("voided", 5, subject="nobody"),
            {**call("v", 5), "type": "farthing.void", "corrects": "voided"},
        ]
    )
    found = unbilled(world.books, world.store, world.tenant_id, None, None, 10, world.now)
    assert (found["events"], found["by_cause"]) == (
        7,
        {"unknown_subject": 2, "unknown_type": 1, "filtered_out": 1, "no_subscription": 2, "no_rate_card": 1},
    )
    assert {
        (group["cause"], group["subject"]): [one["id"] for one in group["samples"]]
        for group in found["groups"]
    } == {
        ("no_subscription", "acme"): ["earlier", "early"],
        ("no_rate_card", "acme"): ["image"],
        ("filtered_out", "acme"): ["check"],
        ("unknown_type", "acme"): ["odd"],
        ("unknown_subject", "nobody"): ["nobody"],
        ("unknown_subject", None): ["none"],
    }
    assert found["would_make"] == [
        {"customer": "acme", "plan": {"key": "payg", "version": 1}, "currency": "USD", "amount_exact": "3.5"}
    ]
    one = unbilled(
        world.books, world.store, world.tenant_id, instant("2026-01-02"), instant("2026-01-05"), 1, world.now
    )
    assert (one["events"], one["groups_total"]) == (1, 1)
    assert one["would_make"][0]["amount_exact"] == "1.5"


def test_ids_are_remembered_longer_than_events_may_be_late() -> None:
    check_horizon(10**9, REMEMBERED_SECONDS)
    check_horizon(10, 10)
    with pytest.raises(InvalidInput) as refused:
        check_horizon(11, 10)
    assert refused.value.code == "horizon_too_short"
