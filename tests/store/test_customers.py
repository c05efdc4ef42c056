"""Customers and subscriptions in the books."""

from datetime import datetime

import pytest

from farthing.catalog.model import Outcome
from farthing.catalog.service import publish_plan
from farthing.customers import service
from farthing.customers.model import Address
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.instant import parse_instant


def customer(key: str = "acme", **changes: object) -> dict[str, object]:
    return {"key": key, "name": "Acme Inc.", "currency": "USD", "timezone": "UTC"} | changes


def subscription(key: str = "acme-base", **changes: object) -> dict[str, object]:
    return {"key": key, "customer": "acme", "plan": "base", "start": "2024-01-10T00:00:00Z"} | changes


def publish(books: Books, tenant_id: int, now: datetime, amount: str = "10", **changes: object) -> None:
    card = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": amount}}
    plan = {"key": "base", "name": "Base", "currency": "USD", "interval": "month", "rate_cards": [card]}
    publish_plan(books, tenant_id, plan | changes, now)


def at(text: str) -> datetime:
    return parse_instant(f"{text}T00:00:00Z", "at")


def test_a_customer_is_created_once(books: Books, tenant_id: int, now: datetime) -> None:
    raw = customer(aliases=["key-8", "key-7"], email="a@b.c", address={"city": "Rom", "country": "IT"})
    created, outcome = service.create_customer(books, tenant_id, raw, now)
    assert outcome is Outcome.CREATED
    assert created.aliases == ("key-7", "key-8")
    assert created.address == Address(city="Rom", country="IT")
    assert service.create_customer(books, tenant_id, raw, now) == (created, Outcome.UNCHANGED)
    assert service.create_customer(
        books, tenant_id, customer(email="a@b.c", address={"city": "Rom", "country": "IT"}), now
    ) == (
        created,
        Outcome.UNCHANGED,
    )
    assert service.get_customer(books, tenant_id, "acme") == created
    assert service.customers_by_id(books, tenant_id, [created.customer_id]) == {created.customer_id: created}
    with pytest.raises(Conflict) as refused:
        service.create_customer(books, tenant_id, customer(name="Other"), now)
    assert refused.value.code == "customer_exists"
    assert refused.value.message == "'acme' stands with another name, email, address"


def test_an_update_changes_what_it_names(books: Books, tenant_id: int, now: datetime) -> None:
    service.create_customer(books, tenant_id, customer(email="a@b.c", aliases=["k"]), now)
    changed, outcome = service.update_customer(
        books, tenant_id, "acme", {"name": "ACME", "timezone": "Asia/Tokyo"}, now
    )
    assert outcome is Outcome.CHANGED
    assert (changed.name, changed.timezone, changed.email, changed.aliases) == (
        "ACME",
        "Asia/Tokyo",
        "a@b.c",
        ("k",),
    )
    cleared, _ = service.update_customer(books, tenant_id, "acme", {"email": None, "aliases": []}, now)
    assert (cleared.email, cleared.aliases) == (None, ())
    assert service.get_customer(books, tenant_id, "acme") == cleared
    assert service.update_customer(books, tenant_id, "acme", {}, now)[1] is Outcome.UNCHANGED
    for raw, code in (
        ({"key": "b"}, "invalid_customer"),
        ({"timezone": "X"}, "invalid_timezone"),
        ([], "invalid_customer"),
    ):
        with pytest.raises(InvalidInput) as refused:
            service.update_customer(books, tenant_id, "acme", raw, now)
        assert refused.value.code == code
    with pytest.raises(NotFound):
        service.update_customer(books, tenant_id, "nobody", {}, now)


def test_aliases_come_and_go_and_belong_to_one(books: Books, tenant_id: int, now: datetime) -> None:
    service.create_customer(books, tenant_id, customer(), now)
    service.create_customer(books, tenant_id, customer("beta"), now)
    assert service.add_alias(books, tenant_id, "acme", "k2", now)[0].aliases == ("k2",)
    assert service.add_alias(books, tenant_id, "acme", "k1", now)[0].aliases == ("k1", "k2")
    assert service.add_alias(books, tenant_id, "acme", "k1", now)[1] is Outcome.UNCHANGED
    for alias in ("k1", "acme"):
        with pytest.raises(Conflict) as refused:
            service.add_alias(books, tenant_id, "beta", alias, now)
        assert refused.value.code == "alias_taken"
        assert "'acme'" in refused.value.message
    for alias in ("", 5, " k"):
        with pytest.raises(InvalidInput):
            service.add_alias(books, tenant_id, "beta", alias, now)
    assert service.remove_alias(books, tenant_id, "acme", "k1", now).aliases == ("k2",)
    assert service.add_alias(books, tenant_id, "beta", "k1", now)[0].aliases == ("k1",)
    for alias in ("k1", "acme"):
        with pytest.raises(NotFound) as missing:
            service.remove_alias(books, tenant_id, "acme", alias, now)
        assert missing.value.code == "alias_not_found"


