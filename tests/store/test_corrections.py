"""Corrections: an event that was counted no longer counts, or another one counts in its place; nothing is changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random

import psycopg
import pytest
from event_works import EventWorks, event, open_event_works
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.catalog.model import Meter
from farthing.catalog.service import get_meter, put_meter
from farthing.customers.service import create_customer
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.model import VOID_TYPE
from farthing.events.resolve import open_events, resend_one
from farthing.events.scanning.loading import load_scanning
from farthing.events.sealing.sealer import rebuild_index
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.segments.rewrite import rewrite
from farthing.usage import reference
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def works(books: Books, now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, now) as works:
        yield works


def define(works: EventWorks, tenant_id: int, aggregation: str = "sum") -> None:
    value = {} if aggregation == "count" else {"value": "data.n"}
    definition = {"key": aggregation, "event_type": "call", "aggregation": aggregation, **value}
    put_meter(works.books, tenant_id, definition, works.now)


def used(works: EventWorks, tenant_id: int, key: str = "sum") -> Decimal:
    groups = query_usage(works.books, works.store, tenant_id, UsageQuery(key, START, END), works.now)
    return groups[0].quantity if groups else Decimal(0)


def call(event_id: str, n: int, **attributes: object) -> dict[str, object]:
    return event(event_id, {"n": n}, time="2026-11-10T10:00:00Z", **attributes)


def void(event_id: str, target: str, reason: str = "", **attributes: object) -> dict[str, object]:
    reasons = {"correctsreason": reason} if reason else {}
    return event(event_id, None, type=VOID_TYPE, corrects=target, **reasons) | attributes


def test_a_void_takes_an_event_out_of_usage_and_leaves_it_where_it_is(
    works: EventWorks, tenant_id: int
) -> None:
    define(works, tenant_id)
    assert works.take(tenant_id, [call("a", 5), call("b", 7)]) == (2, 0, 0)
    assert works.take(tenant_id, void("v", "a", "sent by mistake")) == (1, 0, 0)
    assert used(works, tenant_id) == 7
    assert works.stored(tenant_id, "id") == ["a", "b", "v"]
    assert works.tally(tenant_id) == {"accepted": 3, "counted": 3, "duplicate": 0, "quarantined": 0}
    assert works.take(tenant_id, call("a", 5)) == (0, 1, 0)  # its id stays taken
    assert works.take(tenant_id, call("a", 6)) == (0, 0, 1)
    assert works.take(tenant_id, void("v", "a", "sent by mistake")) == (0, 1, 0)  # and so does the void's
    assert used(works, tenant_id) == 7


def test_a_replacement_counts_in_place_of_its_event(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id)
    works.take(tenant_id, [call("a", 5, subject="acme"), call("b", 7)])
    works.take(tenant_id, call("a-2", 6, subject="other", corrects="a"))
    assert used(works, tenant_id) == 13
    works.take(tenant_id, call("a-3", 1, corrects="a-2", correctssource="test"))  # a replacement is replaced
    assert used(works, tenant_id) == 8
    works.take(tenant_id, void("v", "a-3"))
    assert used(works, tenant_id) == 7


def test_a_correction_and_its_event_in_any_order(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id)
    works.take(tenant_id, [void("v1", "a"), call("b", 1)])  # before its event
    works.restart()
    works.take(tenant_id, [call("a", 5)])
    assert used(works, tenant_id) == 1
    works.take(tenant_id, [void("v2", "c"), call("c", 100)])  # in one batch
    works.take(tenant_id, [call("d", 100), call("d-2", 10, corrects="d"), void("v3", "d-2")])
    assert used(works, tenant_id) == 1


def test_what_does_not_count_is_not_what_a_correction_takes_out(works: EventWorks, tenant_id: int) -> None:
    """Repeats and conflicts beside a correction, in batches large enough to be read by compiled functions."""
    assert load_scanning() is not None
    define(works, tenant_id)

    def others(name: str) -> list[dict[str, object]]:
        return [call(f"{name}-{n}", 1) for n in range(40)]

    alike = [call("a", 5), call("a", 5), call("a", 6, subject="another")]
    assert works.take(tenant_id, [*others("first"), *alike, void("v", "a")]) == (42, 1, 1)
    assert used(works, tenant_id) == 40

    # Counted before: it is corrected as what it was, not as what its repeat says of itself.
    assert works.take(tenant_id, call("b", 7, subject="acme")) == (1, 0, 0)
    assert used(works, tenant_id) == 47
    told = [*others("second"), call("b", 7, subject="another"), void("w", "b")]
    assert works.take(tenant_id, told) == (41, 0, 1)
    assert used(works, tenant_id) == 80

    # Awaited, and it comes without what its meter needs: it is still awaited.
    assert works.take(tenant_id, void("x", "c")) == (1, 0, 0)
    useless = call("c", 9) | {"data": {"m": 9}}
    assert works.take(tenant_id, [*others("third"), useless]) == (40, 0, 1)
    with works.books.read_only(tenant_id) as conn:
        voided = conn.execute(
            "SELECT event_id, subject FROM voided_events WHERE tenant_id = %s ORDER BY event_id", [tenant_id]
        ).fetchall()
    assert [(row["event_id"], row["subject"]) for row in voided] == [
        ("a", call("a", 5).get("subject")),
        ("b", "acme"),
    ]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (void("w", "a"), "already_corrected"),
        (call("a-3", 9, corrects="a"), "already_corrected"),
        (void("w", "v"), "corrects_a_void"),
        (call("w", 1, corrects="v"), "corrects_a_void"),
        (void("w", "w"), "corrects_itself"),
        (event("w", None, type=VOID_TYPE), "corrects_nothing"),
        (void("w", "x\0y"), "invalid_correction"),
        (void("v", "b"), "conflict"),
        (void("v", "a", "another reason"), "conflict"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_cannot_be_done_goes_to_quarantine(
    works: EventWorks, tenant_id: int, second: dict[str, object], reason: str, together: bool
) -> None:
    define(works, tenant_id)
    first = [call("a", 5), call("b", 7), void("v", "a")]
    if together:
        assert works.take(tenant_id, [*first, second, second]) == (3, 0, 2)
    else:
        works.take(tenant_id, first)
        assert works.take(tenant_id, [second, second]) == (0, 0, 2)
    assert works.reasons(tenant_id) == {reason: 2}
    assert used(works, tenant_id) == 7


def test_an_event_in_quarantine_is_void_once_it_is_counted(works: EventWorks, tenant_id: int) -> None:
    early = works.now + timedelta(days=2)
    define(works, tenant_id)
    works.take(tenant_id, event("a", {"n": 5}, time=early.isoformat()))
    assert works.reasons(tenant_id) == {"too_early": 1}
    works.take(tenant_id, void("v", "a"))
    (quarantined,) = open_events(works.books, tenant_id, None)
    resend_one(works.books, tenant_id, works.log, quarantined, early)
    works.seal()
    assert works.stored(tenant_id, "id") == ["a", "v"]
    assert used(works, tenant_id) == 0


def test_the_index_that_is_made_anew_knows_what_corrections_said(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id)
    works.take(tenant_id, [call("a", 5), void("v", "a", "why"), call("b", 7)])
    works.take(tenant_id, call("b-2", 8, corrects="b"))
    rebuild_index(works.books, works.store, tenant_id, works.now)
    works.restart()
    assert works.take(tenant_id, [void("v", "a", "why"), call("b-2", 8, corrects="b"), call("b-2", 8)]) == (
        0,
        2,
        1,
    )
    assert works.reasons(tenant_id) == {"conflict": 1}


def test_segments_that_are_written_anew_leave_the_same_events_out(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id)
    works.take(tenant_id, [call("a", 5), call("b", 7)])
    works.take(tenant_id, void("v", "a"))
    wanted = wanted_columns([get_meter(works.books, tenant_id, "sum")])
    assert rewrite(works.books, works.store, tenant_id, works.segments(tenant_id), wanted, works.now)
    assert used(works, tenant_id) == 7


def test_tenants_do_not_correct_each_other(works: EventWorks, tenant_id: int) -> None:
    other = create_tenant(works.books, f"other-{tenant_id}", "Other", works.now)
    for one in (tenant_id, other):
        define(works, one)
        works.take(one, call("a", 5))
    works.take(other, void("v", "a"))
    assert (used(works, tenant_id), used(works, other)) == (5, 0)


def test_the_database_refuses_a_second_correction_and_any_change(works: EventWorks, tenant_id: int) -> None:
    works.take(tenant_id, [call("a", 5), void("v", "a")])
    for statement in (
        "UPDATE event_corrections SET reason = 'x'", "DELETE FROM voided_events",
        "UPDATE voided_events SET event_id = 'b'",
    ):  # fmt: skip
        with pytest.raises(psycopg.Error), works.books.transaction(tenant_id) as conn:
            conn.execute(statement)


# -------------------------------------------------------------------------------------------------
# Against the reference: whatever is sent in whatever order, usage is that of the events that stand


AGGREGATIONS = ("sum", "count", "max", "min", "latest", "unique", "avg")
IDS = [f"e{n}" for n in range(8)]


def sendings() -> st.SearchStrategy[list[tuple[str, str | None, bool, int, int]]]:
    """(id, what it corrects, whether it is a void, n, minute)"""
    one = st.tuples(
        st.sampled_from(IDS),
        st.none() | st.sampled_from(IDS),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(0, 2),
    )
    return st.lists(one, min_size=1, max_size=14)


def as_event(sending: tuple[str, str | None, bool, int, int]) -> dict[str, object]:
    event_id, target, is_void, n, minute = sending
    said = event(event_id, {"n": n}, time=f"2026-11-10T10:0{minute}:00Z", subject="acme")
    if target is not None:
        said |= {"corrects": target, "type": VOID_TYPE if is_void else "call"}
    return said


class Model:
    """What a sealer that takes one event after the other knows: the rules of corrections in their plainest form."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, object]] = {}
        self.corrected: dict[str, str] = {}
        self.outcomes = {"counted": 0, "duplicate": 0, "quarantined": 0}

    def take(self, one: dict[str, object]) -> None:
        event_id, target = str(one["id"]), one.get("corrects")
        earlier = self.said.get(event_id)
        if earlier is not None:
            self.outcomes["duplicate" if earlier == one else "quarantined"] += 1
            return
        if target is not None:
            voids = {key for key, said in self.said.items() if said["type"] == VOID_TYPE}
            if target == event_id or target in voids or target in self.corrected:
                self.outcomes["quarantined"] += 1
                return
            self.corrected[str(target)] = event_id
        self.said[event_id] = one
        self.outcomes["counted"] += 1

    def standing(self) -> list[dict[str, object]]:
        return [said for event_id, said in self.said.items() if event_id not in self.corrected]


