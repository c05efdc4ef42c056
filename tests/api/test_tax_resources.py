"""Tax, credit notes and voids over HTTP: repeated safely, in pages, and refused with a reason."""

import pytest

FEE = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "100"}}
BOOK = {"key": "book", "name": "Book", "tax_category": "reduced", "price": {"model": "flat", "amount": "50"}}
PLAN = {"key": "api", "name": "API", "currency": "EUR", "interval": "month", "rate_cards": [FEE, BOOK]}
CUSTOMER = {"key": "acme", "name": "Acme", "currency": "EUR", "address": {"country": "DE"}}
SUBSCRIPTION = {"key": "acme-api", "customer": "acme", "plan": "api", "start": "2026-10-01T00:00:00Z"}
RATES = {
    "rates": [
        {"country": "DE", "rate": "19", "name": "VAT"},
        {"country": "DE", "category": "reduced", "rate": "7", "name": "VAT"},
        {"country": "FR", "rate": "20", "name": "VAT", "from": "2014-01-01"},
    ]
}
NOTE = {"key": "outage", "invoice": "INV-000001", "reason": "Outage", "amount": "17.25"}


def made(response, status=201):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def billed(client):
    """INV-000001 over 100.00 at 19 % and 50.00 at 7 %."""
    made(client.post("/v1/plans", PLAN))
    made(client.post("/v1/customers", CUSTOMER))
    made(client.post("/v1/subscriptions", SUBSCRIPTION))
    assert made(client.post("/v1/tax-rates", RATES), 200) == {"changed": 3, "unchanged": 0}
    assert made(client.post("/v1/tax-rates", RATES), 200) == {"changed": 0, "unchanged": 3}
    made(client.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"}), 200)
    return client


def test_the_table_comes_in_pages_and_by_day(billed):
    first = billed.get("/v1/tax-rates?limit=2").json()
    assert [(one["country"], one["category"], one["rate"]) for one in first["items"]] == [
        ("DE", "reduced", "7"),
        ("DE", "standard", "19"),
    ]
    rest = billed.get(f"/v1/tax-rates?limit=2&cursor={first['next_cursor']}").json()
    assert ([one["country"] for one in rest["items"]], rest["next_cursor"]) == (["FR"], None)
    assert billed.get("/v1/tax-rates?country=FR&on=2013-12-31").json()["items"] == []
    assert billed.get("/v1/tax-rates?country=Germany").status_code == 422


def test_tax_ids_are_checked_and_say_what_a_supply_bears(billed):
    facts = {"tax_ids": [{"country": "FR", "number": "40303265045"}]}
    put = made(billed("PUT", "/v1/customers/acme/tax", json=facts), 200)
    assert put["tax_ids"] == [{"country": "FR", "number": "FR40303265045", "checked": True}]
    assert billed.get("/v1/customers/acme/tax").json() == put
    wrong = {"tax_ids": [{"country": "FR", "number": "40303265046"}]}
    problem = made(billed("PUT", "/v1/customers/acme/tax", json=wrong), 422)
    assert (problem["code"], problem["path"]) == ("invalid_tax_id", "tax_ids[0].number")
    said = billed.get("/v1/customers/acme/tax-treatment?category=reduced&on=2026-11-01").json()
    assert (said["treatment"], said["taxes"]) == ("taxed", [{"name": "VAT", "region": None, "rate": "7"}])


def test_an_invoice_says_its_taxes(billed):
    found = billed.get("/v1/invoices/INV-000001").json()
    assert (found["subtotal"], found["tax"], found["total"]) == ("150.00", "22.50", "172.50")
    assert [(one["rate"], one["amount"]) for one in found["taxes"]] == [("19", "19.00"), ("7", "3.50")]


def test_a_credit_note_is_issued_once_and_read_as_json_and_pdf(billed):
    headers = {"idempotency-key": "k"}
    first = made(billed.post("/v1/credit-notes", NOTE, headers=headers))
    assert made(billed.post("/v1/credit-notes", NOTE, headers=headers)) == first
    assert made(billed.post("/v1/credit-notes", NOTE), 200) == first
    assert (first["number"], first["subtotal"], first["tax"], first["total"]) == (
        "CN-000001", "15.00", "2.25", "17.25",
    )  # fmt: skip
    assert billed.get("/v1/credit-notes/CN-000001").json() == first
    for path, accept in (("CN-000001.pdf", "*/*"), ("CN-000001", "application/pdf")):
        answer = billed.get(f"/v1/credit-notes/{path}", headers={"accept": accept})
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content.startswith(b"%PDF")
    page = billed.get("/v1/credit-notes?invoice=INV-000001").json()
    assert [one["number"] for one in page["items"]] == ["CN-000001"]
    refused = made(billed.post("/v1/credit-notes", NOTE | {"key": "more", "amount": "172.50"}), 409)
    assert (refused["code"], refused["path"]) == ("credit_over_invoice", "amount")


def test_an_invoice_is_voided_once_and_billed_again(billed):
    said = made(billed.post("/v1/invoices/INV-000001/void", {"reason": "Mistake"}), 200)
    assert (said["status"], said["void_reason"]) == ("void", "Mistake")
    assert made(billed.post("/v1/invoices/INV-000001/void", {"reason": "Again"}), 200) == said
    assert billed.get("/v1/invoices/INV-000001").json()["status"] == "void"
    again = made(billed.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"}), 200)
    assert again["issued"] == ["INV-000002"]
    statuses = [one["status"] for one in billed.get("/v1/invoices").json()["items"]]
    assert statuses == ["void", "issued"]
    refused = made(billed.post("/v1/credit-notes", NOTE), 409)
    assert refused["code"] == "invoice_void"
