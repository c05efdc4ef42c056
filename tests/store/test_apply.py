"""`farthing apply` on the books: the whole file or nothing, and nothing the second time."""

from datetime import datetime

import pytest

from farthing.catalog.model import Outcome
from farthing.catalog.service import get_meter, get_plan, put_meter
from farthing.customers.apply import ApplyPlan, apply, plan_apply
from farthing.customers.catalog_file import read_catalog_file
from farthing.customers.model import FieldChange
from farthing.customers.service import (
    cancel_subscription,
    create_customer,
    get_customer,
    get_subscription,
    list_customers,
)
from farthing.db import Books
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import parse_instant

FILE = """
meters:
  - {key: input_tokens, event_type: llm.completion, aggregation: sum, value: data.input_tokens,
     dimensions: {model: data.model}}
plans:
  - key: payg
    name: Pay as you go
    currency: USD
    interval: month
    rate_cards:
      - key: input
        name: Input tokens
        meter: input_tokens
        timing: arrears
        price:
          model: matrix
          dimensions: [model]
          cells:
            - {when: {model: gpt-4o}, price: {model: per_unit, unit_price: 0.0000025}}
      - {key: base, name: Base fee, price: {model: flat, amount: 49.90}}
customers:
  - {key: acme, name: Acme Inc., currency: USD, timezone: UTC, aliases: [key-7, key-8]}
  - {key: beta, name: Beta, currency: USD, timezone: Asia/Kolkata, address: {country: IN}}
subscriptions:
  - {key: acme-payg, customer: acme, plan: payg, start: 2023-11-01T00:00:00Z, anchor: calendar}
  - {key: beta-payg, customer: beta, plan: payg, start: 2023-11-10T00:00:00Z, anchor: 2024-01-31}
"""


def read(text: str = FILE) -> object:
    return read_catalog_file(text.encode(), "catalog.yaml")


def outcomes(plan: ApplyPlan) -> list[tuple[str, str, str]]:
    return [(change.kind, change.key, change.outcome.value) for change in plan.changes]


CREATED = [
    ("meter", "input_tokens", "created"),
    ("plan", "payg", "created"),
    ("customer", "acme", "created"),
    ("customer", "beta", "created"),
    ("subscription", "acme-payg", "created"),
    ("subscription", "beta-payg", "created"),
]


def test_a_file_becomes_what_stands_once(books: Books, tenant_id: int, now: datetime) -> None:
    planned = plan_apply(books, tenant_id, read(), now)
    assert outcomes(planned) == CREATED
    assert list_customers(books, tenant_id, None, 10) == []
    assert apply(books, tenant_id, read(), now) == planned

    assert get_customer(books, tenant_id, "acme").aliases == ("key-7", "key-8")
    subscription = get_subscription(books, tenant_id, "beta-payg")
    assert (subscription.customer, subscription.plan, subscription.version) == ("beta", "payg", 1)
    assert get_plan(books, tenant_id, "payg").plan.rate_cards[0].meter == "input_tokens"
    assert get_meter(books, tenant_id, "input_tokens").dimensions == (("model", "data.model"),)

    for again in (plan_apply(books, tenant_id, read(), now), apply(books, tenant_id, read(), now)):
        assert again.changing() == ()
        assert again.count("customer", Outcome.UNCHANGED) == 2
    assert get_plan(books, tenant_id, "payg").version == 1


def test_changes_are_shown_field_by_field_and_written(books: Books, tenant_id: int, now: datetime) -> None:
    apply(books, tenant_id, read(), now)
    changed = read(
        FILE.replace("49.90", "59.90")
        .replace("name: Acme Inc.", "name: ACME")
        .replace("[key-7, key-8]", "[key-8, key-9]")
        .replace("anchor: calendar", "anchor: calendar, end: 2024-06-15T00:00:00Z")
    )
    plan = plan_apply(books, tenant_id, changed, now)
    assert [(change.kind, change.key, change.outcome) for change in plan.changing()] == [
        ("plan", "payg", Outcome.NEW_VERSION),
        ("customer", "acme", Outcome.CHANGED),
        ("subscription", "acme-payg", Outcome.CHANGED),
    ]
    base = {"key": "base", "name": "Base fee", "timing": "arrears"}
    assert [change.fields for change in plan.changing()] == [
        (
            FieldChange(
                "rate_cards.base",
                base | {"price": {"model": "flat", "amount": "49.9"}},
                base | {"price": {"model": "flat", "amount": "59.9"}},
            ),
        ),
        (
            FieldChange("name", "Acme Inc.", "ACME"),
            FieldChange("aliases", ["key-7", "key-8"], ["key-8", "key-9"]),
        ),
        (FieldChange("end", None, "2024-06-15T00:00:00Z"),),
    ]
    apply(books, tenant_id, changed, now)
    assert apply(books, tenant_id, changed, now).changing() == ()
    assert get_customer(books, tenant_id, "acme").aliases == ("key-8", "key-9")
    subscription = get_subscription(books, tenant_id, "acme-payg")
    assert subscription.end == parse_instant("2024-06-15T00:00:00Z", "")
    # Who is on version 1 stays there; who comes now gets version 2, published by the same file.
    assert subscription.version == 1
    later = "subscriptions:\n  - {key: third, customer: acme, plan: payg, start: 2024-01-01T00:00:00Z}\n"
    apply(books, tenant_id, read(later), now)
    assert get_subscription(books, tenant_id, "third").version == 2


