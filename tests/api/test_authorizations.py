"""Authorisations over HTTP: held, settled, released, refused, each with its status and code."""

import asyncio
import json
from typing import Any

import pytest
from serving import logged

from farthing.api.services import Services
from farthing.customers.apply import apply
from farthing.wallets.holds.content import parse_authorize
from farthing.wallets.service import create_grant, create_wallet

TOKENS = {
    "key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "data.tokens",
    "dimensions": {"model": "data.model"},
}  # fmt: skip
LARGEST = {"key": "largest", "event_type": "llm", "aggregation": "max", "value": "data.tokens"}
PAYG = {
    "key": "payg", "name": "Payg", "currency": "USD", "interval": "month",
    "rate_cards": [{
        "key": "tokens", "name": "Tokens", "meter": "tokens", "price": {"model": "per_unit", "unit_price": "0.01"},
    }],
}  # fmt: skip


@pytest.fixture
def funded(services: Services, tenant_id: int) -> None:
    """acme, also known as key-7, with 10 dollars; broke, with no wallet; idle, with no subscription."""
    document = {
        "meters": [TOKENS, LARGEST],
        "plans": [PAYG],
        "customers": [
            {"key": "acme", "name": "Acme", "currency": "USD", "aliases": ["key-7"]},
            {"key": "broke", "name": "Broke", "currency": "USD"},
            {"key": "idle", "name": "Idle", "currency": "USD"},
        ],
        "subscriptions": [
            {"key": f"{name}-payg", "customer": name, "plan": "payg", "start": "2026-11-01T00:00:00Z"}
            for name in ("acme", "broke")
        ],
    }
    now = services.now()
    apply(services.books, tenant_id, document, now)
    create_wallet(services.books, tenant_id, {"key": "w", "customer": "acme", "currency": "USD"}, now)
    create_grant(services.books, tenant_id, "w", {"key": "g", "kind": "paid", "amount": "10"}, now)


def wanted(quantity: str = "100", **more: Any) -> dict[str, Any]:
    return {"customer": "acme", "usage": [{"meter": "tokens", "quantity": quantity}], **more}


def happened(event_id: str, tokens: int = 60, **more: Any) -> dict[str, Any]:
    return {
        "event": {
            "specversion": "1.0", "id": event_id, "source": "api", "type": "llm", "subject": "acme",
            "data": {"tokens": tokens}, **more,
        }
    }  # fmt: skip


pytestmark = pytest.mark.usefixtures("funded")


def test_a_call_is_authorised_settled_and_shown(client) -> None:
    held = client("POST", "/v1/authorizations", json=wanted(key="call-1", ttl_seconds=60))
    assert held.status_code == 201
    assert held.json() == {
        "key": "call-1", "customer": "acme", "status": "held", "currency": "USD", "amount": "1",
        "created_at": "2026-11-23T12:00:00Z", "expires_at": "2026-11-23T12:01:00Z",
    }  # fmt: skip
    settled = client("POST", "/v1/authorizations/call-1/settle", json=happened("e1"))
    assert settled.status_code == 200
    assert settled.json() | {"ended_at": 0} == held.json() | {
        "status": "settled", "ended_at": 0, "settled": "0.6", "covered": "0.6", "owed": "0",
        "event": {"source": "api", "id": "e1"}, "counted_at": None,
    }  # fmt: skip
    shown = client("GET", "/v1/authorizations/call-1").json()
    part = {"grant": "g", "rate_card": "tokens", "period_start": "2026-11-01T00:00:00Z"}
    assert shown == settled.json() | {
        "held_on": [part | {"amount": "1"}],
        "settled_on": [part | {"amount": "0.6"}],
    }
    assert client("GET", "/v1/authorizations?status=settled").json()["items"] == [settled.json()]
    assert client("GET", "/v1/authorizations?status=held").json()["items"] == []


def test_the_event_of_a_settlement_is_in_the_log(client, services: Services) -> None:
    client("POST", "/v1/authorizations", json=wanted(key="k"))
    client("POST", "/v1/authorizations/k/settle", json=happened("e-logged"))
    assert logged(services.data_dir) == ["e-logged"]


