"""The catalog in the books: idempotent writes, versions, lists, and tenants kept apart."""

from datetime import datetime, timedelta

import psycopg
import pytest

from farthing.catalog import service
from farthing.catalog.model import Outcome
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.kernel.errors import Conflict, InvalidInput, NotFound


def meter(key: str = "tokens", **changes: object) -> dict[str, object]:
    return {
        "key": key, "event_type": "llm.completion", "aggregation": "sum", "value": "data.tokens",
        "dimensions": {"model": "data.model"},
    } | changes  # fmt: skip


def plan(key: str = "payg", unit_price: str = "0.01", **changes: object) -> dict[str, object]:
    price = {"model": "per_unit", "unit_price": unit_price}
    return {
        "key": key, "name": "Pay as you go", "currency": "USD", "interval": "month",
        "rate_cards": [{"key": "input", "name": "Tokens", "meter": "tokens", "price": price}],
    } | changes  # fmt: skip


def test_a_meter_is_written_once_and_never_changed(books: Books, tenant_id: int, now: datetime) -> None:
    created, outcome = service.put_meter(books, tenant_id, meter(), now)
    assert outcome is Outcome.CREATED
    assert service.put_meter(books, tenant_id, meter(), now) == (created, Outcome.UNCHANGED)
    assert service.get_meter(books, tenant_id, "tokens") == created
    with pytest.raises(Conflict) as refused:
        service.put_meter(books, tenant_id, meter(value="data.tokens * 2"), now)
    assert refused.value.code == "meter_immutable"
    assert service.get_meter(books, tenant_id, "tokens") == created
    with pytest.raises(psycopg.errors.InsufficientPrivilege), books.transaction(tenant_id) as conn:
        conn.execute("UPDATE meters SET event_type = 'other'")


def test_numbers_in_a_filter_come_back_exactly(books: Books, tenant_id: int, now: datetime) -> None:
    raw = meter(filter=[{"field": "data.x", "op": "gt", "value": "0.100000000000000001"}])
    written, _ = service.put_meter(books, tenant_id, raw, now)
    assert service.get_meter(books, tenant_id, "tokens") == written


def test_meters_are_listed_by_key(books: Books, tenant_id: int, now: datetime) -> None:
    for key in ("b", "a", "C", "_d"):
        service.put_meter(books, tenant_id, meter(key), now)
    assert [found.key for found in service.list_meters(books, tenant_id, None, 3)] == ["C", "_d", "a"]
    assert [found.key for found in service.list_meters(books, tenant_id, "a", 3)] == ["b"]
    assert len(service.all_meters(books, tenant_id)) == 4


def test_a_plan_moves_on_by_versions(books: Books, tenant_id: int, now: datetime) -> None:
    service.put_meter(books, tenant_id, meter(), now)
    first = service.publish_plan(books, tenant_id, plan(), now)
    assert (first.version, first.outcome) == (1, Outcome.CREATED)
    again = service.publish_plan(books, tenant_id, plan(unit_price="0.010"), now + timedelta(days=1))
    assert (again.plan_version_id, again.version, again.outcome) == (
        first.plan_version_id,
        1,
        Outcome.UNCHANGED,
    )
    assert again.published_at == now
    second = service.publish_plan(books, tenant_id, plan(unit_price="0.02"), now)
    assert (second.version, second.outcome) == (2, Outcome.NEW_VERSION)
    back = service.publish_plan(books, tenant_id, plan(), now)
    assert (back.version, back.outcome) == (3, Outcome.NEW_VERSION)

    assert service.get_plan(books, tenant_id, "payg").version == 3
    assert service.get_plan(books, tenant_id, "payg", 2).plan == second.plan
    assert service.plan_versions_by_id(
        books, tenant_id, [first.plan_version_id, second.plan_version_id, 10**9]
    ) == {first.plan_version_id: first.plan, second.plan_version_id: second.plan}


def test_plans_are_listed_in_their_latest_version(books: Books, tenant_id: int, now: datetime) -> None:
    service.put_meter(books, tenant_id, meter(), now)
    for key, unit_price in (("b", "1"), ("a", "1"), ("b", "2")):
        service.publish_plan(books, tenant_id, plan(key, unit_price), now)
    listed = service.list_plans(books, tenant_id, None, 10)
    assert [(found.plan.key, found.version) for found in listed] == [("a", 1), ("b", 2)]
    assert [found.plan.key for found in service.list_plans(books, tenant_id, "a", 10)] == ["b"]


def test_a_plan_needs_its_meters_and_their_dimensions(books: Books, tenant_id: int, now: datetime) -> None:
    with pytest.raises(InvalidInput) as refused:
        service.publish_plan(books, tenant_id, plan(), now)
    assert (refused.value.code, refused.value.path) == ("unknown_meter", "rate_cards[0].meter")
    service.put_meter(books, tenant_id, meter(), now)
    cells = [{"when": {"region": "eu"}, "price": {"model": "per_unit", "unit_price": "1"}}]
    price = {"model": "matrix", "dimensions": ["region"], "cells": cells}
    cards = [{"key": "input", "name": "Tokens", "meter": "tokens", "price": price}]
    with pytest.raises(InvalidInput) as refused:
        service.publish_plan(books, tenant_id, plan(rate_cards=cards), now)
    assert refused.value.path == "rate_cards[0].price.dimensions"
    with pytest.raises(NotFound):
        service.get_plan(books, tenant_id, "payg")


def test_tenants_do_not_see_each_other(books: Books, tenant_id: int, now: datetime) -> None:
    other = create_tenant(books, f"other-of-{tenant_id}", "Other", now)
    service.put_meter(books, tenant_id, meter(), now)
    published = service.publish_plan(books, tenant_id, plan(), now)
    with pytest.raises(NotFound) as refused:
        service.get_meter(books, other, "tokens")
    assert refused.value.code == "meter_not_found"
    with pytest.raises(NotFound) as refused:
        service.get_plan(books, other, "payg")
    assert refused.value.code == "plan_not_found"
    assert service.plan_versions_by_id(books, other, [published.plan_version_id]) == {}
    assert service.put_meter(books, other, meter(value="data.x"), now)[1] is Outcome.CREATED