def test_what_a_file_does_not_name_stays(books: Books, tenant_id: int, now: datetime) -> None:
    apply(books, tenant_id, read(), now)
    cancel_subscription(books, tenant_id, "acme-payg", parse_instant("2024-02-01T00:00:00Z", ""), now)
    silent = FILE.replace(", aliases: [key-7, key-8]", "")
    assert apply(books, tenant_id, read(silent), now).changing() == ()
    assert get_customer(books, tenant_id, "acme").aliases == ("key-7", "key-8")
    assert get_subscription(books, tenant_id, "acme-payg").end is not None
    assert apply(books, tenant_id, {}, now).changes == ()
    assert len(list_customers(books, tenant_id, None, 10)) == 2


def test_a_subject_may_move_within_a_file(books: Books, tenant_id: int, now: datetime) -> None:
    apply(books, tenant_id, read(), now)
    moved = FILE.replace("[key-7, key-8]", "[key-8]").replace("address: {country: IN}", "aliases: [key-7]")
    apply(books, tenant_id, read(moved), now)
    assert get_customer(books, tenant_id, "acme").aliases == ("key-8",)
    assert get_customer(books, tenant_id, "beta").aliases == ("key-7",)


def test_every_fault_of_a_file_at_once(books: Books, tenant_id: int, now: datetime) -> None:
    text = FILE.replace("unit_price: 0.0000025", "unit_price: cheap").replace(
        "timezone: UTC", "timezone: Mars"
    )
    text = (
        text.replace("key: beta,", "key: acme,").replace("2023-11-01T00:00:00Z", "2023-11-01")
        + "currencies: []\n"
    )
    with pytest.raises(InvalidInput) as refused:
        plan_apply(books, tenant_id, read(text), now)
    assert refused.value.code == "invalid_catalog"
    assert [fault.path for fault in refused.value.faults] == [
        "plans[0].rate_cards[0].price.cells[0].price.unit_price",
        "customers[1].key",
        "customers[0].timezone",
        "subscriptions[0].start",
        "currencies",
    ]
    for raw, path in ((None, ""), ([], ""), ({"meters": {}}, "meters"), ({"plans": ["payg"]}, "plans[0]")):
        with pytest.raises(InvalidInput) as refused:
            apply(books, tenant_id, raw, now)
        assert refused.value.path == path


def test_references_are_checked_against_the_file_and_the_books(
    books: Books, tenant_id: int, now: datetime
) -> None:
    document = read()
    assert isinstance(document, dict)
    (meter,) = document.pop("meters")
    with pytest.raises(InvalidInput) as refused:
        apply(books, tenant_id, document, now)
    assert (refused.value.code, refused.value.path) == ("unknown_meter", "plans[0].rate_cards[0].meter")
    put_meter(books, tenant_id, meter, now)
    first, second = document["subscriptions"]
    strangers = [first | {"plan": "pro"}, second | {"customer": "gamma"}]
    with pytest.raises(InvalidInput) as refused:
        apply(books, tenant_id, document | {"subscriptions": strangers}, now)
    assert refused.value.faults == (
        Fault("subscriptions[0].plan", "'pro' is not a plan"),
        Fault("subscriptions[1].customer", "'gamma' is not a customer"),
    )
    assert apply(books, tenant_id, document, now).count("subscription", Outcome.CREATED) == 2


@pytest.mark.parametrize(
    ("old", "new", "code", "path"),
    [
        ("value: data.input_tokens", "value: data.tokens", "meter_immutable", "meters[0]"),
        ("aliases: [key-7, key-8]", "aliases: [taken]", "alias_taken", "customers[0].aliases"),
        ("timezone: Asia/Kolkata", "timezone: Asia/Tokyo", "timezone_fixed", "customers[1].timezone"),
        ("anchor: calendar", "anchor: anniversary", "subscription_immutable", "subscriptions[0].anchor"),
    ],
)
def test_a_contradiction_leaves_everything_as_it_was(
    books: Books, tenant_id: int, now: datetime, old: str, new: str, code: str, path: str
) -> None:
    apply(books, tenant_id, read(), now)
    create_customer(
        books, tenant_id, {"key": "other", "name": "O", "currency": "USD", "aliases": ["taken"]}, now
    )
    more = FILE.replace(old, new).replace("49.90", "1").replace("name: Beta", "name: Renamed")
    with pytest.raises(Conflict) as refused:
        apply(books, tenant_id, read(more), now)
    assert (refused.value.code, refused.value.path) == (code, path)
    assert get_plan(books, tenant_id, "payg").version == 1
    assert get_customer(books, tenant_id, "beta").name == "Beta"


def test_a_plan_and_its_customer_share_a_currency(books: Books, tenant_id: int, now: datetime) -> None:
    with pytest.raises(Conflict) as refused:
        apply(
            books,
            tenant_id,
            read(FILE.replace("name: Beta, currency: USD", "name: Beta, currency: INR")),
            now,
        )
    assert (refused.value.code, refused.value.path) == ("currency_mismatch", "subscriptions[1].plan")
    with pytest.raises(NotFound):
        get_meter(books, tenant_id, "input_tokens")


def test_a_large_file_is_written_in_sets(books: Books, tenant_id: int, now: datetime) -> None:
    document = read()
    assert isinstance(document, dict)
    count = 3000
    document["customers"] = [
        {"key": f"c{index}", "name": "C", "currency": "USD", "aliases": [f"a{index}"]}
        for index in range(count)
    ]
    document["subscriptions"] = [
        {"key": f"s{index}", "customer": f"c{index}", "plan": "payg", "start": "2024-01-01T00:00:00Z"}
        for index in range(count)
    ]
    assert len(apply(books, tenant_id, document, now).changing()) == 2 * count + 2
    assert apply(books, tenant_id, document, now).changing() == ()
    with books.read_only(tenant_id) as conn:
        for table, expected in (
            ("customers", count),
            ("customer_subjects", 2 * count),
            ("subscriptions", count),
        ):
            row = conn.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
            assert row == {"n": expected}
