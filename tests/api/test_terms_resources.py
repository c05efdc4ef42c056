"""Coupons, commitments, previews and estimates over HTTP: repeated safely, in pages, and refused with a reason."""

import pytest

METER = {"key": "calls", "event_type": "call", "aggregation": "count"}
CARD = {"key": "calls", "name": "Calls", "meter": "calls", "price": {"model": "per_unit", "unit_price": "2"}}
FEE = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "10"}}
PLAN = {"key": "payg", "name": "Payg", "currency": "USD", "interval": "month", "rate_cards": [CARD, FEE]}
SUBSCRIPTION = {"key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2026-11-01T00:00:00Z"}
COUPON = {"key": "launch", "name": "Launch", "percent": "10", "duration": "once", "max_redemptions": 1}
COMMITMENT = {"key": "year", "kind": "minimum", "amount": "100", "interval": "year"}
OF = "/v1/subscriptions/acme-payg"


def made(response, status=201):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def furnished(client):
    made(client.post("/v1/meters", METER))
    made(client.post("/v1/plans", PLAN | {"minimum": "5"}))
    made(client.post("/v1/customers", {"key": "acme", "name": "Acme", "currency": "USD"}))
    made(client.post("/v1/subscriptions", SUBSCRIPTION))
    made(client.post("/v1/coupons", COUPON))
    return client


def test_a_coupon_is_redeemed_once_and_says_what_it_did(furnished):
    wanted = {"coupon": "launch", "start": "2026-11-01T00:00:00Z"}
    state = wanted | {"invoices_reduced": 0, "invoices_left": 1, "taken_off": "0"}
    assert made(furnished.post(f"{OF}/coupons", wanted)) == state
    assert made(furnished.post(f"{OF}/coupons", wanted), 200) == state
    assert furnished.get("/v1/coupons/launch").json() == COUPON | {"redeemed": 1}
    made(furnished.post("/v1/billing-runs", {"until": "2026-12-01T00:00:00Z"}), 200)
    assert furnished.get(f"{OF}/coupons").json() == {
        "items": [state | {"invoices_reduced": 1, "invoices_left": 0, "taken_off": "1"}],
        "next_cursor": None,
    }
    second = made(furnished.post("/v1/subscriptions", SUBSCRIPTION | {"key": "second"}))
    refused = furnished.post(f"/v1/subscriptions/{second['key']}/coupons", wanted)
    assert (refused.status_code, refused.json()["code"]) == (409, "coupon_exhausted")


def test_commitments_come_in_pages(furnished):
    for year in range(2027, 2030):
        made(
            furnished.post(
                f"{OF}/commitments", COMMITMENT | {"key": f"y{year}", "start": f"{year}-01-01T00:00:00Z"}
            )
        )
    first = furnished.get(f"{OF}/commitments?limit=2").json()
    assert [one["key"] for one in first["items"]] == ["y2027", "y2028"]
    rest = furnished.get(f"{OF}/commitments?limit=2&cursor={first['next_cursor']}").json()
    assert ([one["key"] for one in rest["items"]], rest["next_cursor"]) == (["y2029"], None)
    assert rest["items"][0] | {"used": "0", "left": "100"} == rest["items"][0]
    refused = furnished.post(f"{OF}/commitments", COMMITMENT | {"start": "2027-06-01T00:00:00Z"})
    assert (refused.status_code, refused.json()["code"]) == (409, "commitments_overlap")


def test_a_subscription_with_terms_is_created_in_one_request(furnished):
    body = SUBSCRIPTION | {"key": "second", "coupons": ["launch"], "commitments": [COMMITMENT]}
    made(furnished.post("/v1/subscriptions", body, headers={"idempotency-key": "k"}))
    made(furnished.post("/v1/subscriptions", body, headers={"idempotency-key": "k"}))
    assert made(furnished.post("/v1/subscriptions", body), 200)["key"] == "second"
    assert len(furnished.get("/v1/subscriptions/second/commitments").json()["items"]) == 1
    wrong = body | {
        "key": "third",
        "coupons": ["none"],
        "commitments": [COMMITMENT | {"rate_cards": ["none"]}],
    }
    problem = made(furnished.post("/v1/subscriptions", wrong), 422)
    assert [fault["path"] for fault in problem["faults"]] == ["coupons[0]", "commitments[0].rate_cards"]


def test_the_next_invoice_and_what_usage_would_add(furnished):
    (ahead,) = furnished.get("/v1/customers/acme/upcoming-invoices").json()["items"]
    assert (ahead["status"], ahead["number"], ahead["total"]) == ("open", None, "10.00")
    asked = {"customer": "acme", "usage": [{"meter": "calls", "quantity": "7"}]}
    said = made(furnished.post("/v1/estimates", asked), 200)
    assert (said["amount_exact"], said["lines"][0]["quantity"]) == ("14", "7")
    assert furnished.get("/v1/customers/acme/upcoming-invoices").json()["items"] == [ahead]
    assert furnished.get("/v1/invoices").json()["items"] == []
    problem = made(
        furnished.post("/v1/estimates", asked | {"usage": [{"meter": "none", "quantity": "x"}]}), 422
    )
    assert problem["faults"][0]["path"] == "usage[0].quantity"