@settings(max_examples=15)
@given(sent=sendings(), cuts=st.sets(st.integers(1, 13)), seed=st.integers(0, 9))
def test_usage_is_that_of_the_events_that_stand(
    books: Books,
    session_now: datetime,
    sent: list[tuple[str, str | None, bool, int, int]],
    cuts: set[int],
    seed: int,
) -> None:
    tenant_id = create_tenant(books, f"corrections-{Random().random()}", "Corrections", session_now)
    with open_event_works(books, session_now) as works:
        for aggregation in AGGREGATIONS:
            define(works, tenant_id, aggregation)
        create_customer(books, tenant_id, {"key": "acme", "name": "Acme", "currency": "EUR"}, session_now)
        model = Model()
        edges = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
        for first, last in pairwise(edges):
            batch = [as_event(one) for one in sent[first:last]]
            for one in batch:
                model.take(one)
            received_at = session_now + timedelta(seconds=first)
            works.take(tenant_id, batch, received_at=received_at)
            if seed % 3 == 0:
                works.restart()
        tally = works.tally(tenant_id)
        assert {name: tally[name] for name in model.outcomes} == model.outcomes
        if seed % 2:
            meters = [get_meter(books, tenant_id, aggregation) for aggregation in AGGREGATIONS]
            segments = works.segments(tenant_id)
            assert not segments or rewrite(
                books, works.store, tenant_id, segments, wanted_columns(meters), session_now
            )
        standing = [
            {
                "source": "test", "id": said["id"], "type": said["type"], "subject": "acme", "data": said["data"],
                "time": datetime.fromisoformat(str(said["time"])), "received_at": session_now,
            }
            for said in model.standing()
        ]  # fmt: skip
        for aggregation in AGGREGATIONS:
            if aggregation == "latest":
                continue  # by receipt among equal moments, which the model does not keep
            meter: Meter = get_meter(books, tenant_id, aggregation)
            query = UsageQuery(aggregation, START, END, customer="acme")
            expected = reference.usage_groups(standing, meter, query, {"acme": "acme"})
            assert query_usage(books, works.store, tenant_id, query, session_now) == expected
