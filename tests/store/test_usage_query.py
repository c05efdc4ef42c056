"""Asking for usage: what is refused, what follows customers and meters that come later, and who asks at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from event_works import EventWorks, event, open_event_works

from farthing.catalog.service import get_meter, put_meter
from farthing.customers.service import add_alias, create_customer, remove_alias
from farthing.db import Books
from farthing.kernel.errors import InvalidInput, NotFound, Unavailable
from farthing.kernel.instant import format_instant
from farthing.usage.model import GROUPS_MAX, NO_DETAIL, WINDOWS_MAX, Detail, Span, UsageQuery, Window
from farthing.usage.service import billable_usage, events_behind, prepare_usage, query_usage
from farthing.usage.unclaimed import Unclaimed, unclaimed_usage

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
QUERY = UsageQuery("tokens", START, END)


@pytest.fixture
def works(books: Books, now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, now) as works:
        yield works


def define(works: EventWorks, tenant_id: int, key: str = "tokens", **more: object) -> None:
    definition = {"key": key, "event_type": "call", "aggregation": "sum", "value": "data.n", **more}
    put_meter(works.books, tenant_id, definition, works.now)


def customer(works: EventWorks, tenant_id: int, key: str) -> int:
    content = {"key": key, "name": key, "currency": "EUR"}
    return create_customer(works.books, tenant_id, content, works.now)[0].customer_id


def ask(
    works: EventWorks, tenant_id: int, query: UsageQuery = QUERY
) -> list[tuple[dict[str, str | None], int]]:
    groups = query_usage(works.books, works.store, tenant_id, query, works.now)
    return sorted(((dict(group.group), int(group.quantity)) for group in groups), key=repr)


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        ({"end": START}, ["to must be later than from"]),
        (
            {"group_by": ("model", "nope", "model")},
            [
                "group_by 'nope' is not one of customer, subject, source, model",
                "group_by names something twice",
            ],
        ),
        (
            {"group_by": ("model",) * (GROUPS_MAX + 1)},
            ["group_by has more than 10 names", "group_by names something twice"],
        ),
        ({"filter": {"customer": "acme"}}, ["filter 'customer' is not one of subject, source, model"]),
        (
            {"window": Window.MINUTE, "end": START + timedelta(minutes=WINDOWS_MAX, seconds=1)},
            ["window would give more than 50000 windows"],
        ),
    ],
)
def test_a_question_without_an_answer_names_all_its_faults(
    works: EventWorks, tenant_id: int, change: dict[str, object], complaints: list[str]
) -> None:
    define(works, tenant_id, dimensions={"model": "data.model"})
    with pytest.raises(InvalidInput) as refused:
        ask(works, tenant_id, replace(QUERY, **change))
    assert refused.value.code == "invalid_usage_query"
    assert [str(fault) for fault in refused.value.faults] == complaints


def test_what_is_not_there(works: EventWorks, tenant_id: int) -> None:
    with pytest.raises(NotFound) as missing:
        ask(works, tenant_id)
    assert missing.value.code == "meter_not_found"
    define(works, tenant_id)
    assert ask(works, tenant_id) == []
    with pytest.raises(NotFound) as missing:
        ask(works, tenant_id, replace(QUERY, customer="acme"))
    assert missing.value.code == "customer_not_found"


@pytest.mark.parametrize("name", ["customer", "subject", "source"])
def test_no_dimension_is_called_what_every_event_has(works: EventWorks, tenant_id: int, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        define(works, tenant_id, dimensions={name: "data.x"})
    assert [fault.path for fault in refused.value.faults] == [f"dimensions.{name}"]


def test_events_are_the_customers_whose_subject_they_carry_now(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id)
    by_customer = replace(QUERY, group_by=("customer",))
    works.take(
        tenant_id,
        [event(str(n), {"n": 10**n}, subject=s) for n, s in enumerate(["acme", "key-7", None, "x"])],
    )
    assert ask(works, tenant_id, by_customer) == [({"customer": None}, 1111)]
    assert unclaimed(works, tenant_id) == (4, [(None, 1), ("acme", 1), ("key-7", 1), ("x", 1)])
    acme = customer(works, tenant_id, "acme")
    assert ask(works, tenant_id, by_customer) == [({"customer": "acme"}, 1), ({"customer": None}, 1110)]
    add_alias(works.books, tenant_id, "acme", "key-7", works.now)
    assert ask(works, tenant_id, by_customer) == [({"customer": "acme"}, 11), ({"customer": None}, 1100)]
    assert ask(works, tenant_id, replace(QUERY, customer="acme", group_by=("subject",))) == [
        ({"subject": "acme"}, 1), ({"subject": "key-7"}, 10),
    ]  # fmt: skip
    assert unclaimed(works, tenant_id) == (2, [(None, 1), ("x", 1)])
    with works.books.read_only(tenant_id) as conn:
        meter = get_meter(works.books, tenant_id, "tokens")
        (row,) = billable_usage(works.store, conn, tenant_id, meter, NO_DETAIL, [Span(5, acme, START, END)])
        assert (row.span_id, row.quantity, row.events) == (5, 11, 2)
        assert list(billable_usage(works.store, conn, tenant_id, meter, NO_DETAIL, [])) == []
        total, shown = events_behind(works.store, conn, tenant_id, meter, acme, START, END, {}, 1)
    assert (total, [(one["id"], one["value"], one["time"]) for one in shown]) == (
        2, [("0", "1", "2026-11-23T12:00:00Z")],
    )  # fmt: skip
    remove_alias(works.books, tenant_id, "acme", "key-7", works.now)
    assert ask(works, tenant_id, by_customer) == [({"customer": "acme"}, 1), ({"customer": None}, 1110)]


def unclaimed(works: EventWorks, tenant_id: int) -> tuple[int, list[tuple[str | None, int]]]:
    events, groups = unclaimed_usage(works.books, works.store, tenant_id, 100)
    assert all(group == Unclaimed("call", group.subject, group.events, True, False) for group in groups)
    return events, sorted(((group.subject, group.events) for group in groups), key=lambda pair: pair[0] or "")


def test_the_events_behind_a_quantity_add_up_to_it(works: EventWorks, tenant_id: int) -> None:
    define(works, tenant_id, value="data.n * 0.5", dimensions={"model": "data.m"})
    acme = customer(works, tenant_id, "acme")
    for n in range(20):
        data = {"n": n, "m": f"m{n % 3}"} if n % 3 else {"n": n}
        works.append(tenant_id, event(str(n), data, subject="acme", time=f"2026-11-{n + 1:02}T00:00:00Z"))
    works.seal()
    meter = get_meter(works.books, tenant_id, "tokens")
    with works.books.read_only(tenant_id) as conn:
        detail = Detail(("model",))
        rows = list(billable_usage(works.store, conn, tenant_id, meter, detail, [Span(1, acme, START, END)]))
        assert len(rows) == 3
        for row in rows:
            wanted = {"model": row.dimensions.get("model")}
            total, behind = events_behind(works.store, conn, tenant_id, meter, acme, START, END, wanted, 100)
            assert total == row.events == len(behind)
            assert sum(Decimal(one["value"]) for one in behind) == row.quantity
            assert [one["time"] for one in behind] == sorted(one["time"] for one in behind)


def test_a_meter_that_nobody_prepared_for_is_not_answered_wrongly(works: EventWorks, tenant_id: int) -> None:
    acme = customer(works, tenant_id, "acme")
    works.take(tenant_id, [event("1", {"n": 5}, subject="acme")])
    define(works, tenant_id)
    meter, span = get_meter(works.books, tenant_id, "tokens"), Span(1, acme, START, END)
    with works.books.read_only(tenant_id) as conn, pytest.raises(Unavailable) as refused:
        billable_usage(works.store, conn, tenant_id, meter, NO_DETAIL, [span])
    assert refused.value.code == "meter_too_new"
    prepare_usage(works.books, works.store, tenant_id, works.now)
    with works.books.read_only(tenant_id) as conn:
        (row,) = billable_usage(works.store, conn, tenant_id, meter, NO_DETAIL, [span])
    assert row.quantity == 5


def test_many_who_ask_for_a_new_meter_at_once_get_one_answer(works: EventWorks, tenant_id: int) -> None:
    for number in range(4):
        works.take(tenant_id, [event(f"{number}-{n}", {"n": n, "m": n}) for n in range(50)])
    define(works, tenant_id)
    define(works, tenant_id, "others", value="data.m + 0.5")
    queries = [QUERY, replace(QUERY, meter="others")] * 4
    with ThreadPoolExecutor(8) as askers:
        answers = list(
            askers.map(
                lambda query: query_usage(works.books, works.store, tenant_id, query, works.now), queries
            )
        )
    assert [(answer[0].quantity, answer[0].events) for answer in answers] == [(4900, 200), (5000, 200)] * 4
    assert sum(segment.events for segment in works.segments(tenant_id)) == 200
    works.check(tenant_id)


def test_segments_of_one_answer_may_differ_in_how_they_keep_a_number(
    works: EventWorks, tenant_id: int
) -> None:
    define(works, tenant_id, dimensions={"m": "data.n"})
    for number, n in enumerate([1, 2.5, "999999999999999999", "0.000000000001", -7]):
        works.take(tenant_id, [event(str(number), {"n": n})])
    kinds = {segment.columns["num:data.n"] for segment in works.segments(tenant_id)}
    assert kinds == {"DECIMAL(18,0)", "DECIMAL(38,12)"}
    (group,) = query_usage(works.books, works.store, tenant_id, QUERY, works.now)
    assert group.quantity == Decimal("999999999999999995.500000000001")


def test_what_the_books_know_of_a_segment_is_never_asked_of_its_events_wrongly(
    works: EventWorks, tenant_id: int
) -> None:
    """Segments that lie within the time, across its ends, beyond them; of one type, of two, of a name with NUL."""
    define(works, tenant_id)
    put_meter(
        works.books, tenant_id, {"key": "odd", "event_type": "a\ufffd", "aggregation": "count"}, works.now
    )
    moment = timedelta(microseconds=1)
    times = [START - moment, START, START + moment, END - moment, END]

    def sent(name: str, some: Sequence[datetime], n: int, **more: object) -> None:
        lines = [
            event(f"{name}-{place}", {"n": n}, time=format_instant(time), **more)
            for place, time in enumerate(some)
        ]
        assert works.take(tenant_id, lines, received_at=END) == (len(some), 0, 0)

    sent("within", times[1:4], 1)
    sent("start", times[:3], 10)
    sent("end", times[3:], 100)
    sent("around", times, 1_000)
    sent("beyond", [times[0], times[4]], 10_000)
    works.take(
        tenant_id,
        [event("two", {"n": 100_000}, time=format_instant(START)), event("of", {"n": 7}, type="other")],
    )
    works.take(tenant_id, [event("nul", {"n": 7}, type="a\0", time=format_instant(START))])
    within = 3 * 1 + 2 * 10 + 1 * 100 + 3 * 1_000 + 100_000
    assert ask(works, tenant_id) == [({}, within)]
    assert ask(works, tenant_id, replace(QUERY, start=START - moment)) == [({}, within + 10 + 1_000 + 10_000)]
    assert ask(works, tenant_id, replace(QUERY, end=END + moment)) == [({}, within + 100 + 1_000 + 10_000)]
    assert ask(works, tenant_id, replace(QUERY, start=START + moment)) == [
        ({}, within - 1 - 10 - 1_000 - 100_000)
    ]
    assert ask(works, tenant_id, replace(QUERY, meter="odd")) == []
    works.take(tenant_id, [event("mark", {}, type="a\ufffd", time=format_instant(START))])
    assert ask(works, tenant_id, replace(QUERY, meter="odd")) == [({}, 1)]


@pytest.mark.parametrize("fraction", ["", ".5"])
def test_everybody_at_once_is_everybody_by_themselves(
    works: EventWorks, tenant_id: int, fraction: str
) -> None:
    """Subjects are added up before it is known whose they are: aliases and nobody's among them."""
    define(works, tenant_id)
    define(works, tenant_id, "calls", aggregation="count", value=None)
    define(works, tenant_id, "most", aggregation="max")
    for key in ("acme", "zenith"):
        customer(works, tenant_id, key)
    for alias in ("key-1", "key-2"):
        add_alias(works.books, tenant_id, "acme", alias, works.now)
    sent = [("acme", 1), ("key-1", 2), ("key-2", 4), ("key-1", 8), ("zenith", 16), ("nobody", 32), (None, 64)]
    for part in (sent[:4], sent[4:]):
        works.take(
            tenant_id,
            [event(f"e{n}", {"n": f"{n}{fraction}"}, subject=subject) for subject, n in part]
        )  # fmt: skip

    def answer(meter: str, *also: str) -> dict[str | None, tuple[Decimal, int]]:
        query = replace(QUERY, meter=meter, group_by=("customer", *also))
        groups = query_usage(works.books, works.store, tenant_id, query, works.now)
        return {group.group["customer"]: (group.quantity, group.events) for group in groups}

    half = Decimal("0" + fraction) if fraction else Decimal(0)
    assert answer("tokens") == {
        "acme": (15 + 4 * half, 4),
        "zenith": (16 + half, 1),
        None: (96 + 2 * half, 2),
    }
    assert answer("tokens", "source") == answer("tokens")
    assert answer("calls") == {"acme": (4, 4), "zenith": (1, 1), None: (2, 2)}
    assert answer("most") == {"acme": (8 + half, 4), "zenith": (16 + half, 1), None: (64 + half, 2)}
    assert {str(quantity) for quantity, _ in answer("calls").values()} == {"4", "1", "2"}
