"""Every route x every kind of key: nobody acts for a tenant but with its key, and none sees another's things."""

import json
from dataclasses import replace
from decimal import Decimal as D

import pytest
from fastapi import FastAPI

from farthing.api.asgi import build_asgi
from farthing.api.documents.authorization import DESK_PATHS
from farthing.api.front import OPEN_PATHS, SIGNED_PATHS
from farthing.api.key_format import mint
from farthing.api.keys import create_key, list_keys, revoke_key
from farthing.api.openapi import description_of, operation_id
from farthing.api.resources import ROUTERS
from farthing.ledger.service import list_accounts
from farthing.payments.disputing import Taken, open_disputes
from farthing.payments.model import DisputeKind
from farthing.payments.service import get_payment
from farthing.payments.settling import book


def _document():
    app = FastAPI(generate_unique_id_function=operation_id)
    for router in ROUTERS:
        app.include_router(router)
    return description_of(app)


DOCUMENT = _document()
ROUTES = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]
CLOSED = [route for route in ROUTES if route[1] not in OPEN_PATHS and not route[1].startswith(SIGNED_PATHS)]
OF_ONE = [route for route in CLOSED if "{" in route[1]]
LISTS = [
    (method, path)
    for method, path in CLOSED
    if "{" not in path  # of one thing: below
    and "cursor"
    in {parameter["name"] for parameter in DOCUMENT["paths"][path][method.lower()].get("parameters", [])}
]

