"""The resources: what is written is read back, repeated safely, listed in pages, and refused with a reason."""

import json

import pytest

from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import Lateness

METER = {
    "key": "input_tokens",
    "event_type": "llm.completion",
    "aggregation": "sum",
    "value": "data.input_tokens",
    "dimensions": {"model": "data.model"},
}
PLAN = {
    "key": "payg",
    "name": "Pay as you go",
    "currency": "USD",
    "interval": "month",
    "rate_cards": [
        {
            "key": "input",
            "name": "Input tokens",
            "meter": "input_tokens",
            "price": {"model": "per_unit", "unit_price": "0.0000025"},
        }
    ],
}
CUSTOMER = {"key": "acme", "name": "Acme Inc.", "currency": "USD", "aliases": ["key-7"]}
SUBSCRIPTION = {"key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2026-11-01T00:00:00Z"}


def made(response, status=201):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def furnished(client):
    """A tenant with one of everything."""
    made(client.post("/v1/meters", METER))
    made(client.post("/v1/plans", PLAN))
    made(client.post("/v1/customers", CUSTOMER))
    made(client.post("/v1/subscriptions", SUBSCRIPTION))
    return client


def test_what_is_written_is_read_back(furnished):
    assert furnished.get("/v1/meters/input_tokens").json()["value"] == "data.input_tokens"
    plan = furnished.get("/v1/plans/payg").json()
    assert plan["version"] == 1
    assert plan["rate_cards"][0]["price"] == {"model": "per_unit", "unit_price": "0.0000025"}
    assert furnished.get("/v1/customers/acme").json()["aliases"] == ["key-7"]
    assert furnished.get("/v1/subscriptions/acme-payg").json()["version"] == 1


def test_the_same_again_changes_nothing(furnished):
    assert made(furnished.post("/v1/meters", METER), 200)
    assert made(furnished.post("/v1/plans", PLAN), 200)["outcome"] == "unchanged"
    assert made(furnished.post("/v1/customers", CUSTOMER), 200)
    assert made(furnished.post("/v1/subscriptions", SUBSCRIPTION), 200)


def test_numbers_in_a_body_are_read_exactly(furnished):
    body = (
        b'{"key":"exact","name":"Exact","currency":"USD","interval":"month","rate_cards":[{"key":"a","name":"A",'
        b'"meter":"input_tokens","price":{"model":"per_unit","unit_price":0.100000000000000055}}]}'
    )
    response = furnished("POST", "/v1/plans", content=body, headers={"content-type": "application/json"})
    assert made(response)["rate_cards"][0]["price"]["unit_price"] == "0.100000000000000055"


def test_another_definition_is_another_version_and_the_first_stays(furnished):
    changed = {**PLAN, "name": "Pay as you went"}
    assert made(furnished.post("/v1/plans", changed))["outcome"] == "new_version"
    assert furnished.get("/v1/plans/payg").json()["name"] == "Pay as you went"
    assert furnished.get("/v1/plans/payg?version=1").json()["name"] == "Pay as you go"
    assert furnished.get("/v1/plans/payg?version=3").status_code == 404


def test_all_faults_are_named_at_once(furnished):
    broken = {
        **PLAN,
        "currency": "XXY",
        "rate_cards": [{**PLAN["rate_cards"][0], "meter": "nothing", "x": 1}],
    }
    document = made(furnished.post("/v1/plans", broken), 422)
    paths = {fault["path"] for fault in document["faults"]}
    assert {"currency", "rate_cards[0].x"} <= paths


def test_what_stands_with_other_content_is_a_conflict(furnished):
    assert made(furnished.post("/v1/meters", {**METER, "value": "data.n"}), 409)["code"] == "meter_immutable"
    assert made(furnished.post("/v1/customers", {**CUSTOMER, "name": "X"}), 409)["code"] == "customer_exists"
    response = furnished.post("/v1/subscriptions", {**SUBSCRIPTION, "start": "2026-11-02T00:00:00Z"})
    assert made(response, 409)["code"] == "subscription_immutable"


def test_a_customer_is_changed_field_by_field(furnished):
    changed = made(furnished.patch("/v1/customers/acme", {"name": "Acme AG", "email": "a@acme.example"}), 200)
    assert (changed["name"], changed["email"], changed["currency"]) == ("Acme AG", "a@acme.example", "USD")
    cleared = made(furnished.patch("/v1/customers/acme", {"email": None}), 200)
    assert cleared["email"] is None
    assert made(furnished.patch("/v1/customers/acme", {"currency": "EUR"}), 409)["code"] == "currency_fixed"
    assert made(furnished.patch("/v1/customers/acme", {"key": "other"}), 422)["path"] == "key"


