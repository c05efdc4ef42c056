"""Customers' credit and corrections at once over HTTP: what a client sends and sees, refusals included."""

import json

import pytest

from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import Lateness
from farthing.payments.collecting.service import collect

CALLS = {
    "key": "calls",
    "name": "Calls",
    "meter": "calls",
    "price": {"model": "per_unit", "unit_price": "0.01"},
}
PLAN = {"key": "payg", "name": "Pay as you go", "currency": "USD", "interval": "month", "rate_cards": [CALLS]}


def event(number: int, time: str, **more):
    said = {"specversion": "1.0", "id": str(number), "source": "s", "type": "api.call", "subject": "acme"}
    return said | {"time": time, "data": {"n": 1000}} | more


@pytest.fixture
def counted(client, services, books, now):
    """Send events, and seal the log."""

    def count(events):
        lines = [
            json.dumps({name: value for name, value in one.items() if value is not None}) for one in events
        ]
        sent = client.post(
            "/v1/events", content="\n".join(lines), headers={"content-type": "application/x-ndjson"}
        )
        assert sent.status_code == 202, sent.text
        with only_sealer(services.data_dir) as alone:
            assert alone
            sealer = Sealer(books, services.store, services.data_dir / "log", Lateness(10**9, 10**9))
            while sealer.seal_next(now) is not None:
                pass

    return count


@pytest.fixture
def billed(client, counted):
    """acme has used 3,000 calls in October, which are 30.00 on INV-000001."""
    meter = {"key": "calls", "event_type": "api.call", "aggregation": "sum", "value": "data.n"}
    client.post("/v1/meters", meter)
    client.post("/v1/plans", PLAN)
    client.post("/v1/customers", {"key": "acme", "name": "Acme", "currency": "USD"})
    subscription = {"key": "s", "customer": "acme", "plan": "payg", "start": "2026-10-01T00:00:00Z"}
    assert client.post("/v1/subscriptions", subscription).status_code == 201
    counted([event(number, f"2026-10-{number:02}T12:00:00Z") for number in (1, 2, 3)])
    assert client.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"}).json()["issued_count"] == 1
    return client


def test_an_invoice_is_corrected_at_once_by_a_credit_note(billed, counted):
    void = {"type": "farthing.void", "corrects": "2", "data": None}
    counted([event(9, "2026-11-20T00:00:00Z", **void)])
    done = billed.post("/v1/invoices/INV-000001/correct")
    assert (done.status_code, done.json()) == (200, {"invoice": "INV-000001", "credit_notes": ["CN-000001"]})
    assert billed.post("/v1/invoices/INV-000001/correct").json()["credit_notes"] == []
    note = billed.get("/v1/credit-notes/CN-000001").json()
    assert [(line["of"], line["amount"]) for line in note["lines"]] == [(1, "10.00")]
    behind = billed.get("/v1/credit-notes/CN-000001/events").json()
    assert (behind["credit_note"], behind["invoice"]) == ("CN-000001", "INV-000001")
    assert billed.get("/v1/credit-notes/CN-000009/events").json()["code"] == "credit_note_not_found"
    by_hand = {"key": "k", "invoice": "INV-000001", "reason": "Outage", "amount": "1.00"}
    assert billed.post("/v1/credit-notes", by_hand).status_code == 201
    assert billed.get("/v1/credit-notes/CN-000002/events").json()["code"] == "not_a_correction"
    missing = billed.post("/v1/invoices/INV-000009/correct")
    assert (missing.status_code, missing.json()["code"]) == (404, "invoice_not_found")


def test_a_correction_policy_is_kept_and_a_wrong_one_refused(client):
    assert client.get("/v1/correction-policy").json() == {"below_zero": "next_invoice"}
    for wrong in ({"below_zero": "now"}, {}, {"below_zero": "credit_note", "more": 1}):
        refused = client("PUT", "/v1/correction-policy", json=wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_correction_policy")
    assert client("PUT", "/v1/correction-policy", json={"below_zero": "credit_note"}).status_code == 200
    assert client.get("/v1/correction-policy").json() == {"below_zero": "credit_note"}


def test_a_balance_says_what_is_open_and_where_credit_comes_from(billed, counted, services, tenant_id, now):
    """30.00 of October are voided: November's invoice is 10.00 - 30.00, and December's 20.00 are paid by that."""
    assert billed.get("/v1/customers/nobody/balance").json()["code"] == "customer_not_found"
    counted(
        [
            event(10 + number, "2026-11-20T00:00:00Z", type="farthing.void", corrects=str(number))
            for number in (1, 2, 3)
        ]
        + [event(4, "2026-11-10T00:00:00Z")]
    )
    assert billed.post("/v1/billing-runs", {"until": "2026-12-01T00:00:00Z"}).json()["issued_count"] == 1
    (balance,) = billed.get("/v1/customers/acme/balance").json()["balances"]
    assert {name: balance[name] for name in ("open", "credit", "balance")} == {
        "open": "30", "credit": "20", "balance": "10",
    }  # fmt: skip
    assert [(one["source"], one["reference"]) for one in balance["credits"]] == [("invoice", "INV-000002")]
    collect(services.books, tenant_id, services.gateways_of(tenant_id), now)
    (balance,) = billed.get("/v1/customers/acme/balance").json()["balances"]
    assert (balance["open"], balance["credits"], balance["balance"]) == ("10", [], "10")
    (credit,) = billed.get("/v1/credits?customer=acme").json()["items"]
    assert (credit["amount"], credit["left"], credit["paid"]) == (
        "20", "0", [{"invoice": "INV-000001", "amount": "20"}],
    )  # fmt: skip
    assert billed.get("/v1/credits?customer=bolt").json() == {"items": [], "next_cursor": None}
    paid = billed.get("/v1/invoices/INV-000001/payment").json()
    assert (paid["amount_paid"], paid["amount_from_credit"], paid["amount_open"]) == (
        "20.00",
        "20.00",
        "10.00",
    )