def test_asked_again_it_is_answered_as_the_first_time(client) -> None:
    first = client("POST", "/v1/authorizations", json=wanted(key="k"))
    again = client("POST", "/v1/authorizations", json=wanted(key="k"))
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (
        200,
        first.json(),
        "true",
    )
    other = client("POST", "/v1/authorizations", json=wanted("101", key="k"))
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    by_header = {"Idempotency-Key": "from-header"}
    assert (
        client("POST", "/v1/authorizations", json=wanted(), headers=by_header).json()["key"] == "from-header"
    )
    made = client("POST", "/v1/authorizations", json=wanted()).json()["key"]
    assert made.startswith("auth_")
    client("POST", "/v1/authorizations/k/settle", json=happened("e1"))
    settled = client("POST", "/v1/authorizations/k/settle", json=happened("e1"))
    assert (settled.status_code, settled.headers["idempotent-replayed"]) == (200, "true")
    other = client("POST", "/v1/authorizations/k/settle", json=happened("e2"))
    assert (other.status_code, other.json()["code"]) == (409, "settled_with_another_event")
    elsewhere = client("POST", f"/v1/authorizations/{made}/settle", json=happened("e1"))
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "event_settled_elsewhere")


def test_what_is_not_there_is_refused_with_the_shortfall(client) -> None:
    refused = client("POST", "/v1/authorizations", json=wanted("1001"))
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (402, "insufficient_funds")
    assert {name: problem[name] for name in ("required", "available", "shortfall", "currency")} == {
        "required": "10.01", "available": "10", "shortfall": "0.01", "currency": "USD",
    }  # fmt: skip
    assert client("POST", "/v1/authorizations", json=wanted("1000")).status_code == 201
    broke = client("POST", "/v1/authorizations", json=wanted() | {"customer": "broke"})
    assert (broke.status_code, broke.json()["shortfall"]) == (402, "1")


def test_a_check_prices_and_holds_nothing(client) -> None:
    for _ in range(2):
        priced = client("POST", "/v1/authorizations:check", json=wanted("1500"))
        assert priced.status_code == 200
        assert priced.json() == {
            "customer": "acme", "currency": "USD", "amount": "15", "available": "10", "shortfall": "5",
            "would_hold": False, "limit": None,
        }  # fmt: skip
    assert client("GET", "/v1/authorizations").json()["items"] == []


def test_a_would_be_event_is_an_upper_bound(client) -> None:
    body = {"customer": "acme", "event": {"type": "llm", "data": {"tokens": 50, "model": "opus"}}}
    assert client("POST", "/v1/authorizations", json=body).json()["amount"] == "0.5"
    unmetered = {"customer": "acme", "event": {"type": "page.view", "data": {}}}
    assert client("POST", "/v1/authorizations", json=unmetered).json()["amount"] == "0"


def test_released_money_is_free_and_a_release_is_repeatable(client) -> None:
    client("POST", "/v1/authorizations", json=wanted("1000", key="k"))
    assert client("POST", "/v1/authorizations", json=wanted("1")).status_code == 402
    for status in (200, 200):
        released = client("POST", "/v1/authorizations/k/release")
        assert (released.status_code, released.json()["status"]) == (status, "released")
    assert client("POST", "/v1/authorizations", json=wanted("1000")).status_code == 201
    late = client("POST", "/v1/authorizations/k/settle", json=happened("e1"))
    assert (late.status_code, late.json()["code"]) == (409, "authorization_released")


def test_more_than_was_held_is_taken_and_then_owed(client) -> None:
    client("POST", "/v1/authorizations", json=wanted("100", key="k"))
    settled = client("POST", "/v1/authorizations/k/settle", json=happened("e1", 1200)).json()
    assert (settled["settled"], settled["covered"], settled["owed"]) == ("12", "10", "2")


