"""For how long events are kept, over HTTP."""

import pytest
from test_terms_resources import made

NOTHING = {"removed_segments": 0, "removed_events": 0, "removed_until": None}


def test_it_is_said_and_taken_back(client):
    assert client.get("/v1/retention").json() == {"keep_days": None, **NOTHING}
    for days in (400, 30, None):
        said = {"keep_days": days, **NOTHING}
        assert made(client("PUT", "/v1/retention", json={"keep_days": days}), 200) == said
        assert client.get("/v1/retention").json() == said


@pytest.mark.parametrize(
    "body", [{}, {"keep_days": 0}, {"keep_days": 36_601}, {"keep_days": "30"}, {"days": 3}, []]
)
def test_what_is_no_number_of_days_is_refused(client, body):
    refused = client("PUT", "/v1/retention", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_retention")
    assert client.get("/v1/retention").json()["keep_days"] is None
