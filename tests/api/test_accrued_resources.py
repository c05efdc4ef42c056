"""Accrued spend and terms of collection over HTTP."""

import pytest

from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import Lateness
from farthing.invoicing.accrued.service import charge_accrued

METER = {"key": "calls", "event_type": "call", "aggregation": "count"}
CARD = {
    "key": "calls",
    "name": "Calls",
    "meter": "calls",
    "price": {"model": "per_unit", "unit_price": "2.5"},
}
PLAN = {"key": "payg", "name": "Payg", "currency": "USD", "interval": "month", "rate_cards": [CARD]}
AS_IT_GOES = {"mode": "pay_as_you_go", "threshold": "5", "charge_within_days": 7}
OF = "/v1/subscriptions/acme-payg/collection"


def made(response, status=200):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def furnished(client):
    made(client.post("/v1/meters", METER), 201)
    made(client.post("/v1/plans", PLAN), 201)
    for key in ("acme", "zoe"):
        made(client.post("/v1/customers", {"key": key, "name": key, "currency": "USD"}), 201)
        subscription = {
            "key": f"{key}-payg",
            "customer": key,
            "plan": "payg",
            "start": "2026-11-01T00:00:00Z",
        }
        made(client.post("/v1/subscriptions", subscription), 201)
    return client


@pytest.fixture
def used(furnished, books, services, now):
    """Acme has used two calls, Zoe one."""
    for subject, number in (("acme", 1), ("acme", 2), ("zoe", 3)):
        event = {"id": str(number), "source": "s", "type": "call", "subject": subject}
        assert furnished.post("/v1/events", event | {"time": "2026-11-10T00:00:00Z"}).status_code == 202
    with only_sealer(services.data_dir) as alone:
        assert alone
        sealer = Sealer(books, services.store, services.data_dir / "log", Lateness(10**9, 10**9))
        while sealer.seal_next(now) is not None:
            pass
    return furnished


def test_terms_of_collection_are_put_and_taken_away(furnished):
    of_plan = {"subscription": "acme-payg", "source": "plan", "collection": {"mode": "at_period_end"}}
    assert made(furnished.get(OF)) == of_plan
    own = {"subscription": "acme-payg", "source": "subscription", "collection": AS_IT_GOES}
    keyed = {"headers": {"idempotency-key": "k"}}
    assert made(furnished("PUT", OF, json=AS_IT_GOES, **keyed)) == own
    assert made(furnished("PUT", OF, json=AS_IT_GOES, **keyed)) == own
    other = furnished("PUT", OF, json=AS_IT_GOES | {"threshold": "6"}, **keyed)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert made(furnished.get(OF)) == own
    assert made(furnished("DELETE", OF)) == of_plan


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"mode": "pay_as_you_go"}, "threshold"),
        ({"mode": "never"}, "mode"),
        ({"mode": "pay_as_you_go", "threshold": "-1"}, "threshold"),
        ([], ""),
    ],
)
def test_terms_that_are_wrong_are_refused_with_their_place(furnished, body, path):
    refused = furnished("PUT", OF, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_collection")
    assert refused.json()["faults"][0]["path"] == path
    assert furnished.get("/v1/subscriptions/none/collection").status_code == 404


def test_accrued_spend_is_told_for_everybody_and_charged_by_its_terms(used, books, services, tenant_id, now):
    made(used("PUT", OF, json=AS_IT_GOES))
    first = made(used.get("/v1/accrued?limit=1"))
    assert first["items"][0] == {
        "customer": "acme",
        "subscription": "acme-payg",
        "plan": "payg",
        "currency": "USD",
        "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        "at": "2026-11-23T12:00:00Z",
        "accrued": "5",
        "billed": "0",
        "unbilled": "5",
        "invoices": [],
        "collection": AS_IT_GOES,
        "threshold": "5",
        "charge_by": "2026-11-30T12:00:00Z",
        "held": None,
    }
    (second,) = made(used.get(f"/v1/accrued?limit=1&cursor={first['next_cursor']}"))["items"]
    assert (second["customer"], second["accrued"], second["threshold"]) == ("zoe", "2.5", None)
    assert charge_accrued(books, services.store, tenant_id, now).issued == ["INV-000001"]
    (after,) = made(used.get("/v1/customers/acme/accrued"))["items"]
    assert (after["billed"], after["unbilled"], after["invoices"]) == ("5.00", "0", ["INV-000001"])
    invoice = made(used.get("/v1/invoices/INV-000001"))
    assert (invoice["reason"], invoice["due_at"]) == ("interim", invoice["issued_at"])
    kinds = [fact["kind"] for fact in made(used.get("/v1/facts?after=0"))["items"]]
    assert kinds == ["invoice.issued", "spend.threshold_reached", "charge.due"]


def test_nobody_is_not_found_and_another_tenant_sees_nothing(used, other_client):
    refused = used.get("/v1/customers/nobody/accrued")
    assert (refused.status_code, refused.json()["code"]) == (404, "customer_not_found")
    assert made(other_client.get("/v1/accrued")) == {"items": [], "next_cursor": None}
    assert other_client.get("/v1/customers/acme/accrued").status_code == 404
    assert other_client("PUT", OF, json=AS_IT_GOES).status_code == 404
