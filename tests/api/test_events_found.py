"""Events over HTTP once they were sent: found, traced, corrected, and told where nobody is billed for them."""

import pytest

from farthing.events.sealing.sealer import Sealer, only_sealer
from farthing.events.store.duckdb import Lateness

METER = {"key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "data.n"}
PLAN = {
    "key": "payg", "name": "Pay as you go", "currency": "USD", "interval": "month",
    "rate_cards": [{"key": "tokens", "name": "Tokens", "meter": "tokens",
                    "price": {"model": "per_unit", "unit_price": "0.5"}}],
}  # fmt: skip
CUSTOMER = {"key": "acme", "name": "Acme Inc.", "currency": "USD", "aliases": ["key/7"]}
SUBSCRIPTION = {"key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2026-11-01T00:00:00Z"}


def made(response, status=201):
    assert response.status_code == status, response.text
    return response.json()


def event(event_id, n, **attributes):
    return {
        "specversion": "1.0", "id": event_id, "source": "/gw/eu", "type": "llm", "subject": "key/7",
        "time": "2026-11-10T10:00:00Z", "data": {"n": n}, **attributes,
    }  # fmt: skip


@pytest.fixture
def seal(services, books, now):
    def run():
        with only_sealer(services.data_dir) as alone:
            assert alone
            sealer = Sealer(books, services.store, services.data_dir / "log", Lateness(10**9, 10**9))
            while sealer.seal_next(now) is not None:
                pass

    return run


@pytest.fixture
def furnished(client):
    made(client.post("/v1/meters", METER))
    made(client.post("/v1/plans", PLAN))
    made(client.post("/v1/customers", CUSTOMER))
    made(client.post("/v1/subscriptions", SUBSCRIPTION))
    return client


def test_events_are_listed_in_pages_and_traced(furnished, seal):
    made(furnished.post("/v1/events", [event(f"e{n}", n) for n in range(5)]), 202)
    seal()
    made(furnished.post("/v1/events", [event("e5", 5), event("e1", 1)]), 202)
    found, cursor = [], None
    while True:
        page = made(
            furnished.get("/v1/events", params={"customer": "acme", "limit": 2} | (cursor or {})), 200
        )
        found += [(item["id"], item["state"]) for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == [("e5", "waiting"), *((f"e{n}", "counted") for n in (4, 3, 2, 1, 0))]
    (item,) = made(furnished.get("/v1/events", params={"id": "e3"}), 200)["items"]
    assert (item["source"], item["customer"], item["data"]) == ("/gw/eu", "acme", {"n": 3})
    way = made(furnished.get("/v1/events/%2Fgw%2Feu/e1"), 200)
    assert [one["outcome"] for one in way["received"]] == ["counted", "waiting"]
    assert way["meters"] == [{"meter": "tokens", "value": "1"}]
    assert way["bills"][0]["rate_cards"][0]["amount_exact"] == "0.5"
    assert furnished.get("/v1/events/gw/e1").json()["code"] == "event_not_found"
    for wrong, code in (
        ({"from": "yesterday"}, "invalid_instant"), ({"source": "x"}, "invalid_event_query"),
        ({"cursor": "nonsense"}, "invalid_cursor"), ({"customer": "nobody"}, "customer_not_found"),
    ):  # fmt: skip
        assert furnished.get("/v1/events", params=wrong).json()["code"] == code


def test_a_correction_is_asked_for_once(furnished, seal):
    made(furnished.post("/v1/events", [event("a", 5), event("b", 7)]), 202)
    seal()
    asked = {"source": "/gw/eu", "id": "a", "reason": "sent twice"}
    for _ in range(2):
        accepted = made(furnished.post("/v1/corrections", asked, headers={"idempotency-key": "k"}), 202)
        assert accepted == {
            "status": "accepted", "kind": "void", "by": {"source": "/gw/eu", "id": "void:a"},
            "corrects": {"source": "/gw/eu", "id": "a"},
        }  # fmt: skip
    seal()
    made(furnished.post("/v1/corrections", asked), 202)  # the same once more, without a key
    replaced = {"source": "/gw/eu", "id": "b", "replacement": {"id": "b-2", "data": {"n": 1.25}}}
    assert made(furnished.post("/v1/corrections", replaced), 202)["kind"] == "replace"
    seal()
    usage = furnished.get("/v1/usage?meter=tokens&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z")
    assert usage.json()["rows"][0]["quantity"] == "1.25"
    page = made(furnished.get("/v1/corrections", params={"customer": "acme"}), 200)
    assert [(one["kind"], one["corrects"]["id"], one["reason"]) for one in page["items"]] == [
        ("void", "a", "sent twice"), ("replace", "b", ""),
    ]  # fmt: skip
    account = made(furnished.get("/v1/account"), 200)
    assert (account["accepted"], account["counted"], account["voided"]) == (4, 4, 2)
    for wrong, status, code in (
        ({"source": "/gw/eu", "id": "a", "reason": "other"}, 409, "already_corrected"),
        ({"source": "/gw/eu", "id": "void:a"}, 409, "corrects_a_void"),
        ({"source": "/gw/eu", "id": "nothing"}, 404, "event_not_found"),
        ({"id": "a", "replacement": 5, "x": 1}, 422, "invalid_correction"),
        ({"source": "/gw/eu", "id": "b-2", "replacement": {"id": 5}}, 422, "invalid_attribute"),
        (
            {"source": "/gw/eu", "id": "b-2", "replacement": {"type": "farthing.void"}},
            422,
            "invalid_correction",
        ),
    ):
        refused = furnished.post("/v1/corrections", wrong)
        assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_an_event_through_the_door_corrects_another(furnished, seal):
    made(
        furnished.post("/v1/events", [event("a", 5), event("b", 7, corrects="a", correctsreason="wrong")]),
        202,
    )
    refused = furnished.post("/v1/events", event("c", 1, corrects=""))
    assert refused.json()["path"] == "corrects"
    seal()
    (one,) = made(furnished.get("/v1/corrections"), 200)["items"]
    assert (one["kind"], one["by"]["id"], one["reason"]) == ("replace", "b", "wrong")


def test_what_nobody_is_billed_for_is_told(furnished, seal):
    early = event("c", 3, time="2026-10-10T00:00:00Z")
    made(furnished.post("/v1/events", [event("a", 5), event("b", 5, subject="x"), early]), 202)
    seal()
    found = made(furnished.get("/v1/unbilled"), 200)
    assert (found["events"], found["by_cause"]) == (2, {"unknown_subject": 1, "no_subscription": 1})
    assert found["would_make"][0]["amount_exact"] == "1.5"
    assert made(furnished.get("/v1/unbilled?to=2026-11-01T00:00:00Z"), 200)["events"] == 1
