"""Erasing a customer over HTTP: confirmed, once, refused while something is to come, and carried on by the engine."""

import pytest
from test_terms_resources import SUBSCRIPTION, made

from farthing.events.engine import seal_what_waits
from farthing.events.store.duckdb import Lateness
from farthing.keeping.erasing.service import carry_on

CUSTOMER = {"key": "ann", "name": "Ann Acme", "currency": "USD", "email": "ann@acme.example"}
WANTED = {"customer": "ann", "confirm": "ann"}


@pytest.fixture
def ann(client):
    made(client.post("/v1/customers", CUSTOMER))
    return client


def test_an_erasure_is_asked_for_once_and_carried_on(ann, services, tenant_id, now):
    asked = {"idempotency-key": "once"}
    erasure = made(ann.post("/v1/erasures", WANTED, headers=asked))
    assert erasure["stage"] == "events"
    assert made(ann.post("/v1/erasures", WANTED, headers=asked), 201) == erasure
    assert made(ann.post("/v1/erasures", WANTED), 200) == erasure
    assert ann.get("/v1/customers/ann").json()["aliases"] == [erasure["pseudonym"]]

    def seal():
        seal_what_waits(services.books, services.store, Lateness(10**9, 10**9), lambda: now, 5)

    assert carry_on(services.books, services.store, tenant_id, seal, lambda: now) == 1
    assert carry_on(services.books, services.store, tenant_id, seal, lambda: now) == 0
    done = ann.get(f"/v1/erasures/{erasure['erasure']}").json()
    assert done == erasure | {"stage": "complete", "completed_at": done["completed_at"]}
    assert ann.get("/v1/erasures?limit=1").json() == {"items": [done], "next_cursor": None}
    assert ann.get("/v1/customers/ann").status_code == 404
    left = ann.get(f"/v1/customers/{erasure['pseudonym']}").json()
    assert (left["name"], left["email"], left["address"], left["aliases"]) == (
        erasure["pseudonym"],
        None,
        {},
        [],
    )
    # By its old key it is still the same one.
    assert made(ann.post("/v1/erasures", WANTED | {"documents": True}), 200)["erasure"] == done["erasure"]


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"customer": "ann"}, "invalid_erasure", "confirm"),
        (WANTED | {"confirm": "bob"}, "not_confirmed", "confirm"),
        (WANTED | {"documents": "yes"}, "invalid_erasure", "documents"),
        (WANTED | {"also": 1}, "invalid_erasure", "also"),
    ],
)
def test_what_is_not_meant_is_refused(ann, body, code, path):
    refused = ann.post("/v1/erasures", body)
    assert refused.status_code == 422
    assert (refused.json()["code"], refused.json()["faults"][0]["path"]) == (code, path)


def test_who_is_subscribed_or_nobody_is_not_erased(ann):
    assert ann.post("/v1/erasures", {"customer": "bob", "confirm": "bob"}).status_code == 404
    assert ann.get("/v1/erasures/4711").json()["code"] == "erasure_not_found"
    plan = {"key": "payg", "name": "P", "currency": "USD", "interval": "month",
            "rate_cards": [{"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "1"}}]}  # fmt: skip
    made(ann.post("/v1/plans", plan))
    made(ann.post("/v1/subscriptions", SUBSCRIPTION | {"customer": "ann"}))
    refused = ann.post("/v1/erasures", WANTED)
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_subscribed")
