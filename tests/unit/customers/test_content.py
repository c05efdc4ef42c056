"""Customers and subscriptions: what is let in, every way of being wrong, and the way back."""

from datetime import date

import pytest

from farthing.customers.content import (
    ALIASES_MAX,
    anchor_of,
    anchor_text,
    customer_json,
    parse_customer,
    parse_subscription,
    subscription_json,
)
from farthing.customers.model import Address, CustomerContent, Subscription
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import parse_instant

CUSTOMER: dict[str, object] = {
    "key": "acme",
    "name": "Acme Inc.",
    "currency": "USD",
    "timezone": "America/New_York",
    "email": "ap@acme.example",
    "address": {
        "line1": "1 Main St",
        "city": "Springfield",
        "postcode": "12345",
        "region": "IL",
        "country": "US",
    },
    "aliases": ["key-8", "key-7"],
}
SUBSCRIPTION: dict[str, object] = {
    "key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2023-11-01T00:00:00Z", "anchor": "calendar",
}  # fmt: skip


def test_a_customer() -> None:
    assert parse_customer(CUSTOMER) == CustomerContent(
        key="acme",
        name="Acme Inc.",
        currency="USD",
        timezone="America/New_York",
        email="ap@acme.example",
        address=Address("1 Main St", None, "Springfield", "12345", "IL", "US"),
        aliases=("key-7", "key-8"),
    )
    assert parse_customer(customer_json(parse_customer(CUSTOMER))) == parse_customer(CUSTOMER)


def test_the_shortest_customer() -> None:
    content = parse_customer({"key": "user 7/ü@x", "name": "Seven", "currency": "JPY"})
    assert content == CustomerContent("user 7/ü@x", "Seven", "JPY", "UTC", None, Address(), None)
    assert "aliases" not in customer_json(content)
    assert parse_customer({"key": "a", "name": "A", "currency": "JPY", "aliases": []}).aliases == ()


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"key": ""}, "invalid_text", "customers[3].key"),
        ({"key": " acme"}, "invalid_key", "customers[3].key"),
        ({"key": 7}, "invalid_text", "customers[3].key"),
        ({"name": None}, "invalid_customer", "customers[3].name"),
        ({"name": "a\x00b"}, "invalid_text", "customers[3].name"),
        ({"currency": "XXX"}, "invalid_currency", "customers[3].currency"),
        ({"timezone": "Mars/Base"}, "invalid_timezone", "customers[3].timezone"),
        ({"email": "acme"}, "invalid_email", "customers[3].email"),
        ({"email": "a b@c"}, "invalid_email", "customers[3].email"),
        ({"email": "a" * 250 + "@x.org"}, "invalid_email", "customers[3].email"),
        ({"address": "1 Main St"}, "invalid_address", "customers[3].address"),
        ({"address": {"country": "USA"}}, "invalid_country", "customers[3].address.country"),
        ({"address": {"street": "x"}}, "invalid_address", "customers[3].address.street"),
        ({"aliases": "key-7"}, "invalid_customer", "customers[3].aliases"),
        ({"aliases": ["a", "b", "a"]}, "invalid_customer", "customers[3].aliases[2]"),
        ({"aliases": ["a", "acme"]}, "invalid_customer", "customers[3].aliases[1]"),
        ({"aliases": ["a", ""]}, "invalid_text", "customers[3].aliases[1]"),
        ({"aliases": [str(i) for i in range(ALIASES_MAX + 1)]}, "invalid_customer", "customers[3].aliases"),
        ({"credit": 5}, "invalid_customer", "customers[3].credit"),
    ],
)
def test_faults_of_a_customer(change: dict[str, object], code: str, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_customer(CUSTOMER | change, "customers[3]")
    assert (refused.value.code, refused.value.path) == (code, path)


def test_a_subscription() -> None:
    content = parse_subscription(
        SUBSCRIPTION | {"anchor": "2024-01-31", "version": 2, "end": "2025-01-01T00:00:00+01:00"}
    )
    assert (content.key, content.customer, content.plan, content.version) == ("acme-payg", "acme", "payg", 2)
    assert content.anchor == date(2024, 1, 31)
    assert content.start == parse_instant("2023-11-01T00:00:00Z", "")
    assert content.end == parse_instant("2024-12-31T23:00:00Z", "")


def test_the_shortest_subscription() -> None:
    content = parse_subscription({key: SUBSCRIPTION[key] for key in ("key", "customer", "plan", "start")})
    assert (content.version, content.anchor, content.end) == (None, "calendar", None)


@pytest.mark.parametrize("text", ["calendar", "anniversary", "2024-02-29"])
def test_anchors_and_back(text: str) -> None:
    content = parse_subscription(SUBSCRIPTION | {"anchor": text})
    assert anchor_text(content.anchor) == text
    assert anchor_of(text) == content.anchor


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"customer": None}, "invalid_subscription", "customer"),
        ({"plan": "pay as you go"}, "invalid_key", "plan"),
        ({"version": 0}, "invalid_version", "version"),
        ({"version": "1"}, "invalid_version", "version"),
        ({"anchor": "monthly"}, "invalid_anchor", "anchor"),
        ({"anchor": "2024-02-30"}, "invalid_anchor", "anchor"),
        ({"anchor": "2024-01-31T00:00:00Z"}, "invalid_anchor", "anchor"),
        ({"start": "2023-11-01"}, "invalid_instant", "start"),
        ({"end": "2023-11-01T00:00:00Z"}, "invalid_subscription", "end"),
        ({"end": "soon"}, "invalid_instant", "end"),
        ({"quantity": 1}, "invalid_subscription", "quantity"),
    ],
)
def test_faults_of_a_subscription(change: dict[str, object], code: str, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_subscription(SUBSCRIPTION | change)
    assert (refused.value.code, refused.value.path) == (code, path)


def test_subscription_json() -> None:
    content = parse_subscription(SUBSCRIPTION | {"version": 3})
    standing = Subscription(1, content.key, 2, "acme", 3, "payg", 3, content.anchor, content.start, None)
    assert subscription_json(standing) == SUBSCRIPTION | {"version": 3, "end": None}
    assert parse_subscription(subscription_json(standing)) == content
