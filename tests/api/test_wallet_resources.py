"""Wallets over HTTP: made, funded, drawn, read in pages, and refused with a reason."""

import pytest

CUSTOMER = {"key": "acme", "name": "Acme", "currency": "USD"}
WALLET = {"key": "acme-usd", "customer": "acme", "currency": "USD", "low_balance": "5"}
OF = "/v1/wallets/acme-usd"


def made(response, status=201):
    assert response.status_code == status, response.text
    return response.json()


@pytest.fixture
def furnished(client):
    made(client.post("/v1/customers", CUSTOMER))
    made(client.post("/v1/wallets", WALLET))
    return client


def test_a_wallet_says_what_it_holds(furnished):
    made(furnished.post(f"{OF}/grants", {"key": "o-1", "kind": "paid", "amount": "10"}))
    later = {"key": "o-2", "kind": "promotional", "amount": "3", "effective_at": "2030-01-01T00:00:00Z"}
    made(furnished.post(f"{OF}/grants", later))
    found = furnished.get(OF).json()
    assert found["balance"] == {
        "available": "10", "available_paid": "10", "held": "0", "settled": "0", "scheduled": "3",
    }  # fmt: skip
    assert (found["balance_state"], found["low_balance"]) == ("funded", "5")
    assert furnished.get("/v1/wallets?customer=acme").json()["items"] == [found]
    assert furnished.get("/v1/wallets?customer=other").json()["items"] == []
    changed = made(furnished.patch(OF, {"low_balance": None, "name": "Funds"}), 200)
    assert (changed["low_balance"], changed["name"]) == (None, "Funds")


def test_a_grant_is_made_once_by_its_key_and_by_the_header(furnished):
    grant = {"key": "o-1", "kind": "paid", "amount": "10"}
    first = made(furnished.post(f"{OF}/grants", grant, headers={"idempotency-key": "k"}))
    assert made(furnished.post(f"{OF}/grants", grant, headers={"idempotency-key": "k"})) == first
    assert made(furnished.post(f"{OF}/grants", grant), 200) == first
    other = furnished.post(f"{OF}/grants", grant | {"amount": "11"})
    assert (other.status_code, other.json()["code"]) == (409, "grant_exists")
    other = furnished.post(f"{OF}/grants", grant | {"key": "o-2"}, headers={"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert furnished.get(OF).json()["balance"]["available"] == "10"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "-1"}, 422, "invalid_grant"),
        ({"currency": "EUR"}, 422, "currency_mismatch"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "grant_expired"),
        ({"amount": "0.001"}, 422, "invalid_grant"),
    ],
)
def test_a_bad_grant_is_refused_with_a_code(furnished, change, status, code):
    answer = furnished.post(f"{OF}/grants", {"key": "bad", "kind": "paid", "amount": "10"} | change)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert furnished.get(f"{OF}/grants").json()["items"] == []


def test_grants_and_history_come_in_pages(furnished):
    for number in range(5):
        grant = {"key": f"o-{number}", "kind": "promotional", "amount": "1"}
        made(furnished.post(f"{OF}/grants", grant))
    made(furnished.post(f"{OF}/grants/o-4/void", {"note": "by mistake"}), 200)
    for what, expected in (("grants", 5), ("history", 6)):
        items, cursor = [], ""
        while cursor is not None:
            page = furnished.get(f"{OF}/{what}?limit=2" + (f"&cursor={cursor}" if cursor else "")).json()
            items += page["items"]
            cursor = page["next_cursor"]
        assert len(items) == expected
        assert len({str(item) for item in items}) == expected
    assert (items[0]["movement"], items[0]["because"], items[0]["amount"]) == ("voided", "by mistake", "-1")
    refused = furnished.get(f"{OF}/history?cursor=bm9uc2Vuc2U")
    assert refused.json()["code"] == "invalid_cursor"


