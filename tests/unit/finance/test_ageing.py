"""Receivables by age: a customer's buckets add up to what it owes, credit pays the oldest debt first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.finance.ageing import BUCKETS, CREDIT, aged, bucket_of
from farthing.finance.model import OpenItem

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)


def item(reference: str, amount: str, days_overdue: int | None, customer: str = "acme") -> OpenItem:
    due_at = None if days_overdue is None else AS_OF - timedelta(days=days_overdue)
    return OpenItem(customer, "USD", reference, D(amount), AS_OF - timedelta(days=200), due_at)


@pytest.mark.parametrize(
    ("late", "bucket"),
    [
        (timedelta(days=-5), "not due"),
        (timedelta(), "not due"),
        (timedelta(microseconds=1), "1 to 30"),
        (timedelta(days=30, hours=23), "1 to 30"),
        (timedelta(days=31), "31 to 60"),
        (timedelta(days=60), "31 to 60"),
        (timedelta(days=61), "61 to 90"),
        (timedelta(days=91), "over 90"),
    ],
)
def test_the_bucket_is_that_of_whole_days_since_it_fell_due(late: timedelta, bucket: str) -> None:
    assert bucket_of(AS_OF - late, AS_OF) == bucket


def test_credit_that_names_no_invoice_pays_the_oldest_debt_first() -> None:
    found = aged(
        [item("INV-3", "30", -3), item("INV-1", "50", 95), item("INV-2", "20", 40), item("", "-60", None)],
        AS_OF,
    )
    assert found["acme", "USD"] == {
        "not due": D(30), "1 to 30": D(0), "31 to 60": D(10), "61 to 90": D(0), "over 90": D(0), CREDIT: D(0),
    }  # fmt: skip


def test_what_is_more_than_the_debts_stays_a_credit() -> None:
    found = aged([item("INV-1", "50", 10), item("p", "-80", None), item("INV-9", "7", None, "bolt")], AS_OF)
    assert found["acme", "USD"][CREDIT] == D(-30)
    assert found["acme", "USD"]["1 to 30"] == D(0)
    assert found["bolt", "USD"]["over 90"] == D(7)  # due since it arose, 200 days ago


@given(
    st.lists(
        st.tuples(st.integers(-10_000, 10_000).filter(bool), st.integers(-20, 200), st.sampled_from("ab")),
        max_size=12,
    )
)
def test_buckets_add_up_to_what_is_owed(given: list[tuple[int, int, str]]) -> None:
    items = [item(str(place), str(amount), days, who) for place, (amount, days, who) in enumerate(given)]
    found = aged(items, AS_OF)
    for who in {one.customer for one in items}:
        buckets = found[who, "USD"]
        assert sum(buckets.values()) == sum(one.amount for one in items if one.customer == who)
        assert all(buckets[name] >= 0 for name in BUCKETS)
        assert buckets[CREDIT] <= 0
        assert not (buckets[CREDIT] and any(buckets[name] for name in BUCKETS))