METER = {"key": "calls", "event_type": "call", "aggregation": "count"}
PRICE = {"model": "per_unit", "unit_price": "0.01"}
CARD = {"key": "calls", "name": "Calls", "meter": "calls", "price": PRICE}
FEE = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "10"}}
PLAN = {"key": "payg", "name": "Payg", "currency": "USD", "interval": "month", "rate_cards": [CARD, FEE]}
CUSTOMER = {"key": "acme", "name": "Acme", "currency": "USD", "aliases": ["key-7"]}
SUBSCRIPTION = {"key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2026-10-01T00:00:00Z"}
COUPON = {"key": "launch", "name": "Launch", "percent": "20", "duration": "forever"}
COMMITMENT = {
    "key": "year",
    "kind": "minimum",
    "amount": "100",
    "start": "2026-11-01T00:00:00Z",
    "interval": "year",
}
ESTIMATE = {"plan": "payg", "usage": [{"meter": "calls", "quantity": "5"}]}
WALLET = {"key": "acme-usd", "customer": "acme", "currency": "USD"}
GRANT = {"key": "order-1", "kind": "paid", "amount": "50"}
AUTHORIZATION = {"key": "call-1", "customer": "acme", "usage": [{"meter": "calls", "quantity": "5"}]}
HAPPENED = {"specversion": "1.0", "id": "e-1", "source": "s", "type": "call", "subject": "acme"}
LIMIT = {"customer": "acme", "interval": "day", "amount": "20"}
DESK = frozenset(DESK_PATHS)
"""Addresses that are ahead of the framework, as that of events: how they read bodies is tested with them."""
BODIES = {
    ("POST", "/v1/events"): {"id": "1", "source": "s", "type": "call", "subject": "acme"},
    ("POST", "/v1/corrections"): {"source": "s", "id": "1"},
    ("POST", "/v1/meters"): METER,
    ("POST", "/v1/plans"): PLAN,
    ("POST", "/v1/customers"): CUSTOMER,
    ("PATCH", "/v1/customers/{key}"): {"name": "Taken over"},
    ("POST", "/v1/customers/{key}/aliases"): {"alias": "taken"},
    ("POST", "/v1/subscriptions"): SUBSCRIPTION,
    ("POST", "/v1/subscriptions/{key}/cancel"): {"end": "2027-01-01T00:00:00Z"},
    ("POST", "/v1/subscriptions/{key}/changes"): {
        "kind": "pause",
        "key": "nap",
        "at": "2026-12-01T00:00:00Z",
    },
    ("POST", "/v1/subscriptions/{key}/charges"): {
        "key": "setup",
        "description": "Setup",
        "amount": "250",
        "at": "2026-11-05T00:00:00Z",
    },
    ("POST", "/v1/plans/{key}/migrations"): {"to_version": 1, "mode": "now"},
    ("POST", "/v1/coupons"): COUPON,
    ("POST", "/v1/subscriptions/{key}/coupons"): {"coupon": "launch"},
    ("POST", "/v1/subscriptions/{key}/commitments"): COMMITMENT,
    ("POST", "/v1/wallets"): WALLET,
    ("PATCH", "/v1/wallets/{key}"): {"name": "Funds"},
    ("POST", "/v1/wallets/{key}/grants"): GRANT,
    ("POST", "/v1/wallets/{key}/grants/{grant}/void"): {"note": "cancelled"},
    ("POST", "/v1/wallets/{key}/top-ups"): {"key": "order-2", "amount": "20"},
    ("POST", "/v1/wallets/{key}/top-ups/{top_up}/settle"): {"status": "funded"},
    ("POST", "/v1/authorizations"): AUTHORIZATION,
    ("POST", "/v1/authorizations:check"): AUTHORIZATION,
    ("POST", "/v1/authorizations/{key}/settle"): {"event": HAPPENED},
    ("PUT", "/v1/spending-limits"): LIMIT,
    ("PUT", "/v1/subscriptions/{key}/collection"): {"mode": "pay_as_you_go", "threshold": "50"},
    ("PUT", "/v1/billing-terms"): {"grace_hours": 1},
    ("PUT", "/v1/customers/{key}/billing-terms"): {"grace_hours": 2},
    ("POST", "/v1/invoices/issue"): {"customer": "acme"},
    ("POST", "/v1/estimates"): ESTIMATE,
    ("POST", "/v1/billing-runs"): {"until": "2026-11-01T00:00:00Z"},
    ("POST", "/v1/ledger/closings"): {"until": "2000-01-01T00:00:00Z", "reason": "before our time"},
    ("POST", "/v1/ledger/recognitions"): {"until": "2026-11-01T00:00:00Z"},
    ("POST", "/v1/credit-notes"): {
        "key": "outage",
        "invoice": "INV-000001",
        "reason": "Outage",
        "amount": "1.00",
    },
    ("POST", "/v1/invoices/{number}/void"): {"reason": "Wrong customer"},
    ("POST", "/v1/tax-rates"): {"rates": [{"country": "DE", "rate": "19"}]},
    ("PUT", "/v1/customers/{key}/tax"): {"exemption": {"reason": "Charity"}},
    ("PUT", "/v1/seller"): {"name": "Seller"},
    ("POST", "/v1/api-keys"): {"name": "more"},
    ("POST", "/v1/payment-methods"): {
        "key": "card",
        "customer": "acme",
        "gateway": "fake",
        "reference": "tok_ok",
    },
    ("POST", "/v1/payments"): {
        "key": "paid",
        "customer": "acme",
        "amount": "1",
        "currency": "USD",
        "paid_at": "2026-11-02T00:00:00Z",
    },
    ("POST", "/v1/refunds"): {"key": "back", "payment": "paid", "amount": "0.50"},
    ("POST", "/v1/disputes/{key}/decision"): {"state": "lost"},
    ("POST", "/v1/disputes/{key}/answer"): {"note": "They wrote to us."},
    ("POST", "/v1/payouts/{gateway}/{payout}/arrival"): {"arrived_at": "2026-11-05T00:00:00Z"},
    ("POST", "/v1/invoices/{number}/write-off"): {"reason": "insolvent"},
    ("PUT", "/v1/dunning-policy"): {"suspend_after_days": 30},
    ("POST", "/v1/erasures"): {"customer": "gone", "confirm": "gone"},
    ("PUT", "/v1/retention"): {"keep_days": 4000},
}