def test_aliases_come_and_go(furnished):
    added = made(furnished.post("/v1/customers/acme/aliases", {"alias": "team/red 1"}), 200)
    assert added["aliases"] == ["key-7", "team/red 1"]
    removed = made(furnished("DELETE", "/v1/customers/acme/aliases/team%2Fred%201"), 200)
    assert removed["aliases"] == ["key-7"]
    response = furnished("DELETE", "/v1/customers/acme/aliases/team%2Fred%201")
    assert made(response, 404)["code"] == "alias_not_found"


def test_a_key_may_hold_a_slash(furnished):
    made(furnished.post("/v1/customers", {**CUSTOMER, "key": "eu/acme%2F/é", "aliases": []}))
    assert furnished.get("/v1/customers/eu%2Facme%252F%2F%C3%A9").json()["key"] == "eu/acme%2F/é"
    assert furnished.get("/v1/customers/eu/acme").status_code == 404


def test_a_subscription_is_ended(furnished):
    ended = made(furnished.post("/v1/subscriptions/acme-payg/cancel", {"end": "2026-12-01T00:00:00Z"}), 200)
    assert ended["end"] == "2026-12-01T00:00:00Z"
    assert furnished.get("/v1/subscriptions/acme-payg").json() == ended
    assert made(furnished.post("/v1/subscriptions/acme-payg/cancel", {}), 422)["path"] == "end"


def test_subscriptions_of_one_customer(furnished):
    assert len(furnished.get("/v1/subscriptions?customer=acme").json()["items"]) == 1
    assert furnished.get("/v1/subscriptions?customer=nobody").json()["items"] == []


# ---- Events, usage, the account


def event(number, **data):
    return {
        "id": str(number),
        "source": "test",
        "type": "llm.completion",
        "subject": "key-7",
        "time": f"2026-11-{1 + number % 20:02d}T10:00:00Z",
        "data": {"input_tokens": number, "model": "gpt-4o" if number % 2 else "opus", **data},
    }


@pytest.fixture
def seal(services, books, now):
    """Seal everything that is in the log."""

    def run():
        with only_sealer(services.data_dir) as alone:
            assert alone
            sealer = Sealer(books, services.store, services.data_dir / "log", Lateness(10**9, 10**9))
            while sealer.seal_next(now) is not None:
                pass

    return run


def account(client):
    found = client.get("/v1/account").json()
    total = found["counted"] + found["duplicate"] + found["quarantined"] + found["waiting"]
    assert found["accepted"] == total, "conservation, at every moment"
    return found


def test_usage_and_account_agree_with_what_was_sent(furnished, seal):
    assert account(furnished)["accepted"] == 0
    made(furnished.post("/v1/events", [event(number) for number in range(1, 11)]), 202)
    assert account(furnished)["waiting"] == 10
    seal()
    made(furnished.post("/v1/events", [event(1), event(2, input_tokens=99), event(11)]), 202)
    assert account(furnished)["waiting"] == 3
    seal()
    assert account(furnished) == {
        "accepted": 13,
        "counted": 11,
        "duplicate": 1,
        "quarantined": 1,
        "waiting": 0,
        "voided": 0,
        "quarantined_by_reason": {"conflict": 1},
        "quarantined_by_state": {"open": 1, "retried": 0, "dropped": 0},
    }
    asked = "/v1/usage?meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z"
    assert furnished.get(asked).json()["rows"] == [
        {"group": {}, "window_start": None, "quantity": "66", "events": 11}
    ]
    grouped = furnished.get(f"{asked}&group_by=model&group_by=customer").json()["rows"]
    assert {(row["group"]["model"], row["group"]["customer"]): row["quantity"] for row in grouped} == {
        ("gpt-4o", "acme"): "36",
        ("opus", "acme"): "30",
    }
    daily = furnished.get(f"{asked}&window=day&timezone=Asia/Kolkata&filter=model=opus").json()["rows"]
    assert daily[0] == {"group": {}, "window_start": "2026-11-02T18:30:00Z", "quantity": "2", "events": 1}


def test_quarantine_shows_what_came_and_why(furnished, seal):
    made(furnished.post("/v1/events", [event(1), event(1, input_tokens=7), event(2, input_tokens=8)]), 202)
    made(furnished.post("/v1/events", event(2)), 202)
    seal()
    page = furnished.get("/v1/quarantine?reason=conflict").json()
    assert len(page["items"]) == 2
    assert page["next_cursor"] is None
    first = page["items"][0]
    assert first["reason"] == "conflict"
    assert '"input_tokens":7' in first["raw"].replace(" ", "")
    assert furnished.get(f"/v1/quarantine/{first['quarantine_id']}").json() == first
    assert furnished.get("/v1/quarantine?reason=malformed").json()["items"] == []
    assert furnished.get("/v1/quarantine/999999999").status_code == 404