def test_a_top_up_is_requested_and_settled_once(furnished):
    wish = made(furnished.post(f"{OF}/top-ups", {"key": "t-1", "amount": "20"}))
    assert (wish["status"], wish["automatic"]) == ("requested", False)
    for _ in range(2):
        settled = made(furnished.post(f"{OF}/top-ups/t-1/settle", {"status": "funded"}), 200)
        assert (settled["status"], settled["grant"]) == ("funded", "top_up:t-1")
    refused = furnished.post(f"{OF}/top-ups/t-1/settle", {"status": "failed"})
    assert (refused.status_code, refused.json()["code"]) == (409, "top_up_settled")
    assert furnished.get(OF).json()["balance"]["available_paid"] == "20"
    assert [one["key"] for one in furnished.get(f"{OF}/top-ups?status=funded").json()["items"]] == ["t-1"]
    kinds = [fact["kind"] for fact in furnished.get("/v1/facts?kind=wallet.*").json()["items"]]
    assert kinds == ["wallet.top_up_requested", "wallet.topped_up"]


def test_a_top_up_by_payment_waits_for_a_method(furnished):
    wish = made(furnished.post(f"{OF}/top-ups", {"key": "t-1", "amount": "20", "collected_by": "payment"}))
    assert (wish["status"], wish["collected_by"]) == ("requested", "payment")
    other = furnished.post(f"{OF}/top-ups", {"key": "t-1", "amount": "20"})
    assert (other.status_code, other.json()["code"]) == (409, "top_up_exists")
    unknown = furnished.post(f"{OF}/top-ups", {"key": "t-2", "amount": "20", "collected_by": "magic"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_top_up")
    settled = made(furnished.post(f"{OF}/top-ups/t-1/settle", {"status": "funded"}), 200)
    assert settled["status"] == "funded"


def test_a_promise_is_shown_beside_the_grants(furnished):
    promise = {"key": "monthly", "kind": "promotional", "amount": "2", "every": {"interval": "month"}}
    said = made(furnished.post(f"{OF}/grants", promise))
    assert said["every"] == {"interval": "month", "interval_count": 1, "expires": True}
    assert furnished.get(f"{OF}/recurring-grants").json()["items"] == [said]
    assert furnished.get(f"{OF}/grants").json()["items"] == []


def test_a_wallet_of_units_says_what_a_unit_was_paid_for(furnished):
    meter = {"key": "tokens", "event_type": "completion", "aggregation": "sum", "value": "data.tokens"}
    made(furnished.post("/v1/meters", meter))
    wallet = made(furnished.post("/v1/wallets", {"key": "acme-units", "customer": "acme", "unit": "tokens"}))
    assert (wallet["currency"], wallet["unit"], wallet["balance"]["available"]) == (None, "tokens", "0")
    pack = {"key": "pack", "kind": "paid", "amount": "1000", "unit_price": "0.05"}
    said = made(furnished.post("/v1/wallets/acme-units/grants", pack))
    assert (said["amount"], said["unit_price"], said["left"]) == ("1000", "0.05", "1000")
    for more in ({}, {"unit_price": "0.00001"}, {"unit_price": "-1"}):
        raw = {"key": "other", "kind": "paid", "amount": "100", **more}
        answer = furnished.post("/v1/wallets/acme-units/grants", raw)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_grant")
        assert [one["path"] for one in answer.json()["faults"]] == ["unit_price"]
    refused = furnished.post("/v1/wallets/acme-units/top-ups", {"key": "t", "amount": "5"})
    assert (refused.status_code, refused.json()["code"]) == (409, "wallet_of_units")
    renamed = made(furnished.patch("/v1/wallets/acme-units", {"name": "Packs", "low_balance": "10"}), 200)
    assert (renamed["name"], renamed["unit"]) == ("Packs", "tokens")
    money = furnished.post("/v1/wallets", {"key": "w", "customer": "acme", "unit": "nothing"})
    assert (money.status_code, money.json()["code"]) == (404, "meter_not_found")
