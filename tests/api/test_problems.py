"""One table of errors, one shape of problems."""

import json

import psycopg
import pytest

from farthing.api.problems import FAULTS_MAX, TEXT_LENGTH_MAX, problem, status_of
from farthing.kernel.errors import (
    Conflict,
    Corrupt,
    FarthingError,
    Fault,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("invalid_price", "x"), 422),
        (InvalidInput("malformed_json", "x"), 400),
        (InvalidInput("unsupported_media_type", "x"), 415),
        (InvalidInput("method_not_allowed", "x"), 405),
        (InvalidInput("body_too_slow", "x"), 408),
        (NotFound("plan_not_found", "x"), 404),
        (Conflict("customer_exists", "x"), 409),
        (LimitExceeded("body_too_large", "x"), 413),
        (Unauthorized("invalid_api_key", "x"), 401),
        (Unavailable("disk_full", "x"), 503),
        (Unavailable("log_busy", "x"), 429),
        (Corrupt("log_damaged", "x"), 500),
    ],
)
def test_every_error_has_one_status(error, status):
    assert status_of(error) == status
    assert problem(error).status == status


def test_a_problem_says_what_where_and_everything():
    error = InvalidInput.of("invalid_price", [Fault("tiers[1].up_to", "is too small"), Fault("", "and more")])
    answer = problem(error)
    assert json.loads(answer.body) == {
        "type": "urn:farthing:problem:invalid_price",
        "title": "The input is not valid",
        "status": 422,
        "code": "invalid_price",
        "detail": "tiers[1].up_to is too small; and more",
        "path": "tiers[1].up_to",
        "faults": [
            {"path": "tiers[1].up_to", "message": "is too small"},
            {"path": "", "message": "and more"},
        ],
    }
    assert dict(answer.headers)["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "error", [KeyError("secret"), Corrupt("log_damaged", "secret"), ZeroDivisionError("secret")]
)
def test_our_own_faults_are_logged_and_not_told(error, caplog):
    answer = problem(error)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection to 10.0.0.1 failed"),
        Unavailable("database_unavailable", "the database cannot be used now: connection to 10.0.0.1 failed"),
    ],
)
def test_books_that_do_not_answer_are_our_fault_for_now_only(error):
    answer = problem(error)
    assert answer.status == 503
    assert b"10.0.0.1" not in answer.body
    assert dict(answer.headers)["retry-after"] == "1"


def test_a_401_says_how_to_authenticate():
    assert dict(problem(Unauthorized("missing_api_key", "x")).headers)["www-authenticate"].startswith(
        "Bearer"
    )


def test_a_problem_is_bounded_and_always_encodable():
    faults = [Fault("\ud800" * 10, "y" * 10_000) for _ in range(1000)]
    document = json.loads(problem(InvalidInput.of("invalid_price", faults)).body)
    assert len(document["faults"]) == FAULTS_MAX
    assert len(document["detail"]) == TEXT_LENGTH_MAX
    assert len(document["faults"][0]["message"]) == TEXT_LENGTH_MAX


def test_the_class_decides_where_no_code_does():
    class Stranger(FarthingError):
        pass

    assert status_of(Stranger("odd", "x")) == 500