def test_a_quarantined_event_is_retried_or_dropped(furnished, seal):
    made(furnished.post("/v1/events", [event(1), event(1, input_tokens=7), event(1, input_tokens=8)]), 202)
    seal()
    first, second = (item["quarantine_id"] for item in furnished.get("/v1/quarantine").json()["items"])
    retried = furnished.post(f"/v1/quarantine/{first}/retry")
    assert (retried.status_code, retried.json()) == (202, {"quarantine_id": first, "status": "accepted"})
    for _ in range(2):
        dropped = furnished.post(f"/v1/quarantine/{second}/drop")
        assert (dropped.status_code, dropped.json()) == (200, {"quarantine_id": second, "status": "dropped"})
    assert account(furnished)["waiting"] == 1
    seal()
    assert account(furnished)["quarantined_by_state"] == {"open": 1, "retried": 1, "dropped": 1}
    resolved = furnished.get("/v1/quarantine?resolved=true").json()["items"]
    assert [(item["quarantine_id"], item["resolution"]) for item in resolved] == [
        (first, "retried"),
        (second, "dropped"),
    ]
    refused = furnished.post(f"/v1/quarantine/{second}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "quarantine_resolved")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("meter=input_tokens", "from"),
        ("meter=input_tokens&from=2026-11-01&to=2026-12-01", "from"),
        ("meter=input_tokens&from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z", "to"),
        ("meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&group_by=nothing", "group_by"),
        ("meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&window=fortnight", "window"),
        ("meter=input_tokens&from=2026-11-01T00:00:00Z&to=2027-12-01T00:00:00Z&window=minute", "window"),
        (
            "meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&timezone=Mars/Base",
            "timezone",
        ),
        ("meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&filter=model", "filter[0]"),
        ("meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&sort=x", "sort"),
        (
            "meter=input_tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&group_by=model';--",
            "group_by",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_names_the_parameter(furnished, query, path):
    document = made(furnished.get(f"/v1/usage?{query}"), 422)
    assert path in {fault["path"] for fault in document["faults"]}


def test_usage_of_what_does_not_exist(furnished):
    span = "from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z"
    assert made(furnished.get(f"/v1/usage?meter=nothing&{span}"), 404)["code"] == "meter_not_found"
    asked = f"/v1/usage?meter=input_tokens&{span}&customer=nobody"
    assert made(furnished.get(asked), 404)["code"] == "customer_not_found"


# ---- Pages


@pytest.mark.parametrize("limit", [1, 3, 10, 100])
def test_pages_together_are_the_whole_list(client, limit):
    names = [f"meter_{number:02d}" for number in range(10)]
    for name in reversed(names):
        made(client.post("/v1/meters", {"key": name, "event_type": "call", "aggregation": "count"}))
    seen, cursor = [], None
    while True:
        query = f"?limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(f"/v1/meters{query}").json()
        assert len(page["items"]) <= limit
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names


def test_a_page_is_not_disturbed_by_what_is_added_before_it(client):
    for name in ("b", "d", "f"):
        made(client.post("/v1/meters", {"key": name, "event_type": "call", "aggregation": "count"}))
    cursor = client.get("/v1/meters?limit=2").json()["next_cursor"]
    for name in ("a", "c", "e"):
        made(client.post("/v1/meters", {"key": name, "event_type": "call", "aggregation": "count"}))
    page = client.get(f"/v1/meters?limit=2&cursor={cursor}").json()
    assert [item["key"] for item in page["items"]] == ["e", "f"]


@pytest.mark.parametrize("path", ["meters", "plans", "customers", "subscriptions", "quarantine", "api-keys"])
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=", "page=2", "limit=-1"]
)
def test_a_page_that_cannot_be_is_refused(client, path, query):
    document = made(client.get(f"/v1/{path}?{query}"), 422)
    assert document["faults"][0]["path"] == query.partition("=")[0]


def test_a_cursor_belongs_to_its_list(client):
    for name in ("a", "b"):
        made(client.post("/v1/meters", {"key": name, "event_type": "call", "aggregation": "count"}))
    cursor = client.get("/v1/meters?limit=1").json()["next_cursor"]
    assert made(client.get(f"/v1/plans?cursor={cursor}"), 422)["code"] == "invalid_cursor"


# ---- API keys


def test_a_key_made_over_http_works_until_it_is_revoked(client):
    made_key = made(client.post("/v1/api-keys", {"name": "ci"}))
    fresh = client.with_key(made_key["key"])
    assert fresh.get("/v1/meters").status_code == 200
    listed = client.get("/v1/api-keys").json()["items"]
    assert {key["name"] for key in listed} == {"test", "ci"}
    assert "key" not in listed[0]
    revoked = made(client.post(f"/v1/api-keys/{made_key['api_key_id']}/revoke"), 200)
    assert revoked["revoked_at"] is not None
    assert client.post("/v1/api-keys/0000000000000000/revoke").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": 7}, {"name": "x", "tenant_id": 1}, [], None, "x"]
)
def test_a_key_needs_a_name_and_takes_nothing_else(client, body):
    headers = {"content-type": "application/json"}
    response = client("POST", "/v1/api-keys", content=json.dumps(body), headers=headers)
    assert response.status_code == 422