def test_customers_are_listed_by_key(books: Books, tenant_id: int, now: datetime) -> None:
    for key in ("b", "ä", "A", "c"):
        service.create_customer(books, tenant_id, customer(key), now)
    assert [found.key for found in service.list_customers(books, tenant_id, None, 3)] == ["A", "b", "c"]
    assert [found.key for found in service.list_customers(books, tenant_id, "c", 3)] == ["ä"]


def test_a_subscription_is_created_once(books: Books, tenant_id: int, now: datetime) -> None:
    service.create_customer(books, tenant_id, customer(), now)
    publish(books, tenant_id, now)
    created, outcome = service.create_subscription(books, tenant_id, subscription(), now)
    assert outcome is Outcome.CREATED
    assert (created.customer, created.plan, created.version, created.anchor) == (
        "acme",
        "base",
        1,
        "calendar",
    )
    assert (created.start, created.end) == (at("2024-01-10"), None)
    # A later version of the plan is for later subscriptions.
    publish(books, tenant_id, now, "12")
    assert service.create_subscription(books, tenant_id, subscription(), now) == (created, Outcome.UNCHANGED)
    later, _ = service.create_subscription(books, tenant_id, subscription("second"), now)
    assert later.version == 2
    assert service.get_subscription(books, tenant_id, "second") == later
    with pytest.raises(Conflict) as refused:
        service.create_subscription(books, tenant_id, subscription(start="2024-01-11T00:00:00Z"), now)
    assert refused.value.code == "subscription_immutable"
    with pytest.raises(Conflict) as refused:
        service.create_subscription(books, tenant_id, subscription(end="2025-01-11T00:00:00Z"), now)
    assert refused.value.code == "subscription_exists"


def test_a_subscription_needs_its_customer_its_plan_and_one_currency(
    books: Books, tenant_id: int, now: datetime
) -> None:
    with pytest.raises(InvalidInput) as refused:
        service.create_subscription(books, tenant_id, subscription(), now)
    assert [(fault.path, fault.message) for fault in refused.value.faults] == [
        ("customer", "'acme' is not a customer"),
        ("plan", "'base' is not a plan"),
    ]
    service.create_customer(books, tenant_id, customer(currency="EUR"), now)
    publish(books, tenant_id, now)
    with pytest.raises(Conflict) as mismatch:
        service.create_subscription(books, tenant_id, subscription(), now)
    assert mismatch.value.code == "currency_mismatch"


def test_what_periods_depend_on_stays_with_a_subscription(
    books: Books, tenant_id: int, now: datetime
) -> None:
    service.create_customer(books, tenant_id, customer(), now)
    publish(books, tenant_id, now)
    service.create_subscription(books, tenant_id, subscription(), now)
    for change, code in (
        ({"currency": "EUR"}, "currency_fixed"),
        ({"timezone": "Asia/Tokyo"}, "timezone_fixed"),
    ):
        with pytest.raises(Conflict) as refused:
            service.update_customer(books, tenant_id, "acme", change, now)
        assert refused.value.code == code
    assert service.update_customer(books, tenant_id, "acme", {"name": "New"}, now)[0].name == "New"


def test_a_subscription_ends(books: Books, tenant_id: int, now: datetime) -> None:
    service.create_customer(books, tenant_id, customer(), now)
    publish(books, tenant_id, now)
    created, _ = service.create_subscription(books, tenant_id, subscription(anchor="2023-12-31"), now)
    ended, outcome = service.cancel_subscription(books, tenant_id, "acme-base", at("2024-03-15"), now)
    assert outcome is Outcome.CHANGED
    assert ended.end == at("2024-03-15")
    assert service.get_subscription(books, tenant_id, "acme-base") == ended
    assert (
        service.cancel_subscription(books, tenant_id, "acme-base", at("2024-03-15"), now)[1]
        is Outcome.UNCHANGED
    )
    with pytest.raises(InvalidInput) as refused:
        service.cancel_subscription(books, tenant_id, "acme-base", created.start, now)
    assert refused.value.code == "invalid_end"
    with pytest.raises(NotFound):
        service.cancel_subscription(books, tenant_id, "nothing", at("2024-03-15"), now)
    # Writing the same subscription again without an end does not bring it back to life.
    raw = subscription(anchor="2023-12-31")
    assert service.create_subscription(books, tenant_id, raw, now) == (ended, Outcome.UNCHANGED)


