"""Reports, closings and recognition over HTTP: tied, as JSON and CSV, refused with a code where they make no sense."""

import pytest

SEAT = {"key": "seat", "name": "Seat", "timing": "advance", "price": {"model": "flat", "amount": "30"}}
PLAN = {"key": "pro", "name": "Pro", "currency": "USD", "interval": "month", "rate_cards": [SEAT]}


@pytest.fixture
def billed(client):
    """A seat of 30.00 for October, which is over, and one for November, on its 23rd day."""
    client.post("/v1/plans", PLAN)
    client.post("/v1/customers", {"key": "acme", "name": "Acme", "currency": "USD"})
    client.post(
        "/v1/subscriptions",
        {"key": "acme", "customer": "acme", "plan": "pro", "start": "2026-10-01T00:00:00Z"},
    )
    assert client.post("/v1/billing-runs", {"until": "2026-11-01T00:00:00Z"}).json()["issued_count"] == 2
    return client


def test_a_report_is_its_rows_and_its_ties(billed):
    assert billed.get("/v1/reports/deferred-revenue").json() == {
        "report": "deferred-revenue",
        "title": "Deferred revenue",
        "from": None,
        "to": None,
        "rows": [
            {
                "customer": "acme", "currency": "USD", "opening": "0", "invoiced": "30", "credited": "0",
                "recognised": "0", "other": "0", "closing": "30",
            }
        ],
        "ties": [
            {"what": "deferred_revenue", "currency": "USD", "report": "30", "ledger": "30", "holds": True}
        ],
    }  # fmt: skip


def test_a_report_as_csv(billed):
    answer = billed.get(
        "/v1/reports/revenue",
        params={"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "format": "csv"},
    )
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="revenue.csv"'
    assert answer.text == "product,customer,currency,amount\r\nseat,acme,USD,30.00\r\n"


@pytest.mark.parametrize(
    ("address", "params", "code"),
    [
        ("revenue", {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, "invalid_report_period"),
        ("revenue", {"from": "November"}, "invalid_instant"),
        ("revenue", {"as_of": "2026-11-01T00:00:00Z"}, "invalid_parameter"),
        ("receivables", {"from": "2026-11-01T00:00:00Z"}, "invalid_parameter"),
        ("receivables", {"as_of": "never"}, "invalid_instant"),
        ("cash", {"format": "xlsx"}, "invalid_parameter"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client, address, params, code):
    answer = client.get(f"/v1/reports/{address}", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_report_that_does_not_exist(client):
    assert client.get("/v1/reports/horoscope").status_code == 404


def test_what_was_rendered_is_recognised_once(billed):
    for until, booked in (("2026-11-23T00:00:00Z", 0), ("2026-11-23T00:00:00Z", 0)):
        answer = billed.post("/v1/ledger/recognitions", {"until": until})
        assert answer.json() == {"until": until, "booked": booked}
    late = billed.post("/v1/ledger/recognitions", {"until": "2027-01-01T00:00:00Z"})
    assert (late.status_code, late.json()["code"], late.json()["path"]) == (422, "invalid_until", "until")


def test_the_books_are_closed_and_reopened(billed):
    closed = billed.post(
        "/v1/ledger/closings", {"until": "2026-11-01T00:00:00Z", "reason": "October is filed"}
    )
    assert closed.status_code == 201
    assert closed.json()["closed_until"] == "2026-11-01T00:00:00Z"
    opened = billed.post("/v1/ledger/closings", {"until": None, "reason": "something was missing"})
    assert opened.json()["closed_until"] is None
    page = billed.get("/v1/ledger/closings", params={"limit": 1}).json()
    assert page["items"] == [opened.json()]
    rest = billed.get("/v1/ledger/closings", params={"cursor": page["next_cursor"]}).json()
    assert (rest["items"], rest["next_cursor"]) == ([closed.json()], None)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"until": "2027-01-01T00:00:00Z", "reason": "early"}, "until"),
        ({"until": "2026-11-01T00:00:00Z"}, "reason"),
        ({"until": "2026-11-01T00:00:00Z", "reason": "  "}, "reason"),
        ({"reason": "no end"}, "until"),
        ({"until": 5, "reason": "x"}, "until"),
        ({"until": None, "reason": "x", "force": True}, "force"),
    ],
)
def test_a_closing_that_makes_no_sense_is_refused(client, body, path):
    answer = client.post("/v1/ledger/closings", body)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["faults"]] == [path]
    assert client.get("/v1/ledger/closings").json()["items"] == []
