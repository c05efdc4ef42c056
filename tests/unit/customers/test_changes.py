"""What a write would do, and every contradiction at once."""

from dataclasses import replace
from datetime import datetime

import pytest

from farthing.catalog.model import Outcome, Plan, PlanRef, RoundingScope
from farthing.customers.changes import (
    CustomersStanding,
    SubscriptionsStanding,
    customer_differences,
    decide_customers,
    plans_by_version,
)
from farthing.customers.content import parse_customer, parse_subscription
from farthing.customers.model import Address, Customer, CustomerContent, FieldChange, Subscription
from farthing.customers.subscribing import decide_subscriptions, end_complaint
from farthing.kernel.errors import Conflict, InvalidInput
from farthing.kernel.instant import parse_instant
from farthing.kernel.period import Interval
from farthing.kernel.rounding import Rounding

ACME = Customer(1, "acme", "Acme", "USD", "UTC", None, Address(city="Rome"), ("a1", "a2"))
NOBODY = CustomersStanding({}, {}, ())


def at(text: str) -> datetime:
    return parse_instant(f"{text}T00:00:00Z", "at")


def content(key: str = "acme", **changes: object) -> CustomerContent:
    raw = {"key": key, "name": "Acme", "currency": "USD", "address": {"city": "Rome"}}
    return parse_customer(raw | changes)


def standing(*customers: Customer, subscribed: tuple[int, ...] = ()) -> CustomersStanding:
    holders = {subject: one.key for one in customers for subject in (one.key, *one.aliases)}
    return CustomersStanding({one.key: one for one in customers}, holders, subscribed)


def refused_customers(stands: CustomersStanding, *wanted: CustomerContent) -> Conflict:
    with pytest.raises(Conflict) as caught:
        decide_customers(stands, wanted, [f"customers[{index}]" for index in range(len(wanted))])
    return caught.value


def test_new_same_and_changed() -> None:
    wanted = [content(), content("beta"), content("gamma", name="Gamma")]
    stands = standing(ACME, replace(ACME, customer_id=3, key="gamma", aliases=()))
    outcomes = [change.outcome for change in decide_customers(stands, wanted, ["", "", ""])]
    assert outcomes == [Outcome.UNCHANGED, Outcome.CREATED, Outcome.CHANGED]
    assert customer_differences(ACME, content(name="ACME", aliases=["a1"], email="a@b")) == (
        FieldChange("name", "Acme", "ACME"),
        FieldChange("email", None, "a@b"),
        FieldChange("aliases", ["a1", "a2"], ["a1"]),
    )


def test_aliases_that_nothing_was_said_about_stay() -> None:
    (change,) = decide_customers(standing(ACME), [content()], [""])
    assert change.outcome is Outcome.UNCHANGED
    assert change.aliases == ("a1", "a2")


def test_a_subject_means_one_customer() -> None:
    error = refused_customers(standing(ACME), content("beta", aliases=["b1", "a2"]))
    assert (error.code, error.path) == ("alias_taken", "customers[0].aliases")
    assert error.message == "customers[0].aliases 'a2' means the customer 'acme' already"
    # A key may not be another's alias, nor an alias another's key.
    assert refused_customers(standing(ACME), content("a1")).path == "customers[0].key"
    assert refused_customers(standing(ACME), content("beta", aliases=["acme"])).code == "alias_taken"
    # And two that come together may not take the same.
    error = refused_customers(NOBODY, content("x", aliases=["s"]), content("y", aliases=["s"]))
    assert error.message == "customers[1].aliases 's' means the customer 'x' already"


def test_an_alias_that_is_given_up_may_be_taken() -> None:
    wanted = [content("beta", aliases=["a2"]), content(aliases=["a1"])]
    changes = decide_customers(standing(ACME), wanted, ["", ""])
    assert [change.outcome for change in changes] == [Outcome.CREATED, Outcome.CHANGED]


def test_currency_and_time_zone_stay_once_there_is_a_subscription() -> None:
    wanted = content(currency="EUR", timezone="Europe/Berlin")
    assert decide_customers(standing(ACME), [wanted], [""])[0].outcome is Outcome.CHANGED
    error = refused_customers(standing(ACME, subscribed=(1,)), wanted)
    assert error.code == "conflict"
    assert [fault.path for fault in error.faults] == ["customers[0].currency", "customers[0].timezone"]
    error = refused_customers(standing(ACME, subscribed=(1,)), content(currency="EUR"))
    assert error.code == "currency_fixed"


def test_the_list_of_conflicts_is_bounded() -> None:
    wanted = [content(f"c{index}", aliases=["a1"]) for index in range(150)]
    error = refused_customers(standing(ACME), *wanted)
    assert len(error.faults) == 101
    assert error.message.endswith("; and 50 more conflicts")


