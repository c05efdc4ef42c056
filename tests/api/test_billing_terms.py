"""Billing terms, drafts and the states of invoices over HTTP."""

from datetime import timedelta

import pytest

from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import Lateness
from farthing.invoicing.service import run_billing

METER = {"key": "calls", "event_type": "call", "aggregation": "count"}
CARD = {
    "key": "calls",
    "name": "Calls",
    "meter": "calls",
    "price": {"model": "per_unit", "unit_price": "2.5"},
}
PLAN = {
    "key": "payg",
    "name": "Payg",
    "currency": "USD",
    "interval": "day",
    "net_days": 0,
    "rate_cards": [CARD],
}
OF_ACME = "/v1/customers/acme/billing-terms"


def made(response, status=200):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def used(client, books, services, now):
    """Acme and Zoe have a call each on the day before yesterday, and on yesterday."""
    made(client.post("/v1/meters", METER), 201)
    made(client.post("/v1/plans", PLAN), 201)
    for key in ("acme", "zoe"):
        made(client.post("/v1/customers", {"key": key, "name": key, "currency": "USD"}), 201)
        body = {"key": f"{key}-payg", "customer": key, "plan": "payg", "start": "2026-11-21T00:00:00Z"}
        made(client.post("/v1/subscriptions", body), 201)
        for day in ("21", "22"):
            event = {"id": f"{key}{day}", "source": "s", "type": "call", "subject": key}
            sent = client.post("/v1/events", event | {"time": f"2026-11-{day}T10:00:00Z"})
            assert sent.status_code == 202
    with only_sealer(services.data_dir) as alone:
        assert alone
        sealer = Sealer(books, services.store, services.data_dir / "log", Lateness(10**9, 10**9))
        while sealer.seal_next(now) is not None:
            pass
    return client


def test_terms_are_put_by_tenant_and_customer(used):
    assert made(used.get("/v1/billing-terms")) == {"customer": None, "own": {}, "billing_terms": {}}
    terms = {"smallest_invoice": {"USD": "5.00"}, "grace_hours": 24, "collective": True}
    assert made(used("PUT", "/v1/billing-terms", json=terms))["billing_terms"] == terms
    own = {"grace_hours": 0}
    held = {"customer": "acme", "own": own, "billing_terms": terms | own}
    keyed = {"headers": {"idempotency-key": "k"}}
    assert (
        made(used("PUT", OF_ACME, json=own, **keyed)) == made(used("PUT", OF_ACME, json=own, **keyed)) == held
    )
    assert made(used.get(OF_ACME)) == held
    assert made(used("DELETE", OF_ACME)) == held | {"own": None, "billing_terms": terms}
    for body, path in (
        ({"grace_hours": -1}, "grace_hours"),
        ({"smallest_invoice": {"USD": "1.001"}}, "smallest_invoice.USD"),
        ({"collective": "yes"}, "collective"),
        ([], ""),
    ):
        refused = used("PUT", OF_ACME, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_billing_terms")
        assert refused.json()["faults"][0]["path"] == path
    assert used.get("/v1/customers/nobody/billing-terms").status_code == 404


def test_drafts_are_listed_issued_and_become_overdue(used, books, services, tenant_id, now):
    """Now is 23 November, noon: the 21st's grace of 24 hours ended at its beginning, the 22nd's ends at midnight."""
    made(used("PUT", "/v1/billing-terms", json={"grace_hours": 24}))
    first = made(used.get("/v1/invoices?state=draft&limit=1"))
    assert first["items"] == [
        {
            "number": None,
            "draft": "acme-payg/2026-11-22T00:00:00Z/period",
            "customer": "acme",
            "subscription": "acme-payg",
            "status": "draft",
            "currency": "USD",
            "period": {"start": "2026-11-22T00:00:00Z", "end": "2026-11-23T00:00:00Z"},
            "subtotal": "2.50",
            "tax": "0.00",
            "total_exact": "2.5",
            "total": "2.50",
            "reason": "period",
            "issue_at": "2026-11-24T00:00:00Z",
        }
    ]
    second = made(used.get(f"/v1/invoices?state=draft&cursor={first['next_cursor']}"))
    assert [one["subscription"] for one in second["items"]] == ["zoe-payg"]
    assert second["next_cursor"] is None
    statuses = [one["status"] for one in made(used.get("/v1/customers/zoe/upcoming-invoices"))["items"]]
    assert statuses == ["due", "draft"]
    run = run_billing(books, services.store, tenant_id, now, now - timedelta(hours=1))
    assert run.issued == ["INV-000001", "INV-000002"]
    assert [one["reason"] for one in run.skipped] == ["in_grace", "in_grace"]
    early = made(used.post("/v1/invoices/issue", {"customer": "zoe"}))
    assert (early["issued"], early["issued_count"]) == (["INV-000003"], 1)
    assert [one["customer"] for one in made(used.get("/v1/invoices?state=draft"))["items"]] == ["acme"]
    refused = used.post("/v1/invoices/issue", {})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_issue")
    assert used.post("/v1/invoices/issue", {"subscription": "none"}).status_code == 404
    # Due at once: those of an hour ago are overdue, the one of this moment is not yet.
    overdue = made(used.get("/v1/invoices?state=overdue&limit=1"))
    assert [(one["number"], one["payment_status"]) for one in overdue["items"]] == [("INV-000001", "overdue")]
    rest = made(used.get(f"/v1/invoices?state=overdue&cursor={overdue['next_cursor']}"))
    assert [one["number"] for one in rest["items"]] == ["INV-000002"]
    of_zoe = made(used.get("/v1/invoices?state=overdue&customer=zoe"))["items"]
    assert [one["number"] for one in of_zoe] == ["INV-000002"]
    made(used.post("/v1/invoices/INV-000003/void", {"reason": "test"}))
    assert [one["number"] for one in made(used.get("/v1/invoices?state=void"))["items"]] == ["INV-000003"]
    assert [one["number"] for one in made(used.get("/v1/invoices?state=issued"))["items"]] == run.issued
    assert used.get("/v1/invoices?state=paid").status_code == 422
