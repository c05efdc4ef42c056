"""The ledger over HTTP: what billing booked, in both senses, as of any moment, in pages."""

import pytest

FEE = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "10"}}
PLAN = {"key": "payg", "name": "Payg", "currency": "USD", "interval": "month", "rate_cards": [FEE]}


@pytest.fixture
def billed(client):
    """Two customers who owe 10 each for October; the tests' now is 23 November."""
    client.post("/v1/plans", PLAN)
    for key in ("acme", "bolt"):
        client.post("/v1/customers", {"key": key, "name": key, "currency": "USD"})
        subscription = {"key": key, "customer": key, "plan": "payg", "start": "2026-10-01T00:00:00Z"}
        client.post("/v1/subscriptions", subscription)
    done = client.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"})
    assert done.json()["issued"] == ["INV-000001", "INV-000002"]
    return client


def test_both_sides_are_equal(billed):
    assert billed.get("/v1/ledger/trial-balance").json() == {
        "as_of": None,
        "booked_by": None,
        "rows": [
            {"code": "receivable", "kind": "asset", "currency": "USD", "debit": "20", "credit": "0"},
            {"code": "revenue", "kind": "income", "currency": "USD", "debit": "0", "credit": "20"},
        ],
        "totals": [{"currency": "USD", "debit": "20", "credit": "20"}],
    }


def test_as_of_a_moment(billed):
    before = billed.get("/v1/ledger/trial-balance", params={"as_of": "2026-11-23T12:00:00Z"}).json()
    assert (before["rows"], before["as_of"]) == ([], "2026-11-23T12:00:00Z")
    after = billed.get("/v1/ledger/trial-balance", params={"as_of": "2026-11-23T12:00:01Z"}).json()
    assert after["totals"] == [{"currency": "USD", "debit": "20", "credit": "20"}]
    known = billed.get("/v1/ledger/trial-balance", params={"booked_by": "2026-11-23T12:00:00Z"}).json()
    assert known["rows"] == []


def test_accounts_in_their_own_sense(billed):
    items = billed.get("/v1/ledger/accounts").json()["items"]
    assert [(one["code"], one["customer"], one["balance"], one["entries"]) for one in items] == [
        ("revenue", None, "20", 2),
        ("receivable", "acme", "10", 1),
        ("receivable", "bolt", "10", 1),
    ]
    (one,) = billed.get("/v1/ledger/accounts", params={"customer": "bolt"}).json()["items"]
    assert billed.get(f"/v1/ledger/accounts/{one['account_id']}").json() == one
    past = billed.get(f"/v1/ledger/accounts/{one['account_id']}", params={"as_of": "2026-01-01T00:00:00Z"})
    assert (past.json()["balance"], past.json()["entries"]) == ("0", 0)
    assert billed.get("/v1/ledger/accounts", params={"code": "cash"}).json()["items"] == []


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_entries_in_pages(billed, limit):
    seen, cursor = [], None
    while True:
        given = {"limit": limit, **({} if cursor is None else {"cursor": cursor})}
        page = billed.get("/v1/ledger/entries", params=given).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [(one["transfer"], one["code"], one["side"], one["amount"]) for one in seen] == [
        ("invoice:INV-000001", "receivable", "debit", "10"),
        ("invoice:INV-000001", "revenue", "credit", "10"),
        ("invoice:INV-000002", "receivable", "debit", "10"),
        ("invoice:INV-000002", "revenue", "credit", "10"),
    ]
    assert seen[0]["kind"] == "invoice_issued"
    assert seen[0]["effective_at"] == seen[0]["booked_at"] == "2026-11-23T12:00:00Z"


def test_entries_of_one_account(billed):
    (revenue,) = billed.get("/v1/ledger/accounts", params={"code": "revenue"}).json()["items"]
    items = billed.get("/v1/ledger/entries", params={"account_id": revenue["account_id"]}).json()["items"]
    assert [one["transfer"] for one in items] == ["invoice:INV-000001", "invoice:INV-000002"]


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/v1/ledger/trial-balance?as_of=yesterday", 422, "invalid_instant"),
        ("/v1/ledger/trial-balance?as_of=2026-01-01", 422, "invalid_instant"),
        ("/v1/ledger/accounts/999999999", 404, "account_not_found"),
        ("/v1/ledger/entries?cursor=AAAA", 422, "invalid_cursor"),
        # The cursor of another list, and places that are none.
        ("/v1/ledger/entries?cursor=YWNjb3VudHM6MQ", 422, "invalid_cursor"),
        ("/v1/ledger/entries?cursor=ZW50cmllczoxLjI7", 422, "invalid_cursor"),
        ("/v1/ledger/accounts?cursor=YWNjb3VudHM6eA", 422, "invalid_cursor"),
    ],
)
def test_what_is_refused(billed, address, status, code):
    answer = billed.get(address)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_both_moments_are_refused_at_once(billed):
    answer = billed.get("/v1/ledger/trial-balance?as_of=x&booked_by=y").json()
    assert [fault["path"] for fault in answer["faults"]] == ["as_of", "booked_by"]


def test_another_tenant_sees_nothing(billed, other_client):
    assert other_client.get("/v1/ledger/accounts").json()["items"] == []
    assert other_client.get("/v1/ledger/entries").json()["items"] == []
    assert other_client.get("/v1/ledger/trial-balance").json()["rows"] == []
