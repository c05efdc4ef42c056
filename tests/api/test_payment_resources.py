"""Payments over HTTP: what a client sends and sees; webhooks that are forged, stale, replayed or of somebody else."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from serving import WEBHOOK_SECRET

from farthing.payments.collecting.service import collect
from farthing.payments.paying_out.service import sync_payouts
from farthing.payments.signature import sign

CARD = {
    "key": "calls", "name": "Fee", "price": {"model": "flat", "amount": "100"},
}  # fmt: skip
PLAN = {"key": "fee", "name": "Fee", "currency": "USD", "interval": "month", "rate_cards": [CARD]}
METHOD = {"key": "card", "customer": "acme", "gateway": "fake", "reference": "tok_ok"}


@pytest.fixture
def owing(client):
    """acme owes 100.00 on INV-000001, due 30 days from now."""
    client.post("/v1/plans", PLAN)
    client.post("/v1/customers", {"key": "acme", "name": "Acme", "currency": "USD"})
    subscription = {"key": "s", "customer": "acme", "plan": "fee", "start": "2026-10-01T00:00:00Z"}
    assert client.post("/v1/subscriptions", subscription).status_code == 201
    assert client.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"}).json()["issued_count"] == 1
    return client


def received(client, **more):
    raw = {
        "key": "a",
        "customer": "acme",
        "amount": "30",
        "currency": "USD",
        "paid_at": "2026-11-20T00:00:00Z",
    }
    return client.post("/v1/payments", raw | more)


def collected(services, tenant_id, now):
    return collect(services.books, tenant_id, services.gateways_of(tenant_id), now)


def test_an_invoice_says_how_far_it_is_paid_and_never_changes(owing):
    before = owing.get("/v1/invoices/INV-000001").json()
    assert before["payment_status"] == "open"
    assert received(owing).status_code == 201
    assert received(owing).status_code == 200
    said = {"payment_status": "partly_paid", "amount_paid": "30.00", "amount_open": "70.00"}
    shown = owing.get("/v1/invoices/INV-000001/payment").json()
    assert shown == {"invoice": "INV-000001", "due_at": "2026-12-23T12:00:00Z"} | said
    (listed,) = owing.get("/v1/invoices").json()["items"]
    assert said.items() <= listed.items()
    assert owing.get("/v1/invoices/INV-000001").json() == before | said
    detail = owing.get("/v1/payments/a").json()
    assert detail["allocations"][0]["invoice"] == "INV-000001"
    assert [step["to"] for step in detail["history"]] == ["succeeded"]
    assert owing.get("/v1/payments?invoice=INV-000001").json()["items"][0]["key"] == "a"
    assert owing.get("/v1/payments?state=failed").json()["items"] == []


def test_a_write_off_and_a_dunning_policy(owing):
    assert owing("PUT", "/v1/dunning-policy", json={"suspend_after_days": 5}).status_code == 200
    assert owing.get("/v1/dunning-policy").json()["suspend_after_days"] == 5
    done = owing.post("/v1/invoices/INV-000001/write-off", {"reason": "insolvent"})
    assert done.json()["payment_status"] == "written_off"


def test_a_method_a_charge_a_refund_and_a_dispute_with_evidence(owing, services, tenant_id, now):
    assert owing.post("/v1/payment-methods", METHOD).json()["label"] == "Good card 4242"
    assert owing.post("/v1/payment-methods", METHOD).status_code == 200
    other = owing.post("/v1/payment-methods", METHOD | {"reference": "tok_action"})
    assert (other.status_code, other.json()["code"]) == (409, "payment_method_conflict")
    unknown = owing.post("/v1/payment-methods", METHOD | {"key": "k", "gateway": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_gateway")
    asked = owing.post("/v1/payments", {"key": "now", "method": "card", "invoice": "INV-000001"})
    assert (asked.status_code, asked.json()["state"]) == (201, "requested")
    collected(services, tenant_id, now)
    assert owing.get("/v1/payments/now").json()["state"] == "succeeded"
    too_much = owing.post("/v1/refunds", {"key": "r", "payment": "now", "amount": "100.01"})
    assert (too_much.status_code, too_much.json()["code"]) == (409, "refund_above_payment")
    assert owing.post("/v1/refunds", {"key": "r", "payment": "now", "amount": "10"}).status_code == 201
    collected(services, tenant_id, now)
    assert owing.get("/v1/refunds/r").json()["state"] == "succeeded"
    fake = services.gateways_of(tenant_id)["fake"]
    fake.charge_back("now")
    for headers, body in fake.webhooks(now):
        answer = owing.with_key(None)("POST", "/v1/webhooks/fake", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    (dispute,) = owing.get("/v1/disputes").json()["items"]
    assert (dispute["amount"], dispute["state"]) == ("90.00", "needs_response")
    evidence = owing.get(f"/v1/disputes/{dispute['key']}/evidence").json()
    assert evidence["invoices"][0]["lines"][0]["amount"] == "100.00"
    assert evidence["payment"]["charged_back"] == "90.00"
    decided = owing.post(f"/v1/disputes/{dispute['key']}/decision", {"state": "won"})
    assert decided.json()["state"] == "won"
    found = owing.get("/v1/reconciliations/fake?end=2026-11-24T00:00:00Z").json()
    # The gateway took all of it back, refund and all, and knows nothing of the decision.
    assert [one["reason"] for one in found["differences"]] == ["amount_differs", "unknown_there"]
    assert owing("DELETE", "/v1/payment-methods/card").json()["removed_at"]


def test_a_payout_and_an_answer(owing, services, tenant_id, now):
    owing.post("/v1/payment-methods", METHOD)
    owing.post("/v1/payments", {"key": "now", "method": "card", "invoice": "INV-000001"})
    collected(services, tenant_id, now)
    fake = services.gateways_of(tenant_id)["fake"]
    fake.charge_back("now", D(40))
    for headers, content in fake.webhooks(now):
        owing.with_key(None)("POST", "/v1/webhooks/fake", content=content, headers=headers)
    (dispute,) = owing.get("/v1/disputes").json()["items"]
    path = f"/v1/disputes/{dispute['key']}/answer"
    assert owing.get(path).json()["code"] == "dispute_not_answered"
    written = owing.post(path, {"note": "They wrote to us."})
    assert (written.status_code, written.json()["state"]) == (201, "written")
    assert "They wrote to us." in written.json()["content"]["uncategorized_text"]
    assert owing.post(path, {}).status_code == 200
    collected(services, tenant_id, now)
    assert owing.get(path).json()["state"] == "accepted"
    assert owing.get(f"/v1/disputes/{dispute['key']}").json()["state"] == "under_review"

    payout = fake.pay_out("USD", now.date())
    sync_payouts(services.books, tenant_id, fake, now + timedelta(seconds=1))
    (listed,) = owing.get("/v1/payouts?in_transit=true").json()["items"]
    assert (listed["payout"], listed["amount"], listed["listed"]) == (payout.name, "42.10", "42.10")
    path = f"/v1/payouts/fake/{payout.name}"
    first = owing.get(f"{path}/movements?limit=3").json()
    assert [one["kind"] for one in first["items"]] == ["dispute", "dispute_fee", "fee"]
    (last,) = owing.get(f"{path}/movements?limit=3&cursor={first['next_cursor']}").json()["items"]
    assert (last["kind"], last["amount"], last["key"]) == ("payment", "100.00", "now")
    report = owing.get("/v1/reports/clearing").json()
    assert [(row["what"], row["amount"]) for row in report["rows"]] == [("in transit", "42.1")]
    arrived = owing.post(f"{path}/arrival", {"arrived_at": "2026-11-23T00:00:00Z"})
    assert (arrived.status_code, arrived.json()["state"]) == (200, "arrived")
    assert owing.get("/v1/payouts?in_transit=true").json()["items"] == []
    assert owing.get("/v1/reports/clearing").json()["rows"] == []
    assert owing.get(path).json()["arrived_at"] == "2026-11-23T00:00:00Z"


# ---- Webhooks


@pytest.fixture
def message(owing, services, tenant_id, now):
    """A payment whose success the gateway tells: (headers, body)."""
    owing.post("/v1/payment-methods", METHOD | {"reference": "tok_processing"})
    owing.post("/v1/payments", {"key": "now", "method": "card", "invoice": "INV-000001"})
    collected(services, tenant_id, now)
    fake = services.gateways_of(tenant_id)["fake"]
    fake.settle_processing()
    (message,) = fake.webhooks(now)
    return message


def told(client, message):
    headers, body = message
    return client.with_key(None)("POST", "/v1/webhooks/fake", content=body, headers=headers)


def test_what_a_gateway_tells_is_done_once(owing, message):
    assert owing.get("/v1/payments/now").json()["state"] == "processing"
    assert told(owing, message).json() == {"applied": 1, "nothing_new": 0, "unmatched": 0, "ignored": 0}
    assert told(owing, message).json()["nothing_new"] == 1
    assert owing.get("/v1/payments/now").json()["state"] == "succeeded"
    assert owing.get("/v1/invoices/INV-000001/payment").json()["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda body, now: ({}, body), "invalid_webhook_signature"),
        (lambda body, now: ({"fake-signature": "t=1,v1=zz"}, body), "invalid_webhook_signature"),
        (lambda body, now: ({"fake-signature": "garbage" * 500}, body), "invalid_webhook_signature"),
        (lambda body, now: ({"fake-signature": sign("whsec_another", body, now)}, body), "invalid_webhook_signature"),
        (lambda body, now: ({"fake-signature": sign(WEBHOOK_SECRET, body, now)}, body + b" "),
         "invalid_webhook_signature"),
        (lambda body, now: ({"fake-signature": sign(WEBHOOK_SECRET, body, now - timedelta(seconds=301))}, body),
         "stale_webhook"),
        (lambda body, now: ({"fake-signature": sign(WEBHOOK_SECRET, body, now + timedelta(seconds=301))}, body),
         "stale_webhook"),
        (lambda body, now: ({"fake-signature": sign(WEBHOOK_SECRET, b"{}", now)}, b"{}"), "invalid_webhook"),
        (lambda body, now: ({"fake-signature": sign(WEBHOOK_SECRET, b"\xff", now)}, b"\xff"), "invalid_webhook"),
    ],
)  # fmt: skip
def test_what_is_forged_or_stale_does_nothing(owing, message, now, forge, code):
    answer = told(owing, forge(message[1], now))
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert WEBHOOK_SECRET not in answer.text
    assert owing.get("/v1/payments/now").json()["state"] == "processing"


def test_every_bit_of_a_message_counts(owing, message):
    headers, body = message
    for place in range(0, len(body), 7):
        broken = bytearray(body)
        broken[place] ^= 1
        assert told(owing, (headers, bytes(broken))).status_code == 401
    assert told(owing, message).status_code == 200


def test_of_what_is_not_known_nothing_is_believed(owing, message, now):
    body = message[1].replace(b"fake_", b"else_").replace(b"evt_", b"evx_")
    answer = told(owing, ({"fake-signature": sign(WEBHOOK_SECRET, body, now)}, body))
    assert answer.json()["unmatched"] == 1
    # Another amount than was asked for is left to people.
    body = message[1].replace(b'"100.00"', b'"1.00"').replace(b"evt_", b"evy_")
    assert told(owing, ({"fake-signature": sign(WEBHOOK_SECRET, body, now)}, body)).json()["unmatched"] == 1
    assert owing.get("/v1/payments/now").json()["state"] == "processing"


def test_a_gateway_that_is_not_here(client):
    answer = client.with_key(None)("POST", "/v1/webhooks/stripe", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_gateway")