def send(client, route, address=None):
    method, path = route
    return client(method, address or path, **({"json": BODIES[route]} if route in BODIES else {}))


def check_problem(response, status):
    """The one shape of every error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) <= {"type", "title", "status", "code", "detail", "path", "faults", "outcomes"}
    assert {"type", "title", "status", "code", "detail"} <= set(document)
    assert document["status"] == status
    assert document["type"] == f"urn:farthing:problem:{document['code']}"
    assert "Traceback" not in response.text
    return document


@pytest.fixture
def furnished(client, services, books, tenant_id, now):
    """A tenant with one of everything: the addresses of its things, by route."""
    for path in ("meters", "plans", "customers", "subscriptions", "coupons", "wallets"):
        assert send(client, ("POST", f"/v1/{path}")).status_code == 201
    for what in ("grants", "top-ups"):
        route = ("POST", f"/v1/wallets/{{key}}/{what}")
        assert send(client, route, f"/v1/wallets/acme-usd/{what}").status_code == 201
    assert send(client, ("POST", "/v1/events")).status_code == 202
    assert send(client, ("POST", "/v1/tax-rates")).status_code == 200
    assert send(client, ("POST", "/v1/billing-runs")).json()["issued"] == ["INV-000001"]
    assert send(client, ("POST", "/v1/credit-notes")).status_code == 201
    assert send(client, ("POST", "/v1/ledger/closings")).status_code == 201
    assert send(client, ("POST", "/v1/authorizations")).status_code == 201
    limit = send(client, ("PUT", "/v1/spending-limits")).json()
    for path in ("payment-methods", "payments", "refunds"):
        assert send(client, ("POST", f"/v1/{path}")).status_code == 201
    _disputed(books, tenant_id, now)
    assert client.post("/v1/customers", CUSTOMER | {"key": "gone", "aliases": []}).status_code == 201
    erasure = send(client, ("POST", "/v1/erasures")).json()
    nap = made_for("acme-payg", client, "changes")
    made_for("acme-payg", client, "charges")
    names = {
        "/v1/meters": {"key": "calls"},
        "/v1/plans": {"key": "payg"},
        "/v1/customers": {"key": "acme", "alias": "key-7"},
        "/v1/subscriptions": {"key": "acme-payg", "change_id": str(nap["change_id"])},
        "/v1/coupons": {"key": "launch"},
        "/v1/erasures": {"erasure_id": str(erasure["erasure"])},
        "/v1/wallets": {"key": "acme-usd", "grant": "order-1", "top_up": "order-2"},
        "/v1/authorizations": {"key": "call-1"},
        "/v1/spending-limits": {"limit_id": str(limit["limit_id"])},
        "/v1/invoices": {"number": "INV-000001", "line": "1"},
        "/v1/credit-notes": {"number": "CN-000001"},
        "/v1/ledger": {"account_id": str(list_accounts(books, tenant_id, 0, 1)[0].account_id)},
        "/v1/api-keys": {"api_key_id": list_keys(books, tenant_id, "", 1)[0].api_key_id},
        "/v1/events": {"source": "s", "event_id": "1"},
        "/v1/payments": {"key": "paid"},
        "/v1/payment-methods": {"key": "card"},
        "/v1/refunds": {"key": "back"},
        "/v1/disputes": {"key": "fake:dp"},
        "/v1/reconciliations": {"gateway": "fake"},
        "/v1/payouts": {"gateway": "fake", "payout": "po_1"},
        "/v1/quarantine": {"quarantine_id": str(_quarantined(books, tenant_id, now))},
    }
    return {(method, path): path.format(**names["/".join(path.split("/")[:3])]) for method, path in OF_ONE}


def made_for(key, client, what):
    """What the body of the route makes for a subscription, as the route answers."""
    response = send(client, ("POST", f"/v1/subscriptions/{{key}}/{what}"), f"/v1/subscriptions/{key}/{what}")
    assert response.status_code == 201
    return response.json()


def _disputed(books, tenant_id, now):
    payment_id = get_payment(books, tenant_id, "paid").payment.payment_id
    taken = Taken("fake:dp", payment_id, DisputeKind.CHARGEBACK, "fraudulent", D("0.20"), D(0), now)
    with books.transaction(tenant_id) as conn:
        transfers = []
        open_disputes(conn, tenant_id, [taken], now, transfers)
        book(conn, tenant_id, transfers, now)
        conn.execute(
            "INSERT INTO dispute_evidence (tenant_id, dispute_id, content, written_at, state, asked_at)"
            " SELECT tenant_id, dispute_id, '{}', %s, 'written', %s FROM disputes WHERE key = 'fake:dp'",
            [now, now],
        )
        conn.execute(
            "INSERT INTO payouts (tenant_id, gateway, name, amount, currency, made_at, reference, learnt_at, state,"
            " arrives_on) VALUES (%s, 'fake', 'po_1', 1, 'USD', %s, '', %s, 'paid', %s)",
            [tenant_id, now, now, now.date()],
        )
        conn.execute(
            "INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)"
            " SELECT tenant_id, customer_id, 'USD', 'grant', 'order-0:1', 1, %s FROM customers WHERE key = 'acme'"
            " AND tenant_id = %s",
            [now, tenant_id],
        )


def _quarantined(books, tenant_id, now):
    with books.transaction(tenant_id) as conn:
        conn.execute(
            "INSERT INTO seals VALUES (%s, 'seal', 'matrix/1.log', 0, 1, 1, 0, 0, 1, %s)", [tenant_id, now]
        )
        row = conn.execute(
            "INSERT INTO quarantine (tenant_id, seal_id, reason, detail, origin, raw, received_at)"
            " VALUES (%s, 'seal', 'conflict', 'd', 'http', %s, %s) RETURNING quarantine_id",
            [tenant_id, b'{"specversion":"1.0","id":"q","source":"s","type":"call"}', now],
        ).fetchone()
        conn.execute(
            "INSERT INTO event_corrections (tenant_id, seal_id, kind, source, event_id, target_source, target_id,"
            " target_unreadable, received_at, sealed_at)"
            " VALUES (%s, 'seal', 'void', 's', 'v', 's', 'w', false, %s, %s)",
            [tenant_id, now, now],
        )
    return row["quarantine_id"]


def test_no_route_answers_without_a_key(client, books, pepper, tenant_id, now):
    revoked = create_key(books, pepper, tenant_id, "revoked", now)
    revoke_key(books, tenant_id, revoked.split("_")[1], now)
    unknown = mint(bytes(42), bytes(32)).text
    for route in CLOSED:
        assert check_problem(send(client.with_key(None), route), 401)["code"] == "missing_api_key"
        for bad in ("fk_", unknown, unknown[:-1] + "x", revoked):
            answer = send(client.with_key(bad), route)
            assert check_problem(answer, 401)["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_bad_key_comes_before_a_bad_request(client):
    for method, path in CLOSED:
        response = client.with_key(None)(method, path, content=b"{", headers={"content-type": "text/plain"})
        check_problem(response, 401)


def test_also_an_address_that_does_not_exist_is_nobodys_business(client):
    check_problem(client.with_key(None).get("/v1/nothing"), 401)
    assert check_problem(client.get("/v1/nothing"), 404)["code"] == "not_found"


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_open_addresses_need_no_key(client, path):
    assert client.with_key(None).get(path).status_code == 200


def test_its_own_things_are_there(client, furnished):
    """The other tests of this file mean nothing unless these addresses are right."""
    for route, address in furnished.items():
        if route[1] == "/v1/invoices/{number}/void":  # It is credited, and so cannot be void.
            assert check_problem(send(client, route, address), 409)["code"] == "invoice_credited"
        elif (
            route[1] == "/v1/credit-notes/{number}/events"
        ):  # It was asked for by hand, and corrects nothing.
            assert check_problem(send(client, route, address), 404)["code"] == "not_a_correction"
        elif route not in (
            ("POST", "/v1/api-keys/{api_key_id}/revoke"),
            ("POST", "/v1/authorizations/{key}/release"),  # It is settled.
        ):
            assert send(client, route, address).status_code in (200, 201, 202), address


def test_of_one_thing_another_tenant_sees_what_it_sees_of_nothing(client, other_client, furnished):
    before = {
        address: client.get(address).text for (method, _), address in furnished.items() if method == "GET"
    }
    for route, address in furnished.items():
        theirs = check_problem(send(other_client, route, address), 404)
        nowhere = "999999999" if "_id}" in route[1] else "nowhere"
        absent = route[1].format_map(_Everything(nowhere))
        nothing = check_problem(send(other_client, route, absent), 404)
        assert theirs["code"] == nothing["code"]
        assert theirs["title"] == nothing["title"]
    assert before == {address: client.get(address).text for address in before}, "nothing of ours has changed"


class _Everything(dict):
    """A mapping that gives one value for every name."""

    def __init__(self, value):
        super().__init__(line="1")
        self.value = value

    def __missing__(self, key):
        return self.value


def test_lists_of_another_tenant_are_empty(client, other_client, furnished):
    for route in LISTS:
        if "{" in route[1]:  # Of one thing, which the other tenant does not see.
            assert send(client, route, furnished[route]).json()["items"], route
            check_problem(send(other_client, route, furnished[route]), 404)
            continue
        mine, theirs = (send(one, route).json()["items"] for one in (client, other_client))
        assert mine, route
        assert all(item not in mine for item in theirs)
        assert theirs == [] or route[1] == "/v1/api-keys"


def test_another_tenant_may_use_the_same_keys_for_its_own(client, other_client, furnished):
    for path in ("meters", "plans", "customers", "subscriptions", "coupons", "wallets"):
        assert send(other_client, ("POST", f"/v1/{path}")).status_code == 201
    assert send(other_client, ("POST", "/v1/billing-runs")).json()["issued"] == ["INV-000001"]
    account = send(other_client, ("GET", "/v1/account")).json()
    assert account["accepted"] == 0


# ---- Bad input, at every route that takes a body

NUMBERS = {"threshold", "percent", "amount", "suspend_after_days", "keep_days", "grace_hours"}
"""Fields in which a JSON number is as good as a decimal string, or is what is asked for."""

DEEP = b'{"key":' * 1000 + b"1" + b"}" * 1000
BAD_BODIES = {
    "malformed": (b'{"key":', 400, "malformed_json"),
    "empty": (b"", 400, "malformed_json"),
    "NaN": (b'{"key":NaN}', 422, "invalid_value"),
    "Infinity": (b'{"key":[Infinity]}', 422, "invalid_value"),
    "NUL": (b'{"key":"\\u0000"}', 422, "invalid_value"),
    "half a surrogate pair": (b'{"key":"\\udfff"}', 422, "invalid_value"),
    "1,000 levels": (DEEP, 400, "too_deep"),
    "invalid UTF-8": (b'{"key":"\xff"}', 400, "invalid_utf8"),
    "UTF-16": ('{"key":1}'.encode("utf-16"), 400, "invalid_utf8"),
    "twice the same key": (b'{"key":1,"key":2}', 400, "duplicate_key"),
    "over the limit": (b" " * (1 << 20) + b"{}", 413, "body_too_large"),
}
WITH_BODY = [
    route for route in BODIES if route[1] != "/v1/events" and (route[0] != "POST" or route[1] not in DESK)
]


@pytest.mark.parametrize("name", BAD_BODIES)
def test_what_cannot_be_read_is_the_senders_fault(client, name):
    body, status, code = BAD_BODIES[name]
    for method, path in WITH_BODY:
        response = client(method, path, content=body, headers={"content-type": "application/json"})
        assert check_problem(response, status)["code"] == code


@pytest.mark.parametrize(
    "value", ["[]", '"x"', "7", "null", "true", '{"unknown":1}', "1e1000000", "9" * 40, "-1.5"]
)
def test_what_is_no_definition_is_refused_with_its_place(client, furnished, value):
    """Also in every field of a definition that would otherwise be right."""
    for route in WITH_BODY:
        method, path = route
        good = BODIES[route]
        names = [name for name in good if not (name in NUMBERS and value == "7")]
        texts = [value, *(json.dumps(good | {name: "@"}).replace('"@"', value) for name in names)]
        for text in texts:
            if text == "null" or (text != value and value in ("null", '"x"', "true")):
                continue
            address = furnished.get(route, path)
            response = client(method, address, content=text, headers={"content-type": "application/json"})
            document = check_problem(response, response.status_code)
            assert 400 <= response.status_code < 500, (route, text)
            assert document["code"] != "internal_error"
            assert "path" in document, (route, text)


def test_bodies_of_another_kind_are_refused(client):
    for method, path in WITH_BODY:
        for headers, code in (
            ({"content-type": "text/plain"}, "unsupported_media_type"),
            ({"content-type": "application/json", "content-encoding": "gzip"}, "unsupported_encoding"),
        ):
            response = client(method, path, content=b"{}", headers=headers)
            assert check_problem(response, 415)["code"] == code


def test_a_route_without_a_body_takes_none(client, furnished):
    for route in CLOSED:
        if route[0] in ("POST", "DELETE") and route not in BODIES:
            response = client(route[0], furnished[route], json={})
            assert check_problem(response, 422)["code"] == "unexpected_body"


def test_methods_that_no_route_has(client):
    paths = {path for _, path in ROUTES}
    for path in paths - {"/v1/events"}:
        response = client("TRACE", path)
        assert check_problem(response, 405)["code"] == "method_not_allowed"
        allowed = response.headers["allow"].split(", ")
        assert {method for method, route_path in ROUTES if route_path == path} <= set(allowed)


@pytest.mark.parametrize(
    "address",
    [
        "/v1/meters/%00",
        "/v1/meters?cursor=%00",
        "/v1/customers/a%00b",
        "/v1/customers/" + "x" * 5000,
        "/v1/customers/%ff%fe",
        "/v1/customers/..%2F..%2Fetc",
        "/v1/quarantine/-1",
        "/v1/quarantine/99999999999999999999999",
        "/v1/quarantine/1e3",
        "/v1/plans/payg?version=0",
        "/v1/plans/payg?version=99999999999",
        "/v1/plans/payg?version=1&version=x",
        "/v1/invoices/INV-000001'--",
        "/v1/invoices/%F0%9F%98%80.pdf",
        "/v1//meters",
        "/v1/meters/",
        "/",
        "/v2/meters",
    ],
)
def test_strange_addresses_are_the_senders_fault(client, address):
    response = client.get(address)
    assert 400 <= response.status_code < 500, response.text
    check_problem(response, response.status_code)


def test_our_own_faults_are_said_without_telling(client, services, caplog):
    """A worker whose clock is broken, at the ingest door and at a resource."""
    broken = replace(client, app=build_asgi(replace(services, now=lambda: 1 // 0)))
    for route in (("POST", "/v1/events"), ("POST", "/v1/meters")):
        response = send(broken, route)
        assert check_problem(response, 500)["code"] == "internal_error"
        assert "ZeroDivision" not in response.text
        assert "ZeroDivisionError" in caplog.text
        caplog.clear()
