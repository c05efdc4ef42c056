"""The OpenAPI description: valid, whole, and of use to who makes a client from it."""

import json
from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel

from farthing.api.documents import invoice, ledger, shapes, subscription, terms
from farthing.api.front import OPEN_PATHS, SIGNED_PATHS


@pytest.fixture
def document(client) -> dict[str, Any]:
    return client.with_key(None).get("/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own_and_typed_answers(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert {"send_events", "create_customer", "get_usage", "run_billing", "list_invoices"} <= set(names)
    for path, method, operation in operations(document):
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert good, (path, method)
        for answer in good:
            schemas = [content["schema"] for content in answer["content"].values()]
            assert schemas, (path, method)
            assert all(schema != {} for schema in schemas), (path, method)


def test_every_error_is_a_problem(document):
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status[0] in "45" and path not in OPEN_PATHS:
                assert set(answer["content"]) == {"application/problem+json"}, (path, method, status)
        if path not in OPEN_PATHS:
            assert {"401", "503"} <= set(operation["responses"])


def test_every_write_has_a_typed_body_and_takes_an_idempotency_key(document):
    for path, method, operation in operations(document):
        if method == "get" or path == "/v1/events" or path.startswith(SIGNED_PATHS):
            continue
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["additionalProperties"] is False


def test_every_list_is_in_pages(document):
    for path, method, operation in operations(document):
        if operation["operationId"].startswith("list_"):
            assert {"limit", "cursor"} <= {parameter["name"] for parameter in operation["parameters"]}, path
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            page = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert set(page["required"]) == {"items", "next_cursor"}, (path, method)


def test_a_key_is_needed_but_for_the_open_addresses(document):
    assert document["security"] == [{"api_key": []}]
    for path, _, operation in operations(document):
        assert (operation.get("security") == []) == (path in OPEN_PATHS or path.startswith(SIGNED_PATHS))


# ---- What is described is what is answered

EXAMPLES = {
    "POST /v1/meters": {"key": "calls", "event_type": "call", "aggregation": "count"},
    "POST /v1/plans": {
        "key": "payg",
        "name": "Payg",
        "currency": "USD",
        "interval": "month",
        "rate_cards": [
            {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "10"}},
            {
                "key": "calls",
                "name": "Calls",
                "meter": "calls",
                "price": {"model": "per_unit", "unit_price": "1"},
            },
        ],
    },
    "POST /v1/customers": {"key": "acme", "name": "Acme", "currency": "USD", "address": {"city": "Bonn"}},
    "POST /v1/subscriptions": {
        "key": "acme-payg",
        "customer": "acme",
        "plan": "payg",
        "start": "2026-10-01T00:00:00Z",
    },
    "POST /v1/coupons": {"key": "launch", "name": "Launch", "percent": "20", "duration": "forever"},
    "POST /v1/subscriptions/acme-payg/coupons": {"coupon": "launch", "start": "2026-10-01T00:00:00Z"},
    "POST /v1/subscriptions/acme-payg/commitments": {
        "key": "month",
        "kind": "prepaid",
        "amount": "5",
        "interval": "month",
        "overage_percent": "120",
    },
    "POST /v1/estimates": {"customer": "acme", "usage": [{"meter": "calls", "quantity": "7"}]},
    "GET /v1/customers/acme/upcoming-invoices": None,
    "POST /v1/events": {"id": "1", "source": "s", "type": "call", "subject": "acme"},
    "POST /v1/billing-runs": {"until": "2026-12-01T00:00:00Z"},
    "PUT /v1/seller": {"name": "Northwind", "paper": "a4"},
    "POST /v1/api-keys": {"name": "ci"},
    "GET /v1/meters": None,
    "GET /v1/plans": None,
    "GET /v1/plans/payg": None,
    "GET /v1/customers/acme": None,
    "GET /v1/subscriptions": None,
    "GET /v1/coupons": None,
    "GET /v1/coupons/launch": None,
    "GET /v1/subscriptions/acme-payg/coupons": None,
    "GET /v1/subscriptions/acme-payg/commitments": None,
    "GET /v1/invoices": None,
    "GET /v1/invoices/INV-000002": None,
    "GET /v1/invoices/INV-000002/lines/2/explain": None,
    "GET /v1/invoices/INV-000001": None,
    "GET /v1/invoices/INV-000001/lines/1/explain": None,
    "POST /v1/subscriptions/acme-payg/changes": {"kind": "pause", "at": "2026-12-01T00:00:00Z"},
    "GET /v1/subscriptions/acme-payg/changes": None,
    "POST /v1/subscriptions/acme-payg/charges": {
        "key": "setup",
        "description": "Setup",
        "amount": "250",
        "at": "2026-11-05T00:00:00Z",
    },
    "GET /v1/subscriptions/acme-payg/charges": None,
    "POST /v1/plans/payg/migrations": {"to_version": 1, "mode": "now"},
    "PUT /v1/billing-terms": {"smallest_invoice": {"USD": "5"}, "grace_hours": 72, "collective": True},
    "GET /v1/billing-terms": None,
    "GET /v1/customers/acme/billing-terms": None,
    "GET /v1/invoices?state=draft": None,
    "POST /v1/invoices/issue": {"customer": "acme"},
    "GET /v1/usage?meter=calls&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z": None,
    "GET /v1/ledger/trial-balance?as_of=2026-12-01T00:00:00Z": None,
    "GET /v1/ledger/accounts": None,
    "GET /v1/ledger/entries": None,
    "GET /v1/account": None,
    "GET /v1/quarantine": None,
    "GET /v1/seller": None,
    "GET /v1/api-keys": None,
    "GET /v1/health": None,
}


def test_answers_have_the_described_shape(client, document):
    for request, body in EXAMPLES.items():
        method, _, address = request.partition(" ")
        response = client(method, address, **({} if body is None else {"json": body}))
        assert response.status_code in (200, 201, 202), (request, response.text)
        shape = described(document, method, address, response.status_code)
        shape.model_validate(response.json(), strict=False)
        assert unknown_fields(shape, response.json()) == set(), request


def described(document, method, address, status) -> type[BaseModel]:
    """The model that the description names for an answer."""
    path = address.partition("?")[0]
    operation = document["paths"].get(path, {}).get(method.lower())
    if operation is None:
        parts = path.split("/")
        (template,) = (
            one
            for one in document["paths"]
            if len(one.split("/")) == len(parts)
            and all(
                a == b or (a.startswith("{") and a.endswith("}"))
                for a, b in zip(one.split("/"), parts, strict=True)
            )
        )
        operation = document["paths"][template][method.lower()]
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    rooms = (shapes, invoice, ledger, subscription, terms)
    model = next(getattr(room, name) for room in rooms if hasattr(room, name))
    assert issubclass(model, BaseModel)
    return model


def unknown_fields(model: type[BaseModel], answer: dict[str, Any]) -> set[str]:
    """Fields of an answer that its description does not name."""
    if model.model_config.get("extra") == "allow":
        return set()
    named = {field.alias or name for name, field in model.model_fields.items()}
    return set(answer) - named