def invoice(books: Books, tenant_id: int, now: datetime, start: str, end: str, service_end: str) -> None:
    """An invoice of the tenant's one subscription, with one line that is for the time until `service_end`."""
    with books.transaction(tenant_id) as conn:
        conn.execute(
            "INSERT INTO invoices (tenant_id, number, customer_id, subscription_id, plan_version_id, status, reason,"
            " currency, period_start, period_end, subtotal, tax, total, total_exact, issued_at, document)"
            " SELECT tenant_id, 'INV-1', customer_id, subscription_id, plan_version_id, 'issued', 'period', 'USD',"
            " %s, %s, 0, 0, 0, 0, %s, '{}' FROM subscriptions",
            [at(start), at(end), now],
        )
        conn.execute(
            "INSERT INTO invoice_lines (tenant_id, invoice_id, line, rate_card, dimensions, service_start,"
            " service_end, quantity, amount_exact, amount)"
            " SELECT tenant_id, invoice_id, 1, 'fee', '{}', period_start, %s, 1, 0, 0 FROM invoices",
            [at(service_end)],
        )


def test_a_subscription_does_not_end_before_what_is_invoiced(
    books: Books, tenant_id: int, now: datetime
) -> None:
    service.create_customer(books, tenant_id, customer(), now)
    publish(books, tenant_id, now)
    service.create_subscription(books, tenant_id, subscription(), now)
    invoice(books, tenant_id, now, "2024-01-10", "2024-02-01", "2024-02-01")
    with pytest.raises(Conflict) as refused:
        service.cancel_subscription(books, tenant_id, "acme-base", at("2024-01-20"), now)
    assert refused.value.code == "already_invoiced"
    service.cancel_subscription(books, tenant_id, "acme-base", at("2024-02-01"), now)
    with pytest.raises(Conflict) as refused:
        service.cancel_subscription(books, tenant_id, "acme-base", at("2024-03-01"), now)
    assert "invoiced to its end" in refused.value.message


def test_what_was_paid_in_advance_holds_nothing_back(books: Books, tenant_id: int, now: datetime) -> None:
    """It is credited (tests/store/test_life.py); usage that is invoiced is not rated again."""
    service.create_customer(books, tenant_id, customer(), now)
    publish(books, tenant_id, now)
    service.create_subscription(books, tenant_id, subscription(), now)
    invoice(books, tenant_id, now, "2024-01-10", "2024-02-01", "2024-03-01")
    with pytest.raises(Conflict) as refused:
        service.cancel_subscription(books, tenant_id, "acme-base", at("2024-01-31"), now)
    assert "2024-02-01T00:00:00Z" in refused.value.message
    ended, outcome = service.cancel_subscription(books, tenant_id, "acme-base", at("2024-02-20"), now)
    assert (ended.end, outcome) == (at("2024-02-20"), Outcome.CHANGED)


def test_subscriptions_are_listed(books: Books, tenant_id: int, now: datetime) -> None:
    publish(books, tenant_id, now)
    for key in ("acme", "beta"):
        service.create_customer(books, tenant_id, customer(key), now)
    for key, owner, start in (
        ("c", "acme", "2024-01-01"),
        ("a", "beta", "2024-02-01"),
        ("b", "acme", "2024-03-01"),
    ):
        raw = subscription(key, customer=owner, start=f"{start}T00:00:00Z")
        service.create_subscription(books, tenant_id, raw, now)
    listed = service.list_subscriptions(books, tenant_id, None, 2)
    assert [found.key for found in listed] == ["a", "b"]
    assert [found.key for found in service.list_subscriptions(books, tenant_id, "b", 2)] == ["c"]
    assert [found.key for found in service.list_subscriptions(books, tenant_id, None, 9, "acme")] == [
        "b",
        "c",
    ]
    begun, customers = service.subscriptions_begun(books, tenant_id, at("2024-03-01"))
    assert [(found.key, customers[found.customer_id].key) for found in begun] == [
        ("a", "beta"),
        ("c", "acme"),
    ]


def test_tenants_do_not_see_each_other(books: Books, tenant_id: int, now: datetime) -> None:
    other = create_tenant(books, f"other-customers-{tenant_id}", "Other", now)
    service.create_customer(books, tenant_id, customer(aliases=["k"]), now)
    publish(books, tenant_id, now)
    service.create_subscription(books, tenant_id, subscription(), now)
    with pytest.raises(NotFound):
        service.get_customer(books, other, "acme")
    with pytest.raises(NotFound):
        service.get_subscription(books, other, "acme-base")
    assert service.list_customers(books, other, None, 10) == []
    assert (
        service.create_customer(books, other, customer("beta", aliases=["k", "acme"]), now)[1]
        is Outcome.CREATED
    )