STARTED = at("2024-01-10")
RUNNING = Subscription(1, "sub", 1, "acme", 10, "payg", 1, "calendar", STARTED, None)
REFS = [PlanRef("payg", 1, "USD"), PlanRef("payg", 2, "USD"), PlanRef("euro", 1, "EUR")]
PLAN = Plan("payg", "Payg", "USD", Interval.MONTH, 1, RoundingScope.INVOICE, Rounding.HALF_UP, ())
RAW = {"key": "sub", "customer": "acme", "plan": "payg", "start": "2024-01-10T00:00:00Z"}


def stands_subscribed(
    *subscriptions: Subscription, invoiced_until: datetime | None = None
) -> SubscriptionsStanding:
    return SubscriptionsStanding(
        by_key={one.key: one for one in subscriptions},
        currencies={"acme": "USD"},
        plans=plans_by_version(REFS),
        invoiced_until={"sub": invoiced_until} if invoiced_until else {},
        definitions={("payg", 1): PLAN, ("payg", 2): PLAN, ("euro", 1): PLAN},
    )


def decide(stands: SubscriptionsStanding, **changes: object) -> tuple[Outcome, PlanRef]:
    (change,) = decide_subscriptions(stands, [parse_subscription(RAW | changes)], ["subscriptions[0]"])
    return change.outcome, change.plan


def test_a_new_subscription_takes_the_latest_version_and_stays_on_it() -> None:
    assert decide(stands_subscribed()) == (Outcome.CREATED, REFS[1])
    assert decide(stands_subscribed(), version=1) == (Outcome.CREATED, REFS[0])
    assert decide(stands_subscribed(RUNNING)) == (Outcome.UNCHANGED, REFS[0])
    assert decide(stands_subscribed(RUNNING), version=1) == (Outcome.UNCHANGED, REFS[0])


def test_its_end_may_change_and_is_left_alone_where_nothing_is_said() -> None:
    ended = replace(RUNNING, end=at("2024-06-01"))
    assert decide(stands_subscribed(RUNNING), end="2024-06-01T00:00:00Z")[0] is Outcome.CHANGED
    assert decide(stands_subscribed(ended), end="2024-06-01T00:00:00Z")[0] is Outcome.UNCHANGED
    assert decide(stands_subscribed(ended))[0] is Outcome.UNCHANGED
    assert decide(stands_subscribed(ended), end="2024-07-01T00:00:00Z")[0] is Outcome.CHANGED


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"anchor": "anniversary"}, "subscription_immutable", "subscriptions[0].anchor"),
        ({"start": "2024-01-11T00:00:00Z"}, "subscription_immutable", "subscriptions[0].start"),
        ({"plan": "euro"}, "currency_mismatch", "subscriptions[0].plan"),
        ({"trial": {"days": 7}}, "subscription_immutable", "subscriptions[0].trial"),
        (
            {"plan": None, "phases": [{"plan": "payg", "version": 2}]},
            "subscription_immutable",
            "subscriptions[0].phases",
        ),
    ],
)
def test_how_it_began_does_not_change(changes: dict[str, object], code: str, path: str) -> None:
    with pytest.raises(Conflict) as refused:
        decide(stands_subscribed(RUNNING), **changes)
    assert (refused.value.code, refused.value.path) == (code, path)


def test_the_plan_is_in_the_customers_currency() -> None:
    with pytest.raises(Conflict) as refused:
        decide(stands_subscribed(), plan="euro")
    assert (refused.value.code, refused.value.path) == ("currency_mismatch", "subscriptions[0].plan")


def test_what_it_names_must_exist() -> None:
    with pytest.raises(InvalidInput) as refused:
        decide(stands_subscribed(), customer="nobody")
    assert (refused.value.code, refused.value.path) == ("unknown_customer", "subscriptions[0].customer")
    with pytest.raises(InvalidInput) as refused:
        decide(stands_subscribed(), version=9)
    assert (refused.value.code, refused.value.message) == (
        "unknown_plan",
        "subscriptions[0].plan 'payg' version 9 is not a plan",
    )


def test_what_is_invoiced_stays() -> None:
    march, april = at("2024-03-01"), at("2024-04-01")
    assert end_complaint(RUNNING, at("2024-02-01"), None) == ""
    assert end_complaint(RUNNING, march, march) == ""
    assert "must not be earlier than 2024-03-01T00:00:00Z" in end_complaint(RUNNING, at("2024-02-29"), march)
    ended = replace(RUNNING, end=march)
    assert "invoiced to its end" in end_complaint(ended, april, march)
    assert end_complaint(replace(RUNNING, end=april), at("2024-05-01"), march) == ""
    with pytest.raises(Conflict) as refused:
        decide(stands_subscribed(RUNNING, invoiced_until=march), end="2024-02-01T00:00:00Z")
    assert refused.value.code == "already_invoiced"