# ---- Idempotency


def test_a_repeat_is_answered_as_the_first_time(client):
    headers = {"idempotency-key": "abc-1"}
    first = client.post("/v1/customers", CUSTOMER, headers=headers)
    client.patch("/v1/customers/acme", {"name": "Changed since"})
    again = client.post("/v1/customers", CUSTOMER, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_the_same_input_in_other_words_is_the_same_input(client):
    headers = {"idempotency-key": "abc-2", "content-type": "application/json"}
    one = b'{"key":"acme","name":"A","currency":"USD"}'
    other = b'{ "currency": "USD",\n "name": "\\u0041", "key": "acme" }'
    assert client("POST", "/v1/customers", content=one, headers=headers).status_code == 201
    assert client("POST", "/v1/customers", content=other, headers=headers).status_code == 201


def test_a_key_used_for_another_input_is_a_conflict(client):
    headers = {"idempotency-key": "abc-3"}
    made(client.post("/v1/customers", CUSTOMER, headers=headers))
    for response in (
        client.post("/v1/customers", {**CUSTOMER, "name": "B"}, headers=headers),
        client.post("/v1/meters", METER, headers=headers),
        client.patch("/v1/customers/acme", CUSTOMER, headers=headers),
        client.post("/v1/api-keys", {"name": "x"}, headers=headers),
    ):
        assert made(response, 409)["code"] == "idempotency_conflict"
    assert client.get("/v1/meters").json()["items"] == []


def test_a_refused_request_gives_its_key_back(client):
    headers = {"idempotency-key": "abc-4"}
    made(client.post("/v1/customers", {"key": "acme"}, headers=headers), 422)
    made(client.post("/v1/customers", CUSTOMER, headers=headers))


def test_idempotency_keys_of_tenants_are_apart(client, other_client):
    headers = {"idempotency-key": "abc-5"}
    made(client.post("/v1/customers", CUSTOMER, headers=headers))
    made(other_client.post("/v1/customers", {**CUSTOMER, "name": "Theirs"}, headers=headers))


def test_an_api_key_is_made_once_and_shown_once(client):
    headers = {"idempotency-key": "abc-6"}
    first = made(client.post("/v1/api-keys", {"name": "ci"}, headers=headers))
    again = made(client.post("/v1/api-keys", {"name": "ci"}, headers=headers))
    assert again == {**first, "key": None}
    assert [key["name"] for key in client.get("/v1/api-keys").json()["items"]].count("ci") == 1


def test_no_answer_that_is_kept_holds_a_key(client, books, tenant_id):
    made(client.post("/v1/api-keys", {"name": "ci"}, headers={"idempotency-key": "abc-7"}))
    with books.read_only(tenant_id) as conn:
        rows = conn.execute("SELECT response FROM idempotent_writes").fetchall()
    assert all("fk_" not in row["response"] for row in rows)


@pytest.mark.parametrize("name", ["", "a b", "x" * 257, "é".encode(), "tab\tbed"])
def test_a_key_that_is_no_key_is_refused(client, name):
    document = made(client.post("/v1/customers", CUSTOMER, headers={"idempotency-key": name}), 400)
    assert document["path"] == "Idempotency-Key"


def test_an_input_stays_bound_to_its_key_when_the_answer_was_lost(client, books, tenant_id, now):
    """A crash between effect and answer: the repeat does it again, which changes nothing; other input conflicts."""
    headers = {"idempotency-key": "abc-8"}
    made(client.post("/v1/customers", CUSTOMER, headers=headers))
    with books.transaction(tenant_id) as conn:
        row = conn.execute("SELECT * FROM idempotent_writes").fetchone()
        conn.execute("DELETE FROM idempotent_writes")
        conn.execute(
            "INSERT INTO idempotent_writes VALUES (%s, %s, %s, %s, 0, '', %s)",
            [tenant_id, "abc-8", row["operation"], row["input_hash"], now],
        )
    made(client.post("/v1/customers", {**CUSTOMER, "name": "B"}, headers=headers), 409)
    made(client.post("/v1/customers", CUSTOMER, headers=headers), 200)
    replayed = client.post("/v1/customers", CUSTOMER, headers=headers)
    assert replayed.headers["idempotent-replayed"] == "true"


# ---- Invoices


@pytest.fixture
def billed(furnished, seal):
    """A tenant with one invoice for November, over 1,000 input tokens."""
    made(furnished.post("/v1/events", [event(number) for number in (400, 600)]), 202)
    seal()
    run = made(furnished.post("/v1/billing-runs", {"until": "2026-12-01T00:00:00Z"}), 200)
    assert run == {
        "until": "2026-12-01T00:00:00Z",
        "issued_count": 1,
        "issued": ["INV-000001"],
        "skipped_count": 0,
        "skipped": [],
    }
    return furnished


def test_a_billing_run_issues_once(billed):
    again = made(billed.post("/v1/billing-runs", {"until": "2026-12-01T00:00:00Z"}), 200)
    assert (again["issued"], again["skipped_count"]) == ([], 1)
    assert again["skipped"][0]["subscription"] == "acme-payg"


def test_an_invoice_is_listed_and_read(billed):
    (summary,) = billed.get("/v1/invoices").json()["items"]
    invoice = billed.get("/v1/invoices/INV-000001").json()
    assert {name: invoice[name] for name in summary} == summary
    assert invoice["total_exact"] == "0.0025"
    assert invoice["lines"][0]["quantity"] == "1000"
    assert billed.get("/v1/invoices?customer=acme").json()["items"] == [summary]
    assert billed.get("/v1/invoices?customer=nobody").json()["items"] == []


def test_an_invoice_as_pdf(billed):
    by_name = billed.get("/v1/invoices/INV-000001.pdf")
    assert by_name.headers["content-type"] == "application/pdf"
    assert by_name.content.startswith(b"%PDF-")
    by_header = billed.get("/v1/invoices/INV-000001", headers={"accept": "application/pdf"})
    assert by_header.content == by_name.content
    either = billed.get(
        "/v1/invoices/INV-000001", headers={"accept": "application/json, application/pdf;q=0.5"}
    )
    assert either.json()["number"] == "INV-000001"
    for address in ("/v1/invoices/INV-000002.pdf", "/v1/invoices/INV-000002"):
        assert made(billed.get(address), 404)["code"] == "invoice_not_found"


def test_a_line_is_explained_down_to_its_events(billed):
    said = made(billed.get("/v1/invoices/INV-000001/lines/1/explain?limit=1"), 200)
    assert said["price"] == {"model": "per_unit", "unit_price": "0.0000025"}
    assert (said["quantity_billed"], said["quantity_now"], said["changed_since"]) == ("1000", "1000", False)
    assert said["events_total"] == 2
    assert [(one["id"], one["value"]) for one in said["events"]] == [("400", "400")]
    assert made(billed.get("/v1/invoices/INV-000001/lines/2/explain"), 404)["code"] == "line_not_found"
    assert made(billed.get("/v1/invoices/INV-000002/lines/1/explain"), 404)["code"] == "invoice_not_found"
    assert made(billed.get("/v1/invoices/INV-000001/lines/0/explain"), 422)["path"] == "line"


def test_a_seller_is_on_the_invoices_to_come(furnished):
    assert furnished.get("/v1/seller").json()["name"].startswith("Test ")
    made(furnished("PUT", "/v1/seller", json={"name": "Northwind AI"}), 200)
    assert furnished.get("/v1/seller").json() == {"name": "Northwind AI"}
    assert made(furnished("PUT", "/v1/seller", json={"name": "N", "vat": 1}), 422)["path"] == "vat"


@pytest.mark.parametrize("body", [{}, {"until": "2026-12-01"}, {"until": None}, {"until": 5}, {"by": "x"}])
def test_a_billing_run_needs_an_instant(client, body):
    assert made(client.post("/v1/billing-runs", body), 422)["path"] in ("until", "by")


def test_health_says_that_events_cannot_be_read(client, services):
    assert client.get("/v1/health").json()["checks"]["segments"] == "ok"
    damaged = services.data_dir / "damaged" / "segments" / "1" / "seg_1.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.touch()
    failing = client.get("/v1/health")
    assert failing.status_code == 503
    assert failing.json()["checks"]["segments"] == "1 damaged or missing: see farthing doctor"
