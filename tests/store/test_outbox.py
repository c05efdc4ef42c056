"""The outbox: announced exactly if it happened, and no reader passes a fact over."""

import threading
from datetime import datetime

import psycopg
import pytest

from farthing.db import Books
from farthing.db.outbox import Fact, announce, facts_after
from farthing.db.tenants import create_tenant


def fact(kind: str, subject: str, now: datetime, **body: str) -> Fact:
    return Fact(kind, subject, body, now)


def test_facts_come_in_order_by_position_and_by_kind(books: Books, tenant_id: int, now: datetime) -> None:
    with books.transaction(tenant_id) as conn:
        announce(conn, tenant_id, [fact("wallet.low_balance", "acme", now, left="1.50")])
        announce(conn, tenant_id, [fact("invoice.issued", "INV-1", now), fact("walletx.y", "z", now)])
    found = facts_after(books, tenant_id, 0, 10)
    assert [(one.position, one.fact.kind) for one in found] == [
        (1, "wallet.low_balance"),
        (2, "invoice.issued"),
        (3, "walletx.y"),
    ]
    assert found[0].fact == fact("wallet.low_balance", "acme", now, left="1.50")
    assert facts_after(books, tenant_id, 0, 10, "wallet.*") == found[:1]
    assert facts_after(books, tenant_id, 0, 10, "invoice.issued") == found[1:2]
    assert facts_after(books, tenant_id, 1, 1) == found[1:2]
    assert facts_after(books, tenant_id, 3, 10) == []


def test_a_fact_of_a_transaction_that_fails_is_not_told(books: Books, tenant_id: int, now: datetime) -> None:
    def fail() -> None:
        with books.transaction(tenant_id) as conn:
            announce(conn, tenant_id, [fact("wallet.exhausted", "acme", now)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert facts_after(books, tenant_id, 0, 10) == []


def test_a_fact_that_is_committed_later_is_read_behind_those_read_before(
    books: Books, tenant_id: int, now: datetime
) -> None:
    with books.transaction(tenant_id) as slow:
        announce(slow, tenant_id, [fact("a.slow", "first written", now)])
        with books.transaction(tenant_id) as quick:
            announce(quick, tenant_id, [fact("a.quick", "second written", now)])
        assert [one.fact.kind for one in facts_after(books, tenant_id, 0, 10)] == ["a.quick"]
    assert [(one.position, one.fact.kind) for one in facts_after(books, tenant_id, 1, 10)] == [(2, "a.slow")]


def test_many_readers_and_writers_agree_on_one_order(books: Books, tenant_id: int, now: datetime) -> None:
    seen: list[list[tuple[int, str]]] = [[] for _ in range(3)]
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(20):
            with books.transaction(tenant_id) as conn:
                announce(conn, tenant_id, [fact("a.fact", f"{writer}-{number}", now)])

    def read(reader: int) -> None:
        mine = seen[reader]
        while True:
            last = done.is_set()
            found = facts_after(books, tenant_id, mine[-1][0] if mine else 0, 7)
            mine.extend((one.position, one.fact.subject) for one in found)
            if last and not found:
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert [position for position, _ in seen[0]] == list(range(1, 61))
    assert {subject for _, subject in seen[0]} == {f"{w}-{n}" for w in range(3) for n in range(20)}
    assert seen[0] == seen[1] == seen[2]


def test_a_fact_is_never_changed(books: Books, tenant_id: int, now: datetime) -> None:
    with books.transaction(tenant_id) as conn:
        announce(conn, tenant_id, [fact("a.fact", "x", now)])
    facts_after(books, tenant_id, 0, 10)
    for statement in (
        "UPDATE outbox SET position = 9 WHERE tenant_id = %s",
        "UPDATE outbox SET kind = 'b' WHERE tenant_id = %s",
        "DELETE FROM outbox WHERE tenant_id = %s",
    ):
        with pytest.raises(psycopg.Error), books.transaction(tenant_id) as conn:
            conn.execute(statement, [tenant_id])
    assert [one.position for one in facts_after(books, tenant_id, 0, 10)] == [1]


def test_tenants_have_facts_and_positions_of_their_own(books: Books, tenant_id: int, now: datetime) -> None:
    other = create_tenant(books, f"outbox-{tenant_id}", "Other", now)
    for one in (tenant_id, other):
        with books.transaction(one) as conn:
            announce(conn, one, [fact("a.fact", str(one), now)])
    assert [(one.position, one.fact.subject) for one in facts_after(books, other, 0, 10)] == [(1, str(other))]