def test_limits_of_customer_project_and_key_bound_one_authorisation(client) -> None:
    put = {"customer": "acme", "interval": "day", "amount": "5"}
    assert client("PUT", "/v1/spending-limits", json=put).status_code == 201
    project = put | {"level": "project", "name": "chat", "interval": "month", "amount": "2"}
    client("PUT", "/v1/spending-limits", json=project)
    api_key = put | {"level": "api_key", "name": "k1", "amount": "1"}
    client("PUT", "/v1/spending-limits", json=api_key)
    of_all = {"limits": {"project": "chat", "api_key": "k1"}}
    assert client("POST", "/v1/authorizations", json=wanted("100", key="a", **of_all)).status_code == 201
    refused = client("POST", "/v1/authorizations", json=wanted("1", **of_all)).json()
    assert refused["code"] == "spending_limit_reached"
    assert refused["limit"] == {
        "level": "api_key", "name": "k1", "interval": "day", "amount": "1", "left": "0", "required": "0.01",
        "resets_at": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    chat = {"limits": {"project": "chat"}}
    assert client("POST", "/v1/authorizations", json=wanted("100", key="b", **chat)).status_code == 201
    assert (
        client("POST", "/v1/authorizations", json=wanted("1", **chat)).json()["limit"]["level"] == "project"
    )
    assert client("POST", "/v1/authorizations", json=wanted("300", key="c")).status_code == 201
    assert client("POST", "/v1/authorizations", json=wanted("1")).json()["limit"]["level"] == "customer"
    client("POST", "/v1/authorizations/a/settle", json=happened("e1", 50))
    client("POST", "/v1/authorizations/b/release")
    limits = client("GET", "/v1/spending-limits?customer=acme").json()["items"]
    assert [(one["level"], one["held"], one["spent"]) for one in limits] == [
        ("customer", "3", "0.5"), ("project", "0", "0.5"), ("api_key", "0", "0.5"),
    ]  # fmt: skip
    removed = client("DELETE", f"/v1/spending-limits/{limits[0]['limit_id']}")
    assert (removed.status_code, removed.json()["level"]) == (200, "customer")
    assert client("POST", "/v1/authorizations", json=wanted("400")).status_code == 201
    assert client("PUT", "/v1/spending-limits", json=project | {"amount": "3"}).status_code == 200


BAD_BODIES = [
    (b"", 400, "malformed_json"),
    (b"[]", 422, "invalid_authorization"),
    (b'{"customer": "acme"}', 422, "invalid_authorization"),
    (json.dumps(wanted() | {"event": {"type": "llm"}}).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted(unknown=1)).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted(ttl_seconds=0)).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted(ttl_seconds=86_401)).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted("-1")).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted("NaN")).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted("1e400")).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted(key="two words")).encode(), 422, "invalid_key"),
    (json.dumps(wanted(key="x" * 129)).encode(), 422, "invalid_key"),
    (json.dumps(wanted() | {"usage": []}).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted() | {"usage": [{"meter": "nope", "quantity": "1"}]}).encode(), 422, "invalid_authorization"),
    (json.dumps(wanted() | {"usage": [{"meter": "tokens", "quantity": "1", "dimensions": {"x": "y"}}]}).encode(), 422,
     "invalid_authorization"),
    (json.dumps(wanted() | {"customer": "nobody"}).encode(), 404, "customer_not_found"),
    (json.dumps(wanted() | {"customer": "idle"}).encode(), 409, "not_subscribed"),
    (json.dumps(wanted(subscription="broke-payg")).encode(), 409, "not_subscribed"),
    (json.dumps({"customer": "acme", "event": {"type": "llm", "data": {"tokens": "many"}}}).encode(), 422,
     "invalid_value"),
    (b'{"customer": "\xff"}', 400, "invalid_utf8"),
    (b"[" * 100_000, 422, "invalid_authorization"),
    (b'{"customer":"acme","event":{"type":"llm","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}}", 400, "too_deep"),
    (b'{"customer":"acme","event":{"type":"llm","data":{"tokens":NaN}}}', 400, "malformed_json"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES)
def test_a_bad_wish_has_its_code(client, body: bytes, status: int, code: str) -> None:
    answer = client("POST", "/v1/authorizations", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert client("GET", "/v1/authorizations").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_authorization"),
        ({"event": []}, 422, "invalid_authorization"),
        ({"event": {}}, 422, "missing_attribute"),
        (happened("e1", subject="broke"), 422, "event_of_another_customer"),
        (happened("e1", subject=None), 422, "event_of_another_customer"),
        (happened("e1", time="2026-11-20T00:00:00Z"), 422, "event_time_out_of_range"),
        (happened("e1", time="2026-11-23T13:00:01Z"), 422, "event_time_out_of_range"),
        (happened("e1", data={"tokens": "many"}), 422, "invalid_value"),
        (happened("e1", specversion="2.0"), 422, "invalid_attribute"),
    ],
)
def test_a_bad_event_settles_nothing(client, body: dict[str, Any], status: int, code: str) -> None:
    client("POST", "/v1/authorizations", json=wanted(key="k"))
    answer = client("POST", "/v1/authorizations/k/settle", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert client("GET", "/v1/authorizations/k").json()["status"] == "held"


def test_an_alias_may_be_the_subject_and_time_may_be_told(client) -> None:
    client("POST", "/v1/authorizations", json=wanted(key="k"))
    body = happened("e1", subject="key-7", time="2026-11-23T11:59:00Z")
    assert client("POST", "/v1/authorizations/k/settle", json=body).status_code == 200


def test_addresses_and_methods(client) -> None:
    for path in ("/k/burn", "/", "x", "/a/b/settle"):
        answer = client("POST", f"/v1/authorizations{path}", json=wanted())
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    answer = client("POST", "/v1/authorizations/none/settle", json=happened("e1"))
    assert (answer.status_code, answer.json()["code"]) == (404, "authorization_not_found")
    answer = client("GET", "/v1/authorizations/none/settle")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = client("POST", "/v1/authorizations", content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    answer = client("POST", "/v1/authorizations", json=wanted("1", key="a/b?c"))
    assert answer.status_code == 201
    assert client("POST", "/v1/authorizations/a%2Fb%3Fc/release").json()["status"] == "released"
    assert client("GET", "/v1/authorizations/a%2Fb%3Fc").json()["status"] == "released"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"customer": "acme", "interval": "day"}, {"customer": "acme", "interval": "blink", "amount": "1"},
        {"customer": "acme", "interval": "day", "amount": "-1"},
        {"customer": "acme", "interval": "day", "amount": "1", "name": "x"},
        {"customer": "acme", "interval": "day", "amount": "1", "level": "project"},
    ],
)  # fmt: skip
def test_a_bad_limit_is_refused(client, body: dict[str, Any]) -> None:
    assert client("PUT", "/v1/spending-limits", json=body).status_code == 422


def test_tenants_do_not_see_each_other(client, other_client) -> None:
    client("POST", "/v1/authorizations", json=wanted(key="k"))
    assert other_client("GET", "/v1/authorizations/k").status_code == 404
    assert other_client("POST", "/v1/authorizations/k/release").status_code == 404
    assert (
        other_client("POST", "/v1/authorizations", json=wanted(key="k")).json()["code"]
        == "customer_not_found"
    )


def test_requests_that_come_together_share_a_transaction(
    client, app, services: Services, tenant_id: int
) -> None:
    async def all_at_once() -> list[Any]:
        asked = [parse_authorize(json.dumps(wanted("100")).encode(), f"c{number}") for number in range(15)]
        return await asyncio.gather(*(services.desk.decide(tenant_id, one) for one in asked))

    outcomes = client.runner.run(all_at_once())
    assert sum(hasattr(outcome, "hold") for outcome in outcomes) == 10
    with services.books.read_only(tenant_id) as conn:
        moments = conn.execute("SELECT count(DISTINCT xmin::text) AS n FROM holds").fetchone()
    assert moments == {"n": 1}
